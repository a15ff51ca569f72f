"""What the accelerator needs on a chip, and how long its paths are, by open tools: ``python -m hw.synthesis --help``."""

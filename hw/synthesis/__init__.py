"""Resources and longest paths of the accelerator, as synthesized by Yosys."""

"""CoDeNet's network in PyTorch and Brevitas: training, quantization, evaluation and export."""

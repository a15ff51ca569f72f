"""The board through plain Linux: UIO, u-dma-buf and the FPGA manager."""

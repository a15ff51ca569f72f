# SPDX-License-Identifier: Apache-2.0
"""The board through plain Linux: UIO, u-dma-buf and the FPGA manager."""

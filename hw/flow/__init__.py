# SPDX-License-Identifier: Apache-2.0
"""From Verilog to a bitstream, and onto a board."""

"""From Verilog to a bitstream, and onto a board."""

"""The accelerator on real chips: board tops, constraints, bitstreams, and what PYNQ wants to know of them."""

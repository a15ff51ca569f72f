# SPDX-License-Identifier: Apache-2.0
"""What Yosys made of the accelerator, simulated in its place: ``make netlist``."""

# SPDX-License-Identifier: Apache-2.0
"""What Yosys made of the accelerator, simulated in its place: a netlist of 7-series cells behind the simulated board.

The cells' behaviour is written from UG473, UG474 and UG479; tests compare it with Yosys' own models.
"""

from sim.netlist.library import build
from sim.netlist.tables import NetlistError, Tables

__all__ = ["NetlistError", "Tables", "build"]

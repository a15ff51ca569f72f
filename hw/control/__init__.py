# SPDX-License-Identifier: Apache-2.0
"""Control: registers for the host, the sequencer of steps, and the profiler."""

from hw.control.profiler import Profiler
from hw.control.registers import ProgramControl, Registers
from hw.control.sequencer import Sequencer

__all__ = ["Profiler", "ProgramControl", "Registers", "Sequencer"]

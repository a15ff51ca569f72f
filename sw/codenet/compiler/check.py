# SPDX-License-Identifier: Apache-2.0
"""The last pass: does every step keep the rules that the hardware relies on and does not look at
(:mod:`codenet.isa.rules`)?
"""

from __future__ import annotations

from codenet.config import BEAT_BYTES
from codenet.errors import CompileError, FormatError
from codenet.isa.parameters import unpack_parameters
from codenet.isa.rules import StepError, check_arithmetic, check_descriptor
from codenet.program import Program


def check(program: Program) -> None:
    """Check every descriptor, and the arithmetic of every parameter block as it lies in memory.

    Raises
    ------
    CompileError
        Names the step, the field, its value and what was expected: a mistake of the compiler.
    """
    for number, (step, name) in enumerate(zip(program.descriptors, program.step_names, strict=True)):
        try:
            check_descriptor(step, program.config)
            block = program.image[step.parameter_address :][: BEAT_BYTES * step.parameter_beats]
            check_arithmetic(step, unpack_parameters(block, step, program.config.outputs))
        except (StepError, FormatError) as error:
            raise CompileError(
                f"program {program.name!r}, step {number} {name!r} breaks a rule of the accelerator: {error}"
            ) from error

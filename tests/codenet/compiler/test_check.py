# SPDX-License-Identifier: Apache-2.0
"""What the hardware does not look at is checked before a program leaves the compiler."""

import dataclasses
import sys

import numpy as np
import pytest

from codenet import compiler
from codenet.compiler import cost
from codenet.compiler.check import check
from codenet.config import AcceleratorConfig
from codenet.errors import CompileError
from codenet.isa import FIELDS
from codenet.isa.parameters import pack_requantize
from tests import networks

GRAPH = networks.network(32, equal_heads=True)
SMALL = AcceleratorConfig.small()
FREE = {"last", "parameter_address", "peak_address", "peak_capacity", "peak_threshold", "reach", "pad", "row_pitch"} | {
    f"{part}_{setting}" for part in ("depthwise", "pointwise", "expand") for setting in ("s", "lo", "hi")
}
"""Fields that may have another value without breaking a rule of their own."""


@pytest.fixture(scope="module")
def program():
    return compiler.compile(GRAPH, SMALL)


@pytest.mark.parametrize("name", [field.name for field in FIELDS if field.name not in FREE])
def test_every_field_of_some_step(program, name):
    """A field that is one too large in any of the steps in which it counts."""
    refused = 0
    for number, step in enumerate(program.descriptors):
        wrong = dataclasses.replace(step, **{name: getattr(step, name) ^ 1})
        steps = (*program.descriptors[:number], wrong, *program.descriptors[number + 1 :])
        try:
            check(dataclasses.replace(program, descriptors=steps))
        except CompileError as error:
            refused += 1
            assert f"step {number} {program.step_names[number]!r} breaks a rule" in str(error)
    assert refused


def test_a_mistake_of_a_pass(monkeypatch):
    monkeypatch.setattr(cost, "window_row_stride", lambda width, planes: -(-width // 3) * planes + 1)
    with pytest.raises(CompileError, match="breaks a rule of the accelerator: window_row_stride"):
        compiler.compile(GRAPH, SMALL)


def test_weights_that_overflow(monkeypatch):
    module = sys.modules["codenet.compiler.emit"]  # The package offers a function of this name.
    monkeypatch.setattr(module, "pack_requantize", lambda m, b: pack_requantize(m, np.full_like(b, 2**47 - 1)))
    with pytest.raises(CompileError, match="breaks a rule .* expected at most 48 bits"):
        compiler.compile(GRAPH, SMALL)

# SPDX-License-Identifier: Apache-2.0
"""Whole networks through the RTL by the unchanged driver, every tensor compared with the graph's own evaluation."""

from __future__ import annotations

import dataclasses

import pytest

from codenet import compiler
from codenet.config import AcceleratorConfig
from codenet.isa import DESCRIPTOR_BYTES, block_fields
from codenet.registers import ProfileCounter
from sim.frame import run_frame
from sim.timing import DramTiming
from sim.verilator.board import RtlDevice
from tests import networks

NETWORKS = {
    "stride-4 stem": dict(size=64),
    "stride-2 stem and max pool": dict(size=32, stem="s2max"),
    "pointwise before deformable": dict(size=32, deform="ii"),
    "not square": dict(size=(32, 96), classes=9),
    "merged heads": dict(size=32, equal_heads=True),
    "skips": dict(size=64, skips=True),
    "skips, pointwise before deformable": dict(size=32, skips=True, deform="ii"),
}

IRREGULAR = DramTiming(jitter=30, stall=0.05, seed=2)


def check(graph, config, photo, timing=IRREGULAR):
    program = compiler.compile(graph, config)
    with RtlDevice(config, timing) as device:
        result = run_frame(device, program, graph, photo, name=graph.name, threshold=0.2)
    assert not result.mismatches, "\n".join(map(str, result.mismatches[:5]))
    assert result.tensors == len(program.tensors) + 1
    steps = result.profile
    assert sum(step.cycles for step in steps) == result.cycles
    assert all(step[ProfileCounter.ACTIVE] > 0 for step in steps)
    return result


@pytest.mark.parametrize("kind", NETWORKS)
def test_small_accelerator(kind, photo):
    check(networks.network(**NETWORKS[kind], seed=len(kind)), AcceleratorConfig.small(), photo)


@pytest.mark.slow
def test_default_accelerator(photo):
    check(networks.codenet("a", size=64), AcceleratorConfig(), photo)


@pytest.mark.slow
@pytest.mark.parametrize("deform", ["i", "ii"])
@pytest.mark.parametrize("configuration", networks.CONFIGURATIONS)
def test_configuration(configuration, deform, photo):
    result = check(networks.codenet(configuration, deform=deform), AcceleratorConfig(), photo, DramTiming())
    print(f"{configuration} ({deform}): {result}")


def test_a_wrong_integer_is_found(photo):
    """The comparison sees weights of one step that differ, and names the step."""
    graph = networks.network(size=32)
    program = compiler.compile(graph, AcceleratorConfig.small())
    image = bytearray(program.image)
    step = program.descriptors[4]
    end = step.parameter_address + 8 * step.parameter_beats
    words = step.groups * step.vectors  # the second group's channels are surplus
    first = end - 8 * program.config.outputs * words
    for position in range(first, first + 8 * program.config.outputs):
        image[position] ^= 0x11
    block = bytes(image[step.parameter_address : end])
    sealed = dataclasses.replace(step, **block_fields(step.parameter_address, block))
    image[4 * DESCRIPTOR_BYTES : 5 * DESCRIPTOR_BYTES] = sealed.encode()
    with RtlDevice(program.config) as device:
        broken = dataclasses.replace(program, image=bytes(image))
        result = run_frame(device, broken, graph, photo, name="broken", threshold=0.2)
    assert result.mismatches
    found = result.mismatches[0]
    assert found.step == 4
    assert program.step_names[4] in str(found)

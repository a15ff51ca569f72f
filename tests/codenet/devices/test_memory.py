# SPDX-License-Identifier: Apache-2.0
"""The steps that measure memory are steps of every accelerator; figures, by hand, from counters."""

import pytest

from codenet.config import AcceleratorConfig
from codenet.devices import memory
from codenet.devices.memory import MemoryMeasurement, Traffic, table
from codenet.isa.rules import check_descriptor


@pytest.mark.parametrize(
    "config",
    [AcceleratorConfig(), AcceleratorConfig.small(), AcceleratorConfig(outputs=48, window_depth=2048)],
    ids=str,
)
def test_steps_keep_the_rules(config, monkeypatch):
    steps = []
    monkeypatch.setattr(
        memory, "_run", lambda _device, _name, program: steps.extend(program) or [[1] * 8] * len(program)
    )
    assert len(list(memory._traffic(None, config))) == 9
    for step in steps:
        check_descriptor(step, config)
    assert {step.input_width for step in steps} >= {1, 2, 4, 8, 48}


def test_timing_file():
    """9.2 bytes a cycle are ten with a pause of 8 % in each 1170 cycles."""
    traffic = (Traffic("slow", 10, 0, 100, 1), Traffic("fast", 600, 550, 1000, 2))
    found = MemoryMeasurement(77, 5, traffic, 85e6)
    assert found.timing() == {
        "clock_hz": 85e6,
        "latency": 77,
        "outstanding": 5,
        "bytes_per_cycle": 10,
        "refresh_interval": 1170,
        "refresh_cycles": 94,
    }
    lines = table(found).splitlines()
    assert lines[2].split() == ["fast", "9.20", "782"]
    assert lines[4].split() == ["latency", "of", "a", "burst", "906", "ns", "400", "ns"]
    assert lines[5].split()[-4:] == ["782", "MB/s", "1449", "MB/s"]


def test_port_that_is_the_limit():
    traffic = (Traffic("read", 97, 0, 100, 1),)
    assert "the port's limit" in table(MemoryMeasurement(60, None, traffic, None))
    assert MemoryMeasurement(60, None, traffic, None).timing()["outstanding"] == 8

# SPDX-License-Identifier: Apache-2.0
"""Small parts of the boards' tops, in Amaranth's simulator."""

from __future__ import annotations

from amaranth.hdl import Fragment
from amaranth.hdl._ir import PortDirection
from amaranth.sim import Simulator

from codenet.config import AcceleratorConfig
from hw.boards.board import BOARDS
from hw.boards.lights import LIGHTS, Lights
from hw.boards.reset import STAGES, ResetSynchronizer
from hw.boards.ultra96 import Ultra96
from hw.boards.zynq_7020 import Zynq7020


def test_memory_of_the_boards():
    """MiB, of their reference manuals."""
    assert {name: board.memory_bytes / 2**20 for name, board in BOARDS.items()} == {
        "pynq-z1": 512,
        "pynq-z2": 512,
        "arty-z7-20": 512,
        "zybo-z7-20": 1024,
        "ultra96": 2048,
    }


def test_reset_synchronizer():
    """High at once, though the clock stands still; low three clock edges after the release, not one sooner."""
    synchronizer = ResetSynchronizer()
    simulator = Simulator(Fragment.get(synchronizer, None))
    simulator.add_clock(10e-9, phase=5e-9)

    async def body(ctx):
        ctx.set(synchronizer.reset_n, 1)
        await ctx.tick().repeat(STAGES + 1)
        assert not ctx.get(synchronizer.o)
        await ctx.delay(2e-9)
        ctx.set(synchronizer.reset_n, 0)
        await ctx.delay(1e-9)
        assert ctx.get(synchronizer.o), "waited for a clock"
        await ctx.tick()
        ctx.set(synchronizer.reset_n, 1)
        for _ in range(STAGES - 1):
            await ctx.tick()
            assert ctx.get(synchronizer.o), "released too soon"
        await ctx.tick()
        assert not ctx.get(synchronizer.o)

    simulator.add_testbench(body)
    simulator.run()


def test_lights():
    """Short counters: the first light follows the clock, the second glows after a step and goes out, the third is the
    interrupt.
    """
    lights = Lights(blink_bits=3, glow_bits=2)
    simulator = Simulator(Fragment.get(lights, None))
    simulator.add_clock(10e-9)
    seen = []

    async def body(ctx):
        for cycle in range(20):
            ctx.set(lights.step_end, cycle == 4)
            ctx.set(lights.interrupt, cycle >= 10)
            await ctx.tick()
            seen.append(ctx.get(lights.o))

    simulator.add_testbench(body)
    simulator.run()
    # Registered twice: counters, then the lights.
    assert [light & 1 for light in seen] == [int((cycle % 8) >= 4) for cycle in range(20)]
    assert [cycle for cycle, light in enumerate(seen) if light & 2] == [5, 6, 7]
    assert [cycle for cycle, light in enumerate(seen) if light & 4] == list(range(10, 20))
    assert all(light & 8 for light in seen)


def test_ports_are_the_lights_if_there_are_some():
    """All else of a design is inside of the processor's block."""
    lights, none = Zynq7020(AcceleratorConfig.small()), Ultra96(AcceleratorConfig.small())
    (signal, direction) = lights.ports["led"]
    assert set(lights.ports) == {"led"} and (len(signal), direction) == (LIGHTS, PortDirection.Output)
    assert none.ports == {}

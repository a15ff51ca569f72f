# SPDX-License-Identifier: Apache-2.0
"""AXI-Lite register file: decode, strobes, handshakes, commands, interrupt."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from codenet.config import AcceleratorConfig
from codenet.registers import ADDRESS_BITS, BY_NAME, IDENTITY, REGISTERS, config_registers
from hw.control.registers import REPORTED, Registers

CONFIG = AcceleratorConfig.small()


class LiteMaster:
    """AXI-Lite transactions with chosen gaps between the channels."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut, self.bus = ctx, dut, dut.bus

    async def _offer(self, channel, values, delay):
        for _ in range(delay):
            await self.ctx.tick()
        valid, ready = getattr(self.bus, f"{channel}_valid"), getattr(self.bus, f"{channel}_ready")
        for name, value in values.items():
            self.ctx.set(getattr(self.bus, f"{channel}_{name}"), value)
        self.ctx.set(valid, 1)
        for _ in range(50):
            *_, taken = await self.ctx.tick().sample(ready)
            if taken:
                break
        else:
            raise AssertionError(f"{channel} was not accepted")
        self.ctx.set(valid, 0)

    async def _take(self, channel, names, delay):
        ready, valid = getattr(self.bus, f"{channel}_ready"), getattr(self.bus, f"{channel}_valid")
        for n in range(50):
            self.ctx.set(ready, n >= delay)
            *_, valid_now, ready_now, first, second = await self.ctx.tick().sample(
                valid, ready, *(getattr(self.bus, f"{channel}_{name}") for name in names)
            )
            if valid_now and ready_now:
                self.ctx.set(ready, 0)
                return first, second
        raise AssertionError(f"no {channel}")

    async def write(self, offset, value, strobe=15, order="together", delay=0):
        address, data = {"addr": offset}, {"data": value, "strb": strobe}
        if order == "data first":
            await self._offer("w", data, 0)
            await self._offer("aw", address, delay)
        elif order == "address first":
            await self._offer("aw", address, 0)
            await self._offer("w", data, delay)
        else:
            self.ctx.set(self.bus.w_data, value)
            self.ctx.set(self.bus.w_strb, strobe)
            self.ctx.set(self.bus.w_valid, 1)
            # Both channels are free when nothing is outstanding, so one tick takes both.
            assert self.ctx.get(self.bus.w_ready)
            await self._offer("aw", address, 0)
            self.ctx.set(self.bus.w_valid, 0)
        response, _ = await self._take("b", ("resp", "resp"), delay)
        assert response == 0

    async def read(self, offset, delay=0):
        await self._offer("ar", {"addr": offset}, delay)
        value, response = await self._take("r", ("data", "resp"), delay)
        assert response == 0
        return value


def simulate(body):
    dut = Registers(CONFIG)
    sim = Simulator(dut)
    sim.add_clock(1e-6)

    async def bench(ctx):
        await body(ctx, dut, LiteMaster(ctx, dut))

    sim.add_testbench(bench)
    sim.run()


def test_constants_are_readable():
    async def body(ctx, dut, master):
        expected = {"IDENTITY": IDENTITY, **config_registers(CONFIG)}
        for name, value in expected.items():
            assert await master.read(BY_NAME[name].offset) == value, name

    simulate(body)


@pytest.mark.parametrize("order", ["together", "address first", "data first"])
def test_stored_registers_keep_bytes_that_are_strobed(order):
    async def body(ctx, dut, master):
        generator = random.Random(1)
        names = [register.name for register in REGISTERS if register.access == "rw"]
        model = dict.fromkeys(names, 0)
        for _ in range(60):
            name = generator.choice(names)
            value, strobe, delay = generator.getrandbits(32), generator.getrandbits(4), generator.randrange(3)
            mask = sum(0xFF << 8 * n for n in range(4) if strobe >> n & 1)
            model[name] = (model[name] & ~mask | value & mask) & BY_NAME[name].writable
            await master.write(BY_NAME[name].offset, value, strobe, order, delay)
            for other in names:
                assert ctx.get(getattr(dut, other.lower())) == model[other], (name, other)
            assert await master.read(BY_NAME[name].offset, delay) == model[name]

    simulate(body)


def test_reported_values_and_profile_index_advance():
    async def body(ctx, dut, master):
        for n, name in enumerate(REPORTED):
            ctx.set(Value.cast(getattr(dut, name)), 0xA0000001 + n)
        await master.write(BY_NAME["PROFILE_INDEX"].offset, 41)
        for n, name in enumerate(REPORTED):
            assert await master.read(BY_NAME[name.upper()].offset) == 0xA0000001 + n
        assert await master.read(BY_NAME["PROFILE_INDEX"].offset) == 42

    simulate(body)


def test_an_answer_waits_and_no_read_is_taken_meanwhile():
    async def body(ctx, dut, master):
        for waiting in range(5):
            await master._offer("ar", {"addr": BY_NAME["IDENTITY"].offset}, 0)
            # The next address is there at once.
            ctx.set(dut.bus.ar_addr, BY_NAME["VERSION"].offset)
            ctx.set(dut.bus.ar_valid, 1)
            for n in range(waiting + 2):
                assert not ctx.get(dut.bus.ar_ready), n
                await ctx.tick()
            assert await master._take("r", ("data", "resp"), 0) == (IDENTITY, 0)
            assert await master.read(BY_NAME["VERSION"].offset) == config_registers(CONFIG)["VERSION"]

    simulate(body)


def test_unmapped_and_readonly_addresses_change_nothing():
    mapped = {register.offset for register in REGISTERS}
    unmapped = [
        offset for offset in (0x14, 0x48, 0x58, 0x60, 0x100, 0x424, (1 << ADDRESS_BITS) - 4) if offset not in mapped
    ]
    assert len(unmapped) > 3

    async def body(ctx, dut, master):
        for offset in [*unmapped, *(r.offset for r in REGISTERS if r.access == "ro")]:
            await master.write(offset, 0xFFFFFFFF)
        for offset in unmapped:
            assert await master.read(offset) == 0, hex(offset)
        assert await master.read(BY_NAME["IDENTITY"].offset) == IDENTITY
        for register in REGISTERS:
            if register.access == "rw":
                assert await master.read(register.offset) == 0, register.name
        assert not ctx.get(dut.interrupt)

    simulate(body)


def test_commands_pulse_for_one_cycle():
    async def body(ctx, dut, master):
        async def pulses(value, strobe=15):
            counts = [0, 0]
            ctx.set(dut.bus.aw_addr, BY_NAME["CONTROL"].offset)
            ctx.set(dut.bus.w_data, value)
            ctx.set(dut.bus.w_strb, strobe)
            ctx.set(dut.bus.aw_valid, 1)
            ctx.set(dut.bus.w_valid, 1)
            ctx.set(dut.bus.b_ready, 1)
            for n in range(8):
                *_, start, reset = await ctx.tick().sample(dut.start, dut.reset)
                counts[0] += start
                counts[1] += reset
                if n == 0:
                    ctx.set(dut.bus.aw_valid, 0)
                    ctx.set(dut.bus.w_valid, 0)
            ctx.set(dut.bus.b_ready, 0)
            return counts

        assert await pulses(1) == [1, 0]
        assert await pulses(2) == [0, 1]
        assert await pulses(3) == [1, 1]
        assert await pulses(0xFFFFFFFC) == [0, 0]
        assert await pulses(3, strobe=0b1110) == [0, 0]
        assert await master.read(BY_NAME["CONTROL"].offset) == 0

    simulate(body)


def test_interrupt_is_pending_until_cleared():
    async def body(ctx, dut, master):
        async def end():
            ctx.set(dut.ended, 1)
            await ctx.tick()
            ctx.set(dut.ended, 0)

        status, enable = BY_NAME["IRQ_STATUS"].offset, BY_NAME["IRQ_ENABLE"].offset
        await end()
        assert await master.read(status) == 1
        assert not ctx.get(dut.interrupt)
        await master.write(enable, 1)
        assert ctx.get(dut.interrupt)
        await master.write(status, 0)
        assert ctx.get(dut.interrupt)
        await master.write(status, 1, strobe=0b1110)
        assert ctx.get(dut.interrupt)
        await master.write(status, 1)
        assert not ctx.get(dut.interrupt)
        assert await master.read(status) == 0
        ctx.set(dut.ended, 1)
        await master.write(status, 1)
        ctx.set(dut.ended, 0)
        assert ctx.get(dut.interrupt), "an end in the cycle of the clear was lost"

    simulate(body)


def test_responses_wait_for_the_master():
    async def body(ctx, dut, master):
        await master.write(BY_NAME["SCRATCH"].offset, 0x55AA1234, delay=9)
        assert await master.read(BY_NAME["SCRATCH"].offset, delay=9) == 0x55AA1234

    simulate(body)

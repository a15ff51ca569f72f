# SPDX-License-Identifier: Apache-2.0
"""Sequencer and registers: what the host can rely on."""

from amaranth import Cat, Mux, Signal

from codenet.config import AcceleratorConfig
from codenet.registers import REGISTERS
from hw.control import Registers, Sequencer
from hw.interfaces import RESET_CYCLES
from tests.formal.bench import Bench, waits_at_most
from tests.formal.prove import Mutant, proof

SEQUENCER, SLAVE = "hw.control.sequencer", "hw.control.registers"


@proof(
    name="sequencer",
    claim=f"whatever happened before (any state of its registers), {RESET_CYCLES + 1} cycles after the last reset, or "
    "as soon after that as the bus masters are idle, it is not busy; until then it holds clear, asks for no "
    "descriptor, starts no step and shows neither success nor error",
    component=Sequencer,
    depth=2,
    cover=2 * RESET_CYCLES,
    depth_of_mutants=RESET_CYCLES + 8,
    mutants=(
        Mutant(SEQUENCER, "m.d.sync += settle.eq(settle + 1)", "m.d.sync += settle.eq(settle)"),
        Mutant(SEQUENCER, "m.d.sync += [settle.eq(0), self.stepping.eq(0)", "m.d.sync += [self.stepping.eq(0)"),
        Mutant(SEQUENCER, "m.d.comb += [self.busy.eq(1), self.clear.eq(1)]", "m.d.comb += [self.busy.eq(1)]"),
        Mutant(
            SEQUENCER,
            "self.stepping.eq(0), self.fetch.eq(0), load.eq(0), self.ended",
            "self.stepping.eq(0), self.ended",
        ),
    ),
)
def sequencer(bench: Bench) -> None:
    m, unit = bench.m, bench.component
    # Cycles since the last reset, and whether the bus was idle in the last of them.
    since, resetting = Signal(range(RESET_CYCLES + 2)), Signal()
    with m.If(unit.reset):
        m.d.sync += [since.eq(0), resetting.eq(1)]
    with m.Elif(resetting):
        with m.If(since != RESET_CYCLES - 1):
            m.d.sync += since.eq(since + 1)
        with m.Elif(unit.idle):
            m.d.sync += resetting.eq(0)
    bench.ensure(~resetting | (unit.busy & unit.clear & ~unit.running))
    bench.ensure(~resetting | ~(unit.fetch | unit.step_start | unit.ended | unit.done | unit.error | (unit.cause != 0)))
    bench.ensure(~(bench.past(resetting) & ~resetting) | (~unit.busy & ~unit.clear))
    bench.invariant(~resetting | (bench.inner("settle") == since))
    bench.cover(bench.past(resetting) & ~resetting & bench.past(bench.past(unit.idle, "idle_1") == 0, "idle_2"))
    bench.cover(unit.reset & unit.running & unit.stepping)


@proof(
    name="registers",
    claim="answers stay until they are taken; each write (address and data, in any order) and each read gets one "
    "answer, OKAY, at most two cycles after it is taken; of each read-write register but PROFILE_INDEX, which reads "
    "advance, every byte is what the last write to it wrote, and a read gives it",
    assumptions="the master holds a valid and its payload until ready",
    component=lambda: Registers(AcceleratorConfig()),
    depth=4,
    cover=14,
    depth_of_mutants=12,
    mutants=(
        Mutant(SLAVE, "bus.aw_ready.eq(~has_address & ~bus.b_valid)", "bus.aw_ready.eq(~bus.b_valid)"),
        Mutant(SLAVE, "write.eq(has_address & has_data)", "write.eq(has_address | has_data)"),
        Mutant(SLAVE, "((stored & ~mask) | (data & mask))", "data"),
        Mutant(SLAVE, "bus.ar_ready.eq(~selected & ~bus.r_valid)", "bus.ar_ready.eq(~selected)"),
        Mutant(SLAVE, "with m.If(bus.b_ready):", "with m.If(1):"),
    ),
)
def registers(bench: Bench) -> None:
    m, bus = bench.m, bench.component.bus
    bench.stable(bus.aw_valid, bus.aw_ready, bus.aw_addr, assume=True)
    bench.stable(bus.w_valid, bus.w_ready, bus.w_data, bus.w_strb, assume=True)
    bench.stable(bus.ar_valid, bus.ar_ready, bus.ar_addr, assume=True)
    bench.stable(bus.b_valid, bus.b_ready, bus.b_resp)
    bench.stable(bus.r_valid, bus.r_ready, bus.r_data, bus.r_resp)
    owed = {name: Signal(2, name=f"owed_{name}") for name in ("aw", "w", "ar")}
    for name, answer in (("aw", "b"), ("w", "b"), ("ar", "r")):
        taken = getattr(bus, f"{name}_valid") & getattr(bus, f"{name}_ready")
        answered = getattr(bus, f"{answer}_valid") & getattr(bus, f"{answer}_ready")
        m.d.sync += owed[name].eq(owed[name] + taken - answered)
        bench.ensure(~taken | (owed[name] == 0))
        bench.ensure(~getattr(bus, f"{answer}_valid") | (owed[name] == 1))
        bench.invariant(owed[name] < 2)
    waits_at_most(bench, (owed["aw"] == 1) & (owed["w"] == 1) & ~bus.b_valid, 1)
    waits_at_most(bench, (owed["ar"] == 1) & ~bus.r_valid, 1)
    bench.ensure((bus.b_resp == 0) & (bus.r_resp == 0))

    # One read-write register, any, and what the master wrote to it.
    chosen = bench.constant("chosen", 10)
    address, data, strobe, read, model = Signal(10), Signal(32), Signal(4), Signal(10), Signal(32)
    with m.If(bus.aw_valid & bus.aw_ready):
        m.d.sync += address.eq(bus.aw_addr[2:])
    with m.If(bus.w_valid & bus.w_ready):
        m.d.sync += [data.eq(bus.w_data), strobe.eq(bus.w_strb)]
    with m.If(bus.ar_valid & bus.ar_ready):
        m.d.sync += read.eq(bus.ar_addr[2:])
    stored = [register for register in REGISTERS if register.access == "rw" and register.name != "PROFILE_INDEX"]
    bench.assume(sum((chosen == register.offset // 4 for register in stored), start=chosen != chosen) == 1)
    answers = bus.b_valid & ~bench.past(bus.b_valid)
    mask = Cat(bit.replicate(8) for bit in strobe)
    written = Mux(answers & (address == chosen), (model & ~mask) | (data & mask), model)
    m.d.sync += model.eq(written)
    asked = bench.past(bus.ar_valid & bus.ar_ready)
    for register in stored:
        value, is_chosen = getattr(bench.component, register.name.lower()), chosen == register.offset // 4
        bench.ensure(~is_chosen | (value == (written & register.writable)))
        bench.ensure(~(bench.past(asked) & is_chosen & (read == chosen)) | (bus.r_data == bench.past(value)))

    for name, channel in (("address", "aw"), ("data", "w")):
        bench.invariant(bench.inner(f"has_{name}") == ((owed[channel] == 1) & ~bus.b_valid))
    bench.invariant(bench.inner("selected") == ((owed["ar"] == 1) & ~bus.r_valid))
    for name, taken, known in (("aw", address, "address"), ("w", data, "data"), ("w", strobe, "strobe")):
        bench.invariant((owed[name] == 0) | (taken == bench.inner(f"_writes:{known}")))
    bench.invariant((owed["ar"] == 0) | (read == bench.inner("_reads:address")))

# SPDX-License-Identifier: Apache-2.0
"""The bridge from a processor's port to the registers answers every beat with its ID."""

from amaranth import Mux, Signal

from hw.axi import ProcessorPort, RegistersBridge
from tests.formal.bench import Bench
from tests.formal.prove import Mutant, proof

BRIDGE = "hw.axi.lite_bridge"


@proof(
    name="registers bridge",
    claim="a read burst of n beats gets n answers, a write burst of n beats takes n beats and then gets one answer, "
    "all with its ID, `last` with the n-th answer of a read only; no answer without a burst, no burst before the last "
    "one is answered; answers, and what is asked of the registers, stay until they are taken; a beat that is OKAY has "
    "the registers' data",
    assumptions="the port of a Zynq-7000 (AXI3: 12-bit IDs, bursts of 1 to 16 beats); the registers answer only what "
    "they were asked, and hold an answer until it is taken. That answers come at all is not part of it",
    component=lambda: RegistersBridge(0x43C00000, ProcessorPort(32, 12, 4)),
    depth=2,
    cover=20,
    depth_of_mutants=16,
    mutants=(
        Mutant(BRIDGE, "m.d.sync += port.r_id.eq(port.ar_id)", "m.d.comb += port.r_id.eq(port.ar_id)"),
        Mutant(BRIDGE, "w_strb), last.eq(burst.o_last)", "w_strb), last.eq(1)"),
        Mutant(BRIDGE, "with m.If(port.r_ready):", "with m.If(1):"),
        Mutant(BRIDGE, "registers.aw_valid.eq(~address_taken)", "registers.aw_valid.eq(address_taken)"),
        Mutant(BRIDGE, "with m.If(port.b_ready):", "with m.If(port.aw_valid):"),
    ),
)
def registers_bridge(bench: Bench) -> None:
    _reads(bench)
    _writes(bench)


def _reads(bench: Bench) -> None:
    m, port, registers = bench.m, bench.component.port, bench.component.registers
    busy, number, left, data, asked = Signal(), Signal(12), Signal(4), Signal(32), Signal()
    answered = port.r_valid & port.r_ready
    with m.If(port.ar_valid & port.ar_ready):
        m.d.sync += [busy.eq(1), number.eq(port.ar_id), left.eq(port.ar_len)]
    with m.Elif(answered):
        m.d.sync += [busy.eq(left != 0), left.eq(left - 1)]
    with m.If(registers.r_valid & registers.r_ready):
        m.d.sync += [asked.eq(0), data.eq(registers.r_data)]
    with m.Elif(registers.ar_valid & registers.ar_ready):
        m.d.sync += asked.eq(1)
    bench.assume(~registers.r_valid | asked)
    bench.stable(registers.r_valid, registers.r_ready, registers.r_data, registers.r_resp, assume=True)

    bench.ensure(port.ar_ready == ~busy)
    bench.ensure(~port.r_valid | (busy & (port.r_id == number) & (port.r_last == (left == 0))))
    bench.ensure(~(port.r_valid & (port.r_resp == 0)) | (port.r_data == data))
    bench.ensure(~(registers.ar_valid & registers.ar_ready) | ~asked)
    bench.stable(port.r_valid, port.r_ready, port.r_id, port.r_data, port.r_resp, port.r_last)
    bench.stable(registers.ar_valid, registers.ar_ready, registers.ar_addr)
    bench.invariant(~busy | (port.r_id == number))
    bench.invariant(~busy | (bench.inner("left", bench.component.read_burst) == left))
    bench.invariant(asked == bench.in_state("read", "AWAIT"))
    okay = bench.component.read_burst.o_response == 0
    bench.invariant(~asked | okay)
    bench.invariant(~bench.in_state("read", "ANSWER") | okay | (port.r_resp != 0))
    several = Signal()
    m.d.sync += several.eq(busy & (several | (answered & ~port.r_last)))
    bench.cover(answered & port.r_last & several & (port.r_resp == 0))
    bench.cover(answered & ~port.r_last & (port.r_resp != 0))


def _writes(bench: Bench) -> None:
    m, port, registers = bench.m, bench.component.port, bench.component.registers
    busy, number, left = Signal(), Signal(12), Signal(5)
    owed = {name: Signal(name=f"owed_{name}") for name in ("aw", "w")}
    taken = port.w_valid & port.w_ready
    with m.If(port.aw_valid & port.aw_ready):
        m.d.sync += [busy.eq(1), number.eq(port.aw_id), left.eq(port.aw_len + 1)]
    with m.Elif(port.b_valid & port.b_ready):
        m.d.sync += busy.eq(0)
    with m.If(taken):
        m.d.sync += left.eq(left - 1)
    for name, flag in owed.items():
        with m.If(registers.b_valid & registers.b_ready):
            m.d.sync += flag.eq(0)
        with m.Elif(getattr(registers, f"{name}_valid") & getattr(registers, f"{name}_ready")):
            m.d.sync += flag.eq(1)
        bench.ensure(~getattr(registers, f"{name}_valid") | ~flag)
    bench.assume(~registers.b_valid | (owed["aw"] & owed["w"]))
    bench.stable(registers.b_valid, registers.b_ready, registers.b_resp, assume=True)

    bench.ensure(port.aw_ready == ~busy)
    bench.ensure(~taken | (busy & (left != 0)))
    bench.ensure(~port.b_valid | (busy & (left == 0) & (port.b_id == number)))
    bench.stable(port.b_valid, port.b_ready, port.b_id, port.b_resp)
    bench.stable(registers.aw_valid, registers.aw_ready, registers.aw_addr)
    bench.stable(registers.w_valid, registers.w_ready, registers.w_data, registers.w_strb)
    asking, awaiting = bench.in_state("write", "ASK"), bench.in_state("write", "AWAIT")
    early = bench.in_state("write", "FIRST") | bench.in_state("write", "BEAT")
    bench.invariant(~busy | (port.b_id == number))
    inner = bench.inner("left", bench.component.write_burst)
    bench.invariant(~early | (inner + 1 == left))
    bench.invariant(~(asking | awaiting) | ((inner == left) & (bench.inner("last") == (left == 0))))
    bench.invariant(~bench.in_state("write", "ANSWER") | (left == 0))
    for name, flag in (("aw", "address_taken"), ("w", "data_taken")):
        bench.invariant(owed[name] == Mux(asking, bench.inner(flag), awaiting))
        bench.invariant(asking | awaiting | ~bench.inner(flag))
    bench.cover(port.b_valid & port.b_ready & (port.b_resp == 0))
    bench.cover(taken & (left == 2))

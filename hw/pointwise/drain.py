# SPDX-License-Identifier: Apache-2.0
"""Pointwise drain: accumulators, and the way of their sums through eight requantizers."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import CHUNK, AcceleratorConfig
from hw.arithmetic import CLAMPED, SHIFTED, Requantizer
from hw.arithmetic.mac_array import SUM_WIDTH
from hw.depthwise import REQUANTIZE
from hw.interfaces import ParameterBus, ParameterSection, StepControl
from hw.lib import READ_LATENCY, BlockMemory, delay, relay, relays, taken
from hw.pointwise.issue import operation_layout

ACC_WIDTH = 24

NEIGHBOURS = 4
"""Outputs whose accumulators and registers have a copy of their own of what controls them."""

LOOK_UP = READ_LATENCY + 1
"""Cycles from a chunk's index to its entry: the memory's, and a register to spread the address from."""


class PointwiseDrain(wiring.Component):
    """Adds the array's sums of a group, then requantizes them, a chunk of 8 channels a cycle (every second one if
    ``wide_output``).

    Accumulation goes on while the group before drains; groups end at least as many cycles apart as the earlier one has
    beats.

    Members
    -------
    parameters : writes ``m`` and ``b`` of chunks.
    i_valid, i_operation : an operation, a cycle before its sums.
    i_sums : the sums.
    o : beats of results; cannot stall. int8: a beat a chunk. int16: two, lower channels first.
    o_expand : they are the expansion's, int8 whatever ``wide_output``.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                **taken(StepControl(half=True)),
                "parameters": In(ParameterBus()),
                "i_valid": In(1),
                "i_operation": In(operation_layout(config)),
                "i_sums": In(data.ArrayLayout(signed(SUM_WIDTH), config.outputs)),
                "o": Out(stream.Signature(64, always_ready=True)),
                "o_expand": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        sums = self._accumulate(m)
        operation = delay(m, self.i_operation, 3, "operation")
        convolves = self.step.pointwise | self.i_operation.expand
        ends_next = delay(m, self.i_valid & self.i_operation.last & convolves, 2, "ends_next", reset=True)
        ends = relay(m, ends_next, "ends", reset=True)
        left, left_next = Signal.like(operation.chunks), Signal.like(operation.chunks)
        final, expand, emit, emit_next = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            left_next.eq(Mux(ends, operation.chunks, left - emit)),
            # With results of two beats, a chunk every second cycle.
            emit_next.eq((left_next != 0) & ~(emit & self.step.wide_output & ~expand)),
        ]
        m.d.sync += [left.eq(left_next), emit.eq(emit_next)]
        with m.If(ends):
            m.d.sync += [final.eq(operation.final), expand.eq(operation.expand)]
        chunk = self._chunk(m, emit, expand, final & (left == 1))
        lowest = self._shift(m, sums, ends_next, emit_next)
        self._requantize(m, emit, expand, chunk, lowest)
        return m

    def _shift(self, m: Module, sums: list, ends_next, emit_next) -> list:
        """The group's sums, moved down by a chunk at a time; returns those of the lowest chunk. What it is told is
        about the next cycle.
        """
        registers = [Signal(signed(ACC_WIDTH), name=f"register_{n}", reset_less=True) for n in range(len(sums))]
        copies = len(sums) // NEIGHBOURS
        ends = relays(m, ends_next, copies, "ends", reset=True)
        moves = relays(m, emit_next | ends_next, copies, "moves", reset=True)
        for n, register in enumerate(registers):
            above = registers[n + CHUNK] if n + CHUNK < len(registers) else 0
            with m.If(moves[n // NEIGHBOURS]):
                m.d.sync += register.eq(Mux(ends[n // NEIGHBOURS], sums[n], above))
        return registers[:CHUNK]

    def _chunk(self, m: Module, emit, expand, last):
        """Index of the chunk's entry: a counter for the expansion, and one, behind its entries, for the step's own
        convolution.
        """
        main, expansion = (Signal(range(self.config.chunk_depth), name=name) for name in ("chunk", "expand_chunk"))
        with m.If(emit & ~expand):
            m.d.sync += main.eq(Mux(last, self.step.expand_chunks, main + 1))
        with m.If(emit & expand):
            m.d.sync += expansion.eq(Mux(last, 0, expansion + 1))
        with m.If(self.start):
            m.d.sync += [main.eq(self.step.expand_chunks), expansion.eq(0)]
        return Mux(expand, expansion, main)

    def _accumulate(self, m: Module) -> list:
        """Accumulators, two cycles behind the sums."""
        copies = self.config.outputs // NEIGHBOURS
        high = relays(m, self.i_operation.high, copies, "high")
        first = relays(m, delay(m, self.i_operation.first, 1, "first"), copies, "first")
        valid = relays(m, delay(m, self.i_valid, 1, "valid", reset=True), copies, "valid", reset=True)
        accumulators = []
        for n in range(self.config.outputs):
            scaled = Signal(signed(SUM_WIDTH + 4), name=f"scaled_{n}", reset_less=True)
            acc = Signal(signed(ACC_WIDTH), name=f"acc_{n}", reset_less=True)
            m.d.sync += scaled.eq(Mux(high[n // NEIGHBOURS], self.i_sums[n] << 4, self.i_sums[n]))
            with m.If(valid[n // NEIGHBOURS]):
                m.d.sync += acc.eq(Mux(first[n // NEIGHBOURS], 0, acc) + scaled)
            accumulators.append(acc)
        return accumulators

    def _settings(self, m: Module, expand) -> list:
        """``s``, ``lo`` and ``hi``, side by side, of the requantizers, each changing when the first operands with
        ``expand`` changed reach its stage; a copy for every two requantizers.
        """
        step, copies = self.step, CHUNK // 2
        shifts = []
        for low, cycles in sorted(SHIFTED.items()):
            here = delay(m, expand, LOOK_UP + cycles - 1, f"expand_{low}")
            bits = Mux(here, step.expand_s[low : low + 2], step.pointwise_s[low : low + 2])
            shifts.append(relays(m, bits, copies, f"s_{low}"))
        here = delay(m, expand, LOOK_UP + CLAMPED - 1, "expand_clamped")
        lo = relays(m, Mux(here, step.expand_lo, step.pointwise_lo), copies, "lo")
        hi = relays(m, Mux(here, step.expand_hi, step.pointwise_hi), copies, "hi")
        return [Cat(*parts) for parts in zip(*shifts, lo, hi, strict=True)]

    def _requantize(self, m: Module, emit, expand, chunk, sums: list) -> None:
        settings = self._settings(m, expand)
        entry = self.parameters.payload
        is_here = self.parameters.valid & (entry.section == ParameterSection.CHUNKS)
        bus = relay(m, entry, "bus")
        address = relay(m, Cat(chunk, self.half), "address")
        results = []
        for n, value in enumerate(sums):
            m.submodules[f"memory{n}"] = mem = BlockMemory(64, 2 * self.config.chunk_depth)
            m.submodules[f"requantizer{n}"] = requantizer = Requantizer(ACC_WIDTH, 16)
            values = data.View(REQUANTIZE, mem.read_data)
            m.d.comb += [
                mem.write_enable.eq(relay(m, is_here & (entry.beat == n), f"write_{n}", reset=True)),
                mem.write_address.eq(Cat(bus.index[: len(chunk)], bus.half)),
                mem.write_data.eq(bus.data),
                mem.read_address.eq(address),
                requantizer.i_acc.eq(delay(m, value, LOOK_UP, f"value_{n}")),
                requantizer.i_m.eq(values.m),
                requantizer.i_b.eq(values.b),
                Cat(requantizer.s, requantizer.lo, requantizer.hi).eq(settings[n // 2]),
            ]
            results.append(requantizer.o)
        latency = LOOK_UP + Requantizer.LATENCY
        done = delay(m, emit, latency, "emitted", reset=True)
        expanded = delay(m, expand, latency, "expanded")
        wide, upper = Signal(), Signal()
        later = Signal(64, reset_less=True)
        m.d.sync += [upper.eq(done & wide), later.eq(Cat(results[4:]))]
        m.d.comb += [
            wide.eq(self.step.wide_output & ~expanded),
            self.o_expand.eq(expanded & ~upper),
            self.o.valid.eq(done | upper),
            self.o.payload.eq(Mux(upper, later, Mux(wide, Cat(results[:4]), Cat(result[:8] for result in results)))),
        ]

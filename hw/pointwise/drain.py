"""Pointwise drain: accumulators, and the way of their sums through eight requantizers."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import CHUNK, AcceleratorConfig
from hw.arithmetic import CLAMPED, SHIFTED, Requantizer
from hw.arithmetic.mac_array import SUM_WIDTH
from hw.depthwise import REQUANTIZE
from hw.interfaces import STEP, ParameterBus, ParameterSection
from hw.lib import READ_LATENCY, BlockMemory, delay
from hw.pointwise.issue import operation_layout

ACC_WIDTH = 24


class PointwiseDrain(wiring.Component):
    """Adds the array's sums of a group, then requantizes them, a chunk of 8 channels a cycle (every second one if ``wide_output``).

    Accumulation goes on while the group before drains; groups end at least as many cycles apart as the earlier one has beats.

    Members
    -------
    parameters : writes ``m`` and ``b`` of chunks.
    i_valid, i_operation, i_sums : an operation's sums.
    o_valid, o_payload : beats of results; cannot stall. int8: a beat a chunk. int16: two, lower channels first.
    o_expand : they are the expansion's, int8 whatever ``wide_output``.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                "step": In(STEP),
                "half": In(1),
                "start": In(1),
                "parameters": In(ParameterBus()),
                "i_valid": In(1),
                "i_operation": In(operation_layout(config)),
                "i_sums": In(data.ArrayLayout(signed(SUM_WIDTH), config.outputs)),
                "o_valid": Out(1),
                "o_payload": Out(64),
                "o_expand": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        sums = self._accumulate(m)
        operation = delay(m, self.i_operation, 2, "operation")
        convolves = self.step.pointwise | self.i_operation.expand
        ends = delay(m, self.i_valid & self.i_operation.last & convolves, 2, "ends", reset=True)

        # The group's sums, moved down by a chunk at a time.
        registers = Signal(data.ArrayLayout(signed(ACC_WIDTH), self.config.outputs), reset_less=True)
        left = Signal.like(operation.chunks)
        final, expand, pause, emit = Signal(), Signal(), Signal(), Signal()
        m.d.comb += emit.eq((left != 0) & ~pause)
        m.d.sync += pause.eq(emit & self.step.wide_output & ~expand)
        with m.If(emit):
            m.d.sync += [registers.eq(registers.as_value() >> (CHUNK * ACC_WIDTH)), left.eq(left - 1)]
        with m.If(ends):
            m.d.sync += [registers.eq(Cat(sums)), left.eq(operation.chunks)]
            m.d.sync += [final.eq(operation.final), expand.eq(operation.expand)]
        chunk = self._chunk(m, emit, expand, final & (left == 1))
        self._requantize(m, emit, expand, chunk, [registers[n] for n in range(CHUNK)])
        return m

    def _chunk(self, m: Module, emit, expand, last):
        """Index of the chunk's entry: a counter for the expansion, and one, behind its entries, for the step's own convolution."""
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
        high = self.i_operation.high
        first = delay(m, self.i_operation.first, 1, "first")
        valid = delay(m, self.i_valid, 1, "valid", reset=True)
        accumulators = []
        for n in range(self.config.outputs):
            scaled = Signal(signed(SUM_WIDTH + 4), name=f"scaled_{n}", reset_less=True)
            acc = Signal(signed(ACC_WIDTH), name=f"acc_{n}", reset_less=True)
            m.d.sync += scaled.eq(Mux(high, self.i_sums[n] << 4, self.i_sums[n]))
            with m.If(valid):
                m.d.sync += acc.eq(Mux(first, 0, acc) + scaled)
            accumulators.append(acc)
        return accumulators

    def _settings(self, m: Module, expand):
        """``s``, ``lo`` and ``hi`` of the requantizers, each changing when the first operands with ``expand`` changed reach its stage."""
        step = self.step
        s, lo, hi = Signal(6), Signal(signed(16)), Signal(signed(16))
        for low, cycles in SHIFTED.items():
            here = delay(m, expand, READ_LATENCY + cycles - 1, f"expand_{low}")
            m.d.sync += s[low : low + 2].eq(Mux(here, step.expand_s[low : low + 2], step.pointwise_s[low : low + 2]))
        here = delay(m, expand, READ_LATENCY + CLAMPED - 1, "expand_clamped")
        m.d.sync += [
            lo.eq(Mux(here, step.expand_lo, step.pointwise_lo)),
            hi.eq(Mux(here, step.expand_hi, step.pointwise_hi)),
        ]
        return s, lo, hi

    def _requantize(self, m: Module, emit, expand, chunk, sums: list) -> None:
        s, lo, hi = self._settings(m, expand)
        bus = Signal(self.parameters.payload.shape(), reset_less=True)
        write = Signal()
        m.d.sync += [
            bus.eq(self.parameters.payload),
            write.eq(self.parameters.valid & (self.parameters.payload.section == ParameterSection.CHUNKS)),
        ]
        results = []
        for n, value in enumerate(sums):
            m.submodules[f"memory{n}"] = mem = BlockMemory(64, 2 * self.config.chunk_depth, distributed=True)
            m.submodules[f"requantizer{n}"] = requantizer = Requantizer(ACC_WIDTH, 16)
            entry = data.View(REQUANTIZE, mem.read_data)
            m.d.comb += [
                mem.write_enable.eq(write & (bus.beat == n)),
                mem.write_address.eq(Cat(bus.index[: len(chunk)], bus.half)),
                mem.write_data.eq(bus.data),
                mem.read_address.eq(Cat(chunk, self.half)),
                requantizer.i_acc.eq(delay(m, value, READ_LATENCY, f"value_{n}")),
                requantizer.i_m.eq(entry.m),
                requantizer.i_b.eq(entry.b),
                requantizer.s.eq(s),
                requantizer.lo.eq(lo),
                requantizer.hi.eq(hi),
            ]
            results.append(requantizer.o)
        latency = READ_LATENCY + Requantizer.LATENCY
        done = delay(m, emit, latency, "emitted", reset=True)
        expanded = delay(m, expand, latency, "expanded")
        wide, upper = Signal(), Signal()
        later = Signal(64, reset_less=True)
        m.d.sync += [upper.eq(done & wide), later.eq(Cat(results[4:]))]
        m.d.comb += [
            wide.eq(self.step.wide_output & ~expanded),
            self.o_expand.eq(expanded & ~upper),
            self.o_valid.eq(done | upper),
            self.o_payload.eq(Mux(upper, later, Mux(wide, Cat(results[:4]), Cat(result[:8] for result in results)))),
        ]

"""Fetches a step's descriptor and parameter block, ahead of the step."""

from amaranth import Cat, Const, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import BEAT_BYTES, AcceleratorConfig
from codenet.isa import (
    CHUNK_BEATS,
    DEPTHWISE_BEATS,
    DESCRIPTOR_BYTES,
    DESCRIPTOR_WORDS,
    FIELDS,
    ISA_VERSION,
    MAGIC,
    DepthwiseOp,
)
from hw.burst_reader import BurstReader
from hw.interfaces import STEP, ParameterBus, ReadPort, unpack_descriptor

_DESCRIPTOR_BEATS = DESCRIPTOR_BYTES // BEAT_BYTES

_CHECK_CYCLES = 6
"""Pipeline stages from the descriptor to the verdict on it, and one."""

_SETTLE_CYCLES = 3


def _times(value: Value, factor: int) -> Value:
    """``value * factor`` by shifts and adders, without a DSP slice."""
    return sum((value << bit for bit in range(factor.bit_length()) if factor >> bit & 1), start=Const(0))


class ParameterFetcher(wiring.Component):
    """On ``fetch``, reads the descriptor at ``address``, checks it, and broadcasts its parameter block to the memories.

    A descriptor is ``bad`` when its magic or version differ, when a section is larger than the memory that keeps it, or when the
    sections do not sum to ``parameter_beats``; its parameters are not read then. A fetch may be started when ``busy`` is low.

    Parameters
    ----------
    config:
        Sizes that sections must respect.

    Members
    -------
    fetch:
        One cycle: read the descriptor at ``address``; its parameters go to half ``target_half``. Both are sampled with ``fetch``.
    address:
        Absolute byte address of the descriptor, a multiple of 128.
    base:
        Added to the descriptor's ``parameter_address``; stable while ``busy``.
    clear:
        Pulse or level: forget the fetch, accept what bursts in flight still bring, clear ``ready``, ``bad`` and ``error``.
    next_step:
        The descriptor, stable from ``ready`` until the next ``fetch``.
    ready:
        Level: descriptor and parameters are completely delivered. Low from the cycle after ``fetch``.
    bad:
        Level, until the next ``fetch``: the descriptor was refused (``ready`` stays low).
    error:
        Sticky: a read was answered with an error (``ready`` stays low). Cleared by ``clear``.
    busy:
        High from the cycle after ``fetch`` until ``ready``, ``bad``, or, after an error, until all bursts are back; and while clearing.
    beat:
        One cycle high for each beat read, for counters.
    port:
        AXI read channels.
    bus:
        Beats of the parameter block.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "fetch": In(1),
                "address": In(unsigned(32)),
                "target_half": In(1),
                "base": In(unsigned(32)),
                "clear": In(1),
                "next_step": Out(STEP),
                "ready": Out(1),
                "bad": Out(1),
                "error": Out(1),
                "busy": Out(1),
                "beat": Out(1),
                "port": Out(ReadPort()),
                "bus": Out(ParameterBus()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = BurstReader()
        wiring.connect(m, reader.port, wiring.flipped(self.port))
        m.d.comb += [
            reader.clear.eq(self.clear),
            self.beat.eq(reader.beat),
            self.error.eq(reader.error),
        ]
        control = Module()
        running = self._control(control, reader)
        m.submodules.control = ResetInserter(self.clear)(control)
        m.d.comb += self.busy.eq(running | ~reader.idle)
        return m

    def _control(self, m: Module, reader: BurstReader) -> Signal:
        """Order of the fetch; returns whether one is running."""
        running = Signal()
        half, count, settled = Signal(), Signal(range(_DESCRIPTOR_BEATS)), Signal(range(_CHECK_CYCLES))
        data = reader.data
        refused, sections = self._check(m)
        deliver, delivered = self._deliver(m, data, half, sections)
        m.d.comb += [running.eq(1), data.ready.eq(1)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += running.eq(0)
                with m.If(self.fetch):
                    m.d.sync += [self.ready.eq(0), self.bad.eq(0), half.eq(self.target_half)]
                    m.d.sync += reader.runs.payload.address.eq(self.address)
                    m.d.sync += reader.runs.payload.beats.eq(_DESCRIPTOR_BEATS)
                    m.next = "ASK DESCRIPTOR"
            with m.State("ASK DESCRIPTOR"):
                m.d.comb += reader.runs.valid.eq(1)
                with m.If(reader.runs.ready):
                    m.next = "DESCRIPTOR"
            with m.State("DESCRIPTOR"):
                with m.If(data.valid):
                    for n, beat in enumerate(self._descriptor):
                        with m.If(count == n):
                            m.d.sync += beat.eq(data.payload)
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == _DESCRIPTOR_BEATS - 1):
                        m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += reader.runs.payload.address.eq(self.base + self.next_step.parameter_address)
                m.d.sync += reader.runs.payload.beats.eq(self.next_step.parameter_beats)
                m.d.sync += settled.eq(settled + 1)
                with m.If(settled == _CHECK_CYCLES - 1):
                    m.d.sync += settled.eq(0)
                    with m.If(reader.error):
                        m.next = "IDLE"
                    with m.Elif(refused):
                        m.d.sync += self.bad.eq(1)
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "ASK PARAMETERS"
            with m.State("ASK PARAMETERS"):
                m.d.comb += reader.runs.valid.eq(1)
                with m.If(reader.runs.ready):
                    m.next = "PARAMETERS"
            with m.State("PARAMETERS"):
                m.d.comb += deliver.eq(1)
                with m.If(data.valid & delivered):
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                # The last beat is on the bus now, and memories may register it once more.
                m.d.sync += settled.eq(settled + 1)
                with m.If(settled == _SETTLE_CYCLES - 1):
                    m.d.sync += [settled.eq(0), self.ready.eq(~reader.error)]
                    m.next = "IDLE"
        return running

    def _check(self, m: Module) -> tuple[Signal, list[tuple[Signal, int]]]:
        """Size the sections of the descriptor in :data:`_CHECK_CYCLES` stages; returns refusal, and entries and beats an entry of each."""
        config, step = self.config, self.next_step
        used = (max(field.word for field in FIELDS) + 2) // 2
        self._descriptor = [Signal(64, name=f"descriptor_{n}") for n in range(used)]
        m.d.comb += step.eq(unpack_descriptor(Cat(self._descriptor, Const(0, 32 * DESCRIPTOR_WORDS - 64 * used))))
        outputs, used_groups = Signal(9), Mux(step.pointwise, step.groups, 0)
        # Not as a product: that would be a DSP slice.
        products = [Signal(15, name=f"products_{n}") for n in range(0, len(step.groups), 3)]
        weights, weight_beats = Signal(22), Signal(22 + 7)
        depthwise, chunks = Signal(9), Signal(11)
        inputs, other_beats, total = Signal(10), Signal(16), Signal(30)
        too_large, refused = Signal(), Signal()
        m.d.sync += [
            # Stage 1: entries of each section.
            inputs.eq(Mux(step.expand, step.expand_planes, step.input_planes + step.dilated)),
            outputs.eq(step.output_planes),
            depthwise.eq(Mux(step.depthwise_op == DepthwiseOp.MAC, step.input_planes, 0)),
            chunks.eq(step.expand_chunks + Mux(step.pointwise, step.chunks, 0)),
            *(
                product.eq(sum(Mux(used_groups[3 * n + i], step.vectors << i, 0) for i in range(3)))
                for n, product in enumerate(products)
            ),
            # Stage 2.
            weights.eq(
                step.expand_words + (sum(product << (3 * n) for n, product in enumerate(products)) << step.wide_weights)
            ),
            other_beats.eq(inputs + outputs + _times(depthwise, DEPTHWISE_BEATS) + _times(chunks, CHUNK_BEATS)),
            # Stage 3.
            weight_beats.eq(_times(weights, config.outputs)),
            too_large.eq(
                (inputs > config.plane_depth)
                | (outputs > config.plane_depth)
                | (depthwise > config.depthwise_depth)
                | (chunks > config.chunk_depth)
                | (weights > config.weight_depth // 2)
            ),
            # Stage 4.
            total.eq(weight_beats + other_beats),
            # Stage 5.
            refused.eq(
                (step.magic != MAGIC)
                | (step.version != ISA_VERSION)
                | too_large
                | (inputs == 0)
                | (total != step.parameter_beats)
            ),
        ]
        entries = [inputs, outputs, depthwise, chunks, weights]
        beats = [1, 1, DEPTHWISE_BEATS, CHUNK_BEATS, config.outputs]
        return refused, list(zip(entries, beats, strict=True))

    def _deliver(
        self, m: Module, data: stream.Interface, half: Signal, sections: list[tuple[Signal, int]]
    ) -> tuple[Signal, Signal]:
        """Number the beats and put them on the bus; returns the input that lets it run and the output that marks the last beat."""
        deliver, delivered = Signal(), Signal()
        section, following = Signal(3), Signal(3)
        index, entries_left, beat = Signal(13), Signal(13), Signal(7)
        # Whether this beat is the last one of its entry, and this entry the last one of its section: registers, as so much depends on them.
        entry_end, last_entry = Signal(), Signal()
        # Settled long before the first beat.
        present, single = Signal(len(sections)), Signal(len(sections))
        last = [Signal(13, name=f"last_{n}") for n in range(len(sections))]
        m.d.sync += [
            present.eq(Cat(entries != 0 for entries, _ in sections)),
            single.eq(Cat(entries == 1 for entries, _ in sections)),
            *(index.eq(entries - 1) for index, (entries, _) in zip(last, sections, strict=True)),
        ]
        before_end, short = Signal(), Signal()
        with m.Switch(section):
            for n, (_, beats) in enumerate(sections):
                with m.Case(n):
                    m.d.comb += [before_end.eq(beat == beats - 2), short.eq(beats == 1)]
                    m.d.comb += delivered.eq(entry_end & last_entry & ~present[n + 1 :].any())
                    for later in reversed(range(n + 1, len(sections))):
                        with m.If(present[later]):
                            m.d.comb += following.eq(later)
        m.d.sync += [
            self.bus.valid.eq(deliver & data.valid),
            self.bus.payload.section.eq(section),
            self.bus.payload.half.eq(half),
            self.bus.payload.index.eq(index),
            self.bus.payload.beat.eq(beat),
            self.bus.payload.data.eq(data.payload),
        ]

        def begin(n: int) -> list:
            """Statements that make section ``n`` the current one."""
            return [
                section.eq(n),
                entries_left.eq(last[n]),
                last_entry.eq(single[n]),
                entry_end.eq(sections[n][1] == 1),
            ]

        with m.If(~deliver):
            m.d.sync += [*begin(0), index.eq(0), beat.eq(0)]
        with m.Elif(data.valid):
            m.d.sync += [beat.eq(beat + 1), entry_end.eq(before_end)]
            with m.If(entry_end):
                m.d.sync += [beat.eq(0), index.eq(index + 1), entries_left.eq(entries_left - 1)]
                m.d.sync += [last_entry.eq(entries_left == 1), entry_end.eq(short)]
                with m.If(last_entry):
                    m.d.sync += index.eq(0)
                    with m.Switch(following):
                        for n in range(1, len(sections)):
                            with m.Case(n):
                                m.d.sync += begin(n)
        return deliver, delivered

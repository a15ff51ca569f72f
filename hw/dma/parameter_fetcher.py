# SPDX-License-Identifier: Apache-2.0
"""Fetches a step's descriptor and parameter block, ahead of the step."""

from amaranth import Cat, Const, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
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
from hw.axi import BurstReader, BusControl, BusMaster, ReadPort
from hw.interfaces import PARAMETER, STEP, TO_MEMORIES, ParameterBus, unpack_descriptor
from hw.lib import connect_bundle, delay, relays, taken

_DESCRIPTOR_BEATS = DESCRIPTOR_BYTES // BEAT_BYTES

_CHECK_CYCLES = 10
"""Pipeline stages from the descriptor's last beat to the verdict on it, and one."""

_SECTION = data.StructLayout(
    {"section": unsigned(3), "last": unsigned(13), "single": unsigned(1), "short": unsigned(1), "present": unsigned(1)}
)
"""A section: its number, index of its last entry, whether that is the only one, whether its entries are single beats,
whether it has any.
"""


def _times(value: Value, factor: int) -> Value:
    """``value * factor`` by shifts and adders, without a DSP slice."""
    return sum((value << bit for bit in range(factor.bit_length()) if factor >> bit & 1), start=Const(0))


class ParameterFetcher(wiring.Component):
    """On ``fetch``, reads the descriptor at ``address``, checks it, and broadcasts its parameter block to the memories.

    A descriptor is ``damaged`` when its CRC differs, and ``bad`` when its magic or version differ, when a section is
    larger than the memory that keeps it, or when the sections do not sum to ``parameter_beats``; its parameters are not
    read then. It is ``damaged``, too, when the CRC of its parameters differs. A fetch may be started when ``busy`` is
    low.

    Parameters
    ----------
    config:
        Sizes that sections must respect.

    Members
    -------
    fetch:
        One cycle: read the descriptor at ``address``; its parameters go to half ``target_half``. Both are sampled with
        ``fetch``.
    address:
        Absolute byte address of the descriptor, a multiple of 128.
    base, clear, reset, busy, beat, error:
        :class:`hw.axi.BusMaster`. ``clear`` clears ``ready``, ``bad`` and ``damaged`` too; ``busy`` lasts until one of
        them is there, or, after an error, until all bursts are back.
    next_step:
        The descriptor, stable from ``ready`` until the next ``fetch``.
    ready:
        Level: descriptor and parameters are completely delivered. Low from the cycle after ``fetch``, and after errors.
    bad, damaged:
        Level, until the next ``fetch``: why descriptor or parameters were refused (``ready`` stays low).
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
                **taken(BusMaster()),
                "next_step": Out(STEP),
                "ready": Out(1),
                "bad": Out(1),
                "damaged": Out(1),
                "port": Out(ReadPort()),
                "bus": Out(ParameterBus()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = BurstReader()
        wiring.connect(m, reader.port, wiring.flipped(self.port))
        connect_bundle(m, BusControl(), self, reader)
        control = Module()
        running = self._control(control, reader)
        m.submodules.control = ResetInserter(self.clear)(control)
        m.d.comb += self.busy.eq(running | ~reader.idle)
        return m

    def _control(self, m: Module, reader: BurstReader) -> Signal:
        """Order of the fetch; returns whether one is running."""
        running, receive, deliver = Signal(), Signal(), Signal()
        half, count, settled = Signal(), Signal(range(_DESCRIPTOR_BEATS)), Signal(range(_CHECK_CYCLES))
        beats = reader.data
        refused, sections = self._check(m)
        delivered = self._deliver(m, beats, half, sections, deliver)
        m.d.comb += [running.eq(1), beats.ready.eq(1)]
        beat = delay(m, beats.payload, 1, "beat")
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=64).create()
        m.d.comb += [crc.data.eq(beat), crc.valid.eq(delay(m, beats.valid, 1, "beat_valid", reset=True))]
        descriptor_differs, parameters_differ = Signal(), Signal()
        m.d.sync += descriptor_differs.eq(~crc.match_detected)
        m.d.sync += parameters_differ.eq(crc.crc != self.next_step.parameter_crc)
        # The first beat moves down to its place.
        moves = relays(m, receive & beats.valid, 3, "moves", reset=True)
        for n, (word, above) in enumerate(zip(self._descriptor, [*self._descriptor[1:], beat], strict=True)):
            with m.If(moves[n * len(moves) // len(self._descriptor)]):
                m.d.sync += word.eq(above)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += running.eq(0)
                with m.If(self.fetch):
                    m.d.sync += [self.ready.eq(0), self.bad.eq(0), self.damaged.eq(0), half.eq(self.target_half)]
                    m.d.sync += reader.runs.payload.address.eq(self.address)
                    m.d.sync += reader.runs.payload.beats.eq(_DESCRIPTOR_BEATS)
                    m.next = "ASK DESCRIPTOR"
            with m.State("ASK DESCRIPTOR"):
                m.d.comb += [reader.runs.valid.eq(1), crc.start.eq(1)]
                m.d.sync += receive.eq(1)
                with m.If(reader.runs.ready):
                    m.next = "DESCRIPTOR"
            with m.State("DESCRIPTOR"):
                with m.If(beats.valid):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == len(self._descriptor) - 1):
                        m.d.sync += receive.eq(0)
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
                    with m.Elif(descriptor_differs):
                        m.d.sync += self.damaged.eq(1)
                        m.next = "IDLE"
                    with m.Elif(refused):
                        m.d.sync += self.bad.eq(1)
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "ASK PARAMETERS"
            with m.State("ASK PARAMETERS"):
                m.d.comb += [reader.runs.valid.eq(1), crc.start.eq(1)]
                with m.If(reader.runs.ready):
                    m.d.sync += deliver.eq(1)
                    m.next = "PARAMETERS"
            with m.State("PARAMETERS"):
                with m.If(delivered):
                    m.d.sync += deliver.eq(0)
                    m.next = "REACH MEMORIES"
            with m.State("REACH MEMORIES"):
                m.d.sync += settled.eq(settled + 1)
                with m.If(settled == TO_MEMORIES - 1):
                    m.d.sync += [settled.eq(0), self.ready.eq(~reader.error & ~parameters_differ)]
                    m.d.sync += self.damaged.eq(~reader.error & parameters_differ)
                    m.next = "IDLE"
        return running

    def _check(self, m: Module) -> tuple[Signal, list[tuple[Signal, int]]]:
        """Size the sections of the descriptor in :data:`_CHECK_CYCLES` stages; returns refusal, and entries and beats
        an entry of each.
        """
        config, step = self.config, self.next_step
        used = (max(field.word for field in FIELDS) + 2) // 2
        self._descriptor = [Signal(64, name=f"descriptor_{n}", reset_less=True) for n in range(used)]
        m.d.comb += step.eq(unpack_descriptor(Cat(self._descriptor, Const(0, 32 * DESCRIPTOR_WORDS - 64 * used))))

        def stage(width: int, name: str) -> Signal:
            return Signal(width, name=name, reset_less=True)

        outputs, used_groups = stage(9, "outputs"), stage(len(step.groups), "used_groups")
        # Not as a product: that would be a DSP slice.
        products = [stage(15, f"products_{n}") for n in range(0, len(step.groups), 3)]
        words, weights, weight_beats = stage(22, "words"), stage(22, "weights"), stage(22 + 7, "weight_beats")
        depthwise, chunks, inputs = stage(9, "depthwise"), stage(11, "chunks"), stage(10, "inputs")
        tables, depthwise_beats = stage(11, "tables"), stage(14, "depthwise_beats")
        other_beats, total = stage(16, "other_beats"), stage(30, "total")
        strange, too_large = stage(1, "strange"), stage(1, "too_large")
        different, refused = stage(1, "different"), stage(1, "refused")
        m.d.sync += [
            # Stage 1: entries of each section.
            inputs.eq(Mux(step.expand, step.expand_planes, step.input_planes + step.dilated)),
            outputs.eq(step.output_planes),
            depthwise.eq(Mux(step.depthwise_op == DepthwiseOp.MAC, step.input_planes, 0)),
            chunks.eq(step.expand_chunks + Mux(step.pointwise, step.chunks, 0)),
            strange.eq((step.magic != MAGIC) | (step.version != ISA_VERSION)),
            used_groups.eq(Mux(step.pointwise, step.groups, 0)),
            # Stage 2.
            *(
                product.eq(sum(Mux(used_groups[3 * n + i], step.vectors << i, 0) for i in range(3)))
                for n, product in enumerate(products)
            ),
            depthwise_beats.eq(_times(depthwise, DEPTHWISE_BEATS)),
            tables.eq(inputs + outputs),
            # Stage 3.
            words.eq(sum(product << (3 * n) for n, product in enumerate(products))),
            # Stage 4.
            weights.eq(step.expand_words + (words << step.wide_weights)),
            other_beats.eq(tables + depthwise_beats + _times(chunks, CHUNK_BEATS)),
            # Stage 5.
            weight_beats.eq(_times(weights, config.outputs)),
            too_large.eq(
                (inputs > config.plane_depth)
                | (outputs > config.plane_depth)
                | (depthwise > config.depthwise_depth)
                | (chunks > config.chunk_depth)
                | (weights > config.weight_depth // 2)
            ),
            # Stage 6.
            total.eq(weight_beats + other_beats),
            # Stage 7.
            different.eq(total != step.parameter_beats),
            # Stage 8.
            refused.eq(strange | too_large | (inputs == 0) | different),
        ]
        entries = [inputs, outputs, depthwise, chunks, weights]
        beats = [1, 1, DEPTHWISE_BEATS, CHUNK_BEATS, config.outputs]
        return refused, list(zip(entries, beats, strict=True))

    def _deliver(
        self, m: Module, beats: stream.Interface, half: Signal, sections: list[tuple[Signal, int]], deliver: Signal
    ) -> Signal:
        """While ``deliver``, number the beats and put them on the bus; returns what marks the last one, a cycle
        late.
        """
        delivered = Signal()
        index, entries_left, beat = Signal(13), Signal(13), Signal(7)
        # Whether this beat is the last one of its entry, this entry the last one of its section, and both: registers,
        # as so much depends on them.
        entry_end, last_entry, section_end = Signal(), Signal(), Signal()
        current, take = Signal(_SECTION, name="section"), Signal()
        first, following = self._line_up(m, sections, ~deliver, take)
        # The beat that all this is about.
        valid, value = Signal(), Signal(64, reset_less=True)
        m.d.sync += [valid.eq(beats.valid & deliver), value.eq(beats.payload)]
        before_end = Signal()
        with m.Switch(current.section):
            for n, (_, count) in enumerate(sections):
                with m.Case(n):
                    m.d.comb += before_end.eq(beat == count - 2)
        m.d.comb += [
            take.eq(valid & section_end),
            delivered.eq(take & ~following.present),
        ]
        payload = Signal(PARAMETER, reset_less=True)
        m.d.sync += [
            self.bus.valid.eq(valid),
            payload.section.eq(current.section),
            payload.half.eq(half),
            payload.index.eq(index),
            payload.beat.eq(beat),
            payload.data.eq(value),
        ]
        m.d.comb += self.bus.payload.eq(payload)

        def begin(section) -> list:
            """Statements that make ``section`` the current one."""
            return [
                current.eq(section),
                entries_left.eq(section.last),
                last_entry.eq(section.single),
                entry_end.eq(section.short),
                section_end.eq(section.short & section.single),
                index.eq(0),
                beat.eq(0),
            ]

        with m.If(~deliver):
            m.d.sync += begin(first)
        with m.Elif(valid):
            m.d.sync += [beat.eq(beat + 1), entry_end.eq(before_end), section_end.eq(before_end & last_entry)]
            with m.If(entry_end):
                m.d.sync += [beat.eq(0), index.eq(index + 1), entries_left.eq(entries_left - 1)]
                m.d.sync += [last_entry.eq(entries_left == 1), entry_end.eq(current.short)]
                m.d.sync += section_end.eq((entries_left == 1) & current.short)
            with m.If(section_end):
                m.d.sync += begin(following)
        return delivered

    def _line_up(self, m: Module, sections: list[tuple[Signal, int]], fill: Value, take: Signal) -> tuple:
        """The first section, which always has entries, and the one that follows the current one.

        The others stand in line, while ``fill``, with gaps where a section has no entries. Then they close up, each
        moving into a gap before it (long before the first beat comes), and all move on with each ``take``.
        """
        line = [Signal(_SECTION, name=f"section_{n}") for n in range(len(sections))]
        first, *line = line
        for n, (place, (entries, count)) in enumerate(zip([first, *line], sections, strict=True)):
            described = [
                place.section.eq(n),
                place.last.eq(entries - 1),
                place.single.eq(entries == 1),
                place.short.eq(count == 1),
                place.present.eq(entries != 0),
            ]
            if place is first:
                m.d.sync += described
                continue
            behind = line[n] if n < len(line) else Signal(_SECTION, name="no_section")
            with m.If(fill):
                m.d.sync += described
            with m.Elif(take | ~place.present):
                m.d.sync += place.eq(behind)
            with m.Elif(~line[n - 2].present if n > 1 else Const(0)):
                m.d.sync += place.present.eq(0)
        return first, line[0]

# SPDX-License-Identifier: Apache-2.0
"""Gather loader: the samples of an unbounded deformable convolution from memory, one by one; for simulation only."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import FIELDS, Section
from hw.axi import BurstReader, BusControl, BusMaster, ReadPort
from hw.dma import PlaneRuns
from hw.interfaces import VECTOR, ParameterBus, StepControl
from hw.lib import connect_bundle, taken
from sim.one_layer.offset_reader import OFFSETS, TAPS

POSITION = data.StructLayout({"row": signed(14), "column": signed(14)})


class GatherLoader(wiring.Component):
    """Vectors of the sampled pixels: by output pixel, then tap, then plane; samples outside the image are not read.

    Vector (p, y, x) lies at ``base + input_table[p] + row_pitch * y + pitch * x``, where ``pitch`` is 16: planes, and
    each vector is a burst of two beats; or, if ``packed``, ``16 * input_planes``: the vectors of a pixel lie one after
    another, and each sample is one run. Nothing is kept: a pixel that nine taps want is read nine times. Up to eight
    bursts are in flight, and the address of the next sample is worked out meanwhile (three cycles), so that the memory
    alone limits the rate.

    Members
    -------
    step, half, start, base, clear, reset, parameters, port, o, busy, beat, error : as in :class:`hw.dma.loader.Loader`.
    offsets : of each output pixel.
    inside : for each output pixel, before its vectors: which of its taps are inside the image, bit 0 the first.
    """

    STEP_FIELDS = tuple(field.name for field in FIELDS)

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                **taken(StepControl(half=True)),
                **taken(BusMaster()),
                "parameters": In(ParameterBus()),
                "offsets": In(stream.Signature(OFFSETS)),
                "port": Out(ReadPort()),
                "o": Out(stream.Signature(VECTOR)),
                "inside": Out(stream.Signature(unsigned(TAPS))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = BurstReader()
        runs = PlaneRuns(self.config.plane_depth, Section.INPUT_TABLE)
        m.submodules.runs = ResetInserter(self.clear)(runs)
        wiring.connect(m, reader.port, wiring.flipped(self.port))
        connect_bundle(m, BusControl(), self, reader)
        wiring.connect(m, runs.parameters, wiring.flipped(self.parameters))
        wiring.connect(m, runs.o, reader.runs)
        control = Module()
        sample, active = Signal(32), Signal()
        walking = self._walk(control, sample, active)
        requesting = self._request(control, runs, sample, active)
        self._assemble(control, reader.data)
        m.submodules.control = ResetInserter(self.clear)(control)
        m.d.comb += self.busy.eq(walking | requesting | ~reader.idle | self.o.valid)
        return m

    def _walk(self, m: Module, sample: Signal, active: Signal) -> Value:
        """Address of one sample after another into ``sample``, with ``active``, as soon as that is low; returns whether
        some are to come.
        """
        step = self.step
        x, y, pixels = Signal(12), Signal(12), Signal(24)
        positions = Signal(data.ArrayLayout(POSITION, TAPS))
        taps_left, walking = Signal(TAPS), Signal()
        row_address, column_address = Signal(32), Signal(32)
        m.d.comb += walking.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += walking.eq(self.start)
                m.d.sync += [x.eq(0), y.eq(0), pixels.eq(step.output_pixels)]
                with m.If(self.start):
                    m.next = "PIXEL"
            with m.State("PIXEL"):
                with m.If(pixels == 0):
                    m.next = "IDLE"
                with m.Elif(self.offsets.valid):
                    m.d.comb += self.offsets.ready.eq(1)
                    for t, (position, offset) in enumerate(zip(positions, self.offsets.payload, strict=True)):
                        m.d.sync += [
                            position.row.eq(y + offset.dy + (t // 3 - 1)),
                            position.column.eq(x + offset.dx + (t % 3 - 1)),
                        ]
                    m.d.sync += [pixels.eq(pixels - 1), x.eq(x + 1)]
                    with m.If(x == step.output_width - 1):
                        m.d.sync += [x.eq(0), y.eq(y + 1)]
                    m.next = "INSIDE"
            with m.State("INSIDE"):
                inside = [
                    (p.row >= 0) & (p.row < step.input_height) & (p.column >= 0) & (p.column < step.input_width)
                    for p in positions
                ]
                m.d.sync += [taps_left.eq(Cat(inside)), self.inside.payload.eq(Cat(inside))]
                m.next = "TELL"
            with m.State("TELL"):
                m.d.comb += self.inside.valid.eq(1)
                with m.If(self.inside.ready):
                    m.next = "TAP"
            with m.State("TAP"):
                columns = positions[0].column * Mux(step.packed, step.input_planes, 1)
                m.d.sync += [
                    row_address.eq(self.base + positions[0].row * step.row_pitch),
                    column_address.eq(columns << 4),
                    positions.eq(positions.as_value() >> POSITION.size),
                    taps_left.eq(taps_left >> 1),
                ]
                with m.If(taps_left == 0):
                    m.next = "PIXEL"
                with m.Elif(taps_left[0]):
                    m.next = "SAMPLE"
            with m.State("SAMPLE"):
                with m.If(~active):
                    m.d.sync += [sample.eq(row_address + column_address), active.eq(1)]
                    m.next = "TAP"
        return walking

    def _request(self, m: Module, runs: PlaneRuns, sample: Signal, active: Signal) -> Value:
        """Ask for one plane of the sample a cycle, or for all of it at once; returns whether any is still to be asked
        for.
        """
        step, plane = self.step, Signal(9)
        m.d.comb += [
            runs.half.eq(self.half),
            runs.i.valid.eq(active & runs.room),
            runs.plane.eq(plane),
            runs.i.payload.address.eq(sample),
            runs.i.payload.beats.eq(Mux(step.packed, step.input_planes << 1, 2)),
        ]
        with m.If(runs.i.valid):
            m.d.sync += plane.eq(plane + 1)
            with m.If(step.packed | (plane == step.input_planes - 1)):
                m.d.sync += [plane.eq(0), active.eq(0)]
        return active | runs.busy

    def _assemble(self, m: Module, beats: stream.Interface) -> None:
        """Join two beats to a vector."""
        complete, low = Signal(), Signal(64)
        m.d.comb += beats.ready.eq(~complete | ~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(beats.valid & beats.ready):
            m.d.sync += [complete.eq(~complete), low.eq(beats.payload)]
            with m.If(complete):
                m.d.sync += [self.o.payload.eq(Cat(low, beats.payload)), self.o.valid.eq(1)]

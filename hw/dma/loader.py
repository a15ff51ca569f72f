# SPDX-License-Identifier: Apache-2.0
"""Reads the input planes of a step and hands them to the window as vectors."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import Section
from hw.axi import BurstReader, BusControl, BusMaster, ReadPort
from hw.dma.plane_runs import PlaneRuns
from hw.interfaces import VECTOR, ParameterBus, StepControl, begin_after
from hw.lib import StreamRegister, connect_bundle, taken


class Loader(wiring.Component):
    """Vectors of the step's input planes, in the order row, plane (the dilation plane last), column of the stored
    tensor.

    With ``expand``, those of the planes to expand, in the order row, piece of ``expand_columns`` columns, plane,
    column.

    The row of plane ``p`` lies at ``base + input_table[p] + row * row_pitch`` and gives ``stored_width`` vectors: two
    beats each, or, if ``packed``, beats x and x + 1 (``stored_width + 1`` beats in all). Stored height and width are
    those of the input, halved with ``upsample``; with ``repeat`` every stored row comes twice. Throughput: one beat a
    cycle. A step may be started when ``busy`` is low.

    Parameters
    ----------
    config:
        Sizes; ``plane_depth`` is that of each half of the input table.

    Members
    -------
    step, start, half:
        :class:`hw.interfaces.StepControl`; ``half`` is that of the input table.
    base, clear, reset, busy, beat, error:
        :class:`hw.axi.BusMaster`; ``busy`` lasts until the last vector is taken.
    parameters:
        Fills the input table.
    port:
        AXI read channels.
    o:
        Vectors.
    """

    STEP_FIELDS = (
        "upsample repeat dilated packed input_planes input_height input_width row_pitch expand expand_planes "
        "expand_columns"
    ).split()

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                **taken(StepControl(half=True)),
                **taken(BusMaster()),
                "parameters": In(ParameterBus()),
                "port": Out(ReadPort()),
                "o": Out(stream.Signature(VECTOR)),
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
        m.d.comb += runs.half.eq(self.half)
        m.submodules.output = output = ResetInserter(self.clear)(StreamRegister(VECTOR))
        wiring.connect(m, output.o, wiring.flipped(self.o))
        control = Module()
        begin, settled = (begin_after(control, self.start, stages) for stages in (1, 2))
        requesting = self._request(control, runs, begin)
        self._assemble(control, reader, output, settled)
        starting, running, quiet = Signal(), Signal(), Signal()
        control.d.sync += quiet.eq(~starting & ~requesting & reader.idle & ~self.o.valid)
        with control.If(quiet):
            control.d.sync += running.eq(0)
        with control.If(begin):
            control.d.sync += starting.eq(0)
        with control.If(self.start):
            control.d.sync += [starting.eq(1), running.eq(1), quiet.eq(0)]
        m.submodules.control = ResetInserter(self.clear)(control)
        m.d.comb += self.busy.eq(running | ~reader.idle)
        return m

    def _request(self, m: Module, runs: PlaneRuns, begin: Value) -> Value:
        """Ask for one row, or piece of a row, of one plane every second cycle; returns whether any is still to be asked
        for.
        """
        step = self.step
        active, even = Signal(), Signal()
        plane, rows_left, again = Signal(9), Signal(12), Signal()
        row_start, row_address = (Signal(32, name=name, reset_less=True) for name in ("row_start", "row_address"))
        columns_left = Signal(12, reset_less=True)
        # Static in a step; settled when the first of the stages below needs them.
        width, columns, planes = Signal(12), Signal(12), Signal(10)
        row_beats, last_plane = Signal(13), Signal(9)
        m.d.sync += [
            width.eq(step.input_width >> step.upsample),
            columns.eq(Mux(step.expand, step.expand_columns, step.input_width >> step.upsample)),
            planes.eq(Mux(step.expand, step.expand_planes, step.input_planes + step.dilated)),
            row_beats.eq(Mux(step.packed, width + 1, columns << 1)),
            last_plane.eq(planes - 1),
        ]
        # Where the walk stands; it takes a step every second cycle, so that these follow it.
        at_last_plane, at_last_piece, at_last_row = Signal(), Signal(), Signal()
        next_row, next_piece = (Signal(32, name=name, reset_less=True) for name in ("next_row", "next_piece"))
        next_columns = Signal(12, reset_less=True)
        m.d.sync += [
            at_last_plane.eq(plane == last_plane),
            at_last_piece.eq(columns_left == columns),
            at_last_row.eq(rows_left == 1),
            next_row.eq(row_start + Mux(step.repeat & ~again, 0, step.row_pitch)),
            next_piece.eq(row_address + (columns << 4)),
            next_columns.eq(columns_left - columns),
        ]
        m.d.comb += [
            runs.i.valid.eq(active & even & runs.room),
            runs.plane.eq(plane),
            runs.i.payload.address.eq(row_address),
            runs.i.payload.beats.eq(row_beats),
        ]
        m.d.sync += even.eq(~even)
        with m.If(runs.i.valid):
            m.d.sync += plane.eq(plane + 1)
            with m.If(at_last_plane):
                m.d.sync += [plane.eq(0), row_address.eq(next_piece), columns_left.eq(next_columns)]
                with m.If(at_last_piece):
                    m.d.sync += [
                        columns_left.eq(width),
                        again.eq(step.repeat & ~again),
                        row_start.eq(next_row),
                        row_address.eq(next_row),
                        rows_left.eq(rows_left - 1),
                        active.eq(~at_last_row),
                    ]
        with m.If(self.start):
            m.d.sync += [row_start.eq(self.base), row_address.eq(self.base), plane.eq(0), again.eq(0)]
        with m.If(begin):
            m.d.sync += [
                active.eq(1),
                even.eq(0),
                columns_left.eq(width),
                rows_left.eq(step.input_height >> (step.upsample & ~step.repeat)),
            ]
        return active | runs.busy

    def _assemble(self, m: Module, reader: BurstReader, output: StreamRegister, settled: Value) -> None:
        """Join beats to vectors."""
        low, odd = Signal(64, reset_less=True), Signal()
        # Beats left in the row behind this one, and whether it is the first, the last one.
        left, last_beat = Signal(13), Signal(13)
        first, last = Signal(), Signal()
        complete, accept = Signal(), Signal()
        data, width = reader.data, Signal(12)
        m.d.sync += [
            width.eq(self.step.input_width >> self.step.upsample),
            last_beat.eq(Mux(self.step.packed, width, (width << 1) - 1)),
        ]
        m.d.comb += [
            complete.eq(Mux(self.step.packed, ~first, odd)),
            data.ready.eq(~complete | output.i.ready),
            accept.eq(data.valid & data.ready),
            output.i.valid.eq(complete & data.valid),
            output.i.payload.eq(Cat(low, data.payload)),
        ]
        with m.If(accept):
            m.d.sync += [low.eq(data.payload), odd.eq(~odd), left.eq(left - 1), first.eq(0), last.eq(left == 1)]
        with m.If((accept & last) | settled):
            # A row has two beats at least.
            m.d.sync += [odd.eq(0), left.eq(last_beat), first.eq(1), last.eq(0)]

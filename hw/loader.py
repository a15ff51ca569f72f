"""Reads the input planes of a step and hands them to the window as vectors."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import Section
from hw.burst_reader import BurstReader
from hw.interfaces import STEP, VECTOR, ParameterBus, ReadPort
from hw.offset_table import OffsetTable


class Loader(wiring.Component):
    """Vectors of the step's input planes, in the order row, plane (the dilation plane last), column of the stored tensor.

    With ``expand``, those of the planes to expand, in the order row, piece of ``expand_columns`` columns, plane, column.

    The row of plane ``p`` lies at ``base + input_table[p] + row * row_pitch`` and gives ``stored_width`` vectors: two beats
    each, or, if ``packed``, beats x and x + 1 (``stored_width + 1`` beats in all). Stored height and width are those of the input, halved
    with ``upsample``; with ``repeat`` every stored row comes twice. Throughput: one beat a cycle. A step may be started when ``busy`` is low.

    Parameters
    ----------
    config:
        Sizes; ``plane_depth`` is that of each half of the input table.

    Members
    -------
    step, half, start:
        The running step (valid from ``start`` until the next one) and the half of the input table that it uses.
    base:
        Added to every address; stable while ``busy``.
    clear:
        Pulse or level: forget the step, accept what bursts in flight still bring, clear ``error``. ``busy`` falls when all is back.
    parameters:
        Fills the input table.
    port:
        AXI read channels.
    o:
        Vectors.
    busy:
        High from the cycle after ``start`` until the last vector is taken, and while clearing.
    beat:
        One cycle high for each beat read, for counters.
    error:
        Sticky: a read was answered with an error. Cleared by ``clear``.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "step": In(STEP),
                "half": In(1),
                "start": In(1),
                "base": In(unsigned(32)),
                "clear": In(1),
                "parameters": In(ParameterBus()),
                "port": Out(ReadPort()),
                "o": Out(stream.Signature(VECTOR)),
                "busy": Out(1),
                "beat": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = BurstReader()
        m.submodules.table = table = OffsetTable(self.config.plane_depth, Section.INPUT_TABLE)
        wiring.connect(m, reader.port, wiring.flipped(self.port))
        wiring.connect(m, table.parameters, wiring.flipped(self.parameters))
        m.d.comb += [
            reader.clear.eq(self.clear),
            self.beat.eq(reader.beat),
            self.error.eq(reader.error),
        ]
        control = Module()
        requesting = self._request(control, reader, table)
        self._assemble(control, reader)
        running = Signal()
        with control.If(self.start):
            control.d.sync += running.eq(1)
        with control.Elif(~requesting & reader.idle & ~self.o.valid):
            control.d.sync += running.eq(0)
        m.submodules.control = ResetInserter(self.clear)(control)
        m.d.comb += self.busy.eq(running | ~reader.idle)
        return m

    def _request(self, m: Module, reader: BurstReader, table: OffsetTable) -> Value:
        """Ask for one row, or piece of a row, of one plane a cycle; returns whether any is still to be asked for."""
        step = self.step
        active, looked_up = Signal(), Signal()
        plane, last_plane = Signal(9), Signal(9)
        rows_left = Signal(12)
        row_beats = Signal(13)
        row_start, row_address, looked_up_address = Signal(32), Signal(32), Signal(32)
        again = Signal()
        run_columns, columns_left = Signal(12), Signal(12)
        width = step.input_width >> step.upsample
        runs = reader.runs
        request = Signal.like(runs.payload)
        valid, advance = Signal(), Signal()
        m.d.comb += [
            runs.payload.eq(request),
            runs.valid.eq(valid),
            advance.eq(~valid | runs.ready),
            table.index.eq(plane),
            table.half.eq(self.half),
            table.enable.eq(advance),
        ]
        with m.If(advance):
            # Stage 1: look up the plane's offset.
            m.d.sync += [looked_up.eq(active), looked_up_address.eq(row_address)]
            with m.If(active):
                m.d.sync += plane.eq(plane + 1)
                with m.If(plane == last_plane):
                    m.d.sync += plane.eq(0)
                    with m.If(columns_left == run_columns):
                        following = row_start + Mux(step.repeat & ~again, 0, step.row_pitch)
                        m.d.sync += [
                            columns_left.eq(width),
                            again.eq(step.repeat & ~again),
                            row_start.eq(following),
                            row_address.eq(following),
                            rows_left.eq(rows_left - 1),
                            active.eq(rows_left != 1),
                        ]
                    with m.Else():
                        m.d.sync += columns_left.eq(columns_left - run_columns)
                        m.d.sync += row_address.eq(row_address + (run_columns << 4))
            # Stage 2: add the row's address.
            m.d.sync += [
                valid.eq(looked_up),
                request.address.eq(looked_up_address + table.offset),
                request.beats.eq(row_beats),
            ]
        columns = Mux(step.expand, step.expand_columns, width)
        with m.If(self.start):
            m.d.sync += [
                active.eq(1),
                run_columns.eq(columns),
                columns_left.eq(width),
                last_plane.eq(Mux(step.expand, step.expand_planes, step.input_planes + step.dilated) - 1),
                again.eq(0),
                rows_left.eq(step.input_height >> (step.upsample & ~step.repeat)),
                row_beats.eq(Mux(step.packed, width + 1, columns << 1)),
                row_start.eq(self.base),
                row_address.eq(self.base),
            ]
        return active | looked_up | valid

    def _assemble(self, m: Module, reader: BurstReader) -> None:
        """Join beats to vectors."""
        beat, last_beat = Signal(13), Signal(13)
        low = Signal(64)
        complete = Signal()
        data = reader.data
        m.d.comb += [
            complete.eq(Mux(self.step.packed, beat != 0, beat[0])),
            data.ready.eq(~complete | ~self.o.valid | self.o.ready),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(data.valid & data.ready):
            m.d.sync += [low.eq(data.payload), beat.eq(beat + 1)]
            with m.If(beat == last_beat):
                m.d.sync += beat.eq(0)
            with m.If(complete):
                m.d.sync += [self.o.payload.eq(Cat(low, data.payload)), self.o.valid.eq(1)]
        width = self.step.input_width >> self.step.upsample
        with m.If(self.start):
            m.d.sync += last_beat.eq(Mux(self.step.packed, width, (width << 1) - 1))

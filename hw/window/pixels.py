# SPDX-License-Identifier: Apache-2.0
"""Window pixels: walks over the output pixels and finds, for each, its dilation and where its taps lie."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.interfaces import StepControl, begin_after
from hw.lib import READ_LATENCY, BlockMemory, StreamRegister, count_to, delay, taken
from hw.window.axis import WindowAxis
from hw.window.row_cursor import RowCursor
from hw.window.writer import dilation_write

PIXEL_QUEUE = 16
"""Pixels between walking and reading: more than the pipeline between them has stages, so that it never limits the
rate.
"""


def pixel_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Output pixel (y, x): per axis the centre's phase (position mod 3), and addresses and "inside" of the taps;
    dilation mod 3; whether its beats come by nine (:class:`hw.window.beats.WindowBeats`)."""
    bits = (config.window_depth - 1).bit_length()
    axis = data.StructLayout(
        {"phase": unsigned(2), "address": data.ArrayLayout(unsigned(bits), 3), "inside": unsigned(3)}
    )
    return data.StructLayout(
        {
            "row": axis,
            "column": axis,
            "residue": unsigned(2),
            "nine": unsigned(1),
            "x": unsigned(12),
            "y": unsigned(12),
            "row_end": unsigned(1),
        }
    )


class WindowPixels(wiring.Component):
    """One pixel a cycle, as long as the rows that it needs are there; about five cycles of pause between output rows.

    Members
    -------
    rows : complete input rows.
    dilations : writes to the dilation ring.
    o : pixels in row-major order.
    waiting : no pixel can be made because rows are missing.
    idle : no step is running, or all of its pixels are taken.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                **taken(StepControl()),
                "rows": In(13),
                "dilations": In(dilation_write(config)),
                "o": Out(stream.Signature(pixel_layout(config))),
                "waiting": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        step = self.step
        bits = (self.config.window_depth - 1).bit_length()
        self.row, self.y = Signal(12), Signal(12)
        self.cursor = RowCursor("centre", bits)
        self.limit = Signal(bits + 1)
        self.next_row = Signal()
        self.ring_slots, self.ring_end = Signal(12), Signal()
        self.last_row = delay(m, step.window_rows - 1, 1, "last_row")
        # These follow ``y`` and ``credit``.
        last_y = delay(m, self.y == delay(m, step.output_height - 1, 1, "output_height"), 1, "last_y")
        emit = Signal()
        last_x = self._columns(m, emit, begin_after(m, self.start, 3))
        credit, has_credit = Signal(range(PIXEL_QUEUE + 1), init=PIXEL_QUEUE), Signal(init=1)
        taken = delay(m, self.o.ready, 1, "taken", reset=True)
        m.d.sync += [
            credit.eq(credit + taken - emit),
            has_credit.eq(taken | Mux(emit, credit[1:].any(), has_credit)),
        ]
        ready = self._row_ready(m)

        slots_left = Signal(12)
        second = Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(credit == PIXEL_QUEUE)
                with m.If(self.start):
                    m.d.sync += [self.row.eq(0), self.y.eq(0)]
                    m.d.sync += [self.limit.eq(0), slots_left.eq(step.window_rows)]
                    m.next = "LIMIT"
            with m.State("LIMIT"):
                # The end of the ring, window_rows / 3 * window_row_stride, by adding: rows take longer to arrive.
                m.d.sync += [slots_left.eq(slots_left - 3), self.limit.eq(self.limit + step.window_row_stride)]
                m.d.sync += [self.cursor.restart(self.last_row), self.ring_slots.eq(self.last_row), self.ring_end.eq(0)]
                with m.If(slots_left <= 3):
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "SETTLE_MORE"
            with m.State("SETTLE_MORE"):
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.waiting.eq(~ready)
                with m.If(ready):
                    m.next = "PIXELS"
            with m.State("PIXELS"):
                m.d.comb += emit.eq(has_credit)
                with m.If(emit & last_x):
                    m.d.sync += [self.y.eq(self.y + 1), second.eq(step.stride2)]
                    m.next = "ADVANCE"
                    with m.If(last_y):
                        m.next = "IDLE"
            with m.State("ADVANCE"):
                m.d.sync += [self.row.eq(self.row + 1), second.eq(0)]
                m.d.sync += self.cursor.advance(self.last_row, step.window_row_stride)
                m.d.comb += self.next_row.eq(1)
                with m.If(~second):
                    m.next = "SETTLE"
        self._pipeline(m, emit, last_x)
        return m

    def _row_ready(self, m: Module):
        """ "The rows that this output row needs are complete", right two cycles after ``row`` has changed."""
        needed, ready = Signal(13), Signal()
        bottom = self.row + self.step.reach + 1
        m.d.sync += [
            needed.eq(Mux(bottom > self.step.input_height, self.step.input_height, bottom)),
            ready.eq(self.rows >= needed),
        ]
        return ready

    def _columns(self, m: Module, emit, restart):
        """Counters over the pixels of a row, back at the start after its last. Returns "this pixel is the last"."""
        step = self.step
        self.x, self.column, self.phase = Signal(12), Signal(12), Signal(2)
        self.base = Signal.like(self.cursor.base)
        last = count_to(m, "columns", delay(m, step.output_width - 1, 1, "output_width"), emit, restart)
        moved = Signal(3)
        m.d.comb += moved.eq(self.phase + 1 + step.stride2)
        with m.If(emit):
            m.d.sync += [self.x.eq(self.x + 1), self.column.eq(self.column + 1 + step.stride2), self.phase.eq(moved)]
            with m.If(moved >= 3):
                m.d.sync += [self.phase.eq(moved - 3), self.base.eq(self.base + step.input_planes)]
            with m.If(last):
                m.d.sync += [self.x.eq(0), self.column.eq(0), self.phase.eq(0), self.base.eq(0)]
        return last

    def _dilation_ring(self, m: Module):
        """Ring of dilations, a row for each that the loader brings. Returns the dilation of the centre, READ_LATENCY +
        1 late.
        """
        step = self.step
        depth = self.config.dilation_depth
        m.submodules.ring = ring = BlockMemory(3, depth)
        base, odd = Signal.like(ring.read_address), Signal()
        with m.If(self.start):
            m.d.sync += [base.eq(0), odd.eq(0)]
        with m.Elif(self.next_row):
            m.d.sync += odd.eq(~odd)
            with m.If(~step.upsample | step.repeat | odd):
                width = Mux(step.upsample, step.input_width >> 1, step.input_width)
                m.d.sync += base.eq(Mux(self.ring_end, 0, base + width))
                m.d.sync += self.ring_slots.eq(Mux(self.ring_end, self.last_row, self.ring_slots - 1))
                m.d.sync += self.ring_end.eq(~self.ring_end & (self.ring_slots == 1))
        address = Signal.like(ring.read_address)
        m.d.sync += address.eq(base + Mux(step.upsample, self.column >> 1, self.column))
        m.d.comb += [
            ring.write_enable.eq(self.dilations.enable),
            ring.write_address.eq(self.dilations.address),
            ring.write_data.eq(self.dilations.data),
            ring.read_address.eq(address),
        ]
        return Mux(step.dilated, ring.read_data, 1)

    def _pipeline(self, m: Module, emit, last_x) -> None:
        step = self.step
        d = Signal(3, reset_less=True)
        m.d.sync += d.eq(self._dilation_ring(m))
        fetched = READ_LATENCY + 2
        layout = pixel_layout(self.config)
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=layout.size, depth=PIXEL_QUEUE)
        m.submodules.output = output = StreamRegister(layout)
        pixel = Signal(layout)
        row = delay(m, self.row, fetched, "row")
        column = delay(m, self.column, fetched, "column")
        row_base = delay(m, self.cursor.base, fetched, "row_base")
        column_base = delay(m, self.base, fetched, "column_base")
        row_phase = delay(m, self.cursor.phase, fetched, "row_phase")
        column_phase = delay(m, self.phase, fetched, "column_phase")
        axes = (
            ("row", row, row_phase, row_base, step.window_row_stride, step.input_height),
            ("column", column, column_phase, column_base, step.input_planes, step.input_width),
        )
        for name, position, phase, base, unit, size in axes:
            m.submodules[name] = axis = WindowAxis(len(base), ring=name == "row")
            m.d.comb += [axis.position.eq(position), axis.phase.eq(phase), axis.base.eq(base), axis.d.eq(d)]
            m.d.comb += [axis.unit.eq(unit), axis.size.eq(size), axis.limit.eq(self.limit)]
            m.d.comb += [
                pixel[name].phase.eq(delay(m, phase, axis.latency, f"{name}_phase_found")),
                pixel[name].address.eq(axis.address),
                pixel[name].inside.eq(axis.inside),
            ]
        residue, nine, off = Signal(2, reset_less=True), Signal(reset_less=True), Signal()
        m.d.sync += off.eq(step.depthwise_op == DepthwiseOp.OFF)
        with m.Switch(d):
            for n in range(8):
                with m.Case(n):
                    m.d.sync += [residue.eq(n % 3), nine.eq(Mux(off, step.full, n % 3 == 0))]
        latency = fetched + WindowAxis.LATENCY
        m.d.comb += [
            pixel.residue.eq(delay(m, residue, WindowAxis.LATENCY - 1, "residue")),
            pixel.nine.eq(delay(m, nine, WindowAxis.LATENCY - 1, "nine")),
            pixel.x.eq(delay(m, self.x, latency, "x")),
            pixel.y.eq(delay(m, self.y, latency, "y")),
            pixel.row_end.eq(delay(m, last_x, latency, "row_end")),
            queue.w_data.eq(pixel),
            queue.w_en.eq(delay(m, emit, latency, "emitted", reset=True)),
            output.i.valid.eq(queue.r_rdy),
            output.i.payload.eq(queue.r_data),
            queue.r_en.eq(output.i.ready),
        ]
        wiring.connect(m, output.o, wiring.flipped(self.o))

# SPDX-License-Identifier: Apache-2.0
"""Window writer: puts the incoming rows into the nine banks, and the dilations into their ring."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.interfaces import VECTOR, StepControl, begin_after
from hw.lib import count_to, delay, relays, taken
from hw.window.row_cursor import RowCursor


def bank_write(config: AcceleratorConfig) -> data.StructLayout:
    """One write to the banks: bank ``3 * rho + kappa`` at ``address[3 * rho + kappa]`` where ``enable`` says so; a copy
    of the vector for each ``rho``.
    """
    bits = (config.window_depth - 1).bit_length()
    return data.StructLayout(
        {"enable": unsigned(9), "address": data.ArrayLayout(unsigned(bits), 9), "data": data.ArrayLayout(VECTOR, 3)},
    )


def dilation_write(config: AcceleratorConfig) -> data.StructLayout:
    """One write to the dilation ring."""
    bits = (config.dilation_depth - 1).bit_length()
    return data.StructLayout({"enable": unsigned(1), "address": unsigned(bits), "data": unsigned(3)})


class WindowWriter(wiring.Component):
    """Takes a vector a cycle (a few cycles of pause between rows) and writes it, two cycles later.

    With ``upsample`` each vector goes to four banks, and each incoming row becomes two rows (to two banks and one row
    with ``repeat``, where every stored row comes twice). Dilations are kept as they come in: row ``r``, column ``c`` at
    ``(r mod window_rows) * stored_width + c``.

    Members
    -------
    i : stored vectors, by row, then plane (the dilation plane last), then column; with ``expand`` by row, then column,
        then plane.
    row_limit : rows below it may be written: those, ``window_rows`` before, are not needed any more.
    rows : rows that are complete (their last write is at most two cycles away).
    idle : no step is running, or all of its input is taken.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                **taken(StepControl()),
                "i": In(stream.Signature(VECTOR)),
                "row_limit": In(13),
                "rows": Out(13),
                "idle": Out(1),
                "banks": Out(bank_write(config)),
                "dilations": Out(dilation_write(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        step = self.step
        cursor = RowCursor("cursor", len(self.banks.address[0]))
        self.last_row = delay(m, step.window_rows - 1, 1, "last_row")
        rows_each = Signal(2)
        pairs = step.upsample & ~step.repeat
        m.d.comb += rows_each.eq(Mux(pairs, 2, 1))
        accept, last = self._vectors(m, begin_after(m, self.start, 3))
        # Rows when the next ones are complete, whether these may be written, and whether they are the last.
        rows_after, permitted, at_end = Signal.like(self.rows), Signal(), Signal()
        m.d.sync += [permitted.eq(rows_after <= self.row_limit), at_end.eq(rows_after >= step.input_height)]
        settle, taking = Signal(2), Signal()
        m.d.comb += self.i.ready.eq(taking)
        row_enable = Signal(3)
        row_base = [Signal.like(cursor.base, name=f"row_base_{rho}") for rho in range(3)]

        def assign(keep) -> None:
            """Give the row under the cursor its bank row, and go on."""
            m.d.sync += [row_enable.eq(keep | (1 << cursor.phase)), cursor_next]
            for rho in range(3):
                with m.If(cursor.phase == rho):
                    m.d.sync += row_base[rho].eq(cursor.base)

        cursor_next = cursor.advance(self.last_row, step.window_row_stride)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                with m.If(self.start):
                    m.d.sync += [self.rows.eq(0), settle.eq(0)]
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.sync += [cursor.restart(self.last_row), rows_after.eq(rows_each), settle.eq(settle + 1)]
                with m.If(settle.all()):
                    m.next = "ASSIGN"
            with m.State("ASSIGN"):
                assign(0)
                m.next = "PERMIT"
                with m.If(pairs):
                    m.next = "ASSIGN_SECOND"
            with m.State("ASSIGN_SECOND"):
                assign(row_enable)
                m.next = "PERMIT"
            with m.State("PERMIT"):
                with m.If(permitted):
                    m.d.sync += taking.eq(1)
                    m.next = "VECTORS"
            with m.State("VECTORS"):
                with m.If(accept & last):
                    m.d.sync += taking.eq(0)
                    m.d.sync += [self.rows.eq(rows_after), rows_after.eq(rows_after + rows_each)]
                    m.next = "ASSIGN"
                    with m.If(at_end):
                        m.next = "IDLE"
        self._write_banks(m, accept, row_enable, row_base)
        self._write_dilations(m, accept, last)
        return m

    def _vectors(self, m: Module, restart):
        """Counters over the vectors of a row. Returns "a vector is taken" and "it is the row's last"."""
        step = self.step
        accept = Signal()
        m.d.comb += accept.eq(self.i.valid & self.i.ready)
        self.column = column = Signal(12)
        self.plane = plane = Signal(9)
        self.stored_width = stored_width = Signal(12)
        self.dilation_plane = Signal()
        ends_columns, next_column, next_plane = Signal(), Signal(), Signal()
        m.d.comb += stored_width.eq(Mux(step.upsample, step.input_width >> 1, step.input_width))
        last_of = (
            delay(m, last, 1, f"last_{n}")
            for n, last in enumerate((stored_width - 1, step.input_planes + step.dilated - 1))
        )
        last_column, last_plane = (
            count_to(m, name, last, accept & advance, restart)
            for name, last, advance in zip(("column", "plane"), last_of, (next_column, next_plane), strict=True)
        )
        # The last plane, if any.
        m.d.comb += self.dilation_plane.eq(step.dilated & last_plane)
        # Per bank column: is it next, and the offset ``(column // 3) * input_planes + plane`` of its next column.
        self.phase = phase = Signal(3, init=1)
        self.offsets = [Signal.like(self.banks.address[0], name=f"offset_{kappa}") for kappa in range(3)]
        self.columns = Signal(3)
        m.d.comb += self.columns.eq(phase | Mux(step.upsample, phase.rotate_left(1), 0))
        m.d.comb += [
            ends_columns.eq(last_column & (last_plane | ~step.expand)),
            next_column.eq(last_plane | ~step.expand),
            next_plane.eq(last_column | step.expand),
        ]
        # With expand the planes of a column follow each other, also in the banks.
        distance = delay(m, Mux(step.expand, 1, step.input_planes), 1, "distance")
        with m.If(accept):
            with m.If(next_plane):
                m.d.sync += plane.eq(Mux(last_plane, 0, plane + 1))
            with m.If(ends_columns):
                m.d.sync += [column.eq(0), phase.eq(1)]
                m.d.sync += [offset.eq(Mux(last_plane, 0, plane + 1)) for offset in self.offsets]
            with m.Else():
                with m.If(next_column):
                    m.d.sync += column.eq(column + 1)
                    m.d.sync += phase.eq(Mux(step.upsample, phase.rotate_left(2), phase.rotate_left(1)))
                for kappa, offset in enumerate(self.offsets):
                    with m.If(self.columns[kappa]):
                        m.d.sync += offset.eq(offset + distance)
        return accept, last_column & last_plane

    def _write_banks(self, m: Module, accept, row_enable, row_base) -> None:
        enable = Signal(9)
        offsets = [
            Signal.like(offset, name=f"written_{kappa}", reset_less=True) for kappa, offset in enumerate(self.offsets)
        ]
        values = Signal(VECTOR, reset_less=True)
        addresses = Signal.like(self.banks.address, reset_less=True)
        m.d.comb += self.banks.address.eq(addresses)
        m.d.comb += [here.eq(copy) for here, copy in zip(self.banks.data, relays(m, values, 3, "data"), strict=True)]
        # The row's bases are stable for another cycle when its last vector is taken.
        m.d.sync += [
            enable.eq(
                Cat(
                    row_enable[rho] & self.columns[kappa] & accept & ~self.dilation_plane
                    for rho in range(3)
                    for kappa in range(3)
                )
            ),
            [written.eq(offset) for written, offset in zip(offsets, self.offsets, strict=True)],
            values.eq(self.i.payload),
            self.banks.enable.eq(enable),
            [addresses[3 * rho + kappa].eq(row_base[rho] + offsets[kappa]) for rho in range(3) for kappa in range(3)],
        ]

    def _write_dilations(self, m: Module, accept, last) -> None:
        base = Signal.like(self.dilations.address)
        restart = begin_after(m, self.start, 3)
        wrap = count_to(m, "slots", self.last_row, accept & last, restart)
        m.d.sync += [
            self.dilations.enable.eq(accept & self.dilation_plane),
            self.dilations.address.eq(base + self.column),
            self.dilations.data.eq(self.i.payload[0]),
        ]
        with m.If(self.start):
            m.d.sync += base.eq(0)
        with m.Elif(accept & last):
            m.d.sync += base.eq(Mux(wrap, 0, base + self.stored_width))

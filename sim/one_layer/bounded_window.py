# SPDX-License-Identifier: Apache-2.0
"""Window for offsets that are bounded but otherwise arbitrary; for simulation only (docs/one-layer.md)."""

from amaranth import Array, Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import MAX_DILATION, AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.interfaces import BEAT_TAPS, SAMPLES, TAP_LEAD, VECTOR, StepControl
from hw.lib import READ_LATENCY, BlockMemory, connect_bundle, delay, taken
from hw.window import RowCursor, Window, WindowWriter
from sim.one_layer.offset_reader import OFFSETS, TAPS

BANKS = 9

TAP_STAGES = 4
"""Cycles from a tap's offset to its entry in the pixel's table."""


def tap_table(config: AcceleratorConfig) -> data.StructLayout:
    """The nine reads of a pixel: where each tap lies, and in which turn its bank serves it; the last turn of all
    banks.
    """
    address = unsigned((config.window_depth - 1).bit_length())
    tap = data.StructLayout({"bank": unsigned(4), "address": address, "turn": unsigned(4), "inside": unsigned(1)})
    return data.StructLayout({"taps": data.ArrayLayout(tap, TAPS), "last_turn": unsigned(4), "row_end": unsigned(1)})


class BoundedWindow(Window):
    """:class:`hw.window.Window` with nine arbitrary positions a pixel instead of a dilation: rows in the same nine
    banks, written by the same writer.

    Each bank reads one vector a cycle. Taps that fall into the same bank take turns: a plane takes as many cycles as
    the fullest bank has taps inside the image (at least one), or nine if ``full``. Two taps at the same position count
    as two. The next pixel's taps are sorted meanwhile, in about 16 cycles. ``reach`` must be 7, and no tap may lie
    further than that from the pixel, in rows or columns. No upsampling, stride 1.

    Members
    -------
    offsets : of each output pixel.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        wiring.Component.__init__(
            self,
            {
                **taken(StepControl()),
                "offsets": In(stream.Signature(OFFSETS)),
                "i": In(stream.Signature(VECTOR)),
                "o": Out(stream.Signature(SAMPLES, always_ready=True)),
                "o_taps": Out(BEAT_TAPS),
                "space": In(1),
                "issue": Out(1),
                "waiting_rows": Out(1),
                "busy": Out(1),
            },
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.writer = writer = WindowWriter(self.config)
        connect_bundle(m, StepControl(), self, writer)
        wiring.connect(m, writer.i, wiring.flipped(self.i))
        following, full = Signal(tap_table(self.config)), Signal()
        current, valid = Signal(tap_table(self.config)), Signal()
        pixel_end = Signal()
        walking = self._walk(m, writer.rows, following, full)
        with m.If(full & (~valid | pixel_end)):
            m.d.sync += [current.eq(following), valid.eq(1), full.eq(0)]
        with m.Elif(pixel_end):
            m.d.sync += valid.eq(0)
        m.d.comb += [
            writer.row_limit.eq(self._row_limit(m, pixel_end & current.row_end)),
            self.busy.eq(~writer.idle | walking | full | valid),
        ]
        self._beats(m, writer.banks, current, valid, pixel_end)
        return m

    def _walk(self, m: Module, rows: Signal, following: Signal, full: Signal) -> Signal:
        """Fill ``following`` for one pixel after another, as long as their rows are there; returns whether some are to
        come.
        """
        step = self.step
        bits = (self.config.window_depth - 1).bit_length()
        cursor, limit = RowCursor("centre", bits), Signal(bits + 1)
        x, y, slots_left = Signal(12), Signal(12), Signal(12)
        column_phase, column_base = Signal(2), Signal(bits)
        offsets = Signal(OFFSETS)
        tap, wait = Signal(range(TAPS)), Signal(range(TAP_STAGES + 1))
        walking, begin, feed = Signal(), Signal(), Signal()
        needed = Signal(13)
        m.d.sync += needed.eq(Mux(y + step.reach + 1 > step.input_height, step.input_height, y + step.reach + 1))
        m.d.comb += walking.eq(1)
        last_x = x == step.output_width - 1
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += walking.eq(0)
                m.d.sync += [x.eq(0), y.eq(0), column_phase.eq(0), column_base.eq(0), limit.eq(0)]
                m.d.sync += [slots_left.eq(step.window_rows), *cursor.restart(step.window_rows - 1)]
                with m.If(self.start):
                    m.next = "LIMIT"
            with m.State("LIMIT"):
                m.d.sync += [slots_left.eq(slots_left - 3), limit.eq(limit + step.window_row_stride)]
                with m.If(slots_left <= 3):
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "PIXEL"
            with m.State("PIXEL"):
                m.d.comb += self.waiting_rows.eq(rows < needed)
                with m.If((rows >= needed) & self.offsets.valid & ~full):
                    m.d.comb += [self.offsets.ready.eq(1), begin.eq(1)]
                    m.d.sync += [offsets.eq(self.offsets.payload), tap.eq(0)]
                    m.next = "TAPS"
            with m.State("TAPS"):
                m.d.comb += feed.eq(1)
                m.d.sync += [offsets.eq(offsets.as_value() >> 16), tap.eq(tap + 1), wait.eq(TAP_STAGES - 1)]
                with m.If(tap == TAPS - 1):
                    m.next = "FINISH"
            with m.State("FINISH"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.d.sync += [full.eq(1), following.row_end.eq(last_x), x.eq(x + 1)]
                    m.d.sync += column_phase.eq(Mux(column_phase == 2, 0, column_phase + 1))
                    with m.If(column_phase == 2):
                        m.d.sync += column_base.eq(column_base + step.input_planes)
                    m.next = "PIXEL"
                    with m.If(last_x):
                        m.d.sync += [x.eq(0), column_phase.eq(0), column_base.eq(0), y.eq(y + 1)]
                        m.d.sync += cursor.advance(step.window_rows - 1, step.window_row_stride)
                        m.next = "SETTLE"
                        with m.If(y == step.output_height - 1):
                            m.next = "IDLE"
        row = self._axis(
            m, "row", (offsets[0].dy, tap, 3), y, cursor.phase, cursor.base, step.window_row_stride, step.input_height
        )
        column = self._axis(
            m, "column", (offsets[0].dx, tap, 1), x, column_phase, column_base, step.input_planes, step.input_width
        )
        self._sort(m, begin, delay(m, feed, TAP_STAGES - 1, "feed", reset=True), row, column, limit, following)
        return walking

    def _axis(
        self,
        m: Module,
        name: str,
        source: tuple[Value, Value, int],
        position: Value,
        phase: Value,
        base: Value,
        unit: Value,
        size: Value,
    ) -> tuple[Value, Value, Value]:
        """Bank (0 to 2), address (a ring's not wrapped yet) and "inside" of a tap along one axis, in three cycles."""
        offset, tap, divisor = source
        distance = Signal(signed(5), name=f"{name}_distance")
        grid = Signal(signed(2), name=f"{name}_grid")
        with m.Switch(tap):
            for t in range(TAPS):
                with m.Case(t):
                    m.d.comb += grid.eq(t // divisor % 3 - 1)
        # Stage 1: from the centre.
        m.d.sync += distance.eq(offset + grid)
        # Stage 2: groups of three, their number from the centre's, and the place in the group.
        groups, bank = Signal(signed(3), name=f"{name}_groups"), Signal(2, name=f"{name}_bank")
        inside = Signal(name=f"{name}_inside")
        found = position + distance
        m.d.sync += inside.eq((found >= 0) & (found < size))
        with m.Switch(Cat(phase, distance)):
            for p in range(3):
                for d in range(-MAX_DILATION, MAX_DILATION + 1):
                    with m.Case(p | (d & 31) << 2):
                        m.d.sync += [groups.eq((p + d) // 3), bank.eq((p + d) % 3)]
        # Stage 3: address.
        address = Signal(signed(len(base) + 3), name=f"{name}_address")
        m.d.sync += address.eq(base + groups * unit)
        return delay(m, bank, 1, f"{name}_bank"), address, delay(m, inside, 1, f"{name}_inside")

    def _sort(
        self,
        m: Module,
        begin: Value,
        valid: Value,
        row: tuple[Value, Value, Value],
        column: tuple[Value, Value, Value],
        limit: Value,
        following: data.View,
    ) -> None:
        """Stage 4: the tap's bank, and its turn there."""
        row_bank, row_address, row_inside = row
        column_bank, column_address, column_inside = column
        counts = Array(Signal(range(TAPS + 1), name=f"count_{n}") for n in range(BANKS))
        entry, index = Signal(following.taps[0].shape()), Signal(range(TAPS))
        bank = Signal(4)
        wrapped = Mux(row_address < 0, row_address + limit, Mux(row_address >= limit, row_address - limit, row_address))
        m.d.comb += [
            bank.eq(3 * row_bank + column_bank),
            entry.bank.eq(bank),
            entry.address.eq(wrapped + column_address),
            entry.inside.eq(row_inside & column_inside),
            entry.turn.eq(counts[bank]),
        ]
        with m.If(begin):
            m.d.sync += [following.last_turn.eq(0), index.eq(0), *(count.eq(0) for count in counts)]
        with m.If(valid):
            m.d.sync += index.eq(index + 1)
            with m.Switch(index):
                for t in range(TAPS):
                    with m.Case(t):
                        m.d.sync += following.taps[t].eq(entry)
            with m.If(entry.inside):
                m.d.sync += counts[bank].eq(counts[bank] + 1)
                with m.If(counts[bank] > following.last_turn):
                    m.d.sync += following.last_turn.eq(counts[bank])

    def _beats(self, m: Module, writes: list[BlockMemory], current: data.View, valid: Value, pixel_end: Value) -> None:
        """Reads of the current pixel, plane by plane and turn by turn, and the samples that they gather."""
        step, out = self.step, self.o.payload
        off = step.depthwise_op == DepthwiseOp.OFF
        plane, turn = Signal(8), Signal(4)
        fire, last = Signal(), Signal()
        m.d.comb += [
            fire.eq(valid & self.space),
            last.eq(turn == Mux(off, TAPS - 1, current.last_turn)),
            self.issue.eq(fire & (off | last)),
            pixel_end.eq(fire & last & (plane == step.input_planes - 1)),
        ]
        with m.If(fire):
            m.d.sync += turn.eq(Mux(last, 0, turn + 1))
            with m.If(last):
                m.d.sync += plane.eq(Mux(pixel_end, 0, plane + 1))

        # Each bank reads for the tap whose turn it is.
        now = [Signal(name=f"now_{t}") for t in range(TAPS)]
        for t, tap in enumerate(current.taps):
            m.d.comb += now[t].eq(tap.inside & Mux(off, turn == t, tap.turn == turn))
        late = READ_LATENCY + 1
        assert late + 1 == TAP_LEAD
        read = []
        for n in range(BANKS):
            m.submodules[f"bank{n}"] = bank = BlockMemory(VECTOR.size, self.config.window_depth)
            address = Signal.like(bank.read_address, name=f"address_{n}")
            for t, tap in enumerate(current.taps):
                with m.If(now[t] & (tap.bank == n)):
                    m.d.sync += address.eq(tap.address + plane)
            m.d.comb += [
                bank.write_enable.eq(writes.enable[n]),
                bank.write_address.eq(writes.address[n]),
                bank.write_data.eq(writes.data[n // 3]),
                bank.read_address.eq(address),
            ]
            read.append(bank.read_data)

        # Samples stay where they are until all of the plane are there.
        pad = step.pad.replicate(VECTOR.size // 16)
        for t, tap in enumerate(current.taps):
            source = delay(m, tap.bank, late, f"source_{t}")
            arrives = delay(m, now[t], late, f"arrives_{t}")
            outside = delay(m, ~tap.inside, late, f"outside_{t}")
            with m.If(arrives):
                m.d.sync += out.samples[t].eq(Array(read)[source])
            with m.Elif(outside):
                m.d.sync += out.samples[t].eq(pad)
        layout = tap_table(self.config)["taps"].shape.elem_shape
        alone = data.View(layout, delay(m, current.taps.as_value().word_select(turn, layout.size), late, "alone"))
        with m.If(off):
            m.d.sync += out.samples[0].eq(Mux(alone.inside, Array(read)[alone.bank], pad))
        m.d.comb += [
            *(out.row_tap[n].eq(n) for n in range(3)),
            *(out.column_tap[n].eq(n) for n in range(3)),
            out.inside.eq(delay(m, Cat(tap.inside for tap in current.taps), late + 1, "inside")),
            out.plane.eq(delay(m, plane, late + 1, "plane")),
            self.o_taps.plane.eq(plane),
            self.o_taps.row_tap.eq(out.row_tap),
            self.o_taps.column_tap.eq(out.column_tap),
            out.first.eq(1),
            out.last.eq(1),
            self.o.valid.eq(delay(m, self.issue, late + 1, "valid", reset=True)),
        ]

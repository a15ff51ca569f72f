# SPDX-License-Identifier: Apache-2.0
"""Sample buffer: what stands in the window's place behind the gather loader; for simulation only
(docs/one-layer.md).
"""

from amaranth import Array, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import FIELDS, DepthwiseOp
from hw.interfaces import BEAT_TAPS, SAMPLES, TAP_LEAD, VECTOR, StepControl
from hw.lib import READ_LATENCY, BlockMemory, delay, taken
from sim.one_layer.offset_reader import TAPS

SLOTS = 4
"""Pixels whose samples are on chip: one is being used while others arrive."""

MASKS = 8
"""Pixels whose samples are asked for, at most, and that have no place yet."""

MAX_PLANES = 32
"""Planes of a sample."""


class SampleBuffer(wiring.Component):
    """Collects the samples of a pixel and gives, for each plane, all nine taps in one beat; or, if ``full``, in nine.

    One bank a tap, so that a beat leaves every cycle. The beats look like those of a window of dilation 1 whose banks
    are in the order of the taps.

    Members
    -------
    inside : for each pixel, which taps will come; the others read as ``pad``.
    i : vectors of these taps: by pixel, tap, plane.
    step, start, o, o_taps, space, issue, waiting_rows, busy : as in :class:`hw.window.Window`;
    it waits for samples, not rows.
    """

    STEP_FIELDS = tuple(field.name for field in FIELDS)

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                **taken(StepControl()),
                "inside": In(stream.Signature(unsigned(TAPS))),
                "i": In(stream.Signature(VECTOR)),
                "o": Out(stream.Signature(SAMPLES, always_ready=True)),
                "o_taps": Out(BEAT_TAPS),
                "space": In(1),
                "issue": Out(1),
                "waiting_rows": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pixels, complete = Signal(24), Signal(range(SLOTS + 1))
        used = Signal(range(SLOTS + 1))
        masks = [Signal(TAPS, name=f"mask_{n}") for n in range(SLOTS)]
        banks = [BlockMemory(VECTOR.size, SLOTS * MAX_PLANES) for _ in range(TAPS)]
        for t, bank in enumerate(banks):
            m.submodules[f"bank{t}"] = bank
        taken, filled = self._write(m, banks, masks, used != SLOTS)
        freed = self._read(m, banks, masks, complete != 0)
        m.d.sync += [used.eq(used + taken - freed), complete.eq(complete + filled - freed)]
        with m.If(self.start):
            m.d.sync += pixels.eq(self.step.output_pixels)
        with m.Elif(freed):
            m.d.sync += pixels.eq(pixels - 1)
        m.d.comb += [self.busy.eq(pixels != 0), self.waiting_rows.eq(complete == 0)]
        return m

    def _write(self, m: Module, banks: list[BlockMemory], masks: list[Signal], room: Value) -> tuple[Signal, Signal]:
        """Put vectors into their banks. Returns "a slot is taken" and "a slot is full"."""
        slot, plane, left = Signal(range(SLOTS)), Signal(range(MAX_PLANES)), Signal(TAPS)
        taken, filled, accept, tap_end = Signal(), Signal(), Signal(), Signal()
        # Without a queue the loader could ask for a pixel's samples only when those of the one before are here.
        m.submodules.masks = queue = fifo.SyncFIFOBuffered(width=TAPS, depth=MASKS)
        coming = queue.r_data
        filling = left != 0
        tap = left & -left
        m.d.comb += [
            self.inside.ready.eq(queue.w_rdy),
            queue.w_en.eq(self.inside.valid),
            queue.w_data.eq(self.inside.payload),
            queue.r_en.eq(~filling & room),
            taken.eq(queue.r_rdy & queue.r_en),
            self.i.ready.eq(filling),
            accept.eq(self.i.valid & self.i.ready),
            tap_end.eq(accept & (plane == self.step.input_planes - 1)),
            # A pixel without any sample inside is complete at once.
            filled.eq((taken & (coming == 0)) | (tap_end & (left == tap))),
        ]
        with m.If(taken):
            m.d.sync += left.eq(coming)
            for n, mask in enumerate(masks):
                with m.If(slot == n):
                    m.d.sync += mask.eq(coming)
        with m.If(accept):
            m.d.sync += plane.eq(plane + 1)
        with m.If(tap_end):
            m.d.sync += [plane.eq(0), left.eq(left & ~tap)]
        m.d.sync += slot.eq(slot + filled)
        for t, bank in enumerate(banks):
            m.d.comb += [
                bank.write_enable.eq(accept & tap[t]),
                bank.write_address.eq(Cat(plane, slot)),
                bank.write_data.eq(self.i.payload),
            ]
        return taken, filled

    def _read(self, m: Module, banks: list[BlockMemory], masks: list[Signal], ready: Value) -> Signal:
        """Beats of complete pixels. Returns "a slot is free again"."""
        step, out = self.step, self.o.payload
        off = step.depthwise_op == DepthwiseOp.OFF
        slot, plane, tap = Signal(range(SLOTS)), Signal(range(MAX_PLANES)), Signal(range(TAPS))
        fire, last_tap, freed = Signal(), Signal(), Signal()
        m.d.comb += [
            fire.eq(ready & self.space),
            self.issue.eq(fire),
            last_tap.eq(~off | (tap == TAPS - 1)),
            freed.eq(fire & last_tap & (plane == step.input_planes - 1)),
        ]
        with m.If(fire):
            m.d.sync += tap.eq(Mux(last_tap, 0, tap + 1))
            with m.If(last_tap):
                m.d.sync += plane.eq(Mux(freed, 0, plane + 1))
        m.d.sync += slot.eq(slot + freed)

        mask = delay(m, Array(masks)[slot], READ_LATENCY, "mask")
        values = Signal(data.ArrayLayout(VECTOR, TAPS))
        for t, bank in enumerate(banks):
            m.d.comb += bank.read_address.eq(Cat(plane, slot))
            pad = step.pad.replicate(VECTOR.size // 16)
            m.d.comb += values[t].eq(Mux(mask[t], bank.read_data, pad))
        alone = delay(m, tap, READ_LATENCY, "tap")
        padded = Signal(data.ArrayLayout(VECTOR, TAPS))
        m.d.sync += [padded.eq(values), out.samples.eq(padded)]
        with m.If(off):
            m.d.sync += padded[0].eq(values[alone])
        late = READ_LATENCY + 2
        assert late == TAP_LEAD
        m.d.comb += [
            *(out.row_tap[n].eq(n) for n in range(3)),
            *(out.column_tap[n].eq(n) for n in range(3)),
            out.inside.eq(delay(m, mask, 2, "mask_out")),
            out.plane.eq(delay(m, plane, late, "plane")),
            self.o_taps.plane.eq(plane),
            self.o_taps.row_tap.eq(out.row_tap),
            self.o_taps.column_tap.eq(out.column_tap),
            out.first.eq(1),
            out.last.eq(1),
            self.o.valid.eq(delay(m, fire, late, "valid", reset=True)),
        ]
        return freed

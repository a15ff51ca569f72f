# SPDX-License-Identifier: Apache-2.0
"""Peaks: local maxima of a heatmap, as records."""

from functools import reduce
from operator import or_

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.interfaces import BEAT_TAPS, SAMPLES, STORE_ITEM, TAP_LEAD, VECTOR, StepControl
from hw.lib import StreamQueue, delay, relays, taken

LANES = 8
"""int16 lanes of a vector."""

CENTRE = 1
QUEUE = 32
"""Vectors with peaks that wait for their records to be taken."""

RECORDS = 8
"""Records that wait for the storer."""

MARGIN = 7
"""Places kept free, because ``space`` is five cycles behind the window's issue: three here, and a register each way
between them.
"""

FOUND = data.StructLayout(
    {
        "values": data.ArrayLayout(signed(16), LANES),
        "peaks": unsigned(LANES),
        "x": unsigned(12),
        "y": unsigned(12),
        "plane": unsigned(8),
        "end": unsigned(1),
    }
)
"""A vector in which there are peaks (or the step's last vector: ``end``)."""


def _without_lowest(bits):
    """``bits`` but for the lowest one that is set; ``bits & (bits - 1)`` would be a carry chain."""
    return Cat(bit & bits[:n].any() for n, bit in enumerate(bits))


class Peaks(wiring.Component):
    """Finds, in PEAKS steps, the values that are not below their neighbours inside the image, nor below
    ``peak_threshold``.

    A vector a cycle as long as peaks are rare; a record a cycle otherwise. Records come by pixel, plane, lane; the
    first ``peak_capacity`` of them leave, then one ``end`` item. Windows have dilation 1: one beat a vector.

    Members
    -------
    issue, space : credits of the window, as in :class:`hw.pointwise.vector_buffer.VectorBuffer`; only PEAKS steps are
        counted.
    i : samples from the window; ignored outside PEAKS steps.
    i_taps : taps of the beat that comes :data:`hw.interfaces.TAP_LEAD` cycles later.
    o : peak records, then one ``end`` item.
    active : a vector was compared.
    count : peaks of this step (all of them, saturating); complete when the ``end`` item is out, 0 in other steps.
    """

    STEP_FIELDS = "depthwise_op input_planes output_height output_width peak_capacity peak_threshold".split()

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                **taken(StepControl()),
                "issue": In(1),
                "space": Out(1),
                "i": In(stream.Signature(SAMPLES, always_ready=True)),
                "i_taps": In(BEAT_TAPS),
                "o": Out(stream.Signature(STORE_ITEM)),
                "active": Out(1),
                "count": Out(16),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        enabled = self.step.depthwise_op == DepthwiseOp.PEAKS
        m.submodules.queue = queue = StreamQueue(FOUND, QUEUE)
        valid, found = self._compare(m, self.i.valid & enabled)
        keep, drop, kept = Signal(), Signal(), Signal(FOUND, reset_less=True)
        some = found.peaks.any() | found.end
        m.d.sync += [keep.eq(valid & some), drop.eq(valid & ~some), kept.eq(found)]
        m.d.comb += [queue.i.valid.eq(keep), queue.i.payload.eq(kept), self.active.eq(valid)]

        # A place is taken at issue and given back by a vector without peaks, or when one with peaks leaves the queue.
        used, change = Signal(range(QUEUE + 1)), Signal(signed(3))
        m.d.sync += [
            change.eq((self.issue & enabled) - drop - (queue.o.valid & queue.o.ready)),
            used.eq(used + change),
            self.space.eq(used <= QUEUE - MARGIN),
        ]
        self._emit(m, queue)
        return m

    def _compare(self, m: Module, valid):
        """The centre against the nine samples of its lane (itself among them). Returns "a result is here", and it."""
        beat = self.i.payload
        step = self.step
        centre = Signal(data.ArrayLayout(signed(16), LANES), reset_less=True)
        taps = delay(m, self.i_taps, TAP_LEAD - 1, "taps")
        samples, central = [], []
        for n in range(9):
            is_centre = (taps.row_tap[n // 3] == CENTRE) & (taps.column_tap[n % 3] == CENTRE)
            # A copy for every two lanes.
            mask = Cat(copy.replicate(VECTOR.size // 4) for copy in relays(m, is_centre, 4, f"central_{n}"))
            central.append(beat.samples[n].as_value() & mask)
            samples.append(data.View(centre.shape(), delay(m, beat.samples[n].as_value(), 1, f"sample_{n}")))
        # Exactly one of them is it.
        m.d.sync += centre.eq(reduce(or_, central))
        inside = delay(m, beat.inside, 1, "inside")

        found = Signal(FOUND)
        for lane in range(LANES):
            wins = Signal(10, name=f"wins_{lane}", reset_less=True)
            value = centre[lane]
            m.d.sync += wins.eq(
                Cat(*((value >= samples[n][lane]) | ~inside[n] for n in range(9)), value >= step.peak_threshold)
            )
            peak = Signal(name=f"peak_{lane}", reset_less=True)
            m.d.sync += peak.eq(wins.all())
            m.d.comb += [found.peaks[lane].eq(peak), found.values[lane].eq(delay(m, value, 2, f"value_{lane}"))]
        at_end = Signal(3, reset_less=True)
        last_x, last_y, last_plane = (
            delay(m, delay(m, getattr(step, field), 1, field) - 1, 1, f"last_of_{field}")
            for field in ("output_width", "output_height", "input_planes")
        )
        m.d.sync += at_end.eq(Cat(beat.x == last_x, beat.y == last_y, beat.plane == last_plane))
        m.d.comb += found.end.eq(delay(m, at_end.all(), 2, "end"))
        for name in ("x", "y", "plane"):
            m.d.comb += found[name].eq(delay(m, beat[name], 3, name))
        return delay(m, valid, 3, "valid", reset=True), found

    def _emit(self, m: Module, queue) -> None:
        """Records of the vectors in the queue, lowest lane first.

        A vector is taken out of the queue and held until all of its records are made. They pass a register and a queue
        of their own, so that nothing here depends on the storer in the same cycle.
        """
        m.submodules.records = records = fifo.SyncFIFO(width=STORE_ITEM.size, depth=RECORDS)
        held = Signal(FOUND, reset_less=True)
        full, room, go, finished, taken = Signal(), Signal(), Signal(), Signal(), Signal()
        left, lane = Signal(LANES), Signal(range(LANES))
        # Whether there are peaks left, and whether this is the last item of the vector.
        fewer, more, last = _without_lowest(left), Signal(), Signal()
        m.d.comb += [
            go.eq(full & room),
            finished.eq(go & last),
            queue.o.ready.eq(~full | finished),
            taken.eq(queue.o.valid & queue.o.ready),
        ]
        for n in reversed(range(LANES)):
            with m.If(left[n]):
                m.d.comb += lane.eq(n)
        with m.If(taken):
            head = queue.o.payload
            several, some = _without_lowest(head.peaks).any(), head.peaks.any()
            m.d.sync += [
                full.eq(1),
                held.eq(head),
                left.eq(head.peaks),
                more.eq(some),
                last.eq(~several & ~(some & head.end)),
            ]
        with m.Elif(go):
            several, some = _without_lowest(fewer).any(), fewer.any()
            m.d.sync += [full.eq(~finished), left.eq(fewer), more.eq(some), last.eq(~several & ~(some & held.end))]

        # What is in the register and what this cycle makes still has a place.
        item, made = Signal(STORE_ITEM, reset_less=True), Signal()
        record = Cat(held.x, Const(0, 4), held.y, Const(0, 4), lane, held.plane, Const(0, 5), held.values[lane])
        fits = self._fits(m, go & more)
        m.d.sync += [
            room.eq(records.level <= RECORDS - 3),
            made.eq(go & (fits | ~more)),
            item.data.eq(Mux(more, record, 0)),
            item.end.eq(~more),
        ]
        m.d.comb += [
            records.w_en.eq(made),
            records.w_data.eq(item),
            self.o.valid.eq(records.r_rdy),
            self.o.payload.eq(records.r_data),
            records.r_en.eq(self.o.ready),
        ]

    def _fits(self, m: Module, found):
        """Count the records ``found``; returns whether one more may leave."""
        free, fits = Signal(16), Signal()
        with m.If(self.start):
            m.d.sync += [free.eq(self.step.peak_capacity), fits.eq(self.step.peak_capacity != 0), self.count.eq(0)]
        with m.Elif(found):
            m.d.sync += [free.eq(free - 1), fits.eq(fits & (free != 1))]
            with m.If(~self.count.all()):
                m.d.sync += self.count.eq(self.count + 1)
        return fits

"""Peaks: local maxima of a heatmap, as records."""

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.interfaces import SAMPLES, STEP, STORE_ITEM
from hw.pipeline import delay

LANES = 8
"""int16 lanes of a vector."""

CENTRE = 1
QUEUE = 32
"""Vectors with peaks that wait for their records to be taken."""

MARGIN = 4
"""Places kept free, because ``space`` is two cycles behind ``issue``."""

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


class Peaks(wiring.Component):
    """Finds, in PEAKS steps, the values that are not below their neighbours inside the image, nor below ``peak_threshold``.

    A vector a cycle as long as peaks are rare; a record a cycle otherwise. Records come by pixel, plane, lane; the first
    ``peak_capacity`` of them leave, then one ``end`` item. Windows have dilation 1: one beat a vector.

    Members
    -------
    issue, space : credits of the window, as in :class:`hw.vector_buffer.VectorBuffer`; only PEAKS steps are counted.
    i_valid, i_payload : samples from the window; ignored outside PEAKS steps.
    o : peak records, then one ``end`` item.
    active : a vector was compared.
    count : peaks of this step (all of them, saturating); complete when the ``end`` item is out, 0 in other steps.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                "step": In(STEP),
                "half": In(1),
                "start": In(1),
                "issue": In(1),
                "space": Out(1),
                "i_valid": In(1),
                "i_payload": In(SAMPLES),
                "o": Out(stream.Signature(STORE_ITEM)),
                "active": Out(1),
                "count": Out(16),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        enabled = self.step.depthwise_op == DepthwiseOp.PEAKS
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=FOUND.size, depth=QUEUE)
        valid, found = self._compare(m, self.i_valid & enabled)
        keep = valid & (found.peaks.any() | found.end)
        m.d.comb += [queue.w_en.eq(keep), queue.w_data.eq(found), self.active.eq(valid)]

        # A place is taken at issue and given back by a vector without peaks, or when the last record of one with peaks is out.
        used = Signal(range(QUEUE + 1))
        m.d.sync += [
            used.eq(used + (self.issue & enabled) - (valid & ~keep) - queue.r_en),
            self.space.eq(used <= QUEUE - MARGIN),
        ]
        self._emit(m, queue)
        return m

    def _compare(self, m: Module, valid):
        """The centre against the nine samples of its lane (itself among them). Returns "a result is here", and it."""
        beat = self.i_payload
        step = self.step
        centre = Signal(data.ArrayLayout(signed(16), LANES), reset_less=True)
        samples = []
        for n in range(9):
            is_centre = (beat.row_tap[n // 3] == CENTRE) & (beat.column_tap[n % 3] == CENTRE)
            with m.If(is_centre):
                m.d.sync += centre.eq(beat.samples[n])
            samples.append(data.View(centre.shape(), delay(m, beat.samples[n].as_value(), 1, f"sample_{n}")))
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
        end = Signal(reset_less=True)
        m.d.sync += end.eq(
            (beat.x == step.output_width - 1)
            & (beat.y == step.output_height - 1)
            & (beat.plane == step.input_planes - 1)
        )
        m.d.comb += found.end.eq(delay(m, end, 2, "end"))
        for name in ("x", "y", "plane"):
            m.d.comb += found[name].eq(delay(m, beat[name], 3, name))
        return delay(m, valid, 3, "valid", reset=True), found

    def _emit(self, m: Module, queue) -> None:
        """Records of the vector at the head of the queue, lowest lane first."""
        head = data.View(FOUND, queue.r_data)
        done = Signal(LANES)
        left, lowest, lane = Signal(LANES), Signal(LANES), Signal(range(LANES))
        stored = Signal(17)
        fits, step_out, ending = Signal(), Signal(), Signal()
        m.d.comb += [
            left.eq(head.peaks & ~done),
            lowest.eq(left & -left),
            fits.eq(stored < self.step.peak_capacity),
            ending.eq((left == 0) & head.end),
        ]
        for n in range(LANES):
            with m.If(lowest[n]):
                m.d.comb += lane.eq(n)
        more = left != 0
        more_after = (left & ~lowest) != 0
        record = Cat(head.x, Const(0, 4), head.y, Const(0, 4), lane, head.plane, Const(0, 5), head.values[lane])
        m.d.comb += [
            self.o.valid.eq(queue.r_rdy & ((more & fits) | ending)),
            self.o.payload.data.eq(Mux(ending, 0, record)),
            self.o.payload.end.eq(ending),
            step_out.eq(queue.r_rdy & (self.o.ready | (more & ~fits))),
            queue.r_en.eq(step_out & Mux(head.end, ending, ~more_after)),
        ]
        with m.If(self.start):
            m.d.sync += [stored.eq(0), self.count.eq(0)]
        with m.Elif(step_out):
            m.d.sync += done.eq(Mux(queue.r_en, 0, done | lowest))
            with m.If(more):
                m.d.sync += [stored.eq(stored + fits), self.count.eq(Mux(self.count.all(), self.count, self.count + 1))]

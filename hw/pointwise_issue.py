"""Pointwise issue: the order in which vectors meet weights."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.interfaces import STEP
from hw.pipeline import delay

SETTLE = 4
"""Cycles from ``start`` until what is derived from ``step`` may be used."""


def operation_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What happens to a vector on its way through the array, travelling along with it.

    ``first``, ``last``: of a group's words. ``high``: the word has the high nibbles of 8-bit weights; ``low``: the low ones. ``final``:
    the group is its pixel's last. ``chunks``: that this group yields. ``upper``: without pointwise, the vector's upper half.
    """
    return data.StructLayout(
        {
            "first": 1,
            "last": 1,
            "high": 1,
            "low": 1,
            "final": 1,
            "upper": 1,
            "chunks": unsigned(config.chunks_per_group.bit_length()),
        }
    )


class PointwiseIssue(wiring.Component):
    """For each pixel, for each group of outputs, for each vector: one operation, or two with 8-bit weights, a cycle each.

    Without pointwise: two operations a vector, one for each half. The last operation of a group waits until results of the group
    before have left the drain registers, and until the result queue has room for its own.

    Members
    -------
    v_ready, v_take, v_last, v_final : read side of :class:`hw.vector_buffer.VectorBuffer`: ready, take, last, free.
    room : the result queue has room for the results of a group.
    reserve : beats that this cycle's operation will yield.
    issue, o_operation, o_word : an operation, and the index of its weight word.
    active, starved, blocked, finished : as in :class:`hw.pointwise.Pointwise`.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        beats = 2 * config.chunks_per_group
        super().__init__(
            {
                "step": In(STEP),
                "start": In(1),
                "v_ready": In(1),
                "v_take": Out(1),
                "v_last": Out(1),
                "v_final": Out(1),
                "room": In(1),
                "reserve": Out(range(beats + 1)),
                "issue": Out(1),
                "o_operation": Out(operation_layout(config)),
                "o_word": Out((config.weight_depth // 2 - 1).bit_length()),
                "starved": Out(1),
                "blocked": Out(1),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        step, operation = self.step, self.o_operation
        running, second = Signal(), Signal()
        pixels, last_pixel = Signal(24), Signal()
        ends_vector, ends_vectors, ends_group, ends_pixel, spaced = Signal(), Signal(), Signal(), Signal(), Signal()
        double = ~step.pointwise | step.wide_weights
        begin = delay(m, self.start, SETTLE, "start", reset=True)
        first_vector = Signal()
        self._count(m, "vectors", step.vectors, begin, self.v_take, first_vector, self.v_last)
        last_group = Signal()
        self._count(m, "groups", step.groups, begin, ends_vectors, Signal(), last_group)
        m.d.comb += [
            ends_vector.eq(~double | second),
            self.v_final.eq(~step.pointwise | last_group),
            self.v_take.eq(self.issue & ends_vector),
            ends_vectors.eq(self.v_take & self.v_last),
            ends_group.eq(~step.pointwise | (self.v_last & ends_vector)),
            ends_pixel.eq(ends_vectors & self.v_final),
            self.issue.eq(running & self.v_ready & (~ends_group | (self.room & spaced))),
            self.starved.eq(running & ~self.v_ready),
            self.blocked.eq(running & self.v_ready & ~self.issue),
            self.finished.eq(~running & (pixels == 0)),
            operation.first.eq(first_vector & ~second),
            operation.last.eq(ends_group),
            operation.high.eq(step.wide_weights & ~second),
            operation.low.eq(step.wide_weights & second),
            operation.upper.eq(second),
            operation.final.eq(self.v_final),
        ]
        beats = self._group_size(m)
        m.d.comb += self.reserve.eq(Mux(self.issue & ends_group, beats, 0))
        self._space(m, begin, self.issue & ends_group, beats, spaced)

        with m.If(self.start):
            # Peaks send nothing here.
            m.d.sync += pixels.eq(Mux(step.depthwise_op == DepthwiseOp.PEAKS, 0, step.output_pixels))
        with m.If(begin):
            m.d.sync += [running.eq(pixels != 0), last_pixel.eq(pixels == 1)]
        with m.If(self.issue):
            m.d.sync += [second.eq(double & ~second), self.o_word.eq(self.o_word + 1)]
        with m.If(ends_pixel):
            m.d.sync += [pixels.eq(pixels - 1), last_pixel.eq(pixels == 2), self.o_word.eq(0)]
            with m.If(last_pixel):
                m.d.sync += running.eq(0)
        return m

    def _count(self, m: Module, name: str, count, begin, advance, first, last) -> None:
        """Count ``advance`` modulo ``count``. ``first`` and ``last`` are registers, as so much depends on them."""
        left, most = Signal.like(count, name=f"{name}_left"), Signal.like(count, name=f"most_{name}")
        single = Signal(name=f"single_{name}")
        is_first, is_last = Signal(name=f"first_of_{name}"), Signal(name=f"last_of_{name}")
        m.d.sync += [most.eq(count - 1), single.eq(most == 0)]
        with m.If(begin | (advance & is_last)):
            m.d.sync += [left.eq(most), is_first.eq(1), is_last.eq(single)]
        with m.Elif(advance):
            m.d.sync += [left.eq(left - 1), is_first.eq(0), is_last.eq(left == 1)]
        m.d.comb += [first.eq(is_first), last.eq(is_last)]

    def _space(self, m: Module, begin, ends_group, beats, spaced) -> None:
        """``spaced``: the group before has ended at least as many cycles ago as it has beats."""
        left, over = Signal.like(beats), Signal()
        m.d.comb += spaced.eq(over)
        with m.If(begin):
            m.d.sync += over.eq(1)
        with m.Elif(ends_group):
            m.d.sync += [left.eq(beats), over.eq(beats == 1)]
        with m.Elif(~over):
            m.d.sync += [left.eq(left - 1), over.eq(left == 2)]

    def _group_size(self, m: Module):
        """Chunks of the current group into the operation; returns its beats. The last group may be short."""
        step, full = self.step, self.config.chunks_per_group
        short = Signal.like(self.o_operation.chunks)
        beats, short_beats, full_beats = (Signal.like(self.reserve, name=f"{n}beats") for n in ("", "short_", "full_"))
        m.d.sync += [
            short.eq(step.chunks - (step.groups - 1) * full),
            short_beats.eq(Mux(step.pointwise, short << step.wide_output, 1)),
            full_beats.eq(full << step.wide_output),
        ]
        m.d.comb += [
            self.o_operation.chunks.eq(Mux(self.v_final, short, full)),
            beats.eq(Mux(self.v_final, short_beats, full_beats)),
        ]
        return beats

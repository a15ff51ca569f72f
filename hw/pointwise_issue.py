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
        running = Signal()
        vector, group, second, pixels = Signal(12), Signal(9), Signal(), Signal(24)
        double, ends_vector, ends_group, ends_pixel = Signal(), Signal(), Signal(), Signal()
        spacing = Signal.like(self.reserve)
        begin = delay(m, self.start, SETTLE, "start", reset=True)
        m.d.comb += [
            double.eq(~step.pointwise | step.wide_weights),
            ends_vector.eq(~double | second),
            self.v_last.eq(vector == delay(m, step.vectors - 1, 1, "vectors")),
            self.v_final.eq(~step.pointwise | (group == delay(m, step.groups - 1, 1, "groups"))),
            self.v_take.eq(self.issue & ends_vector),
            ends_group.eq(~step.pointwise | (self.v_last & ends_vector)),
            ends_pixel.eq(self.v_last & ends_vector & self.v_final),
            self.issue.eq(running & self.v_ready & (~ends_group | (self.room & (spacing == 0)))),
            self.starved.eq(running & ~self.v_ready),
            self.blocked.eq(running & self.v_ready & ~self.issue),
            self.finished.eq(~running & (pixels == 0)),
            operation.first.eq((vector == 0) & ~second),
            operation.last.eq(ends_group),
            operation.high.eq(step.wide_weights & ~second),
            operation.low.eq(step.wide_weights & second),
            operation.upper.eq(second),
            operation.final.eq(self.v_final),
        ]
        beats = self._group_size(m)
        m.d.comb += self.reserve.eq(Mux(self.issue & ends_group, beats, 0))

        with m.If(self.start):
            # Peaks send nothing here.
            m.d.sync += pixels.eq(Mux(step.depthwise_op == DepthwiseOp.PEAKS, 0, step.output_pixels))
        with m.If(begin):
            m.d.sync += [running.eq(pixels != 0), spacing.eq(0)]
        with m.If(spacing != 0):
            m.d.sync += spacing.eq(spacing - 1)
        with m.If(self.issue):
            m.d.sync += [second.eq(double & ~second), self.o_word.eq(self.o_word + 1)]
            with m.If(ends_vector):
                m.d.sync += vector.eq(Mux(self.v_last, 0, vector + 1))
            with m.If(ends_group):
                m.d.sync += spacing.eq(beats - 1)
            with m.If(ends_vector & self.v_last):
                m.d.sync += group.eq(Mux(self.v_final, 0, group + 1))
            with m.If(ends_pixel):
                m.d.sync += [pixels.eq(pixels - 1), self.o_word.eq(0)]
                with m.If(pixels == 1):
                    m.d.sync += running.eq(0)
        return m

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

# SPDX-License-Identifier: Apache-2.0
"""Pointwise issue: the order in which vectors meet weights."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.interfaces import StepControl, VectorWalk, begin_after
from hw.lib import taken
from hw.pointwise.walk import PointwiseWalk


def operation_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What happens to a vector on its way through the array, travelling along with it.

    ``first``, ``last``: of a group's words. ``high``: the word has the high nibbles of 8-bit weights; ``low``: the low
    ones. ``final``: the group is its pixel's last. ``chunks``: that this group yields. ``upper``: without pointwise,
    the vector's upper half. ``expand``: of the expansion.
    """
    return data.StructLayout(
        {
            "first": 1,
            "last": 1,
            "high": 1,
            "low": 1,
            "final": 1,
            "upper": 1,
            "expand": 1,
            "chunks": unsigned(config.chunks_per_group.bit_length()),
        }
    )


class PointwiseIssue(wiring.Component):
    """For each pixel, for each group of outputs, for each vector: one operation, or two with 8-bit weights, a cycle
    each.

    Without pointwise: two operations a vector, one for each half. The last operation of a group waits until results of
    the group before have left the drain registers.

    Two convolutions share the array, the step's own and, with ``expand``, the expansion; they take turns between
    groups. The expansion goes first, as long as it has a pixel and its results have room. A group is only begun when
    its results have a place, and has then all that it needs: the row buffer holds whole rows, and the window holds all
    rows of a pixel of which it has sent a vector. So neither waits for the other within a group. Between groups, the
    step's own convolution needs rows for which the window has room, so that the results of the expansion find a place,
    and the expansion goes on.

    Members
    -------
    vectors, rows : read pointers of :class:`hw.pointwise.vector_buffer.VectorBuffer` and
        :class:`hw.pointwise.row_buffer.RowBuffer`.
    room, e_room : the result queue, that of the expansion, has room for the results of a group.
    reserve, e_reserve : beats that this cycle's operation will yield to either.
    issue, o_operation, o_word : an operation, and the index of its weight word.
    active, starved, blocked, finished : as in :class:`hw.pointwise.Pointwise`.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        beats = 2 * config.chunks_per_group
        super().__init__(
            {
                **taken(StepControl()),
                "vectors": In(VectorWalk()),
                "rows": In(VectorWalk()),
                "room": In(1),
                "e_room": In(1),
                "reserve": Out(range(beats + 1)),
                "e_reserve": Out(range(config.chunks_per_group + 1)),
                "issue": Out(1),
                "o_operation": Out(operation_layout(config)),
                "o_word": Out((config.weight_depth // 2 - 1).bit_length()),
                "starved": Out(1),
                "blocked": Out(1),
                "finished": Out(1, init=1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        step, operation = self.step, self.o_operation
        m.submodules.main = main = PointwiseWalk(self.config)
        m.submodules.expansion = expansion = PointwiseWalk(self.config)
        self._set_up(m, main, expansion)
        begin = begin_after(m, self.start, 4)
        running, expanding, pixels, last_pixel = Signal(), Signal(), Signal(24), Signal()
        expansion_turn, spaced = Signal(), Signal()
        main_fires, expansion_fires = Signal(), Signal()
        m.d.comb += [
            main_fires.eq(running & self.vectors.ready & (~main.begins | self.room) & (~main.ends | spaced)),
            expansion_fires.eq(
                expanding & self.rows.ready & (~expansion.begins | self.e_room) & (~expansion.ends | spaced)
            ),
            self.issue.eq(Mux(expansion_turn, expansion_fires, main_fires)),
            main.advance.eq(main_fires & ~expansion_turn),
            expansion.advance.eq(expansion_fires & expansion_turn),
            main.restart.eq(begin),
            expansion.restart.eq(begin),
            self.vectors.take.eq(main.advance & main.ends_vector),
            self.vectors.last.eq(main.at_last_vector),
            self.vectors.free.eq(main.at_last_group),
            self.rows.take.eq(expansion.advance),
            self.rows.last.eq(expansion.at_last_vector),
            self.rows.free.eq(expansion.at_last_group),
            self.starved.eq(running & ~self.vectors.ready & ~self.issue),
            self.blocked.eq(running & self.vectors.ready & ~self.issue),
            self.o_word.eq(Mux(expansion_turn, expansion.word, main.word)),
            operation.first.eq(Mux(expansion_turn, expansion.begins, main.begins)),
            operation.last.eq(Mux(expansion_turn, expansion.ends, main.ends)),
            operation.final.eq(Mux(expansion_turn, expansion.at_last_group, main.at_last_group)),
            operation.high.eq(step.wide_weights & ~main.second),
            operation.low.eq(step.wide_weights & main.second),
            operation.upper.eq(main.second),
            operation.expand.eq(expansion_turn),
        ]
        with m.If((self.issue & operation.last) | (~self.issue & operation.first)):
            m.d.sync += expansion_turn.eq(expanding & self.rows.ready & self.e_room)
        beats, expansion_beats = self._group_sizes(m, main, expansion)
        m.d.comb += [
            self.reserve.eq(Mux(main.advance & main.ends, beats, 0)),
            self.e_reserve.eq(Mux(expansion.advance & expansion.ends, expansion_beats, 0)),
            operation.chunks.eq(
                Mux(expansion_turn, expansion_beats, Mux(main.at_last_group, self.short, self.config.chunks_per_group))
            ),
        ]
        self._space(m, begin, self.issue & operation.last, Mux(expansion_turn, expansion_beats, beats), spaced)

        with m.If(main.advance & main.ends_pixel):
            m.d.sync += [pixels.eq(pixels - 1), last_pixel.eq(pixels == 2)]
            with m.If(last_pixel):
                m.d.sync += [running.eq(0), self.finished.eq(1)]
        with m.If(begin):
            m.d.sync += [running.eq(pixels != 0), last_pixel.eq(pixels == 1), expanding.eq(step.expand)]
        with m.If(self.start):
            # Peaks send nothing here.
            m.d.sync += pixels.eq(Mux(step.depthwise_op == DepthwiseOp.PEAKS, 0, step.output_pixels))
            m.d.sync += [expanding.eq(0), expansion_turn.eq(0)]
            m.d.sync += self.finished.eq(step.depthwise_op == DepthwiseOp.PEAKS)
        return m

    def _set_up(self, m: Module, main: PointwiseWalk, expansion: PointwiseWalk) -> None:
        """What is static in a step."""
        step = self.step
        m.d.comb += [
            main.vectors.eq(step.vectors),
            main.groups.eq(step.groups),
            main.first_word.eq(step.expand_words),
            main.double.eq(~step.pointwise | step.wide_weights),
            main.bypass.eq(~step.pointwise),
            expansion.vectors.eq(step.expand_planes),
            expansion.groups.eq(step.expand_groups),
        ]

    def _space(self, m: Module, begin, ends_group, beats, spaced) -> None:
        """``spaced``: the group before has ended at least as many cycles ago as it has beats."""
        left, over = Signal.like(self.reserve), Signal()
        m.d.comb += spaced.eq(over)
        with m.If(begin):
            m.d.sync += over.eq(1)
        with m.Elif(ends_group):
            m.d.sync += [left.eq(beats), over.eq(beats == 1)]
        with m.Elif(~over):
            m.d.sync += [left.eq(left - 1), over.eq(left == 2)]

    def _group_sizes(self, m: Module, main: PointwiseWalk, expansion: PointwiseWalk):
        """Beats of the current group of either; an expansion's are its chunks. The last group of a pixel may be
        short.
        """
        step, full = self.step, self.config.chunks_per_group
        self.short, short_expansion = Signal(range(full + 1), name="short"), Signal.like(self.e_reserve, name="short_e")
        beats, short_beats, full_beats = (Signal.like(self.reserve, name=f"{n}beats") for n in ("", "short_", "full_"))
        expansion_beats = Signal.like(self.e_reserve, name="expansion_beats")
        m.d.sync += [
            self.short.eq(step.chunks - (step.groups - 1) * full),
            short_beats.eq(Mux(step.pointwise, self.short << step.wide_output, 1)),
            full_beats.eq(full << step.wide_output),
            short_expansion.eq(step.expand_chunks - (step.expand_groups - 1) * full),
        ]
        m.d.comb += [
            beats.eq(Mux(main.at_last_group, short_beats, full_beats)),
            expansion_beats.eq(Mux(expansion.at_last_group, short_expansion, full)),
        ]
        return beats, expansion_beats

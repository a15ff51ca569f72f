"""Pointwise walk: counts through the operations of a 1x1 convolution."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig


class PointwiseWalk(wiring.Component):
    """For each pixel, for each group, for each vector: one operation, or two with ``double``, and the index of its weight word.

    Members
    -------
    vectors, groups, double, bypass, first_word : static, two cycles before ``restart``: of a pixel, and two operations a vector; no weights, each
        operation is a group of its own and each vector's group the last; index of the pixel's first word.
    restart : to the first operation.
    advance : the operation is done, on to the next one.
    second : it is the second of its vector.
    begins, ends : it is the first, the last, of its group.
    ends_vector, at_last_vector, at_last_group : it is the last of its vector; its vector is the pixel's last; so is its group.
    ends_pixel : it is the pixel's last.
    word : of its weights.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        word = unsigned((config.weight_depth // 2 - 1).bit_length())
        super().__init__(
            {
                "vectors": In(12),
                "groups": In(9),
                "double": In(1),
                "bypass": In(1),
                "first_word": In(word),
                "restart": In(1),
                "advance": In(1),
                "second": Out(1),
                "begins": Out(1),
                "ends": Out(1),
                "ends_vector": Out(1),
                "at_last_vector": Out(1),
                "at_last_group": Out(1),
                "ends_pixel": Out(1),
                "word": Out(word),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        done, vectors_done = Signal(), Signal()
        first_vector, last_vector = self._count(m, "vectors", self.vectors, done)
        _, last_group = self._count(m, "groups", self.groups, vectors_done)
        m.d.comb += [
            done.eq(self.advance & self.ends_vector),
            vectors_done.eq(done & self.at_last_vector),
            self.begins.eq(self.bypass | (first_vector & ~self.second)),
            self.ends_vector.eq(~self.double | self.second),
            self.at_last_vector.eq(last_vector),
            self.at_last_group.eq(self.bypass | last_group),
            self.ends.eq(self.bypass | (self.at_last_vector & self.ends_vector)),
            self.ends_pixel.eq(self.at_last_vector & self.ends_vector & self.at_last_group),
        ]
        with m.If(self.advance):
            m.d.sync += [self.second.eq(self.double & ~self.second), self.word.eq(self.word + 1)]
            with m.If(self.ends_pixel):
                m.d.sync += self.word.eq(self.first_word)
        with m.If(self.restart):
            m.d.sync += [self.second.eq(0), self.word.eq(self.first_word)]
        return m

    def _count(self, m: Module, name: str, count, advance):
        """Count ``advance`` modulo ``count``. Returns "first" and "last", registers, as so much depends on them."""
        left, most = Signal.like(count, name=f"{name}_left"), Signal.like(count, name=f"most_{name}")
        single = Signal(name=f"single_{name}")
        first, last = Signal(name=f"first_of_{name}"), Signal(name=f"last_of_{name}")
        m.d.sync += [most.eq(count - 1), single.eq(most == 0)]
        with m.If(self.restart | (advance & last)):
            m.d.sync += [left.eq(most), first.eq(1), last.eq(single)]
        with m.Elif(advance):
            m.d.sync += [left.eq(left - 1), first.eq(0), last.eq(left == 1)]
        return first, last

"""Pointwise walk: counts through the operations of a 1x1 convolution."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig


class PointwiseWalk(wiring.Component):
    """For each pixel, for each group, for each vector: one operation, or two with ``double``, and the index of its weight word.

    Members
    -------
    last_vector, last_group, double, bypass, first_word : static: indices of a pixel's last vector and group; two operations a vector; no weights, each
        operation is a group of its own and each vector's last; index of the pixel's first word.
    restart : back to the first operation.
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
                "last_vector": In(12),
                "last_group": In(9),
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
        vector, group = Signal(12), Signal(9)
        m.d.comb += [
            self.begins.eq(self.bypass | ((vector == 0) & ~self.second)),
            self.ends_vector.eq(~self.double | self.second),
            self.at_last_vector.eq(vector == self.last_vector),
            self.at_last_group.eq(self.bypass | (group == self.last_group)),
            self.ends.eq(self.bypass | (self.at_last_vector & self.ends_vector)),
            self.ends_pixel.eq(self.at_last_vector & self.ends_vector & self.at_last_group),
        ]
        with m.If(self.advance):
            m.d.sync += [self.second.eq(self.double & ~self.second), self.word.eq(self.word + 1)]
            with m.If(self.ends_vector):
                m.d.sync += vector.eq(Mux(self.at_last_vector, 0, vector + 1))
            with m.If(self.ends_vector & self.at_last_vector):
                m.d.sync += group.eq(Mux(self.at_last_group, 0, group + 1))
            with m.If(self.ends_pixel):
                m.d.sync += self.word.eq(self.first_word)
        with m.If(self.restart):
            m.d.sync += [self.second.eq(0), vector.eq(0), group.eq(0), self.word.eq(self.first_word)]
        return m

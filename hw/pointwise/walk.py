# SPDX-License-Identifier: Apache-2.0
"""Pointwise walk: counts through the operations of a 1x1 convolution."""

from typing import NamedTuple

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig


class _Last(NamedTuple):
    """At the last of a count (a register), at the last after the next advance, and whether there is only one."""

    now: Signal
    following: Signal
    single: Signal


class PointwiseWalk(wiring.Component):
    """For each pixel, for each group, for each vector: one operation, or two with ``double``, and the index of its
    weight word.

    Members
    -------
    vectors, groups, double, bypass, first_word : static from two cycles before ``restart``: of a pixel, and two
        operations a vector; no weights, each operation is a group of its own and each vector's group the last; index of
        the pixel's first word.
    restart : to the first operation.
    advance : the operation is done, on to the next one.
    second : it is the second of its vector.
    begins, ends : it is the first, the last, of its group.
    ends_vector, at_last_vector, at_last_group : it is the last of its vector; its vector is the pixel's last; so is its
        group.
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
        last_vector = self._count(m, "vectors", self.vectors, done)
        last_group = self._count(m, "groups", self.groups, vectors_done)
        ends_vector = Signal()
        m.d.comb += [
            done.eq(self.advance & ends_vector),
            vectors_done.eq(done & last_vector.now),
            self.ends_vector.eq(ends_vector),
            self.at_last_vector.eq(last_vector.now),
            self.at_last_group.eq(self.bypass | last_group.now),
            self.ends_pixel.eq(last_vector.now & ends_vector & self.at_last_group),
        ]
        # Registers, as so much depends on them.
        with m.If(self.restart):
            m.d.sync += [
                ends_vector.eq(~self.double),
                self.begins.eq(1),
                self.ends.eq(self.bypass | (last_vector.single & ~self.double)),
            ]
        with m.Elif(self.advance):
            m.d.sync += [
                ends_vector.eq(~self.double | ~ends_vector),
                self.begins.eq(self.ends),
                self.ends.eq(self.bypass | Mux(ends_vector, last_vector.following & ~self.double, last_vector.now)),
            ]
        with m.If(self.advance):
            m.d.sync += [self.second.eq(self.double & ~self.second), self.word.eq(self.word + 1)]
            with m.If(self.ends_pixel):
                m.d.sync += self.word.eq(self.first_word)
        with m.If(self.restart):
            m.d.sync += [self.second.eq(0), self.word.eq(self.first_word)]
        return m

    def _count(self, m: Module, name: str, count, advance) -> _Last:
        """Count ``advance`` modulo ``count``."""
        left, most = Signal.like(count, name=f"{name}_left"), Signal.like(count, name=f"most_{name}")
        last = _Last(*(Signal(name=f"{n}_of_{name}") for n in ("last", "following", "single")))
        m.d.sync += [most.eq(count - 1), last.single.eq(most == 0)]
        m.d.comb += last.following.eq(Mux(last.now, last.single, left == 1))
        with m.If(self.restart | (advance & last.now)):
            m.d.sync += [left.eq(most), last.now.eq(last.single)]
        with m.Elif(advance):
            m.d.sync += [left.eq(left - 1), last.now.eq(left == 1)]
        return last

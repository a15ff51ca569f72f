# SPDX-License-Identifier: Apache-2.0
"""Credits of the buffers before the pointwise unit: no place is given twice, none is lost."""

from amaranth import Cat, Module, Mux, Signal, Value

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.lib import BlockMemory, delay
from hw.pointwise.row_buffer import RowBuffer
from hw.pointwise.vector_buffer import MARGIN, VectorBuffer
from tests.formal.bench import Bench, Scoreboard
from tests.formal.prove import Mutant, proof

DEPTH = 32
ROW_DEPTH = 16
"""Least that a configuration may have."""

ROW_BITS = ROW_DEPTH.bit_length()

VECTORS, ROWS = "hw.pointwise.vector_buffer", "hw.pointwise.row_buffer"


class Reads:
    """What a buffer's reader gets: ensures that it is ``item``, the one of ``items`` that is followed, whenever it took
    item ``index`` and that was the one.
    """

    def __init__(self, bench: Bench, items: Scoreboard, item: Value, index: Value) -> None:
        m, unit = bench.m, bench.component
        self.items, self.item = items, item
        took = unit.take & items.watching & (items.ahead == index)
        self.fetched, self.seen = (delay(m, took, n, f"took_{n}", reset=True) for n in (1, unit.latency))
        self.due = {n: delay(m, item, n, f"due_{n}") for n in (1, unit.latency)}
        bench.ensure(~self.seen | (unit.payload.as_value() == self.due[unit.latency]))

    def follow(self, bench: Bench, mem: BlockMemory, address: Value) -> None:
        """What holds inside of the memory, that has the item at ``address``, and of its registers."""
        store, fetched, registered = (bench.inner(name, mem) for name in ("mem", "read", "registered"))
        word = bench.memory_word(store, address[: len(mem.read_address)])
        bench.invariant(~self.items.watching | (word == self.item))
        bench.invariant(~self.fetched | (fetched.data == self.due[1]))
        bench.invariant(~self.seen | (registered == self.due[bench.component.latency]))


@proof(
    name="vector buffer",
    claim="places given and not freed are counted exactly and never more than there are; ready exactly if the vector "
    "at the read pointer is there; each vector is read unchanged, in order, in every pass over its pixel, until it is "
    "freed",
    assumptions=f"{DEPTH} places, pixels of 1 to {DEPTH // 2} vectors, no PEAKS step; the window heeds space two "
    "cycles late, as in the accelerator; vectors come after their issue; the reader takes only what is ready, with "
    "`last` at a pixel's end and `free` in whole passes",
    component=lambda: VectorBuffer(AcceleratorConfig(vector_depth=DEPTH)),
    depth=3,
    cover=16,
    depth_of_mutants=16,
    mutants=(
        Mutant(VECTORS, "used + issued - freed", "used + issued"),
        Mutant(VECTORS, "held - without", "held - 1"),
        Mutant(VECTORS, "self.i.valid | rewind |", "self.i.valid |"),
        Mutant(VECTORS, "pixel.eq(read + 1)", "pixel.eq(read)"),
    ),
)
def vector_buffer(bench: Bench) -> None:
    m, unit = bench.m, bench.component
    vectors = unit.step.vectors
    started = Signal()
    m.d.sync += started.eq(1)
    bench.assume(~started | (unit.step.as_value() == bench.past(unit.step.as_value())))
    bench.assume((vectors != 0) & (vectors <= DEPTH // 2) & (unit.step.depthwise_op != DepthwiseOp.PEAKS))

    space = delay(m, unit.space, 2, "space", reset=True)
    flying = Signal(range(DEPTH + 1))
    bench.assume(~unit.issue | space)
    bench.assume(~unit.i.valid | (flying != 0))
    m.d.sync += flying.eq(flying + unit.issue - unit.i.valid)

    # The reader's place in a pixel, and whether its pass frees.
    position, frees = Signal(range(DEPTH)), Signal()
    bench.assume(~unit.take | (unit.ready & (unit.last == (position == vectors - 1))))
    bench.assume(~unit.take | (position == 0) | (unit.free == frees))
    with m.If(unit.take):
        m.d.sync += [position.eq(Mux(unit.last, 0, position + 1)), frees.eq(unit.free)]
    gone = Mux((position != 0) & frees, position, 0)
    index = position - gone
    items = Scoreboard(bench, unit.i.valid, unit.take & unit.free, DEPTH)
    item = items.hold(bench, unit.i.payload.as_value())
    read_back = Reads(bench, items, item, index)
    bench.ensure(unit.ready == (items.level > index))
    bench.ensure(items.level + flying <= DEPTH)

    write, read, pixel, used, held, ahead, freed, mem = (
        bench.inner(name) for name in ("write", "read", "pixel", "used", "held", "ahead", "freed", "mem")
    )
    bench.ensure(used == items.level + flying + freed)
    bench.invariant(used <= DEPTH)
    # What space allowed in the two cycles before, and what has been issued since.
    recent = sum((delay(m, unit.issue, n, f"issue_{n}", reset=True) for n in (1, 2, 3)), start=0)
    bench.invariant(~unit.space | (used <= DEPTH - MARGIN + bench.past(unit.issue)))
    bench.invariant(~delay(m, unit.space, 1, "space_1", reset=True) | (used <= DEPTH - MARGIN + recent))
    bench.invariant(~space | (used <= DEPTH - MARGIN + recent))
    bits = len(read)
    bench.invariant(~started | (bench.inner("without") == vectors))
    bench.invariant(position < vectors)
    bench.invariant(read == (pixel + position)[:bits])
    bench.invariant(write == (pixel + gone + items.level)[:bits])
    bench.invariant(held == items.level + gone)
    bench.invariant(ahead + index == items.level)
    read_back.follow(bench, mem, pixel + gone + items.ahead)
    bench.cover(unit.take & unit.last & unit.free & (position == 2))
    bench.cover(unit.take & ~unit.free & (position == 1) & (items.level > vectors))


@proof(
    name="row buffer",
    claim="places given and not freed are counted exactly and never more than there are; a piece's places are freed "
    "together, two cycles after its last take; ready exactly if all of a piece is there, two cycles after its last "
    "vector came; each vector is read unchanged, in the order of the pixels, in every pass over its pixel, until its "
    "piece is freed; a start forgets all",
    assumptions=f"{ROW_DEPTH} places, in steps with an expansion pieces of 1 to {ROW_DEPTH} vectors, of any number of "
    "planes and columns; the step changes at its start only, at any time; vectors come, and are taken, from the third "
    "cycle after it on; the reader takes only what is ready, with `last` at a pixel's end and `free` in whole passes",
    component=lambda: RowBuffer(AcceleratorConfig(expand_depth=ROW_DEPTH)),
    depth=4,
    cover=20,
    depth_of_mutants=16,
    mutants=(
        Mutant(ROWS, "used + accept - Mux(freed, size, 0)", "used + accept"),
        Mutant(ROWS, "self.ready.eq(complete |", "self.ready.eq(written |"),
        Mutant(ROWS, "Mux(done, pieces[1:].any(), self.ready)", "Mux(done, pieces.any(), self.ready)"),
        Mutant(ROWS, "address + self.step.expand_columns", "address + 1"),
        Mutant(ROWS, "self.ready.eq(0), used.eq(0)]", "self.ready.eq(0)]"),
    ),
)
def row_buffer(bench: Bench) -> None:
    m, unit = bench.m, bench.component
    step, start = unit.step, unit.start
    planes, columns = step.expand_planes, step.expand_columns
    size = Signal(2 * ROW_BITS)
    m.d.comb += size.eq(_vectors(planes, columns))
    begun = Signal()
    m.d.sync += begun.eq(begun | start)
    bench.assume(~begun | start | (step.as_value() == bench.past(step.as_value())))
    shape = (planes != 0) & (planes <= ROW_DEPTH) & (columns != 0) & (columns <= ROW_DEPTH) & (size <= ROW_DEPTH)
    bench.assume(~step.expand | shape)
    starts = [start, *(delay(m, start, n, f"start_{n}", reset=True) for n in (1, 2))]
    settled = begun & ~Cat(starts).any()
    bench.assume(~(unit.i.valid | unit.take) | settled)

    # The reader's place in a piece, and whether its pass frees.
    plane, frees, ends_pixel = Place(m, planes, unit.take, start), Signal(), Signal()
    bench.assume(~unit.take | (unit.ready & (unit.last == plane.at_last)))
    bench.assume(~unit.take | (plane.count == 0) | (unit.free == frees))
    m.d.comb += ends_pixel.eq(unit.take & unit.last & unit.free)
    with m.If(unit.take):
        m.d.sync += frees.eq(unit.free)
    column = Place(m, columns, ends_pixel, start)
    accept, done = unit.i.valid & unit.i.ready, ends_pixel & column.at_last
    items = Scoreboard(bench, accept, Mux(done, size, 0), ROW_DEPTH, clear=start)
    item = items.hold(bench, unit.i.payload.as_value())
    before = _vectors(plane.count, columns)
    read_back = Reads(bench, items, item, before + column.count)
    came, freed = bench.past(accept, "came"), bench.past(done, "freed")
    # In the cycle of a start the step is another one already.
    used, given = bench.inner("used"), items.level + Mux(freed, size, 0)
    bench.ensure(start | (used == given))
    bench.ensure(items.level + accept <= ROW_DEPTH)
    bench.ensure(start | (unit.i.ready == (step.expand & (given != ROW_DEPTH))))
    bench.ensure(start | (unit.ready == (step.expand & (items.level - came >= size))))

    w_column = Place(m, columns, accept, start)
    w_plane = Place(m, planes, accept & w_column.at_last, start)
    pieces, complete = bench.inner("pieces"), bench.inner("complete")
    written, count, length = (bench.inner(f"_write:{name}") for name in ("address", "count", "size"))
    # A piece has been written.
    known = Signal()
    m.d.sync += known.eq(~start & (known | (accept & w_column.at_last & w_plane.at_last)))
    counts = [place.count for place in (plane, column, w_plane, w_column)]
    bench.invariant(begun | ~Cat(items.level, pieces, complete, known, *counts).any())
    bench.invariant(step.expand | start | ((items.level == 0) & ~freed & ~came))
    bench.invariant(used <= ROW_DEPTH)
    bench.invariant(unit.ready == (pieces != 0))
    whole = (pieces + complete)[:ROW_BITS]
    bench.invariant(start | ((items.level == _vectors(whole, size) + count) & (whole <= ROW_DEPTH)))
    bench.invariant(start | (complete == (came & (count == 0))))
    bench.invariant(start | Mux(known, length == size, (whole == 0) & ~freed))
    bench.invariant(start | (count == _vectors(w_plane.count, columns) + w_column.count))
    bench.invariant(start | (pieces != 0) | ~Cat(plane.count, column.count).any())
    read, pixel, piece = (bench.inner(f"_read:{name}") for name in ("address", "pixel", "piece"))
    bits = len(piece)
    bench.invariant(written == (piece + items.level)[:bits])
    bench.invariant(pixel == (piece + column.count)[:bits])
    bench.invariant(start | (read == (pixel + before)[:bits]))
    read_back.follow(bench, bench.inner("mem"), piece + items.ahead)
    bench.invariant(bench.inner("restart") == starts[2])
    for name, place in (("planes", w_plane), ("columns", w_column), ("columns_read", column)):
        _follow_counter(bench, name, place, begun & step.expand, starts)
    for name, number in (("last_plane", planes), ("last_column", columns)):
        bench.invariant(~begun | start | ~step.expand | (bench.inner(name) == number - 1))

    bench.cover(done & (planes == 2) & (columns == 2) & (items.level > size))
    bench.cover(ends_pixel & ~done & (planes == 2))
    bench.cover(unit.take & unit.last & ~unit.free & (plane.count == 1))
    bench.cover(start & (items.level != 0) & unit.ready)
    # Full, and not before that can be: the solver need not search for it.
    age = Signal(range(ROW_DEPTH + 4))
    m.d.sync += age.eq(age + 1)
    bench.cover((age == ROW_DEPTH + 3) & step.expand & ~unit.i.ready)


class Place:
    """Counts ``advance`` modulo ``number``, from 0 after ``start``.

    Members
    -------
    number, count : as said. ``at_last``: the next one is 0.
    """

    def __init__(self, m: Module, number: Value, advance: Value, start: Value) -> None:
        self.number, self.count, self.at_last = number, Signal(ROW_BITS), Signal()
        m.d.comb += self.at_last.eq(self.count == number - 1)
        with m.If(advance):
            m.d.sync += self.count.eq(Mux(self.at_last, 0, self.count + 1))
        with m.If(start):
            m.d.sync += self.count.eq(0)


def _vectors(count: Value, of: Value) -> Value:
    """Of ``count`` planes or pieces of as many vectors."""
    return count[:ROW_BITS] * of[:ROW_BITS]


def _follow_counter(bench: Bench, name: str, place: Place, active: Value, starts: list[Value]) -> None:
    """What holds inside of the counter ``name``, ``starts`` being a start now and one and two cycles ago."""
    left, at_last, single = (
        bench.inner(f"count_to:{signal}") for signal in (f"{name}_left", f"last_of_{name}", f"single_of_{name}_1")
    )
    bench.invariant(~active | starts[0] | (place.count < place.number))
    bench.invariant(~active | starts[0] | starts[1] | (single == (place.number == 1)))
    same = (left == place.number - 1 - place.count) & (at_last == place.at_last)
    bench.invariant(~active | Cat(starts).any() | same)

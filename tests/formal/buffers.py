# SPDX-License-Identifier: Apache-2.0
"""Credits of the buffer between depthwise and pointwise unit: no place is given twice, none is lost."""

from amaranth import Mux, Signal

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.lib import delay
from hw.pointwise.vector_buffer import MARGIN, VectorBuffer
from tests.formal.bench import Bench, Scoreboard
from tests.formal.prove import Mutant, proof

DEPTH = 32

MODULE = "hw.pointwise.vector_buffer"


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
        Mutant(MODULE, "used + issued - freed", "used + issued"),
        Mutant(MODULE, "held - without", "held - 1"),
        Mutant(MODULE, "self.i.valid | rewind |", "self.i.valid |"),
        Mutant(MODULE, "pixel.eq(read + 1)", "pixel.eq(read)"),
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
    seen = delay(m, unit.take & items.watching & (items.ahead == index), unit.latency, "seen", reset=True)
    expected = delay(m, item, unit.latency, "expected")
    bench.ensure(~seen | (unit.payload.as_value() == expected))
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
    store = bench.inner("mem", mem)
    word = bench.memory_word(store, (pixel + gone + items.ahead)[:bits])
    bench.invariant(~items.watching | (word == item))
    # The same item on its way through the memory's registers.
    fetched, registered = bench.inner("read", mem).data, bench.inner("registered", mem)
    at = delay(m, unit.take & items.watching & (items.ahead == index), 1, "at", reset=True)
    before = delay(m, item, 1, "before")
    bench.invariant(~at | (fetched == before))
    bench.invariant(~seen | (registered == expected))
    bench.cover(unit.take & unit.last & unit.free & (position == 2))
    bench.cover(unit.take & ~unit.free & (position == 1) & (items.level > vectors))

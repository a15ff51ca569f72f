# SPDX-License-Identifier: Apache-2.0
"""Vector buffer: the ring between the depthwise unit and the pointwise unit."""

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.interfaces import VECTOR, StepControl, VectorReader
from hw.lib import READ_LATENCY, BlockMemory, delay, taken

MARGIN = 6
"""Places kept free, because ``space`` is four cycles behind the window's issue: two here, and a register each way
between them.
"""


class VectorBuffer(wiring.Component):
    """Ring of ``vector_depth`` vectors that are read once for each group of outputs, pixel by pixel.

    Places are counted from ``issue``, when the window sends a vector on its way, so that nothing between them ever has
    to stall. A pixel (``step.vectors``) may use at most half of the ring.

    Members
    -------
    issue, space : credits of the window: ``issue`` takes a place (not in PEAKS steps), ``space`` (two cycles late) says
        that there is one.
    i : the vectors; always taken.
    ready, take, last, free, payload : :class:`hw.interfaces.VectorReader`.
    """

    STEP_FIELDS = "depthwise_op vectors".split()

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                **taken(StepControl()),
                "issue": In(1),
                "space": Out(1),
                "i": In(stream.Signature(VECTOR, always_ready=True)),
                **VectorReader().members,
            }
        )

    @property
    def latency(self) -> int:
        return READ_LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        depth = self.config.vector_depth
        m.submodules.memory = mem = BlockMemory(VECTOR.size, depth)
        write, read, pixel = (Signal.like(mem.read_address, name=name) for name in ("write", "read", "pixel"))
        used, held, ahead = (Signal(range(depth + 1), name=name) for name in ("used", "held", "ahead"))
        rewind, done, issued, freed = Signal(), Signal(), Signal(), Signal()
        without = delay(m, self.step.vectors, 1, "vectors")
        m.d.comb += [
            issued.eq(self.issue & (self.step.depthwise_op != DepthwiseOp.PEAKS)),
            rewind.eq(self.take & self.last & ~self.free),
            done.eq(self.take & self.last & self.free),
            mem.write_enable.eq(self.i.valid),
            mem.write_address.eq(write),
            mem.write_data.eq(self.i.payload),
            mem.read_address.eq(read),
            self.payload.eq(mem.read_data),
        ]
        # ``ahead`` counts the vectors from the read pointer on, ``held`` those from the pixel's first; ``ready`` is
        # ``ahead != 0``.
        m.d.sync += [
            write.eq(write + self.i.valid),
            # ``take`` comes late and only chooses between sums.
            ahead.eq(Mux(rewind, held + self.i.valid, Mux(self.take, ahead - ~self.i.valid, ahead + self.i.valid))),
            self.ready.eq(self.i.valid | rewind | Mux(self.take, ahead[1:].any(), self.ready)),
            held.eq(Mux(done, held - without + self.i.valid, held + self.i.valid)),
            freed.eq(self.take & self.free),
            used.eq(used + issued - freed),
            self.space.eq(used <= depth - MARGIN),
        ]
        with m.If(self.take):
            m.d.sync += read.eq(Mux(self.last & ~self.free, pixel, read + 1))
        with m.If(done):
            m.d.sync += pixel.eq(read + 1)
        return m

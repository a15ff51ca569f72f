"""Vector buffer: the ring between the depthwise unit and the pointwise array."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.interfaces import STEP, VECTOR


class VectorBuffer(wiring.Component):
    """Members
    -------
    issue, space : credits for the window: ``issue`` reserves a place.
    i_valid, i_payload : the vectors; always taken.
    ready : the vector at the read pointer is there.
    take : advance the read pointer. ``last``: it was the pixel's last vector; then the pointer returns to the pixel's first,
        or, with ``final``, goes on to the next pixel. ``final``: the vector is not needed again, its place becomes free.
    o_payload : the vector that the read pointer pointed at :attr:`latency` cycles ago.
    """

    LATENCY = 2

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
                "i_payload": In(VECTOR),
                "ready": Out(1),
                "take": In(1),
                "last": In(1),
                "final": In(1),
                "o_payload": Out(VECTOR),
            }
        )

    def elaborate(self, platform) -> Module:
        raise NotImplementedError

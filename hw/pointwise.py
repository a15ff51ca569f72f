"""Pointwise unit: vectors x weights -> accumulators -> requantized results."""

from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.interfaces import STEP, STORE_ITEM, VECTOR, ParameterBus


class Pointwise(wiring.Component):
    """Members
    -------
    v_ready, v_take, v_last, v_final, v_payload : the read side of :class:`hw.vector_buffer.VectorBuffer`, same names there.
    o : beats of results, by pixel, then chunk (or, without pointwise, vector half).
    active, starved, blocked : this cycle works; waits for a vector; waits for room for results.
    finished : all pixels of the step are issued.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                "step": In(STEP),
                "half": In(1),
                "start": In(1),
                "parameters": In(ParameterBus()),
                "v_ready": In(1),
                "v_take": Out(1),
                "v_last": Out(1),
                "v_final": Out(1),
                "v_payload": In(VECTOR),
                "o": Out(stream.Signature(STORE_ITEM)),
                "active": Out(1),
                "starved": Out(1),
                "blocked": Out(1),
                "finished": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        raise NotImplementedError

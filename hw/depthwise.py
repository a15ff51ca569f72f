"""Depthwise unit: 16 channels x 9 taps a cycle, or their maximum, or the sample itself."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.interfaces import SAMPLES, STEP, VECTOR, ParameterBus


class Depthwise(wiring.Component):
    """Fixed latency, one beat a cycle, no stall; nothing leaves in PEAKS steps."""

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                "step": In(STEP),
                "half": In(1),
                "start": In(1),
                "parameters": In(ParameterBus()),
                "i_valid": In(1),
                "i_payload": In(SAMPLES),
                "o_valid": Out(1),
                "o_payload": Out(VECTOR),
            }
        )

    def elaborate(self, platform) -> Module:
        raise NotImplementedError

"""Window: rows in nine banks of block RAM, and the samples around each output pixel."""

from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.interfaces import SAMPLES, STEP, VECTOR


class Window(wiring.Component):
    """Members
    -------
    i : stored vectors, by row, then plane (the dilation plane last), then column.
    o_valid, o_payload : beats of samples; cannot stall.
    space : a vector may be issued in this cycle (from the VectorBuffer and Peaks: AND of both).
    issue : one vector was issued in this cycle (to both; it appears behind the depthwise unit a fixed time later).
    waiting_rows : the next output pixel waits for rows that are not there yet.
    busy : from ``start`` until all input of the step is taken and all beats are issued. The next ``start`` must wait for it.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                "step": In(STEP),
                "half": In(1),
                "start": In(1),
                "i": In(stream.Signature(VECTOR)),
                "o_valid": Out(1),
                "o_payload": Out(SAMPLES),
                "space": In(1),
                "issue": Out(1),
                "waiting_rows": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        raise NotImplementedError

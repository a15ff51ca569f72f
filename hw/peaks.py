"""Peaks: local maxima of a heatmap, as records."""

from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.interfaces import SAMPLES, STEP, STORE_ITEM


class Peaks(wiring.Component):
    """Members
    -------
    issue, space : credits for the window, as in :class:`hw.vector_buffer.VectorBuffer`; only PEAKS steps are counted.
    i_valid, i_payload : samples from the window; ignored outside PEAKS steps.
    o : peak records, then one ``end`` item.
    count : peaks found in this step (all of them, saturating), complete when the ``end`` item is out.
    """

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
                "i_payload": In(SAMPLES),
                "o": Out(stream.Signature(STORE_ITEM)),
                "count": Out(16),
            }
        )

    def elaborate(self, platform) -> Module:
        raise NotImplementedError

"""Reads the input planes of a step and hands them to the window as vectors."""

from amaranth import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.interfaces import STEP, VECTOR, ParameterBus, ReadPort


class Loader(wiring.Component):
    """Vectors of the step's input planes, in the order row, plane (the dilation plane last), column of the stored tensor.

    The row of plane ``p`` lies at ``base + input_table[p] + row * row_pitch`` and gives ``stored_width`` vectors: two beats
    each, or, if ``packed``, beats x and x + 1 (``stored_width + 1`` beats in all). Stored height and width are those of the input, halved
    with ``upsample``. Throughput: one beat a cycle. A step may be started when ``busy`` is low.

    Parameters
    ----------
    config:
        Sizes; ``plane_depth`` is that of each half of the input table.

    Members
    -------
    step, half, start:
        The running step (valid from ``start`` until the next one) and the half of the input table that it uses.
    base:
        Added to every address; stable while ``busy``.
    clear:
        Pulse or level: forget the step, accept what bursts in flight still bring, clear ``error``. ``busy`` falls when all is back.
    parameters:
        Fills the input table.
    port:
        AXI read channels.
    o:
        Vectors.
    busy:
        High from the cycle after ``start`` until the last vector is taken, and while clearing.
    beat:
        One cycle high for each beat read, for counters.
    error:
        Sticky: a read was answered with an error. Cleared by ``clear``.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "step": In(STEP),
                "half": In(1),
                "start": In(1),
                "base": In(unsigned(32)),
                "clear": In(1),
                "parameters": In(ParameterBus()),
                "port": Out(ReadPort()),
                "o": Out(stream.Signature(VECTOR)),
                "busy": Out(1),
                "beat": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        return Module()

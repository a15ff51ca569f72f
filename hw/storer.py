"""Gathers results into blocks and writes each output plane's part of a block as one run."""

from amaranth import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.interfaces import STEP, STORE_ITEM, ParameterBus, WritePort


class Storer(wiring.Component):
    """Writes the results of a step: planes of pixels, or a list of peak records.

    Planes: beats come pixel-major, ``2 * output_planes`` a pixel; pixel ``n`` of plane ``p`` goes to ``base + output_table[p] + 16 * n``.
    Blocks of ``2**block_log2`` pixels are collected in one half of the block memory while the other half is written. Exactly
    ``output_pixels`` pixels are taken. Peaks (``depthwise_op`` PEAKS): beats go to ``base + peak_address`` on, until an item ``end``.
    Throughput: one beat a cycle in and out. A step may be started when ``busy`` is low.

    Parameters
    ----------
    config:
        Sizes; ``plane_depth`` is that of each half of the output table, ``store_depth`` that of the two halves of the block memory.

    Members
    -------
    step, half, start:
        The running step (valid from ``start`` until the next one) and the half of the output table that it uses.
    base:
        Added to every address; stable while ``busy``.
    clear:
        Pulse or level: forget the step, complete the bursts whose address was given, await their responses, clear
        ``error``. ``busy`` falls when all is back.
    parameters:
        Fills the output table.
    port:
        AXI write channels.
    i:
        Results.
    done:
        Level: the step's data are written and every response has come (for no peaks at all too). Low after reset, after
        ``clear`` and from the cycle after ``start``.
    busy:
        High from the cycle after ``start`` until ``done``, and while clearing.
    beat:
        One cycle high for each beat written, for counters.
    error:
        Sticky: a write was answered with an error. Cleared by ``clear``.
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
                "port": Out(WritePort()),
                "i": In(stream.Signature(STORE_ITEM)),
                "done": Out(1),
                "busy": Out(1),
                "beat": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        return Module()

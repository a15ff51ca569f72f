"""Fetches a step's descriptor and parameter block, ahead of the step."""

from amaranth import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.interfaces import STEP, ParameterBus, ReadPort


class ParameterFetcher(wiring.Component):
    """On ``fetch``, reads the descriptor at ``address``, checks it, and broadcasts its parameter block to the memories.

    A descriptor is ``bad`` when its magic or version differ, when a section is larger than the memory that keeps it, or when the
    sections do not sum to ``parameter_beats``; its parameters are not read then. A fetch may be started when ``busy`` is low.

    Parameters
    ----------
    config:
        Sizes that sections must respect.

    Members
    -------
    fetch:
        One cycle: read the descriptor at ``address``; its parameters go to half ``target_half``. Both are sampled with ``fetch``.
    address:
        Absolute byte address of the descriptor, a multiple of 128.
    base:
        Added to the descriptor's ``parameter_address``; stable while ``busy``.
    clear:
        Pulse or level: forget the fetch, accept what bursts in flight still bring, clear ``ready``, ``bad`` and ``error``.
    next_step:
        The descriptor, stable from ``ready`` until the next ``fetch``.
    ready:
        Level: descriptor and parameters are completely delivered. Low from the cycle after ``fetch``.
    bad:
        Level, until the next ``fetch``: the descriptor was refused (``ready`` stays low).
    error:
        Sticky: a read was answered with an error (``ready`` stays low). Cleared by ``clear``.
    busy:
        High from the cycle after ``fetch`` until ``ready``, ``bad``, or, after an error, until all bursts are back; and while clearing.
    beat:
        One cycle high for each beat read, for counters.
    port:
        AXI read channels.
    bus:
        Beats of the parameter block.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "fetch": In(1),
                "address": In(unsigned(32)),
                "target_half": In(1),
                "base": In(unsigned(32)),
                "clear": In(1),
                "next_step": Out(STEP),
                "ready": Out(1),
                "bad": Out(1),
                "error": Out(1),
                "busy": Out(1),
                "beat": Out(1),
                "port": Out(ReadPort()),
                "bus": Out(ParameterBus()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        return Module()

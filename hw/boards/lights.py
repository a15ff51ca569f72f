# SPDX-License-Identifier: Apache-2.0
"""Four lights that tell whether the design lives."""

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

LIGHTS = 4


class Lights(wiring.Component):
    """Light 0 blinks with the clock, about once a second at 150 MHz; 1 glows on for a while after each step; 2: the
    interrupt is pending; 3: out of reset.

    Parameters
    ----------
    blink_bits, glow_bits:
        The blinking has a period of ``2**blink_bits`` clocks, the glowing lasts ``2**glow_bits - 1``.

    Members
    -------
    step_end, interrupt:
        Of the accelerator.
    """

    def __init__(self, blink_bits: int = 27, glow_bits: int = 23) -> None:
        self.blink_bits, self.glow_bits = blink_bits, glow_bits
        super().__init__({"step_end": In(1), "interrupt": In(1), "o": Out(LIGHTS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat = Signal(self.blink_bits)
        glow = Signal(self.glow_bits)
        m.d.sync += beat.eq(beat + 1)
        with m.If(self.step_end):
            m.d.sync += glow.eq(-1)
        with m.Elif(glow != 0):
            m.d.sync += glow.eq(glow - 1)
        # Registered, so that the pads set no path.
        m.d.sync += self.o.eq(Cat(beat[-1], glow != 0, self.interrupt, 1))
        return m

# SPDX-License-Identifier: Apache-2.0
"""Addresses of a burst's beats, and which bursts a block of registers can answer."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.errors import ConfigError
from codenet.registers import ADDRESS_BITS
from hw.axi.processor_port import DECERR, INCR, OKAY, RESERVED, SLVERR, WRAP

WORD_SIZE = 2
"""``size`` of a beat as wide as the data, 4 bytes."""


class BurstAddress(wiring.Component):
    """Holds one burst: gives the address of its beats, one after the other, and the response that all of them get.

    The response is, with the first that holds: DECERR for an address outside the block; SLVERR for what the standard
    forbids on 32-bit data (beats of more than 4 bytes, the reserved kind, a WRAP of other than 2, 4, 8 or 16 beats or
    not aligned); OKAY. A block of 4 KiB, aligned, needs no more than the first address: bursts do not cross a multiple
    of that.

    FIXED repeats its address. INCR goes on from the first address, which need not be aligned, to aligned ones. WRAP
    goes on to its end and from there to its start.

    Parameters
    ----------
    base:
        Address of the block, a multiple of 4 KiB.
    address_width, len_width:
        Bits of ``address`` and ``length``.

    Raises
    ------
    ConfigError
        A base that is not.

    Members
    -------
    start:
        Take ``address``, ``length`` (beats - 1), ``size`` (log2 of bytes a beat) and ``burst``; their effect is there
        in the next cycle.
    advance:
        Go to the next beat.
    o_address:
        Within the block, of the beat.
    o_response:
        Of the burst.
    o_last:
        The beat is the last.
    """

    def __init__(self, base: int, address_width: int, len_width: int) -> None:
        if base % (1 << ADDRESS_BITS) or not 0 <= base < 1 << address_width:
            raise ConfigError(
                f"base = {base:#x}: expected a multiple of {1 << ADDRESS_BITS:#x} below 2**{address_width}"
            )
        self.base = base
        super().__init__(
            {
                "start": In(1),
                "address": In(address_width),
                "length": In(len_width),
                "size": In(3),
                "burst": In(2),
                "advance": In(1),
                "o_address": Out(ADDRESS_BITS),
                "o_response": Out(2),
                "o_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(len(self.length))
        # Bits of the address that change from beat to beat.
        mask = Signal(ADDRESS_BITS)
        step = Signal(3)
        aligned = Signal(ADDRESS_BITS)
        m.d.comb += [
            self.o_last.eq(left == 0),
            aligned.eq(self.o_address & ~(step - 1)),
        ]
        with m.If(self.start):
            m.d.sync += [
                self.o_address.eq(self.address),
                self.o_response.eq(self._response(m)),
                left.eq(self.length),
                mask.eq(self._mask(m)),
                step.eq(1 << self.size[:2]),
            ]
        with m.Elif(self.advance):
            m.d.sync += [
                self.o_address.eq((self.o_address & ~mask) | ((aligned + step) & mask)),
                left.eq(left - 1),
            ]
        return m

    def _mask(self, m: Module) -> Signal:
        """All bits for INCR, none for FIXED, those below the wrap boundary for WRAP."""
        mask = Signal(ADDRESS_BITS)
        with m.Switch(self.burst):
            with m.Case(INCR):
                m.d.comb += mask.eq(-1)
            with m.Case(WRAP):
                m.d.comb += mask.eq(((self.length + 1) << self.size[:2]) - 1)
        return mask

    def _response(self, m: Module) -> Signal:
        response = Signal(2)
        bytes_mask = Signal(2)
        m.d.comb += bytes_mask.eq((1 << self.size[:2]) - 1)
        wrapped = (self.length == 1) | (self.length == 3) | (self.length == 7) | (self.length == 15)
        misaligned = (self.address[:2] & bytes_mask) != 0
        bad_wrap = (self.burst == WRAP) & (~wrapped | misaligned)
        bad = (self.size > WORD_SIZE) | (self.burst == RESERVED) | bad_wrap
        inside = self.address[ADDRESS_BITS:] == self.base >> ADDRESS_BITS
        m.d.comb += response.eq(Mux(inside, Mux(bad, SLVERR, OKAY), DECERR))
        return response

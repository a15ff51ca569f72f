# SPDX-License-Identifier: Apache-2.0
"""Window axis: where the three taps of one axis lie, around a centre and a dilation."""

from amaranth import Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.lib import delay


class WindowAxis(wiring.Component):
    """Addresses of the taps ``position - d``, ``position``, ``position + d`` along rows or columns, one triple a cycle.

    Positions are kept in groups of three, ``position = 3 * group + phase``, group ``g`` at address ``g * unit``; so a
    tap's group is at most three away from the centre's and no division is needed. Rows form a ring: addresses wrap at
    ``limit``.

    Members
    -------
    position, phase, base, d : the centre, its phase, the address of its group, and the dilation.
    unit, size, limit : static in a step: addresses from group to group, positions, and the end of the ring (ignored
        without ``ring``).
    address, inside : for the three taps, :attr:`latency` cycles later; an address is meaningless where the tap is not
        inside.
    """

    LATENCY = 4

    def __init__(self, address_width: int, ring: bool):
        self.address_width = address_width
        self.ring = ring
        super().__init__(
            {
                "position": In(12),
                "phase": In(2),
                "base": In(address_width),
                "d": In(3),
                "unit": In(12),
                "size": In(12),
                "limit": In(address_width + 1),
                "address": Out(data.ArrayLayout(unsigned(address_width), 3)),
                "inside": Out(3),
            }
        )

    @property
    def latency(self) -> int:
        return self.LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        # Groups to go, at most (2 + 7) // 3 = 3 each way.
        groups = {tap: Signal(2, name=f"groups_{tap}", reset_less=True) for tap in ("before", "after")}
        after = Signal(13, reset_less=True)
        before_inside = Signal(reset_less=True)
        m.d.sync += [after.eq(self.position + self.d), before_inside.eq(self.position >= self.d)]
        with m.Switch(self.phase):
            for phase in range(3):
                with m.Case(phase), m.Switch(self.d):
                    for d in range(8):
                        with m.Case(d):
                            m.d.sync += groups["before"].eq(max(0, (d - phase + 2) // 3))
                            m.d.sync += groups["after"].eq((phase + d) // 3)

        width = self.address_width + 2
        unit_3 = Signal(width)
        m.d.sync += unit_3.eq(self.unit + (self.unit << 1))
        multiples = {tap: Signal(width, name=f"multiple_{tap}", reset_less=True) for tap in groups}
        inside = Signal(3, reset_less=True)
        for tap, count in groups.items():
            with m.Switch(count):
                for n, multiple in enumerate((Const(0, width), self.unit, self.unit << 1, unit_3)):
                    with m.Case(n):
                        m.d.sync += multiples[tap].eq(multiple)
        m.d.sync += inside.eq(before_inside | 2 | ((after < self.size) << 2))

        base = delay(m, self.base, 2, "base")
        sums = {tap: Signal(signed(width + 1), name=f"sum_{tap}", reset_less=True) for tap in groups}
        m.d.sync += [sums["before"].eq(base - multiples["before"]), sums["after"].eq(base + multiples["after"])]

        m.d.sync += self.address[1].eq(delay(m, base, 1, "centre"))
        m.d.sync += self.inside.eq(delay(m, inside, 1, "inside"))
        if self.ring:
            over = sums["after"] - self.limit
            m.d.sync += self.address[2].eq(Mux(over >= 0, over, sums["after"]))
            m.d.sync += self.address[0].eq(Mux(sums["before"] < 0, sums["before"] + self.limit, sums["before"]))
        else:
            m.d.sync += [self.address[0].eq(sums["before"]), self.address[2].eq(sums["after"])]
        return m

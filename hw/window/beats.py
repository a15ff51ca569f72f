# SPDX-License-Identifier: Apache-2.0
"""Window beats: turns pixels into reads of the nine banks."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.interfaces import StepControl, begin_after
from hw.lib import count_to, delay, taken
from hw.window.pixels import pixel_layout

NO_TAP = 3


def beat_layout(config: AcceleratorConfig) -> data.StructLayout:
    """One read of the banks. Taps as in ``SAMPLES``; ``chosen``: the bank of ``samples[0]`` (0, or that of the only
    tap).
    """
    bits = (config.window_depth - 1).bit_length()
    return data.StructLayout(
        {
            "address": data.ArrayLayout(unsigned(bits), 9),
            "row_tap": data.ArrayLayout(unsigned(2), 3),
            "column_tap": data.ArrayLayout(unsigned(2), 3),
            "inside": unsigned(9),
            "chosen": unsigned(4),
            "plane": unsigned(8),
            "first": unsigned(1),
            "last": unsigned(1),
            "x": unsigned(12),
            "y": unsigned(12),
        }
    )


class WindowBeats(wiring.Component):
    """A beat a cycle: one a plane if the nine taps lie in nine banks (or only the centre is wanted), otherwise nine.

    Members
    -------
    i : pixels.
    space, issue : room for a vector downstream; a vector is on its way.
    row_done : the last beat of a row of pixels is on its way.
    o : beats, :attr:`latency` cycles after ``issue``.
    """

    LATENCY = 5

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                **taken(StepControl()),
                "i": In(stream.Signature(pixel_layout(config))),
                "space": In(1),
                "issue": Out(1),
                "row_done": Out(1),
                "o": Out(stream.Signature(beat_layout(config), always_ready=True)),
            }
        )

    @property
    def latency(self) -> int:
        return self.LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        step, pixel = self.step, self.i.payload
        off = Signal()
        i, j, plane = Signal(2), Signal(2), Signal(8)
        fire, advance, nine, at_first, at_last = Signal(), Signal(), Signal(), Signal(init=1), Signal()
        first_tap, last_tap = Signal(), Signal()
        most = delay(m, step.input_planes - 1, 1, "most_planes")
        last_plane = count_to(m, "planes", most, advance, begin_after(m, self.start, 3))
        m.d.sync += off.eq(step.depthwise_op == DepthwiseOp.OFF)
        m.d.comb += [
            nine.eq(pixel.nine),
            first_tap.eq(~nine | at_first),
            last_tap.eq(~nine | at_last),
            fire.eq(self.i.valid & self.space),
            advance.eq(self.i.valid & self.space & last_tap),
            self.issue.eq(fire & (off | last_tap)),
            self.i.ready.eq(self.i.valid & self.space & last_tap & last_plane),
            self.row_done.eq(self.i.ready & pixel.row_end),
        ]
        with m.If(fire & nine):
            m.d.sync += [at_first.eq(at_last), at_last.eq((i == 2) & (j == 1))]
            m.d.sync += j.eq(Mux(j == 2, 0, j + 1))
            with m.If(j == 2):
                m.d.sync += i.eq(Mux(i == 2, 0, i + 1))
        with m.If(advance):
            m.d.sync += plane.eq(Mux(last_plane, 0, plane + 1))

        # What the beat reads: stage 1.
        beat = Signal(self.o.payload.shape(), reset_less=True)
        source = Signal(pixel.shape(), reset_less=True)
        want_i, want_j, wants_one = Signal(2, reset_less=True), Signal(2, reset_less=True), Signal(reset_less=True)
        m.d.sync += [
            source.eq(pixel),
            beat.plane.eq(plane),
            beat.first.eq(off | first_tap),
            beat.last.eq(off | last_tap),
            beat.x.eq(pixel.x),
            beat.y.eq(pixel.y),
            wants_one.eq(off | nine),
            want_i.eq(Mux(nine, i, 1)),
            want_j.eq(Mux(nine, j, 1)),
        ]
        m.d.comb += self.o.valid.eq(delay(m, fire, self.LATENCY, "valid", reset=True))
        out = self.o.payload
        for name in ("plane", "first", "last", "x", "y"):
            m.d.comb += out[name].eq(delay(m, beat[name], self.LATENCY - 1, name))
        self._addresses(m, source, (wants_one, want_i, want_j), off, delay(m, beat.plane, 2, "plane_added"))
        return m

    def _addresses(self, m: Module, source, wants, off, plane) -> None:
        """Stages 2 to 5: taps of the banks, their addresses by axis, plus the plane, summed."""
        out = self.o.payload
        wants_one, want_i, want_j = wants
        rows = self._axis(m, "row", source.row, source.residue, wants_one, want_i)
        columns = self._axis(m, "column", source.column, source.residue, wants_one, want_j)
        for rho, (row_tap, row_address, row_inside) in enumerate(rows):
            m.d.comb += out.row_tap[rho].eq(delay(m, row_tap, 3, f"row_tap_{rho}"))
            moved = Signal.like(row_address, name=f"row_plane_{rho}", reset_less=True)
            m.d.sync += moved.eq(row_address + plane)
            row_in = delay(m, row_inside, 1, f"row_inside_{rho}")
            for kappa, (_, column_address, column_inside) in enumerate(columns):
                bank = 3 * rho + kappa
                address = Signal.like(row_address, name=f"address_{bank}", reset_less=True)
                inside = Signal(name=f"inside_{bank}", reset_less=True)
                m.d.sync += [
                    address.eq(moved + delay(m, column_address, 1, f"column_address_{bank}")),
                    inside.eq(row_in & delay(m, column_inside, 1, f"column_inside_{bank}")),
                ]
                m.d.comb += [out.address[bank].eq(address), out.inside[bank].eq(inside)]
        for kappa, (column_tap, _, _) in enumerate(columns):
            m.d.comb += out.column_tap[kappa].eq(delay(m, column_tap, 3, f"column_tap_{kappa}"))
        chosen = Signal(4, reset_less=True)
        row_taken, column_taken = ([tap != NO_TAP for tap, _, _ in axis] for axis in (rows, columns))
        m.d.sync += chosen.eq(
            Mux(
                off,
                3 * Mux(row_taken[0], 0, Mux(row_taken[1], 1, 2)) + Mux(column_taken[0], 0, Mux(column_taken[1], 1, 2)),
                0,
            )
        )
        m.d.comb += out.chosen.eq(delay(m, chosen, 2, "chosen"))

    def _axis(self, m: Module, name: str, axis, residue, wants_one, want):
        """For each of three banks along an axis: its tap (stage 2), and the tap's address and inside (stage 3)."""
        banks = []
        for bank in range(3):
            tap = Signal(2, name=f"{name}_tap_of_{bank}", reset_less=True)
            with m.Switch(axis.phase):
                for phase in range(3):
                    with m.Case(phase):
                        # Tap t - 1 dilations from the centre: bank = phase + (t - 1) * residue (mod 3).
                        found = Mux(residue == 1, (bank - phase + 1) % 3, (phase - bank + 1) % 3)
                        alone = Mux(residue == 0, bank == phase, found == want)
                        m.d.sync += tap.eq(Mux(wants_one, Mux(alone, want, NO_TAP), found))
            address = Signal.like(axis.address[0], name=f"{name}_address_of_{bank}", reset_less=True)
            inside = Signal(name=f"{name}_inside_of_{bank}", reset_less=True)
            addresses = delay(m, axis.address, 1, f"{name}_addresses_{bank}")
            insides = delay(m, axis.inside, 1, f"{name}_insides_{bank}")
            m.d.sync += inside.eq(0)
            with m.Switch(tap):
                for t in range(3):
                    with m.Case(t):
                        m.d.sync += [address.eq(addresses[t]), inside.eq(insides[t])]
            banks.append((tap, address, inside))
        return banks

# SPDX-License-Identifier: Apache-2.0
"""Window: rows in nine banks of block RAM, and the samples around each output pixel."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from hw.interfaces import BEAT_TAPS, SAMPLES, TAP_LEAD, VECTOR, StepControl
from hw.lib import READ_LATENCY, BlockMemory, connect_bundle, delay, relays, taken
from hw.window.beats import WindowBeats
from hw.window.pixels import WindowPixels
from hw.window.writer import WindowWriter

COPIES = 4
"""Of what says, for all channels, whether a sample is inside, and which bank ``samples[0]`` comes from."""

RELEASE_DELAY = 4
"""Cycles from the last beat of a row to giving its memory to the writer: the beat's reads come before any write."""


class Window(wiring.Component):
    """Keeps the last ``window_rows`` rows and delivers, for each output pixel and plane, what :mod:`codenet.isa` says.

    A beat a cycle: one a plane if ``d mod 3 != 0`` or only the centre is wanted, nine if ``d`` is 0, 3 or 6 or the step
    is ``full``. A beat follows its ``issue`` by a fixed latency and cannot be stalled: ``space`` says that there is
    room for it.

    Loading runs ahead of the output by as many rows as ``window_rows`` exceeds what one output row needs. It must be at
    least ``2 * reach + 1`` (one more with ``upsample`` but not ``repeat``), or all rows of the image.

    Members
    -------
    i : stored vectors, by row, then plane (the dilation plane last), then column; with ``expand`` by row, then column,
        then plane.
    o : beats of samples.
    o_taps : plane and taps of the beat that comes :data:`hw.interfaces.TAP_LEAD` cycles later.
    space : room for a vector. It may follow ``issue`` by five cycles; so it means "for six more" at least.
    issue : one vector is on its way (the beat with ``last`` in the steps with depthwise, every beat in the others).
    waiting_rows : the next output pixel waits for rows that are not there yet.
    busy : from ``start`` until all input of the step is taken and all beats are issued. The next ``start`` must wait
        for it.
    """

    STEP_FIELDS = (
        "depthwise_op full upsample repeat dilated stride2 reach window_rows input_planes input_height "
        "input_width output_height output_width window_row_stride pad expand"
    ).split()

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                **taken(StepControl()),
                "i": In(stream.Signature(VECTOR)),
                "o": Out(stream.Signature(SAMPLES, always_ready=True)),
                "o_taps": Out(BEAT_TAPS),
                "space": In(1),
                "issue": Out(1),
                "waiting_rows": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.writer = writer = WindowWriter(self.config)
        m.submodules.pixels = pixels = WindowPixels(self.config)
        m.submodules.beats = beats = WindowBeats(self.config)
        for part in (writer, pixels, beats):
            connect_bundle(m, StepControl(), self, part)
        wiring.connect(m, writer.i, wiring.flipped(self.i))
        wiring.connect(m, pixels.o, beats.i)
        m.d.comb += [
            writer.row_limit.eq(self._row_limit(m, beats.row_done)),
            pixels.rows.eq(writer.rows),
            pixels.dilations.eq(writer.dilations),
            beats.space.eq(self.space),
            self.issue.eq(beats.issue),
            self.waiting_rows.eq(pixels.waiting & ~pixels.o.valid),
        ]
        m.d.comb += self.busy.eq(~writer.idle | ~pixels.idle)
        self._read(m, writer.banks, beats.o.valid, beats.o.payload)
        return m

    def _row_limit(self, m: Module, row_done):
        """Rows below it may be written: ``window_rows`` more than the first row that is still needed."""
        step = self.step
        needed = Signal(signed(14))
        limit = Signal(13)
        released = delay(m, row_done, RELEASE_DELAY, "row_done", reset=True)
        with m.If(self.start):
            m.d.sync += needed.eq(-step.reach)
        with m.Elif(released):
            m.d.sync += needed.eq(needed + 1 + step.stride2)
        m.d.sync += limit.eq(step.window_rows + Mux(needed < 0, 0, needed))
        return limit

    def _read(self, m: Module, banks, valid, beat) -> None:
        """Banks, padding, and ``samples[0]``."""
        out = self.o.payload
        late = READ_LATENCY + 1
        width = VECTOR.size // COPIES
        parts = [slice(n * width, (n + 1) * width) for n in range(COPIES)]
        samples = []
        for n in range(9):
            m.submodules[f"bank{n}"] = bank = BlockMemory(VECTOR.size, self.config.window_depth)
            padded = Signal(VECTOR.size, name=f"padded_{n}", reset_less=True)
            inside = relays(m, delay(m, beat.inside[n], READ_LATENCY - 1, f"inside_{n}"), COPIES, f"inside_here_{n}")
            m.d.comb += [
                bank.write_enable.eq(banks.enable[n]),
                bank.write_address.eq(banks.address[n]),
                bank.write_data.eq(banks.data[n // 3]),
                bank.read_address.eq(beat.address[n]),
            ]
            pad = self.step.pad.replicate(VECTOR.size // 16)
            m.d.sync += [
                padded[part].eq(Mux(here, bank.read_data[part], pad[part]))
                for part, here in zip(parts, inside, strict=True)
            ]
            samples.append(padded)
        chosen = relays(m, delay(m, beat.chosen, late - 1, "chosen"), COPIES, "chosen_here")
        first = Signal(VECTOR.size, reset_less=True)
        for part, here in zip(parts, chosen, strict=True):
            with m.Switch(here):
                for n in range(9):
                    with m.Case(n):
                        m.d.sync += first[part].eq(samples[n][part])
        m.d.comb += out.samples[0].eq(first)
        for n in range(1, 9):
            m.d.comb += out.samples[n].eq(delay(m, samples[n], 1, f"sample_{n}"))
        for name in ("row_tap", "column_tap", "inside", "plane", "first", "last", "x", "y"):
            m.d.comb += out[name].eq(delay(m, beat[name], late + 1, name))
        assert late + 1 == TAP_LEAD
        m.d.comb += [self.o_taps[name].eq(beat[name]) for name in ("plane", "row_tap", "column_tap")]
        m.d.comb += self.o.valid.eq(delay(m, valid, late + 1, "valid", reset=True))

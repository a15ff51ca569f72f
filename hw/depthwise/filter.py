# SPDX-License-Identifier: Apache-2.0
"""Depthwise filter: weights brought to the banks, 144 products, their sums, and 16 requantizers."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES, AcceleratorConfig
from codenet.isa import DEPTHWISE_BEATS
from hw.arithmetic import TAPS, Requantizer, TapSums
from hw.interfaces import BEAT_TAPS, SAMPLES, STEP, TAP_LEAD, VECTOR, ParameterBus, ParameterSection
from hw.lib import READ_LATENCY, BlockMemory, delay, relay, relays

WEIGHTS = data.ArrayLayout(signed(4), LANES)
REQUANTIZE = data.StructLayout({"m": signed(16), "b": signed(48)})

ACC_WIDTH = 16
"""Nine products of at most 8 * 128 fit 15 bits."""


class DepthwiseFilter(wiring.Component):
    """``requantize(sum over taps of weight * sample)`` in each lane, over the beats from ``first`` to ``last``.

    A beat a cycle; the result of a beat follows it by :attr:`latency` cycles and means something where the beat has
    ``last``.

    Members
    -------
    parameters : writes the entries of planes: nine weights of 16 lanes, and 16 times ``m`` and ``b``.
    i : beats of samples.
    i_taps : of the beat that comes :data:`hw.interfaces.TAP_LEAD` cycles later. Banks with ``row_tap`` or
        ``column_tap`` 3 get weight zero.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(
            {
                "step": In(STEP),
                "half": In(1),
                "parameters": In(ParameterBus()),
                "i": In(stream.Signature(SAMPLES, always_ready=True)),
                "i_taps": In(BEAT_TAPS),
                "o_payload": Out(VECTOR),
            }
        )

    FETCHED = READ_LATENCY + 1
    ROUTED = FETCHED + 3 - TAP_LEAD
    ACCUMULATED = ROUTED + TapSums.LATENCY

    @property
    def latency(self) -> int:
        return self.ACCUMULATED + Requantizer.LATENCY

    def elaborate(self, platform) -> Module:
        m = Module()
        entries = self._memories(m)
        weights = self._route(m, entries[:TAPS])
        sums = self._sums(m, weights)
        self._requantize(m, sums, entries[TAPS:])
        return m

    def _memories(self, m: Module) -> list:
        """Parameter memories. Weights are read at once, requantize entries when the sums are there."""
        bits = (self.config.depthwise_depth - 1).bit_length()
        here = Cat(self.i_taps.plane[:bits], self.half)
        late = delay(m, here, self.ACCUMULATED + TAP_LEAD - self.FETCHED, "plane")
        entries = []
        # Registers of their own for the weights of the taps, and for each half of the requantizers.
        middle = TAPS + LANES // 2
        for numbers, plane in (
            (range(TAPS), here),
            (range(TAPS, middle), late),
            (range(middle, DEPTHWISE_BEATS), late),
        ):
            first = numbers[0]
            address = relay(m, plane, f"plane_{first}")
            bus = relay(m, self.parameters.payload, f"bus_{first}")
            is_here = self.parameters.valid & (self.parameters.payload.section == ParameterSection.DEPTHWISE)
            for n in numbers:
                write = is_here & (self.parameters.payload.beat == n)
                m.submodules[f"memory{n}"] = mem = BlockMemory(64, 2 * self.config.depthwise_depth)
                m.d.comb += [
                    mem.write_enable.eq(relay(m, write, f"write_{n}", reset=True)),
                    mem.write_address.eq(Cat(bus.index[:bits], bus.half)),
                    mem.write_data.eq(bus.data),
                    mem.read_address.eq(address),
                ]
                entries.append(mem.read_data)
        return entries

    def _route(self, m: Module, taps: list) -> list:
        """The weights of each bank: first by rows, then by columns; and a register on the way to the lanes."""
        row_tap = delay(m, self.i_taps.row_tap, self.FETCHED - 1, "row_tap")
        column_tap = delay(m, self.i_taps.column_tap, self.FETCHED, "column_tap")
        weights = []
        for rho in range(3):
            by_row = [self._choose(m, f"row_weights_{rho}_{j}", taps[j::3], row_tap[rho]) for j in range(3)]
            for kappa in range(3):
                routed = self._choose(m, f"weights_{rho}_{kappa}", by_row, column_tap[kappa])
                weights.append(data.View(WEIGHTS, delay(m, routed, 1, f"weights_here_{rho}_{kappa}")))
        return weights

    def _choose(self, m: Module, name: str, taps: list, tap: Value) -> Signal:
        """The weights of one of three taps, or zero, two cycles after its number; for every four lanes by a copy of
        it.
        """
        chosen = Signal(WEIGHTS.size, name=name, reset_less=True)
        part = WEIGHTS.size // 4
        for n, number in enumerate(relays(m, tap, 4, f"{name}_tap")):
            here = slice(n * part, (n + 1) * part)
            m.d.sync += chosen[here].eq(Array([*(weights[here] for weights in taps), Const(0, part)])[number])
        return chosen

    def _sums(self, m: Module, weights: list) -> list:
        """Sums of nine products, and over beats."""
        # A copy for every four lanes.
        valid = relays(
            m, delay(m, self.i.valid, self.ACCUMULATED - 2, "valid", reset=True), 4, "valid_here", reset=True
        )
        first = relays(m, delay(m, self.i.payload.first, self.ACCUMULATED - 2, "first"), 4, "first_here")
        samples = [delay(m, self.i.payload.samples[n], self.ROUTED - 1, f"sample_{n}") for n in range(TAPS)]
        sums = []
        for lane in range(LANES):
            m.submodules[f"products{lane}"] = products = TapSums()
            acc = Signal(signed(ACC_WIDTH), name=f"acc_{lane}", reset_less=True)
            for n in range(TAPS):
                m.d.comb += [products.i_samples[n].eq(samples[n][lane]), products.i_weights[n].eq(weights[n][lane])]
            with m.If(valid[lane // 4]):
                m.d.sync += acc.eq(Mux(first[lane // 4], 0, acc) + products.o_sum)
            sums.append(acc)
        return sums

    def _requantize(self, m: Module, sums: list, entries: list) -> None:
        step = self.step
        settings = [
            relay(m, Cat(step.depthwise_s, step.depthwise_lo, step.depthwise_hi), f"settings_{n}") for n in range(4)
        ]
        for lane, (acc, entry) in enumerate(zip(sums, entries, strict=True)):
            m.submodules[f"requantizer{lane}"] = requantizer = Requantizer(ACC_WIDTH, 8)
            values = data.View(REQUANTIZE, entry)
            m.d.comb += [
                requantizer.i_acc.eq(acc),
                requantizer.i_m.eq(values.m),
                requantizer.i_b.eq(values.b),
                Cat(requantizer.s, requantizer.lo, requantizer.hi).eq(settings[lane // 4]),
                self.o_payload[lane].eq(requantizer.o),
            ]

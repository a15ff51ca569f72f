# SPDX-License-Identifier: Apache-2.0
"""Top level: registers, control, memory side and datapath of the accelerator."""

from dataclasses import dataclass

from amaranth import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES, AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.axi import AxiLite, ReadPort, WritePort
from hw.chips import XC7Z020
from hw.control import Profiler, ProgramControl, Registers, Sequencer
from hw.depthwise import Depthwise, Peaks
from hw.dma import Loader, ParameterFetcher, Storer
from hw.interfaces import STEP, STORE_ITEM, TO_COMPONENTS, VECTOR, VectorReader
from hw.lib import StreamRegister, connect_bundle, delay, relay, relays
from hw.pointwise import Pointwise, RowBuffer, VectorBuffer
from hw.window import Window


@dataclass(frozen=True)
class Parts:
    """The components of an accelerator: the blocks of its diagram.

    A study may have a loader and a window of its own, and others: bus masters that read in a step besides the loader.
    Nothing that enters the window (``entrance``) or leaves the datapath (``results``) is waited for in the same cycle.
    """

    registers: Registers
    sequencer: Sequencer
    profiler: Profiler
    fetcher: ParameterFetcher
    loader: wiring.Component
    others: dict[str, wiring.Component]
    storer: Storer
    entrance: StreamRegister
    window: wiring.Component
    depthwise: Depthwise
    peaks: Peaks
    row_buffer: RowBuffer
    vector_buffer: VectorBuffer
    pointwise: Pointwise
    results: StreamRegister

    @property
    def readers(self):
        """Bus masters, by name, that read a step's input."""
        return {"loader": self.loader} | self.others

    @property
    def masters(self):
        """All bus masters by name."""
        return {"fetcher": self.fetcher, "storer": self.storer} | self.readers

    @property
    def datapath(self):
        """Components by name without a bus."""
        names = ("window", "depthwise", "row_buffer", "vector_buffer", "pointwise", "peaks", "entrance", "results")
        return {name: getattr(self, name) for name in names}

    @property
    def workers(self):
        """What is given steps, by name."""
        components = self.masters | self.datapath
        return {name: component for name, component in components.items() if "step" in component.signature.members}


class Accelerator(wiring.Component):
    """Runs a program (:mod:`codenet.isa`) from memory after one write to its registers (:mod:`codenet.registers`)::

        port 0 read -> Loader -> Window -> Depthwise -> VectorBuffer -> Pointwise -> Storer -> port 0 write
                         |        ^ `----> Peaks ------------------------|-------------^
                         |        `--------------------------------------|  with expand, the Pointwise
                         `-----> RowBuffer ------------------------------^  unit comes before the Window too
        port 1 read -> ParameterFetcher -> parameter memories of all of them; descriptors to the Sequencer

    Activations and parameters have a port each, so that the fetch for the next step does not queue behind activations.

    Parameters
    ----------
    array_slices:
        DSP slices that the array may take (:class:`hw.arithmetic.mac_array.Array`); what chip it is on decides that,
        nothing else depends on it.

    Members
    -------
    registers:
        AXI4-Lite slave.
    port0_read, port0_write:
        Activations.
    port1_read:
        Descriptors and parameters.
    interrupt:
        Level; see IRQ_STATUS and IRQ_ENABLE.
    reset:
        To the initial state. Registers for each component stand between it and what it resets.
    step_end:
        One cycle at the end of every step, when all of its results are in memory; for logic analysers and simulation.
    """

    def __init__(self, config: AcceleratorConfig, array_slices: int = XC7Z020.array_slices):
        self.config = config
        self.array_slices = array_slices
        super().__init__(
            {
                "registers": In(AxiLite()),
                "port0_read": Out(ReadPort()),
                "port0_write": Out(WritePort()),
                "port1_read": Out(ReadPort()),
                "interrupt": Out(1),
                "step_end": Out(1),
                "reset": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        parts = self._parts()
        self._place(m, parts)
        self._connect_control(m, parts)
        self._connect_memory(m, parts)
        self._connect_steps(m, parts)
        self._connect_input(m, parts)
        self._connect_datapath(m, parts)
        self._connect_results(m, parts)
        return m

    # What a study may put in the place of a component, or beside the others.
    def _loader(self):
        return Loader(self.config)

    def _window(self):
        return Window(self.config)

    def _other_readers(self):
        """Bus masters by name that read in a step, besides the loader; with its ports, but for a half."""
        return {}

    def _parameter_reader(self, m, parts):
        """What reads on port 1, with members ``port`` and ``beat``."""
        return parts.fetcher

    def _parts(self):
        config = self.config
        return Parts(
            registers=Registers(config),
            sequencer=Sequencer(),
            profiler=Profiler(config),
            fetcher=ParameterFetcher(config),
            loader=self._loader(),
            others=self._other_readers(),
            storer=Storer(config),
            entrance=StreamRegister(VECTOR),
            window=self._window(),
            depthwise=Depthwise(config),
            peaks=Peaks(config),
            row_buffer=RowBuffer(config),
            vector_buffer=VectorBuffer(config),
            pointwise=Pointwise(config, self.array_slices),
            results=StreamRegister(STORE_ITEM),
        )

    def _place(self, m, parts):
        """Submodules, and the registers through which each is reset and cleared: ``clear`` lets the transfers of a bus
        master end, ``reset`` does not; the datapath, which has none, is reset by both.
        """
        clear = parts.sequencer.clear | self.reset
        # The last to leave the reset, as it starts all others.
        late = delay(m, self.reset, 2, "reset_late")
        m.submodules.profiler = parts.profiler
        m.submodules.registers = ResetInserter(relay(m, self.reset, "reset_registers"))(parts.registers)
        m.submodules.sequencer = ResetInserter(relay(m, late, "reset_sequencer"))(parts.sequencer)
        for name, master in parts.masters.items():
            m.submodules[name] = master
            m.d.comb += [
                master.reset.eq(relay(m, self.reset, f"reset_{name}")),
                master.clear.eq(relay(m, clear, f"clear_{name}", reset=True)),
                master.base.eq(relay(m, parts.sequencer.memory_base, f"base_{name}")),
            ]
        for name, component in parts.datapath.items():
            m.submodules[name] = ResetInserter(relay(m, clear, f"clear_{name}"))(component)

    def _connect_control(self, m, parts):
        registers, sequencer = parts.registers, parts.sequencer
        wiring.connect(m, wiring.flipped(self.registers), registers.bus)
        connect_bundle(m, ProgramControl(), registers, sequencer)
        m.d.comb += [
            registers.status.busy.eq(sequencer.busy),
            registers.status.done.eq(sequencer.done),
            registers.status.error.eq(sequencer.error),
            registers.status.cause.eq(sequencer.cause),
            registers.status.step.eq(sequencer.step_index),
            self.interrupt.eq(registers.interrupt),
            self.step_end.eq(sequencer.step_end),
        ]

    def _connect_memory(self, m, parts):
        """Bus masters to the ports; fetches, and how transfers went, to the sequencer."""
        sequencer, fetcher, loader, storer = parts.sequencer, parts.fetcher, parts.loader, parts.storer
        parameter_reader = self._parameter_reader(m, parts)
        wiring.connect(m, loader.port, wiring.flipped(self.port0_read))
        wiring.connect(m, storer.port, wiring.flipped(self.port0_write))
        wiring.connect(m, parameter_reader.port, wiring.flipped(self.port1_read))
        read_error = Cat(reader.error for reader in parts.readers.values()).any()
        idle = Cat(~master.busy for master in parts.masters.values()).all()
        m.d.comb += [
            fetcher.fetch.eq(sequencer.fetch),
            fetcher.address.eq(sequencer.fetch_address),
            fetcher.target_half.eq(sequencer.fetch_half),
            sequencer.next_step.eq(fetcher.next_step),
            sequencer.fetch_ready.eq(fetcher.ready),
            sequencer.fetch_bad.eq(fetcher.bad),
            sequencer.fetch_damaged.eq(fetcher.damaged),
            sequencer.fetch_error.eq(fetcher.error),
            sequencer.read_error.eq(delay(m, read_error, 1, "read_error", reset=True)),
            sequencer.write_error.eq(delay(m, storer.error, 1, "write_error", reset=True)),
            sequencer.idle.eq(delay(m, idle, 1, "idle", reset=True)),
        ]
        self._profile(m, parts, loader.beat + parameter_reader.beat)

    def _connect_steps(self, m, parts):
        """Each step to all that work on it, and its end to the sequencer."""
        sequencer = parts.sequencer
        for name, component in parts.workers.items():
            self._give_step(m, parts, name, component)
        # Until the storer has heard of the step.
        started = [delay(m, sequencer.step_start, n, f"started_{n}", reset=True) for n in range(TO_COMPONENTS + 1)]
        # A step may need fewer rows than the loader brings (the last ones of a stride); they must be out of the way.
        reading = Cat(reader.busy for reader in parts.readers.values()).any() | parts.window.busy
        done = Signal()
        m.d.sync += done.eq(parts.storer.done & ~reading & ~Cat(started).any())
        m.d.comb += sequencer.step_done.eq(done)

    def _give_step(self, m, parts, name, component):
        """Step, half, start and, if it keeps some, parameters to a component from registers of its own:
        :data:`TO_COMPONENTS` cycles late, parameters one. Of the step only ``STEP_FIELDS``: as these registers are kept
        whatever reads them, others would be wires across the chip that lead nowhere.
        """
        sequencer, bus = parts.sequencer, parts.fetcher.bus

        def to_component(value, kind, reset=False):
            for n in range(TO_COMPONENTS):
                value = relay(m, value, f"{kind}_{name}_{n}", reset=reset)
            return value

        fields = data.StructLayout({field: STEP[field].shape for field in component.STEP_FIELDS})
        step = data.View(fields, to_component(Cat(sequencer.step[field] for field in component.STEP_FIELDS), "step"))
        m.d.comb += [component.step[field].eq(step[field]) for field in component.STEP_FIELDS]
        m.d.comb += component.start.eq(to_component(sequencer.step_start, "start", reset=True))
        if "half" in component.signature.members:
            m.d.comb += component.half.eq(to_component(sequencer.half, "half"))
        if "parameters" in component.signature.members:
            m.d.comb += [
                component.parameters.valid.eq(relay(m, bus.valid, f"valid_{name}", reset=True)),
                component.parameters.payload.eq(relay(m, bus.payload, f"bus_{name}")),
            ]

    def _connect_input(self, m, parts):
        """To the window comes what the loader brings, or what the expansion makes of it."""
        loader, row_buffer, pointwise, entrance = parts.loader, parts.row_buffer, parts.pointwise, parts.entrance
        expand, *here = relays(m, parts.sequencer.step.expand, 5, "expand")
        m.d.comb += [
            row_buffer.i.valid.eq(loader.o.valid & expand),
            row_buffer.i.payload.eq(loader.o.payload),
            loader.o.ready.eq(Mux(expand, row_buffer.i.ready, entrance.i.ready)),
            entrance.i.valid.eq(Mux(expand, pointwise.expanded.valid, loader.o.valid)),
            pointwise.expanded.ready.eq(entrance.i.ready & expand),
        ]
        # A copy for every four channels.
        for lane in range(LANES):
            given, made = loader.o.payload[lane], pointwise.expanded.payload[lane]
            m.d.comb += entrance.i.payload[lane].eq(Mux(here[lane // 4], made, given))
        connect_bundle(m, VectorReader(), row_buffer, pointwise.rows)
        wiring.connect(m, entrance.o, parts.window.i)

    def _connect_datapath(self, m, parts):
        window, depthwise, peaks = parts.window, parts.depthwise, parts.peaks
        vector_buffer, pointwise = parts.vector_buffer, parts.pointwise
        # Each of the two is empty, and ignores what is issued, in the other's steps.
        space = relay(m, peaks.space & vector_buffer.space, "space", reset=True)
        m.d.comb += [
            window.space.eq(space),
            vector_buffer.issue.eq(relay(m, window.issue, "issue_vector", reset=True)),
            peaks.issue.eq(relay(m, window.issue, "issue_peaks", reset=True)),
        ]
        for taker in (depthwise, peaks):
            wiring.connect(m, window.o, taker.i)
            m.d.comb += taker.i_taps.eq(window.o_taps)
        wiring.connect(m, depthwise.o, vector_buffer.i)
        connect_bundle(m, VectorReader(), vector_buffer, pointwise.vectors)

    def _connect_results(self, m, parts):
        """To the storer come results of the array, or peaks; only one of them has any."""
        pointwise, peaks, results = parts.pointwise, parts.peaks, parts.results
        step_end, in_peaks = parts.sequencer.step_end, self._in_peaks(m, parts, "results")
        m.d.comb += [
            results.i.valid.eq(peaks.o.valid | pointwise.o.valid),
            results.i.payload.eq(Mux(in_peaks, peaks.o.payload.as_value(), pointwise.o.payload.as_value())),
            peaks.o.ready.eq(results.i.ready),
            pointwise.o.ready.eq(results.i.ready),
        ]
        wiring.connect(m, results.o, parts.storer.i)
        # The count of the last peak step is kept.
        with m.If(step_end & in_peaks):
            m.d.sync += parts.registers.peak_count.eq(peaks.count)

    def _in_peaks(self, m, parts, name):
        return relay(m, parts.sequencer.step.depthwise_op == DepthwiseOp.PEAKS, f"peaks_{name}")

    def _profile(self, m, parts, read_beats):
        profiler, sequencer, registers = parts.profiler, parts.sequencer, parts.registers
        window, pointwise = parts.window, parts.pointwise
        m.d.comb += [profiler.index.eq(registers.profile_index), registers.profile_data.eq(profiler.data)]
        # A cycle late, all of it.
        m.d.sync += [
            profiler.running.eq(sequencer.running),
            profiler.stepping.eq(sequencer.stepping),
            profiler.step_end.eq(sequencer.step_end),
            profiler.step_index.eq(sequencer.step_index),
            profiler.read_beats.eq(read_beats),
            profiler.write_beats.eq(parts.storer.beat),
            profiler.waiting_input.eq(window.waiting_rows),
        ]
        with m.If(self._in_peaks(m, parts, "profile")):
            m.d.sync += [
                profiler.active.eq(window.o.valid),
                profiler.waiting_output.eq(~parts.peaks.space),
                profiler.finished.eq(~window.busy),
            ]
        with m.Else():
            m.d.sync += [
                profiler.active.eq(pointwise.active),
                profiler.waiting_output.eq(pointwise.blocked),
                profiler.finished.eq(pointwise.finished),
            ]

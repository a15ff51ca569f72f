"""Top level: registers, control, memory side and datapath of the accelerator."""

from amaranth import Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.axi import AxiLite, ReadPort, WritePort
from hw.chips import XC7Z020
from hw.control import Profiler, Registers, Sequencer
from hw.depthwise import Depthwise, Peaks
from hw.dma import Loader, ParameterFetcher, Storer
from hw.pointwise import Pointwise, RowBuffer, VectorBuffer
from hw.window import Window


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
        DSP slices that the array may take (:class:`hw.arithmetic.mac_array.Array`); what chip it is on decides that, nothing else depends on it.

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
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.registers = registers = Registers(config)
        m.submodules.sequencer = sequencer = Sequencer()
        m.submodules.fetcher = fetcher = ParameterFetcher(config)
        m.submodules.loader = loader = Loader(config)
        m.submodules.storer = storer = Storer(config)
        datapath = self._datapath(m, sequencer)
        self._connect_ports(m, registers, fetcher, loader, storer)
        self._connect_control(m, registers, sequencer)
        self._connect_memory_side(m, sequencer, fetcher, loader, storer, datapath["window"])
        self._connect_datapath(m, sequencer, loader, storer, **datapath)
        self._broadcast(m, sequencer, fetcher, [loader, storer, *datapath.values()])
        self._count_peaks(m, registers, sequencer, datapath["peaks"])
        self._profile(m, registers, sequencer, fetcher, loader, storer, **datapath)
        return m

    def _window(self):
        return Window(self.config)

    def _datapath(self, m, sequencer):
        """Components by name, from the window on; a reset of the sequencer clears them."""
        config = self.config
        datapath = {
            "window": self._window(),
            "depthwise": Depthwise(config),
            "row_buffer": RowBuffer(config),
            "vector_buffer": VectorBuffer(config),
            "pointwise": Pointwise(config, self.array_slices),
            "peaks": Peaks(config),
        }
        for name, component in datapath.items():
            m.submodules[name] = ResetInserter(sequencer.clear)(component)
        return datapath

    def _connect_ports(self, m, registers, fetcher, loader, storer):
        wiring.connect(m, wiring.flipped(self.registers), registers.bus)
        wiring.connect(m, loader.port, wiring.flipped(self.port0_read))
        wiring.connect(m, storer.port, wiring.flipped(self.port0_write))
        wiring.connect(m, fetcher.port, wiring.flipped(self.port1_read))

    def _connect_control(self, m, registers, sequencer):
        status = Signal(32)
        m.d.comb += [
            status[0].eq(sequencer.busy),
            status[1].eq(sequencer.done),
            status[2].eq(sequencer.error),
            status[8:16].eq(sequencer.cause),
            status[16:32].eq(sequencer.step_index),
            registers.status.eq(status),
            registers.frame_cycles.eq(sequencer.frame_cycles),
            registers.frame_steps.eq(sequencer.frame_steps),
            registers.ended.eq(sequencer.ended),
            sequencer.start.eq(registers.start),
            sequencer.reset.eq(registers.reset),
            sequencer.base.eq(registers.base_address),
            sequencer.program_offset.eq(registers.program_offset),
            sequencer.watchdog.eq(registers.watchdog),
            self.interrupt.eq(registers.interrupt),
            self.step_end.eq(sequencer.step_end),
        ]

    def _connect_memory_side(self, m, sequencer, fetcher, loader, storer, window):
        done = Signal()
        # A step may need fewer rows than the loader brings (the last ones of a stride); they must be out of the way.
        m.d.sync += done.eq(storer.done & ~loader.busy & ~window.busy & ~sequencer.step_start)
        m.d.comb += [
            fetcher.fetch.eq(sequencer.fetch),
            fetcher.address.eq(sequencer.fetch_address),
            fetcher.target_half.eq(sequencer.fetch_half),
            sequencer.next_step.eq(fetcher.next_step),
            sequencer.fetch_ready.eq(fetcher.ready),
            sequencer.fetch_bad.eq(fetcher.bad),
            sequencer.fetch_error.eq(fetcher.error),
            sequencer.read_error.eq(loader.error),
            sequencer.write_error.eq(storer.error),
            sequencer.step_done.eq(done),
            sequencer.idle.eq(~(fetcher.busy | loader.busy | storer.busy)),
        ]
        for master in (fetcher, loader, storer):
            m.d.comb += [master.clear.eq(sequencer.clear), master.base.eq(sequencer.memory_base)]

    def _connect_input(self, m, expand, loader, window, row_buffer, pointwise):
        """To the window comes what the loader brings, or what the expansion makes of it."""
        m.d.comb += [
            row_buffer.i.valid.eq(loader.o.valid & expand),
            row_buffer.i.payload.eq(loader.o.payload),
            loader.o.ready.eq(Mux(expand, row_buffer.i.ready, window.i.ready)),
            pointwise.e_ready.eq(row_buffer.ready),
            pointwise.e_payload.eq(row_buffer.o_payload),
            row_buffer.take.eq(pointwise.e_take),
            row_buffer.last.eq(pointwise.e_last),
            row_buffer.free.eq(pointwise.e_final),
            window.i.valid.eq(Mux(expand, pointwise.expanded.valid, loader.o.valid)),
            window.i.payload.eq(Mux(expand, pointwise.expanded.payload, loader.o.payload)),
            pointwise.expanded.ready.eq(window.i.ready & expand),
        ]

    def _connect_datapath(
        self, m, sequencer, loader, storer, window, depthwise, row_buffer, vector_buffer, pointwise, peaks
    ):
        in_peaks = sequencer.step.depthwise_op == DepthwiseOp.PEAKS
        self._connect_input(m, sequencer.step.expand, loader, window, row_buffer, pointwise)
        m.d.comb += [
            # Each of the two is empty, and ignores what is issued, in the other's steps.
            window.space.eq(peaks.space & vector_buffer.space),
            vector_buffer.issue.eq(window.issue),
            peaks.issue.eq(window.issue),
            depthwise.i_valid.eq(window.o_valid),
            depthwise.i_payload.eq(window.o_payload),
            peaks.i_valid.eq(window.o_valid),
            peaks.i_payload.eq(window.o_payload),
            vector_buffer.i_valid.eq(depthwise.o_valid),
            vector_buffer.i_payload.eq(depthwise.o_payload),
            pointwise.v_ready.eq(vector_buffer.ready),
            pointwise.v_payload.eq(vector_buffer.o_payload),
            vector_buffer.take.eq(pointwise.v_take),
            vector_buffer.last.eq(pointwise.v_last),
            vector_buffer.free.eq(pointwise.v_final),
            # Only one of them has results.
            storer.i.valid.eq(peaks.o.valid | pointwise.o.valid),
            storer.i.payload.eq(Mux(in_peaks, peaks.o.payload.as_value(), pointwise.o.payload.as_value())),
            peaks.o.ready.eq(storer.i.ready),
            pointwise.o.ready.eq(storer.i.ready),
        ]

    def _broadcast(self, m, sequencer, fetcher, components):
        """Step, half and start to all; parameters to those that keep some."""
        for component in components:
            m.d.comb += [
                component.step.eq(sequencer.step),
                component.half.eq(sequencer.half),
                component.start.eq(sequencer.step_start),
            ]
            if "parameters" in component.signature.members:
                m.d.comb += [
                    component.parameters.valid.eq(fetcher.bus.valid),
                    component.parameters.payload.eq(fetcher.bus.payload),
                ]

    def _count_peaks(self, m, registers, sequencer, peaks):
        """Keep the count of the last peak step."""
        with m.If(sequencer.step_end & (sequencer.step.depthwise_op == DepthwiseOp.PEAKS)):
            m.d.sync += registers.peak_count.eq(peaks.count)

    def _profile(self, m, registers, sequencer, fetcher, loader, storer, window, pointwise, peaks, **_):
        m.submodules.profiler = profiler = Profiler(self.config)
        m.d.comb += [profiler.index.eq(registers.profile_index), registers.profile_data.eq(profiler.data)]
        # A cycle late, all of it.
        m.d.sync += [
            profiler.running.eq(sequencer.running),
            profiler.stepping.eq(sequencer.stepping),
            profiler.step_end.eq(sequencer.step_end),
            profiler.step_index.eq(sequencer.step_index),
            profiler.read_beats.eq(loader.beat + fetcher.beat),
            profiler.write_beats.eq(storer.beat),
            profiler.waiting_input.eq(window.waiting_rows),
        ]
        with m.If(sequencer.step.depthwise_op == DepthwiseOp.PEAKS):
            m.d.sync += [
                profiler.active.eq(window.o_valid),
                profiler.waiting_output.eq(~peaks.space),
                profiler.finished.eq(~window.busy),
            ]
        with m.Else():
            m.d.sync += [
                profiler.active.eq(pointwise.active),
                profiler.waiting_output.eq(pointwise.blocked),
                profiler.finished.eq(pointwise.finished),
            ]

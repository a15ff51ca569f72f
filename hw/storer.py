"""Gathers results into blocks and writes each output plane's part of a block as one run."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import BEAT_BYTES, VECTOR_BYTES, AcceleratorConfig
from codenet.isa import DepthwiseOp, Section
from hw.burst_splitter import BURST_BEATS
from hw.burst_writer import BurstWriter
from hw.interfaces import STEP, STORE_ITEM, ParameterBus, WritePort
from hw.offset_table import OffsetTable


class _Block:
    """State of one half of the block memory: complete and not yet announced, not yet sent, beats of each run, index of the last."""

    def __init__(self, depth: int, name: str) -> None:
        self.to_address = Signal(name=f"{name}_to_address")
        self.to_send = Signal(name=f"{name}_to_send")
        self.run_beats = Signal(range(depth + 1), name=f"{name}_run_beats")
        self.last_beat = Signal(range(depth), name=f"{name}_last_beat")

    @property
    def taken(self) -> Value:
        return self.to_address | self.to_send


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
        m = Module()
        half_depth = self.config.store_depth // 2
        m.submodules.writer = writer = BurstWriter()
        m.submodules.table = table = OffsetTable(self.config.plane_depth, Section.OUTPUT_TABLE)
        m.submodules.blocks = blocks = memory.Memory(shape=unsigned(64), depth=2 * half_depth, init=[])
        wiring.connect(m, writer.port, wiring.flipped(self.port))
        wiring.connect(m, table.parameters, wiring.flipped(self.parameters))
        m.d.comb += [
            writer.clear.eq(self.clear),
            self.beat.eq(writer.beat),
            self.error.eq(writer.error),
        ]
        control = Module()
        queue = [_Block(half_depth, name=f"block_{n}") for n in range(2)]
        filling = self._fill(control, blocks.write_port(), queue)
        addressing = self._address(control, writer, table, queue)
        sending = self._send(control, writer, blocks.read_port(), queue)
        waiting = Cat(block.to_address | block.to_send for block in queue).any()
        running = Signal()
        with control.If(self.start):
            control.d.sync += [running.eq(1), self.done.eq(0)]
        with control.Elif(running & ~filling & ~waiting & ~addressing & ~sending & writer.idle):
            control.d.sync += [running.eq(0), self.done.eq(1)]
        m.submodules.control = ResetInserter(self.clear)(control)
        m.d.comb += self.busy.eq(running | ~writer.idle)
        return m

    def _fill(self, m: Module, port: memory.WritePort, queue: list[_Block]) -> Signal:
        """Gather beats into blocks; returns whether the step still has some to come."""
        step = self.step
        filling, half = Signal(), Signal()
        address = Signal(len(port.addr) - 1)
        beat, last_beat = Signal(10), Signal(10)
        unit, last_unit = Signal(len(address)), Signal(len(address))
        units_left = Signal(24)
        block_free = Signal()
        accept, unit_end, block_end = Signal(), Signal(), Signal()
        m.d.comb += [
            block_free.eq(~Mux(half, queue[1].taken, queue[0].taken)),
            self.i.ready.eq(filling & block_free),
            accept.eq(self.i.valid & self.i.ready),
            port.en.eq(accept & ~self.i.payload.end),
            port.addr.eq(Cat(address, half)),
            port.data.eq(self.i.payload.data),
            unit_end.eq(port.en & (beat == last_beat)),
            block_end.eq(unit_end & ((unit == last_unit) | (units_left == 1))),
        ]
        with m.If(port.en):
            m.d.sync += [address.eq(address + 1), beat.eq(beat + 1)]
        with m.If(unit_end):
            m.d.sync += [beat.eq(0), unit.eq(unit + 1), units_left.eq(units_left - 1)]
            with m.If(units_left == 1):
                m.d.sync += filling.eq(0)
        with m.If(accept & self.i.payload.end):
            m.d.sync += filling.eq(0)
            m.d.comb += block_end.eq(unit != 0)
        with m.If(block_end):
            m.d.sync += [address.eq(0), unit.eq(0), half.eq(~half)]
        for n, block in enumerate(queue):
            with m.If(block_end & (half == n)):
                units = unit + ~self.i.payload.end
                m.d.sync += [block.to_address.eq(1), block.to_send.eq(1)]
                run_beats = Mux(self._peaks, units, units << 1)
                m.d.sync += [block.run_beats.eq(run_beats), block.last_beat.eq(run_beats - 1)]
        with m.If(self.start):
            m.d.sync += [
                filling.eq(1),
                last_beat.eq(Mux(self._peaks, 0, (step.output_planes << 1) - 1)),
                last_unit.eq(Mux(self._peaks, BURST_BEATS - 1, (1 << step.block_log2) - 1)),
                # A list of peaks ends with its end item, not with a count.
                units_left.eq(Mux(self._peaks, 0, step.output_pixels)),
            ]
        return filling

    @property
    def _peaks(self) -> Value:
        return self.step.depthwise_op == DepthwiseOp.PEAKS

    def _address(self, m: Module, writer: BurstWriter, table: OffsetTable, queue: list[_Block]) -> Value:
        """Announce one run a plane and block; returns whether some are on their way."""
        half, active, looked_up, valid, advance = Signal(), Signal(), Signal(), Signal(), Signal()
        plane, last_plane = Signal(9), Signal(9)
        beats, looked_up_beats = Signal.like(queue[0].run_beats), Signal.like(queue[0].run_beats)
        block_address, looked_up_address = Signal(32), Signal(32)
        block_bytes = Signal(20)
        run = Signal.like(writer.runs.payload)
        m.d.comb += [
            active.eq(Mux(half, queue[1].to_address, queue[0].to_address)),
            beats.eq(Mux(half, queue[1].run_beats, queue[0].run_beats)),
            advance.eq(~valid | writer.runs.ready),
            writer.runs.valid.eq(valid),
            writer.runs.payload.eq(run),
            table.index.eq(plane),
            table.half.eq(self.half),
            table.enable.eq(advance),
        ]
        with m.If(advance):
            # Stage 1: look up the plane's offset.
            m.d.sync += [looked_up.eq(active), looked_up_address.eq(block_address), looked_up_beats.eq(beats)]
            with m.If(active):
                m.d.sync += plane.eq(plane + 1)
                with m.If(plane == last_plane):
                    m.d.sync += [plane.eq(0), half.eq(~half), block_address.eq(block_address + block_bytes)]
                    for n, block in enumerate(queue):
                        with m.If(half == n):
                            m.d.sync += block.to_address.eq(0)
            # Stage 2: add the block's address.
            m.d.sync += [
                valid.eq(looked_up),
                run.address.eq(looked_up_address + Mux(self._peaks, 0, table.offset)),
                run.beats.eq(looked_up_beats),
            ]
        with m.If(self.start):
            m.d.sync += [
                last_plane.eq(Mux(self._peaks, 0, self.step.output_planes - 1)),
                block_bytes.eq(Mux(self._peaks, BURST_BEATS * BEAT_BYTES, VECTOR_BYTES << self.step.block_log2)),
                block_address.eq(self.base + Mux(self._peaks, self.step.peak_address, 0)),
            ]
        return looked_up | valid

    def _send(self, m: Module, writer: BurstWriter, port: memory.ReadPort, queue: list[_Block]) -> Value:
        """Send each block plane by plane; returns whether beats are on their way."""
        half, active, looked_up, valid, advance = Signal(), Signal(), Signal(), Signal(), Signal()
        address, plane_address = Signal(len(port.addr) - 1), Signal(len(port.addr) - 1)
        pixel_skip = Signal(10)
        plane, last_plane = Signal(9), Signal(9)
        beat, last_beat = Signal.like(queue[0].last_beat), Signal.like(queue[0].last_beat)
        beats = Signal(64)
        m.d.comb += [
            active.eq(Mux(half, queue[1].to_send, queue[0].to_send)),
            last_beat.eq(Mux(half, queue[1].last_beat, queue[0].last_beat)),
            advance.eq(~valid | writer.data.ready),
            writer.data.valid.eq(valid),
            writer.data.payload.eq(beats),
            port.addr.eq(Cat(address, half)),
            port.en.eq(advance),
        ]
        with m.If(advance):
            # Two stages: the memory's own, and a register behind it, as block RAM is slow to answer.
            m.d.sync += [looked_up.eq(active), valid.eq(looked_up), beats.eq(port.data)]
            with m.If(active):
                m.d.sync += [beat.eq(beat + 1), address.eq(address + Mux(beat[0], pixel_skip, 1))]
                with m.If(beat == last_beat):
                    m.d.sync += [
                        beat.eq(0),
                        plane.eq(plane + 1),
                        plane_address.eq(plane_address + 2),
                        address.eq(plane_address + 2),
                    ]
                    with m.If(plane == last_plane):
                        m.d.sync += [plane.eq(0), plane_address.eq(0), address.eq(0), half.eq(~half)]
                        for n, block in enumerate(queue):
                            with m.If(half == n):
                                m.d.sync += block.to_send.eq(0)
        with m.If(self.start):
            m.d.sync += [
                last_plane.eq(Mux(self._peaks, 0, self.step.output_planes - 1)),
                # From the second half of a plane's pixel to the first half of its next pixel.
                pixel_skip.eq(Mux(self._peaks, 1, (self.step.output_planes << 1) - 1)),
            ]
        return looked_up | valid

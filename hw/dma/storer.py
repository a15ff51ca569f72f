# SPDX-License-Identifier: Apache-2.0
"""Gathers results into blocks and writes each output plane's part of a block as one run."""

from amaranth import Cat, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import BEAT_BYTES, VECTOR_BYTES, AcceleratorConfig
from codenet.isa import DepthwiseOp, Section
from hw.axi import BURST_BEATS, BurstWriter, BusControl, BusMaster, WritePort
from hw.dma.plane_runs import PlaneRuns
from hw.interfaces import STORE_ITEM, ParameterBus, StepControl, begin_after
from hw.lib import connect_bundle, count_to, delay, taken


class _Block:
    """State of one half of the block memory: complete and not yet announced, not yet sent, beats of each run."""

    def __init__(self, depth: int, name: str) -> None:
        self.to_address = Signal(name=f"{name}_to_address")
        self.to_send = Signal(name=f"{name}_to_send")
        self.run_beats = Signal(range(depth + 1), name=f"{name}_run_beats")

    @property
    def taken(self) -> Value:
        return self.to_address | self.to_send


class Storer(wiring.Component):
    """Writes the results of a step: planes of pixels, or a list of peak records.

    Planes: beats come pixel-major, ``2 * output_planes`` a pixel; pixel ``n`` of plane ``p`` goes to
    ``base + output_table[p] + 16 * n``. Blocks of ``2**block_log2`` pixels are collected in one half of the block
    memory while the other half is written. Exactly ``output_pixels`` pixels are taken. Peaks (``depthwise_op`` PEAKS):
    beats go to ``base + peak_address`` on, until an item ``end``. Throughput: one beat a cycle in and out, but for two
    cycles a block. A step may be started when ``busy`` is low.

    Parameters
    ----------
    config:
        Sizes; ``plane_depth`` is that of each half of the output table, ``store_depth`` that of the two halves of the
        block memory.

    Members
    -------
    step, start, half:
        :class:`hw.interfaces.StepControl`; ``half`` is that of the output table.
    base, clear, reset, busy, beat, error:
        :class:`hw.axi.BusMaster`; ``busy`` lasts until ``done``.
    parameters:
        Fills the output table.
    port:
        AXI write channels.
    i:
        Results.
    done:
        Level: the step's data are written and every response has come (for no peaks at all too). Low after reset, after
        ``clear`` and from the cycle after ``start``.
    """

    STEP_FIELDS = "depthwise_op output_planes block_log2 output_pixels peak_address".split()

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                **taken(StepControl(half=True)),
                **taken(BusMaster()),
                "parameters": In(ParameterBus()),
                "port": Out(WritePort()),
                "i": In(stream.Signature(STORE_ITEM)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        half_depth = self.config.store_depth // 2
        m.submodules.writer = writer = BurstWriter()
        runs = PlaneRuns(self.config.plane_depth, Section.OUTPUT_TABLE)
        m.submodules.runs = ResetInserter(self.clear)(runs)
        m.submodules.blocks = blocks = memory.Memory(shape=unsigned(64), depth=2 * half_depth, init=[])
        wiring.connect(m, writer.port, wiring.flipped(self.port))
        connect_bundle(m, BusControl(), self, writer)
        wiring.connect(m, runs.parameters, wiring.flipped(self.parameters))
        wiring.connect(m, runs.o, writer.runs)
        m.d.comb += runs.half.eq(self.half)
        control = Module()
        begin = begin_after(control, self.start, 4)
        self._peaks = delay(control, self.step.depthwise_op == DepthwiseOp.PEAKS, 1, "peaks")
        queue = [_Block(half_depth, name=f"block_{n}") for n in range(2)]
        filling = self._fill(control, blocks.write_port(), queue, begin)
        addressing = self._address(control, runs, queue, begin)
        sending = self._send(control, writer, blocks.read_port(), queue)
        waiting = Cat(block.taken for block in queue).any()
        starting, running, quiet = Signal(), Signal(), Signal()
        control.d.sync += quiet.eq(~starting & ~filling & ~waiting & ~addressing & ~sending & writer.idle)
        with control.If(running & quiet):
            control.d.sync += [running.eq(0), self.done.eq(1)]
        with control.If(begin):
            control.d.sync += starting.eq(0)
        with control.If(self.start):
            control.d.sync += [starting.eq(1), running.eq(1), quiet.eq(0), self.done.eq(0)]
        m.submodules.control = ResetInserter(self.clear)(control)
        m.d.comb += self.busy.eq(running | ~writer.idle)
        return m

    def _fill(self, m: Module, port: memory.WritePort, queue: list[_Block], begin: Value) -> Signal:
        """Gather beats into blocks, unit by unit: pixels, or peak records; returns whether the step still has some to
        come.
        """
        step = self.step
        filling, half = Signal(), Signal()
        address = Signal(len(port.addr) - 1)
        accept, unit_end, block_end = Signal(), Signal(), Signal()
        last_beat, last_unit, increment = Signal(10), Signal(len(address)), Signal(2)
        m.d.sync += [
            last_beat.eq(Mux(self._peaks, 0, (step.output_planes << 1) - 1)),
            last_unit.eq(Mux(self._peaks, BURST_BEATS - 1, (1 << step.block_log2) - 1)),
            increment.eq(Mux(self._peaks, 1, 2)),
        ]
        at_last_beat = count_to(m, "beats", last_beat, port.en, begin)
        at_last_unit = count_to(m, "units", last_unit, unit_end, begin | block_end)
        units_left, at_end = Signal(24), Signal()
        taken = delay(m, Cat(block.taken for block in queue), 1, "taken", reset=True)
        m.d.comb += [
            # ``taken`` is a cycle late: filling a block takes two at least.
            self.i.ready.eq(filling & ~Mux(half, taken[1], taken[0])),
            accept.eq(self.i.valid & self.i.ready),
            port.en.eq(accept & ~self.i.payload.end),
            port.addr.eq(Cat(address, half)),
            port.data.eq(self.i.payload.data),
            unit_end.eq(port.en & at_last_beat),
            block_end.eq(unit_end & (at_last_unit | at_end)),
        ]
        with m.If(port.en):
            m.d.sync += address.eq(address + 1)
        # There is a unit in the block.
        some, close = Signal(), Signal()
        m.d.comb += close.eq(block_end | (accept & self.i.payload.end & some))
        with m.If(unit_end):
            m.d.sync += [units_left.eq(units_left - 1), at_end.eq(units_left == 2), some.eq(1)]
        with m.If(close):
            m.d.sync += [address.eq(0), half.eq(~half), some.eq(0)]
        for n, block in enumerate(queue):
            with m.If(unit_end & (half == n)):
                m.d.sync += block.run_beats.eq(Mux(some, block.run_beats, 0) + increment)
            with m.If(close & (half == n)):
                m.d.sync += [block.to_address.eq(1), block.to_send.eq(1)]
        with m.If((unit_end & at_end) | (accept & self.i.payload.end)):
            m.d.sync += filling.eq(0)
        with m.If(begin):
            # A list of peaks ends with its end item, not with a count.
            m.d.sync += [
                filling.eq(1),
                units_left.eq(Mux(self._peaks, 0, step.output_pixels)),
                at_end.eq(~self._peaks & (step.output_pixels == 1)),
            ]
        return filling

    def _address(self, m: Module, runs: PlaneRuns, queue: list[_Block], begin: Value) -> Value:
        """Announce one run a plane and block, every second cycle; returns whether some are on their way."""
        step = self.step
        half, even = Signal(), Signal()
        plane, last_plane, at_last_plane = Signal(9), Signal(9), Signal()
        block_address, next_address = (Signal(32, name=name, reset_less=True) for name in ("block", "next"))
        block_bytes = Signal(20, reset_less=True)
        # Follow the registers that they are made of, as these change every second cycle at most.
        m.d.sync += [
            last_plane.eq(Mux(self._peaks, 0, step.output_planes - 1)),
            block_bytes.eq(Mux(self._peaks, BURST_BEATS * BEAT_BYTES, VECTOR_BYTES << step.block_log2)),
            at_last_plane.eq(plane == last_plane),
            next_address.eq(block_address + block_bytes),
        ]
        first = Signal(32, name="first_address", reset_less=True)
        m.d.sync += first.eq(self.base + Mux(self._peaks, step.peak_address, 0))
        m.d.comb += [
            runs.i.valid.eq(even & runs.room & Mux(half, queue[1].to_address, queue[0].to_address)),
            runs.plane.eq(plane),
            runs.i.payload.address.eq(block_address),
            runs.i.payload.beats.eq(Mux(half, queue[1].run_beats, queue[0].run_beats)),
            runs.absolute.eq(self._peaks),
        ]
        m.d.sync += even.eq(~even)
        with m.If(runs.i.valid):
            m.d.sync += plane.eq(plane + 1)
            with m.If(at_last_plane):
                m.d.sync += [plane.eq(0), half.eq(~half), block_address.eq(next_address)]
                for n, block in enumerate(queue):
                    with m.If(half == n):
                        m.d.sync += block.to_address.eq(0)
        with m.If(begin):
            m.d.sync += block_address.eq(first)
        return runs.busy

    def _send(self, m: Module, writer: BurstWriter, port: memory.ReadPort, queue: list[_Block]) -> Value:
        """Send each block plane by plane; returns whether beats are on their way."""
        step = self.step
        address, next_plane = Signal(len(port.addr) - 1), Signal(len(port.addr) - 1)
        # The half that is sent, and the one that comes next.
        active, half, next_half = Signal(), Signal(), Signal()
        odd, run_last, last_plane, pixel_skip = Signal(), Signal.like(queue[0].run_beats), Signal(9), Signal(10)
        looked_up, valid, step_on, load, finished = (Signal() for _ in range(5))
        beats = Signal(64, reset_less=True)
        m.d.sync += [
            last_plane.eq(Mux(self._peaks, 0, step.output_planes - 1)),
            # From the second half of a plane's pixel to the first half of its next pixel.
            pixel_skip.eq(Mux(self._peaks, 1, (step.output_planes << 1) - 1)),
        ]
        run_ends, at_last_plane = Signal(), Signal()
        m.d.comb += [
            step_on.eq(active & writer.spacious),
            finished.eq(step_on & run_ends & at_last_plane),
            load.eq(~active & Mux(next_half, queue[1].to_send, queue[0].to_send)),
            writer.data.valid.eq(valid),
            writer.data.payload.eq(beats),
            port.addr.eq(Cat(address, half)),
            port.en.eq(1),
        ]
        # Two stages: the memory's own, and a register behind it, as block RAM is slow to answer.
        m.d.sync += [looked_up.eq(step_on), valid.eq(looked_up), beats.eq(port.data)]
        left, single_run, planes_left = Signal.like(run_last), Signal(), Signal.like(last_plane)
        with m.If(step_on):
            m.d.sync += [odd.eq(~odd), address.eq(address + Mux(odd, pixel_skip, 1))]
            m.d.sync += [left.eq(left - 1), run_ends.eq(left == 1)]
            with m.If(run_ends):
                m.d.sync += [left.eq(run_last), run_ends.eq(single_run), odd.eq(0)]
                m.d.sync += [address.eq(next_plane), next_plane.eq(next_plane + 2)]
                m.d.sync += [planes_left.eq(planes_left - 1), at_last_plane.eq(planes_left == 1)]
        for n, block in enumerate(queue):
            with m.If(finished & (half == n)):
                m.d.sync += block.to_send.eq(0)
        with m.If(finished):
            m.d.sync += active.eq(0)
        with m.If(load):
            run_beats = Mux(next_half, queue[1].run_beats, queue[0].run_beats)
            m.d.sync += [active.eq(1), half.eq(next_half), next_half.eq(~next_half)]
            m.d.sync += [left.eq(run_beats - 1), run_last.eq(run_beats - 1), odd.eq(0), address.eq(0), next_plane.eq(2)]
            m.d.sync += [run_ends.eq(run_beats == 1), single_run.eq(run_beats == 1)]
            m.d.sync += [planes_left.eq(last_plane), at_last_plane.eq(last_plane == 0)]
        return active | looked_up | valid

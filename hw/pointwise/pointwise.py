# SPDX-License-Identifier: Apache-2.0
"""Pointwise unit: vectors x weights -> accumulators -> requantized results."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES, AcceleratorConfig
from hw.arithmetic import Array, skew
from hw.chips import XC7Z020
from hw.interfaces import (
    STORE_ITEM,
    VECTOR,
    ParameterBus,
    ParameterSection,
    StepControl,
    VectorReader,
    VectorWalk,
)
from hw.lib import READ_LATENCY, BlockMemory, connect_bundle, delay, relay, taken
from hw.pointwise.drain import PointwiseDrain
from hw.pointwise.issue import PointwiseIssue


class Pointwise(wiring.Component):
    """1x1 convolution of each pixel's vectors, requantized; or, in steps without pointwise, the vectors themselves.
    And, with ``expand``, another 1x1 convolution of the pixels of the row buffer.

    An operation (a vector times the weights of ``outputs`` channels) a cycle, as long as a group of ``n`` chunks has at
    least ``n`` of them (``2 n`` for int16 results). Operations are only issued when their results have a place in the
    result queue, so the pipeline behind the issue never stalls.

    Members
    -------
    parameters : writes weights and chunk entries, into the halves that no running step uses.
    vectors, rows : read sides of :class:`hw.pointwise.vector_buffer.VectorBuffer` and
        :class:`hw.pointwise.row_buffer.RowBuffer`.
    o : beats of results, by pixel, then chunk (or, without pointwise, vector half). Surplus chunks of the last group
        are dropped.
    expanded : vectors of the expansion, by pixel, then plane.
    active, starved, blocked : this cycle has an operation; waits for a vector; waits for room for results.
    finished : all operations of the step are issued.
    """

    STEP_FIELDS = (
        "depthwise_op pointwise wide_weights wide_output vectors groups chunks pointwise_s pointwise_lo "
        "pointwise_hi output_pixels expand expand_planes expand_groups expand_chunks expand_words expand_s "
        "expand_lo expand_hi"
    ).split()

    def __init__(self, config: AcceleratorConfig, array_slices: int = XC7Z020.array_slices):
        self.config = config
        self.array_slices = array_slices
        super().__init__(
            {
                **taken(StepControl(half=True)),
                "parameters": In(ParameterBus()),
                "vectors": In(VectorReader()),
                "rows": In(VectorReader()),
                "o": Out(stream.Signature(STORE_ITEM)),
                "expanded": Out(stream.Signature(VECTOR)),
                "active": Out(1),
                "starved": Out(1),
                "blocked": Out(1),
                "finished": Out(1),
            }
        )

    @property
    def queue_depth(self) -> int:
        """Beats of the result queue: more than a pipeline's worth, and than twice what a group waits for."""
        return max(64, 8 * self.config.chunks_per_group)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.issue = issue = PointwiseIssue(self.config)
        m.submodules.drain = drain = PointwiseDrain(self.config)
        m.submodules.array = array = Array(self.config, self.array_slices)
        m.d.comb += [
            self.active.eq(issue.issue),
            self.starved.eq(issue.starved),
            self.blocked.eq(issue.blocked),
            self.finished.eq(issue.finished),
        ]
        connect_bundle(m, StepControl(), self, issue)
        connect_bundle(m, StepControl(half=True), self, drain)
        connect_bundle(m, VectorWalk(), self.vectors, issue.vectors)
        connect_bundle(m, VectorWalk(), self.rows, issue.rows)
        wiring.connect(m, drain.parameters, wiring.flipped(self.parameters))

        # The weights are one cycle behind the vector buffer: their address has a register of its own to spread from.
        fetched = READ_LATENCY + 1
        word = Signal.like(issue.o_word, reset_less=True)
        vector = Signal(VECTOR, reset_less=True)
        expand = delay(m, issue.o_operation.expand, READ_LATENCY, "expand")
        m.d.sync += [word.eq(issue.o_word), vector.eq(Mux(expand, self.rows.payload, self.vectors.payload))]
        m.d.comb += [
            array.i_weights.eq(self._weights(m, word)),
            array.i_vector.eq(vector),
            array.i_unsigned.eq(delay(m, issue.o_operation.low, fetched, "low")),
            drain.i_valid.eq(delay(m, issue.issue, fetched + array.latency - 1, "issued", reset=True)),
            drain.i_operation.eq(delay(m, issue.o_operation, fetched + array.latency - 1, "operation")),
            drain.i_sums.eq(array.o_sums),
        ]
        bypasses = issue.issue & ~self.step.pointwise & ~issue.o_operation.expand
        bypass_valid = delay(m, bypasses, READ_LATENCY, "bypass_valid", reset=True)
        upper = delay(m, issue.o_operation.upper, READ_LATENCY, "upper")
        halves = self.vectors.payload.as_value()
        self._queue(m, issue, drain, bypass_valid, Mux(upper, halves[64:], halves[:64]))
        self._expanded_queue(m, issue, drain)
        return m

    def _weights(self, m: Module, word) -> Value:
        """Nibbles by output, then lane, those of a lane when they are due at the array.

        A memory has a beat of each word, 16 nibbles of one lane or of a few neighbours; its address ripples from lane
        to lane.
        """
        outputs = self.config.outputs
        address, due = Cat(word, self.half), {}
        for cycles in range(1, max(map(skew, range(LANES))) + 1):
            address = due[cycles] = relay(m, address, f"word_{cycles}")
        nibbles: dict[int, Value] = {}
        buses = self._write_port(m)
        for n in range(outputs):
            lanes = [(LANES * n + k) // outputs for k in range(LANES)]
            first = min(map(skew, lanes))
            m.submodules[f"weights{n}"] = mem = BlockMemory(64, self.config.weight_depth)
            write, before, bus = buses[n * len(buses) // outputs]
            m.d.comb += [
                mem.write_enable.eq(relay(m, write & (before.beat == n), f"write_{n}", reset=True)),
                mem.write_address.eq(Cat(bus.index[: len(word)], bus.half)),
                mem.write_data.eq(bus.data),
                mem.read_address.eq(due[first]),
            ]
            for k, lane in enumerate(lanes):
                nibble = mem.read_data[4 * k : 4 * k + 4]
                nibbles[LANES * n + k] = delay(m, nibble, skew(lane) - first, f"nibble_{LANES * n + k}")
        return Cat(nibbles[lane * outputs + output] for output in range(outputs) for lane in range(LANES))

    def _write_port(self, m: Module) -> list:
        """The parameter bus in registers that follow each other past the memories, eight at a register: "a beat of
        weights" and the bus before each, and the bus in it.
        """
        bus, valid = self.parameters.payload, self.parameters.valid
        buses = []
        for n in range(-(-self.config.outputs // 8)):
            before, write = bus, valid & (bus.section == ParameterSection.WEIGHTS)
            bus, valid = relay(m, bus, f"bus_{n}"), relay(m, valid, f"valid_{n}", reset=True)
            buses.append((write, before, bus))
        return buses

    def _queue(self, m: Module, issue, drain, bypass_valid, bypass) -> None:
        """Result queue, and the count of its places that are not promised to anyone."""
        depth = self.queue_depth
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=64, depth=depth)
        free = Signal(range(depth + 1), init=depth)
        write, beat = Signal(), Signal(64, reset_less=True)
        m.d.sync += [
            free.eq(free - issue.reserve + (self.o.valid & self.o.ready)),
            # A cycle late: for the group that has just begun, and another one, each of two beats a chunk.
            issue.room.eq(free >= 4 * self.config.chunks_per_group),
            write.eq(bypass_valid | (drain.o.valid & ~drain.o_expand)),
            beat.eq(Mux(bypass_valid, bypass, drain.o.payload)),
        ]
        m.d.comb += [
            queue.w_en.eq(write),
            queue.w_data.eq(beat),
            queue.r_en.eq(self.o.ready),
            self.o.valid.eq(queue.r_rdy),
            self.o.payload.data.eq(queue.r_data),
        ]

    def _expanded_queue(self, m: Module, issue, drain) -> None:
        """Joins the expansion's beats to vectors; otherwise as :meth:`_queue`."""
        depth = self.queue_depth
        m.submodules.expanded_queue = queue = fifo.SyncFIFOBuffered(width=VECTOR.size, depth=depth // 2)
        free = Signal(range(depth + 1), init=depth)
        upper, write = Signal(), Signal()
        low, vector = Signal(64, reset_less=True), Signal(VECTOR.size, reset_less=True)
        arrives = drain.o.valid & drain.o_expand
        taken = self.expanded.valid & self.expanded.ready
        m.d.sync += [
            free.eq(free - issue.e_reserve + (taken << 1)),
            write.eq(arrives & upper),
            # A cycle late: for the group that has just begun, and another one.
            issue.e_room.eq(free >= 2 * self.config.chunks_per_group),
        ]
        with m.If(arrives):
            m.d.sync += [upper.eq(~upper), low.eq(drain.o.payload), vector.eq(Cat(low, drain.o.payload))]
        m.d.comb += [
            queue.w_en.eq(write),
            queue.w_data.eq(vector),
            queue.r_en.eq(self.expanded.ready),
            self.expanded.valid.eq(queue.r_rdy),
            self.expanded.payload.eq(queue.r_data),
        ]

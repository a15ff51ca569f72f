# SPDX-License-Identifier: Apache-2.0
"""Vector buffer against a list: what is read, when there is something to read, and how many places are promised."""

import random

import cocotb
from cocotb.triggers import RisingEdge

from codenet.config import AcceleratorConfig
from codenet.isa import DepthwiseOp
from hw.interfaces import STEP
from hw.pointwise import VectorBuffer
from sim import testbench as bench

CONFIG = AcceleratorConfig(16, 16, 16, 16, 64, 8, 8, 4, 64, 16)


def test_vector_buffer():
    bench.run(VectorBuffer(CONFIG), __file__)


LAG = 4
"""Cycles that whoever issues may heed ``space`` late: it has room for six vectors more."""


class Traffic:
    """Random vectors in, with ``latency`` between issue and arrival, :data:`LAG` cycles behind ``space``; pixels read
    ``groups`` times, at random moments.
    """

    def __init__(self, dut, vectors: int, groups: int, latency: int, read_probability: float, rng: random.Random):
        self.dut, self.vectors, self.groups, self.rng = dut, vectors, groups, rng
        self.read_probability = read_probability
        self.pipeline: list[int | None] = [None] * latency
        self.written: list[int] = []
        self.issued = self.freed = self.pixel = self.group = self.vector = 0
        self.expected: list[int | None] = []
        self.space = [False] * LAG
        self.most = 0

    def drive(self) -> None:
        """Inputs of the cycle to come, from the outputs that stand."""
        dut = self.dut
        self.space.append(bool(int(dut.space.value)))
        fires = self.space.pop(0) and self.rng.random() < 0.8
        self.pipeline.append(self.rng.getrandbits(128) if fires else None)
        arrived = self.pipeline.pop(0)
        self.issued += fires
        dut.issue.value = int(fires)
        dut.i_valid.value, dut.i_payload.value = int(arrived is not None), arrived or 0

        position = self.pixel * self.vectors + self.vector
        ready = bool(int(dut.ready.value))
        assert ready == (position < len(self.written)), f"ready {ready}: reads {position} of {len(self.written)}"
        takes = ready and self.rng.random() < self.read_probability
        last, final = self.vector == self.vectors - 1, self.group == self.groups - 1
        dut.take.value, dut.last.value, dut.free.value = int(takes), int(last), int(final)
        self.expected.append(self.written[position] if takes else None)
        if arrived is not None:
            self.written.append(arrived)
        if takes:
            self.freed += final
            self.vector = 0 if last else self.vector + 1
            if last:
                self.group = 0 if final else self.group + 1
                self.pixel += final
        self.most = max(self.most, self.issued - self.freed)
        assert self.most <= CONFIG.vector_depth, "more places promised than there are"


@cocotb.test()
@cocotb.parametrize(
    vectors=[1, 3, 8],
    groups=[1, 3],
    read_probability=[0.2, 1.0],
)
async def check_traffic(dut, vectors, groups, read_probability):
    latency = VectorBuffer(CONFIG).latency
    await bench.reset(dut, start=0, issue=0, i_valid=0, i_payload=0, take=0, last=0, free=0, step=0)
    dut.step.value = bench.pack(STEP, vectors=vectors, depthwise_op=int(DepthwiseOp.OFF))
    await bench.cycles(dut, 2)
    traffic = Traffic(dut, vectors, groups, 5, read_probability, random.Random(vectors))
    for cycle in range(1000):
        traffic.drive()
        await RisingEdge(dut.clk)
        if cycle >= latency and traffic.expected[cycle - latency] is not None:
            item, value = int(dut.payload.value), traffic.expected[cycle - latency]
            assert item == value, f"cycle {cycle}: {item:#x}, expected {value:#x}"
        await bench.cycles(dut)
    assert traffic.pixel > 1000 * read_probability / (vectors * groups) / 4, f"only {traffic.pixel} pixels"
    if read_probability < 1:
        assert traffic.most == CONFIG.vector_depth, "not all places are used"

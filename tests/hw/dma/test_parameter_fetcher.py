# SPDX-License-Identifier: Apache-2.0
"""Parameter fetcher against :mod:`codenet.isa`: descriptors, numbering of every section, refusals, errors, clearing."""

import dataclasses
import random
import zlib

import cocotb

from codenet.config import AcceleratorConfig
from codenet.isa import DEPTHWISE_BEATS, FIELDS, DepthwiseOp, Descriptor, Section
from codenet.isa.parameters import section_beats
from hw.dma import ParameterFetcher
from hw.interfaces import PARAMETER, STEP, TO_MEMORIES
from sim import testbench as bench
from sim.testbench.dram import Dram
from sim.timing import DramTiming

BASE, MEMORY, SIZE = 0x4560_8000, 0x4560_0000, 1 << 19
DESCRIPTOR = MEMORY + 0x80
CONFIG = AcceleratorConfig.small()
IDEAL = DramTiming(latency=20, bytes_per_cycle=16, refresh_interval=0, refresh_cycles=0)


def test_parameter_fetcher():
    bench.run(ParameterFetcher(CONFIG), __file__)


def descriptor(rng: random.Random, **given: int) -> Descriptor:
    """A descriptor with every field drawn at random, its sections within the small configuration, but for the fields
    given.
    """
    values = {}
    for field in FIELDS:
        low = -(1 << (field.width - 1)) if field.signed else 0
        values[field.name] = rng.randint(low, low + (1 << field.width) - 1)
    values |= {"magic": Descriptor.magic, "version": Descriptor.version}
    values["input_planes"] = rng.randint(1, 31)
    values["output_planes"] = rng.randint(0, 32)
    values["chunks"] = rng.randint(0, 32)
    values["vectors"] = rng.randint(0, 64)
    values["groups"] = rng.randint(0, 128 // max(1, 2 * values["vectors"]))
    values["parameter_address"] = 128 * rng.randint(0, 2000)
    values["expand_planes"] = rng.randint(1, 31)
    values |= given
    # What is left of the memories for the expansion.
    words = values["groups"] * values["vectors"] << values["wide_weights"]
    values["expand_chunks"] = rng.randint(0, max(0, 32 - values["chunks"]))
    values["expand_words"] = rng.randint(0, max(0, 128 - words))
    values |= given
    if "parameter_beats" not in given:
        values["parameter_beats"] = 0
        values["parameter_beats"] = sum(section_beats(Descriptor(**values), CONFIG.outputs).values())
    return Descriptor(**values)


def expected_bus(dram: Dram, step: Descriptor, half: int) -> list[dict[str, int]]:
    """Beats on the parameter bus, numbered by the sections' definition."""
    size = {Section.DEPTHWISE: DEPTHWISE_BEATS, Section.CHUNKS: 8, Section.WEIGHTS: CONFIG.outputs}
    address, beats = BASE + step.parameter_address, []
    for section, count in section_beats(step, CONFIG.outputs).items():
        for n in range(count):
            index, beat = divmod(n, size.get(section, 1))
            value = dram.read_beat(address)
            beats.append({"section": int(section), "half": half, "index": index, "beat": beat, "data": value})
            address += 8
    return beats


class Monitor:
    """Collects what is on the parameter bus, and checks that nothing comes once the fetcher is ready.

    ``gap``: cycles from the last beat to ready.
    """

    def __init__(self, dut):
        self.dut = dut
        self.beats: list[dict[str, int]] = []
        self.gap: int | None = None
        self.task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        quiet = 0
        while True:
            quiet += 1
            if self.dut.ready.value and self.gap is None:
                self.gap = quiet
            if self.dut.bus_valid.value:
                quiet = 0
                assert not self.dut.ready.value
                value = PARAMETER.from_bits(int(self.dut.bus_payload.value))
                self.beats.append({name: int(getattr(value, name)) for name in ("half", "index", "beat", "data")})
                self.beats[-1]["section"] = int(getattr(value.section, "value", value.section))
            await bench.cycles(self.dut)


async def begin(dut, timing: DramTiming) -> Dram:
    dram = Dram(dut, SIZE, MEMORY, timing)
    dram.add_read_port("port")
    await bench.reset(dut, fetch=0, address=0, target_half=0, base=BASE, clear=0)
    assert not dut.ready.value and not dut.bad.value and not dut.busy.value
    return dram


async def ask(dut, dram: Dram, step: Descriptor | bytes, half: int, allow_parameters: bool = True) -> None:
    """Put the descriptor into memory and fetch it."""
    data = step if isinstance(step, bytes) else step.encode()
    dram.forbid_all()
    dram.load(DESCRIPTOR, data)
    dram.allow(DESCRIPTOR, 128, read=True)
    if allow_parameters and isinstance(step, Descriptor):
        dram.allow(BASE + step.parameter_address, 8 * step.parameter_beats, read=True)
    dut.fetch.value, dut.address.value, dut.target_half.value = 1, DESCRIPTOR, half
    await bench.cycles(dut)
    dut.fetch.value, dut.address.value, dut.target_half.value = 0, 0, 1 - half
    assert not dut.ready.value and not dut.bad.value and dut.busy.value


async def until_free(dut, timeout: int = 20_000) -> None:
    for _ in range(timeout):
        if not dut.busy.value:
            return
        await bench.cycles(dut)
    raise AssertionError(f"busy after {timeout} cycles")


def sealed(dram: Dram, step: Descriptor) -> Descriptor:
    """With the CRC of the parameters that lie in memory."""
    first = BASE + step.parameter_address
    beats = (dram.read_beat(first + 8 * n) for n in range(step.parameter_beats))
    block = b"".join(beat.to_bytes(8, "little") for beat in beats)
    return dataclasses.replace(step, parameter_crc=zlib.crc32(block))


async def fetch(dut, dram: Dram, step: Descriptor, half: int) -> int:
    """Fetch a good descriptor and compare all that comes of it; returns the cycles that it took."""
    step = sealed(dram, step)
    before, began = dram.reads[0].beats, dram.now
    await ask(dut, dram, step, half)
    monitor = Monitor(dut)
    expected = expected_bus(dram, step, half)
    await until_free(dut)
    taken = dram.now - began
    assert dut.ready.value and not dut.bad.value and not dut.damaged.value and not dut.error.value
    await bench.cycles(dut, 20)
    monitor.task.cancel()
    assert monitor.beats == expected
    assert monitor.gap is not None and monitor.gap >= TO_MEMORIES, "ready before the last beat is where it belongs"
    assert dram.reads[0].beats - before == 16 + len(expected)
    fields = STEP.from_bits(int(dut.next_step.value))
    for field in FIELDS:
        assert getattr(fields, field.name) == getattr(step, field.name), field.name
    return taken


@cocotb.test()
async def check_sections(dut):
    """Every combination of present and absent sections, then random ones."""
    rng = random.Random(1)
    dram = await begin(dut, DramTiming(latency=10, jitter=10, stall=0.1))
    half = 0
    for op in DepthwiseOp:
        for pointwise in (0, 1):
            for wide in (0, 1):
                for outputs, expand in ((0, 0), (3, 0), (3, 1)):
                    step = descriptor(
                        rng,
                        depthwise_op=op,
                        pointwise=pointwise,
                        wide_weights=wide,
                        output_planes=outputs,
                        input_planes=2,
                        chunks=3,
                        vectors=5,
                        groups=2,
                        expand=expand,
                        expand_planes=3,
                        expand_chunks=4 * expand,
                        expand_words=12 * expand,
                    )
                    await fetch(dut, dram, step, half)
                    half = 1 - half
    for _ in range(10):
        await fetch(dut, dram, descriptor(rng), half)
        half = 1 - half


@cocotb.test()
async def check_limits_are_allowed(dut):
    rng = random.Random(2)
    dram = await begin(dut, IDEAL)
    plain = {"expand": 0, "expand_chunks": 0, "expand_words": 0}
    for given in (
        {"input_planes": 32, "dilated": 0, "output_planes": 32, "depthwise_op": 1, "pointwise": 0},
        {"input_planes": 31, "dilated": 1, "pointwise": 0},
        {"pointwise": 1, "chunks": 32, "groups": 4, "vectors": 32, "wide_weights": 0},
        {"pointwise": 1, "chunks": 32, "groups": 1, "vectors": 64, "wide_weights": 1},
        {"expand": 1, "expand_planes": 32, "expand_chunks": 32, "expand_words": 128, "pointwise": 0},
        {
            "expand": 1,
            "expand_chunks": 12,
            "expand_words": 28,
            "pointwise": 1,
            "chunks": 20,
            "groups": 10,
            "vectors": 10,
        }
        | {"wide_weights": 0},
    ):
        step = descriptor(rng, **plain | given)
        # One beat a cycle, and the latency and a few cycles for each of the two reads.
        assert await fetch(dut, dram, step, 1) <= 16 + step.parameter_beats + 2 * IDEAL.latency + 40


@cocotb.test()
async def check_fetches_take_the_same_time(dut):
    """Whatever came before: the time for the check of a descriptor is counted from its beginning."""
    rng = random.Random(7)
    dram = await begin(dut, IDEAL)
    good = descriptor(rng, pointwise=1, chunks=3, vectors=5, groups=2)
    bad = dataclasses.replace(good, magic=0)
    times = set()
    for step in (good, good, bad, good, bad, bad, good):
        if step is good:
            times.add(await fetch(dut, dram, step, 0))
        else:
            await ask(dut, dram, step, 0, allow_parameters=False)
            await until_free(dut)
    assert len(times) == 1, times


@cocotb.test()
async def check_refusals(dut):
    rng = random.Random(3)
    dram = await begin(dut, IDEAL)
    plain = {"expand": 0, "expand_chunks": 0, "expand_words": 0}
    good = descriptor(rng, pointwise=1, chunks=3, vectors=5, groups=2)
    none = {"pointwise": 0, "dilated": 0, "depthwise_op": 0, "output_planes": 0, **plain}
    cases = [
        dataclasses.replace(good, magic=0xC0DF),
        dataclasses.replace(good, magic=0),
        dataclasses.replace(good, version=good.version + 1),
        dataclasses.replace(good, parameter_beats=good.parameter_beats + 1),
        dataclasses.replace(good, parameter_beats=good.parameter_beats - 1),
        dataclasses.replace(good, parameter_beats=0),
        dataclasses.replace(good, parameter_beats=(1 << 24) - 1),
        descriptor(rng, **none | {"input_planes": 0}),
        descriptor(rng, **none | {"input_planes": 33}),
        descriptor(rng, **none | {"input_planes": 32, "dilated": 1}),
        descriptor(rng, **none | {"input_planes": 300}),
        descriptor(rng, **none | {"input_planes": 2, "output_planes": 33}),
        descriptor(rng, **none | {"pointwise": 1, "input_planes": 2, "chunks": 33, "groups": 2, "vectors": 3}),
        descriptor(rng, pointwise=1, groups=3, vectors=43, wide_weights=0, **plain),
        descriptor(rng, pointwise=1, groups=1, vectors=65, wide_weights=1, **plain),
        descriptor(rng, **none | {"expand": 1, "expand_planes": 0}),
        descriptor(rng, **none | {"expand": 1, "expand_planes": 33}),
        descriptor(rng, **none | {"expand": 1, "expand_planes": 2, "expand_chunks": 34}),
        descriptor(rng, **none | {"expand": 1, "expand_planes": 2, "expand_words": 129}),
        descriptor(rng, pointwise=1, chunks=20, groups=1, vectors=1, expand=1, expand_chunks=14, expand_words=4),
        descriptor(rng, pointwise=1, groups=3, vectors=32, wide_weights=0, expand=1, expand_chunks=2, expand_words=33),
        # Numbers that agree but for bits that no right one has.
        dataclasses.replace(good, parameter_beats=good.parameter_beats | 1 << 16),
        dataclasses.replace(good, parameter_beats=good.parameter_beats | 1 << 20),
        dataclasses.replace(good, parameter_beats=good.parameter_beats | 1 << 23),
        descriptor(rng, pointwise=1, groups=256, vectors=4095, wide_weights=0, **plain),
    ]
    for step in cases:
        await ask(dut, dram, step, 0, allow_parameters=False)
        monitor = Monitor(dut)
        await until_free(dut)
        assert dut.bad.value and not dut.damaged.value and not dut.ready.value and not dut.error.value, step
        await bench.cycles(dut, 100)
        monitor.task.cancel()
        assert not monitor.beats and not dut.busy.value
        await fetch(dut, dram, good, 1)


@cocotb.test()
async def check_damaged_descriptors(dut):
    """Any other bit, or a beat that is still what was there before: refused before parameters are read."""
    rng = random.Random(8)
    dram = await begin(dut, IDEAL)
    good = sealed(dram, descriptor(rng, depthwise_op=1, pointwise=1, chunks=3, vectors=5, groups=2))
    data = good.encode()
    bits = sorted({*rng.sample(range(8 * len(data)), 100), *range(8 * len(data) - 32, 8 * len(data), 5)})
    damaged = [(int.from_bytes(data, "little") ^ 1 << bit).to_bytes(128, "little") for bit in bits]
    damaged += [data[:8] + data[16:24] + data[8:16] + data[24:], data[:120] + bytes(8), bytes(128), b"\xff" * 128]
    for data in damaged:
        await ask(dut, dram, data, 0)
        monitor = Monitor(dut)
        await until_free(dut)
        monitor.task.cancel()
        assert dut.damaged.value and not dut.bad.value and not dut.ready.value and not dut.error.value
        assert not monitor.beats
    await fetch(dut, dram, good, 1)


@cocotb.test()
async def check_damaged_parameters(dut):
    """Any other bit in any section, or two beats in each other's place: never ready."""
    rng = random.Random(9)
    dram = await begin(dut, DramTiming(latency=10, jitter=10, stall=0.1))
    step = descriptor(rng, depthwise_op=1, input_planes=2, pointwise=1, chunks=3, vectors=5, groups=2, expand=0)
    step = sealed(dram, step)
    first, beats = BASE + step.parameter_address, step.parameter_beats

    async def refused() -> None:
        await ask(dut, dram, step, 0)
        await until_free(dut)
        assert dut.damaged.value and not dut.bad.value and not dut.ready.value and not dut.error.value

    for place in (0, beats - 1, *(rng.randrange(beats) for _ in range(20))):
        good = dram.read_beat(first + 8 * place)
        dram.load(first + 8 * place, (good ^ 1 << rng.randrange(64)).to_bytes(8, "little"))
        await refused()
        dram.load(first + 8 * place, good.to_bytes(8, "little"))
        await fetch(dut, dram, step, 1)
    one, other = (dram.read_beat(first + 8 * place).to_bytes(8, "little") for place in (3, 4))
    assert one != other
    dram.load(first + 24, other + one)
    await refused()


@cocotb.test()
async def check_errors(dut):
    """An error in the descriptor and one in each part of the parameters: never ready, idle in the end, fine after
    clear.
    """
    rng = random.Random(4)
    dram = await begin(dut, IDEAL)
    step = descriptor(rng, pointwise=1, chunks=3, vectors=5, groups=2)
    parameters = BASE + step.parameter_address
    last = parameters + 8 * (step.parameter_beats - 1)
    for address in (DESCRIPTOR, DESCRIPTOR + 120, parameters, parameters + 64, last):
        dram.fault(address, 8, "read")
        await ask(dut, dram, step, 0)
        await until_free(dut)
        assert dut.error.value and not dut.ready.value and not dut.bad.value and not dut.damaged.value
        dram.repair()
        await clear(dut, dram, 1)
        await fetch(dut, dram, step, 0)


async def clear(dut, dram: Dram, cycles: int) -> None:
    dut.clear.value = 1
    await bench.cycles(dut, cycles)
    dut.clear.value = 0
    await until_free(dut)
    assert dram.outstanding == 0 and not dut.error.value and not dut.ready.value and not dut.bad.value


@cocotb.test()
async def check_clear_at_any_time(dut):
    rng = random.Random(5)
    dram = await begin(dut, DramTiming(latency=8, jitter=5, stall=0.2))
    for delay in (*range(0, 60, 3), *(rng.randint(60, 400) for _ in range(10))):
        await ask(dut, dram, descriptor(rng, depthwise_op=1), 0)
        await bench.cycles(dut, delay)
        await clear(dut, dram, rng.choice([1, 2, 50]))
        asked = len(dram.reads[0].bursts)
        monitor = Monitor(dut)
        await bench.cycles(dut, 40)
        monitor.task.cancel()
        assert len(dram.reads[0].bursts) == asked and not monitor.beats and not dut.busy.value
        await fetch(dut, dram, descriptor(rng, input_planes=2, pointwise=0), 1)


def test_descriptors_differ():
    """Random descriptors leave no field untouched, so that a lost or swapped bit shows."""
    rng = random.Random(6)
    steps = [descriptor(rng) for _ in range(50)]
    fixed = {field.name for field in FIELDS if len({getattr(step, field.name) for step in steps}) == 1}
    assert fixed == {"magic", "version"}

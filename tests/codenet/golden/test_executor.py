# SPDX-License-Identifier: Apache-2.0
"""The functional model of the accelerator against a byte-by-byte reading of the descriptor's text, and its refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from codenet.config import AcceleratorConfig
from codenet.golden import executor
from codenet.isa import DepthwiseOp, Descriptor, ErrorCause
from codenet.isa.rules import StepError, worst_case
from tests.steps import Step, random_step

SMALL = AcceleratorConfig.small()
MAC, MAX, OFF, PEAKS = DepthwiseOp.MAC, DepthwiseOp.MAX, DepthwiseOp.OFF, DepthwiseOp.PEAKS


class Naive:
    """One step, one byte and one bit field at a time, on Python's integers: slow and independent of NumPy code
    elsewhere.
    """

    def __init__(self, memory: np.ndarray, step: Descriptor, outputs: int) -> None:
        self.memory, self.step, self.outputs = bytearray(memory.tobytes()), step, outputs
        block = self.memory[step.parameter_address : step.parameter_address + 8 * step.parameter_beats]
        self.beats = [int.from_bytes(block[n : n + 8], "little") for n in range(0, len(block), 8)]
        inputs = step.expand_planes if step.expand else step.input_planes + step.dilated
        self.input_table = [self.take() & 0xFFFFFFFF for _ in range(inputs)]
        self.output_table = [self.take() & 0xFFFFFFFF for _ in range(step.output_planes)]
        count = step.input_planes if step.depthwise_op == MAC else 0
        self.depthwise = [[self.take() for _ in range(25)] for _ in range(count)]
        self.expand_chunks = [self.take() for _ in range(8 * step.expand_chunks)]
        self.chunks = [self.take() for _ in range(8 * step.chunks)]
        count = step.expand_groups * step.expand_planes
        self.expand_words = [[self.take() for _ in range(outputs)] for _ in range(count)]
        words = step.groups * step.vectors * (1 + step.wide_weights) * step.pointwise
        self.words = [[self.take() for _ in range(outputs)] for _ in range(words)]
        assert not self.beats

    def take(self) -> int:
        return self.beats.pop(0)

    @staticmethod
    def signed(value: int, bits: int) -> int:
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value

    def requantize(self, acc: int, beat: int, s: int, lo: int, hi: int) -> int:
        return min(max((acc * self.signed(beat, 16) + self.signed(beat >> 16, 48)) >> s, lo), hi)

    def sample(self, plane: int, r: int, c: int) -> list[int] | None:
        """16 bytes as unsigned numbers; None outside the image."""
        if not (0 <= r < self.step.input_height and 0 <= c < self.step.input_width):
            return None
        r, c = r >> self.step.upsample, c >> self.step.upsample
        return self.expanded(plane, r, c) if self.step.expand else self.stored(plane, r, c)

    def expanded(self, plane: int, r: int, c: int) -> list[int]:
        step = self.step
        data = [self.stored(p, r, c) for p in range(step.expand_planes)]
        out = []
        for channel in range(16 * plane, 16 * plane + 16):
            group, j = divmod(channel, self.outputs)
            acc = 0
            for v, n in itertools.product(range(step.expand_planes), range(16)):
                nibble = self.nibble(self.expand_words[group * step.expand_planes + v], n, j)
                acc += self.signed(nibble, 4) * self.signed(data[v][n], 8)
            limits = (step.expand_s, step.expand_lo, step.expand_hi)
            out.append(self.requantize(acc, self.expand_chunks[channel], *limits) & 255)
        return out

    def stored(self, plane: int, r: int, c: int) -> list[int]:
        address = self.input_table[plane] + r * self.step.row_pitch + c * (8 if self.step.packed else 16)
        return list(self.memory[address : address + 16])

    def padded(self, plane: int, r: int, c: int) -> list[int]:
        data = self.sample(plane, r, c)
        data = [self.step.pad & 255] * 16 if data is None else data
        return [self.signed(v, 8) for v in data]

    def vectors(self, y: int, x: int) -> list[list[int]]:
        step, out = self.step, []
        r, c = y * (1 + step.stride2), x * (1 + step.stride2)
        d = self.sample(step.input_planes, y, x)[0] if step.dilated else 1
        for p in range(step.input_planes):
            if step.depthwise_op == OFF and not step.full:
                out.append(self.padded(p, r, c))
                continue
            taps = [self.padded(p, r + i * d, c + j * d) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            if step.full:
                out.extend(taps)
            elif step.depthwise_op == MAX:
                out.append([max(column) for column in zip(*taps, strict=True)])
            else:
                entry = self.depthwise[p]
                acc = [sum(self.signed(entry[t] >> 4 * n, 4) * taps[t][n] for t in range(9)) for n in range(16)]
                limits = (step.depthwise_s, step.depthwise_lo, step.depthwise_hi)
                out.append([self.requantize(acc[n], entry[9 + n], *limits) for n in range(16)])
        return out

    def nibble(self, word: list[int], lane: int, output: int) -> int:
        """Of a word, whose nibbles come by lane, then output, sixteen a beat."""
        beat, place = divmod(lane * self.outputs + output, 16)
        return word[beat] >> 4 * place & 15

    def pointwise(self, vectors: list[list[int]]) -> list[int]:
        step, out = self.step, []
        for channel in range(8 * step.chunks):
            group, j = divmod(channel, self.outputs)
            acc = 0
            for v, n in itertools.product(range(step.vectors), range(16)):
                if step.wide_weights:
                    high, low = (self.nibble(self.words[2 * (group * step.vectors + v) + k], n, j) for k in (0, 1))
                    weight = 16 * self.signed(high, 4) + low
                else:
                    weight = self.signed(self.nibble(self.words[group * step.vectors + v], n, j), 4)
                acc += weight * vectors[v][n]
            limits = (step.pointwise_s, step.pointwise_lo, step.pointwise_hi)
            out.append(self.requantize(acc, self.chunks[channel], *limits))
        return out

    def run(self) -> np.ndarray:
        step = self.step
        results = {}
        for y, x in itertools.product(range(step.output_height), range(step.output_width)):
            vectors = self.vectors(y, x)
            values = self.pointwise(vectors) if step.pointwise else [v for vector in vectors for v in vector]
            size = 2 if step.wide_output else 1
            results[y * step.output_width + x] = b"".join(v.to_bytes(size, "little", signed=True) for v in values)
        for n, data in results.items():
            for p, offset in enumerate(self.output_table):
                self.memory[offset + 16 * n : offset + 16 * n + 16] = data[16 * p : 16 * p + 16]
        return np.frombuffer(bytes(self.memory), np.uint8)


STEPS = {
    "copy": dict(height=3, width=4),
    "pointwise": dict(height=4, width=5, planes=2, chunks=4),
    "pointwise over several groups, the last not full": dict(height=2, width=3, planes=3, chunks=6),
    "one pixel": dict(height=1, width=1, chunks=2),
    "one pixel, depthwise": dict(height=1, width=1, op=MAC, chunks=2),
    "8-bit weights": dict(height=3, width=3, planes=2, chunks=2, wide_weights=True),
    "int16 output": dict(height=3, width=2, planes=2, chunks=3, wide_output=True),
    "8-bit weights, int16 output, depthwise": dict(
        height=3, width=5, planes=2, op=MAC, chunks=2, wide_weights=True, wide_output=True
    ),
    "depthwise": dict(height=5, width=7, planes=2, op=MAC),
    "depthwise, pointwise": dict(height=5, width=4, planes=3, op=MAC, chunks=4),
    "stride 2, even": dict(height=6, width=8, planes=2, op=MAC, chunks=2, stride2=True),
    "stride 2, odd": dict(height=7, width=5, planes=2, op=MAC, stride2=True),
    "stride 2 without filter": dict(height=7, width=6, planes=2, stride2=True, chunks=2),
    "deformable": dict(height=9, width=8, planes=2, op=MAC, dilated=True, chunks=2),
    "deformable, one row": dict(height=1, width=9, op=MAC, dilated=True),
    "upsample": dict(height=6, width=4, planes=2, upsample=True, chunks=2),
    "upsample, depthwise": dict(height=6, width=4, planes=2, upsample=True, op=MAC),
    "upsample, deformable": dict(height=4, width=6, planes=2, upsample=True, op=MAC, dilated=True),
    "upsample, rows loaded twice": dict(
        height=20, width=6, upsample=True, repeat=True, op=MAC, dilated=True, window_rows=15
    ),
    "full": dict(height=4, width=5, planes=2, full=True, chunks=2),
    "full, stride 2": dict(height=5, width=5, planes=2, full=True, chunks=2, stride2=True),
    "full without pointwise": dict(height=3, width=2, full=True),
    "maximum": dict(height=5, width=6, planes=2, op=MAX),
    "maximum, stride 2, pointwise": dict(height=5, width=6, planes=2, op=MAX, stride2=True, chunks=2),
    "packed": dict(height=4, width=6, planes=3, packed=True, chunks=2, wide_weights=True, pitch_extra=16),
    "rows apart": dict(height=4, width=3, planes=2, op=MAC, pitch_extra=40),
    "smallest inputs": dict(height=3, width=3, planes=2, op=MAC, chunks=2, fill=-128),
    "largest inputs": dict(height=3, width=3, planes=2, op=MAC, chunks=2, fill=127),
    "expanded": dict(height=3, width=4, planes=2, op=MAC, chunks=2, expand=3),
    "expanded, stride 2": dict(height=5, width=4, planes=3, op=MAC, chunks=4, expand=1, stride2=True),
    "expanded, upsample": dict(height=4, width=6, planes=2, op=MAC, chunks=2, expand=2, upsample=True),
    "expanded, without pointwise": dict(height=3, width=3, planes=1, op=MAC, expand=2, pitch_extra=24),
    "expanded, without depthwise": dict(height=2, width=3, planes=2, chunks=3, expand=2, wide_output=True),
    "expanded, maximum": dict(height=3, width=5, planes=2, op=MAX, stride2=True, expand=2, chunks=2),
    "expanded only": dict(height=1, width=1, planes=2, expand=2),
    "expanded, smallest inputs": dict(height=3, width=3, planes=2, op=MAC, chunks=2, expand=2, fill=-128),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", STEPS)
def test_step_equals_the_text(name: str, seed: int) -> None:
    step = random_step(SMALL, **STEPS[name], seed=seed)
    expected = Naive(step.memory, step.descriptor, SMALL.outputs).run()
    memory = step.memory.copy()
    counts = executor.execute_step(memory, step.descriptor, SMALL)
    assert np.array_equal(memory, expected)
    assert not np.array_equal(memory, step.memory)
    assert counts.write_beats == 2 * step.descriptor.output_pixels * step.descriptor.output_planes
    assert counts.peaks is None


def test_random_steps_reach_the_interesting_values() -> None:
    """Outputs neither vanish nor saturate, so that the comparisons above see arithmetic."""
    for name in ("depthwise, pointwise", "deformable", "8-bit weights", "int16 output"):
        step = random_step(SMALL, **STEPS[name])
        memory = step.memory.copy()
        executor.execute_step(memory, step.descriptor, SMALL)
        kind = np.int16 if step.descriptor.wide_output else np.int8
        size = 16 * step.descriptor.output_pixels
        values = np.concatenate([memory[offset : offset + size].view(kind) for offset in step.outputs])
        inner = (values > step.descriptor.pointwise_lo) & (values < step.descriptor.pointwise_hi)
        assert inner.mean() > 0.5 and len(np.unique(values)) > 30, name


def peak_step(**changes) -> Step:
    return random_step(SMALL, **{"height": 5, "width": 6, "planes": 2, "op": PEAKS, **changes})


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("capacity", [0, 3, 64])
def test_peaks(capacity: int, upsample: bool) -> None:
    step = peak_step(height=6, peak_capacity=capacity, peak_threshold=2000, upsample=upsample)
    naive = Naive(step.memory, step.descriptor, SMALL.outputs)
    records = []
    for y, x, p, n in itertools.product(range(6), range(6), range(2), range(8)):

        def value(r: int, c: int, plane: int = p, lane: int = n) -> int:
            data = naive.sample(plane, r, c)
            return -40000 if data is None else naive.signed(data[2 * lane] + 256 * data[2 * lane + 1], 16)

        near = [value(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        if near[4] == max(near) and near[4] >= 2000:
            records.append(b"".join(v.to_bytes(2, "little", signed=v < 0) for v in (x, y, 8 * p + n, near[4])))
    expected = step.memory.copy()
    data = np.frombuffer(b"".join(records[:capacity]), np.uint8)
    address = step.descriptor.peak_address
    expected[address : address + len(data)] = data
    counts = executor.execute_step(step.memory, step.descriptor, SMALL)
    assert np.array_equal(step.memory, expected)
    assert counts.peaks == len(records) > 3 and counts.write_beats == min(capacity, len(records))


def test_peaks_need_room_for_all_that_the_descriptor_allows() -> None:
    step = peak_step(peak_capacity=64)
    end = step.memory.size - 8 * 64
    executor.execute_step(step.replace(peak_address=end - end % 8).memory, step.descriptor, SMALL)
    beyond = step.replace(peak_address=end - end % 8 + 8)
    with pytest.raises(StepError, match=f"output plane 0 at .*: expected its 512 bytes within {step.memory.size}"):
        executor.execute_step(beyond.memory, beyond.descriptor, SMALL)


def test_read_beats_of_packed_rows_overlap() -> None:
    step = random_step(SMALL, 4, 6, 3, packed=True, chunks=2)
    assert executor.execute_step(step.memory, step.descriptor, SMALL).read_beats == 4 * 3 * 7
    step = random_step(SMALL, 4, 6, 3, upsample=True, op=MAC, dilated=True)
    assert executor.execute_step(step.memory, step.descriptor, SMALL).read_beats == 2 * 4 * 2 * 3
    step = random_step(SMALL, 8, 6, 2, upsample=True, repeat=True, expand=3)
    assert executor.execute_step(step.memory, step.descriptor, SMALL).read_beats == 2 * 4 * 2 * 3 * 3


# Refusals


REFUSED = {
    "full with depthwise": (dict(op=MAC), dict(full=1), "full = 1: expected 0"),
    "dilated maximum": (dict(op=MAX), dict(dilated=1), "dilated = 1: expected 0"),
    "dilated with stride": (dict(op=MAC, dilated=True), dict(stride2=1), "stride2 = 1: expected 0"),
    "peaks with stride": (dict(op=PEAKS), dict(stride2=1), "stride2 = 1: expected 0"),
    "peaks with pointwise": (dict(op=PEAKS), dict(pointwise=1), "pointwise = 1: expected 0"),
    "chunks without pointwise": ({}, dict(chunks=2), "chunks = 2: expected 0"),
    "two zero points": (dict(op=MAC), dict(pad=0x0102), "pad = 0x0102: expected the same zero point in both bytes"),
    "no planes": ({}, dict(input_planes=0), "input_planes = 0: expected at least 1"),
    "no rows": ({}, dict(input_height=0), "input_height = 0: expected at least 1"),
    "height": ({}, dict(output_height=7), "output_height = 7: expected 5"),
    "width after stride": (dict(stride2=True), dict(output_width=4), "output_width = 4: expected 3"),
    "pixels": ({}, dict(output_pixels=3), "output_pixels = 3: expected 30"),
    "odd upsample": ({}, dict(upsample=1), "input of 5x6: expected even sizes"),
    "repeat alone": ({}, dict(repeat=1), "repeat = 1: expected 0 without upsample"),
    "row pitch": ({}, dict(row_pitch=100), "row_pitch = 100: expected a multiple of 8"),
    "reach": (dict(op=MAC), dict(reach=0), "reach = 0: expected 1"),
    "row stride": ({}, dict(window_row_stride=3), "window_row_stride = 3: expected 4"),
    "window rows not by 3": ({}, dict(window_rows=4), "window_rows = 4: expected a multiple of 3"),
    "window rows too few": (
        dict(op=MAC, dilated=True, height=20),
        dict(window_rows=12),
        "window_rows = 12: expected at least 15",
    ),
    "window rows of pairs": (dict(op=MAC, height=6, upsample=True), dict(window_rows=3), "= 3: expected at least 4"),
    "window rows too many": ({}, dict(window_rows=99), "window_rows = 99 of 4 .* window_depth = 128"),
    "dilation ring": (
        dict(op=MAC, dilated=True, width=90, planes=1),
        dict(window_rows=6),
        "540 pixels: expected at most",
    ),
    "vectors": (dict(chunks=2), dict(vectors=1), "vectors = 1: expected 2"),
    "shift": (dict(op=MAC), dict(depthwise_s=48), "depthwise_s = 48: expected 0 to 47"),
    "depthwise range": (dict(op=MAC), dict(depthwise_lo=126), "depthwise_lo = 126: expected -128 to 125"),
    "groups": (dict(chunks=2), dict(groups=1), "groups = 1: expected 2"),
    "pointwise range": (dict(chunks=2), dict(pointwise_hi=128), "pointwise_hi = 128: expected -100 to 127"),
    "pointwise low": (dict(chunks=2), dict(pointwise_lo=-129), "pointwise_lo = -129: expected -128 to 126"),
    "output planes": (dict(chunks=2), dict(output_planes=2), "chunks = 2: expected 4"),
    "output planes without pointwise": ({}, dict(output_planes=1), "output_planes = 1: expected 2"),
    "block": (dict(planes=9), dict(block_log2=3), "block_log2 = 3: expected 144 beats of 9 planes"),
    "window rows for the whole image": (dict(op=MAC), dict(window_rows=0), "window_rows = 0: expected at least 3"),
    "block too long": ({}, dict(block_log2=5), "block_log2 = 5: expected 0 to 4"),
    "peak address": (dict(op=PEAKS), dict(peak_address=4), "peak_address = 4: expected a multiple of 8"),
    "expansion without expand": ({}, dict(expand_planes=2), "expand_planes = 2: expected 0 .expand is 0"),
    "expanded full": (dict(expand=2, full=True), {}, "full = 1: expected 0 .expand"),
    "expanded packed": (dict(expand=2), dict(packed=1), "packed = 1: expected 0 .expand"),
    "expanded deformable": (dict(expand=2, op=MAC, dilated=True), {}, "dilated = 1: expected 0 .expand"),
    "expanded 8-bit weights": (dict(expand=2, chunks=2, wide_weights=True), {}, "wide_weights = 1: expected 0 .expand"),
    "expanded peaks": (dict(expand=2, op=PEAKS), {}, "expand = 1: expected 0 .peaks"),
    "expanded planes": (dict(expand=2), dict(expand_planes=0), "expand_planes = 0: expected 1 to 32"),
    "expanded chunks": (dict(expand=2), dict(expand_chunks=2), "expand_chunks = 2: expected 4"),
    "expanded groups": (dict(expand=2), dict(expand_groups=3), "expand_groups = 3: expected 4"),
    "expanded words": (dict(expand=2), dict(expand_words=9), "expand_words = 9: expected 8"),
    "expanded piece": (
        dict(expand=11, expand_columns=6),
        {},
        "66 vectors to expand at a time: expected at most expand_depth = 64",
    ),
    "expanded columns": (dict(expand=2), dict(expand_columns=4), "expand_columns = 4: expected a divisor of the .* 6"),
    "no expanded columns": (dict(expand=2), dict(expand_columns=0), "expand_columns = 0: expected 1 to 6"),
    "expanded shift": (dict(expand=2), dict(expand_s=48), "expand_s = 48: expected 0 to 47"),
    "expanded range": (dict(expand=2), dict(expand_lo=121), "expand_lo = 121: expected -128 to 120"),
    "parameter address": ({}, dict(parameter_address=260), "parameter_address = 260: expected a multiple of 8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_descriptors(name: str) -> None:
    shape, fields, message = REFUSED[name]
    step = random_step(SMALL, **{"height": 5, "width": 6, "planes": 2, **shape}).replace(**fields)
    before = step.memory.copy()
    with pytest.raises(StepError, match=message):
        executor.execute_step(step.memory, step.descriptor, SMALL)
    assert np.array_equal(step.memory, before)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (dict(planes=33), "33 planes to read: expected at most plane_depth = 32"),
        (dict(planes=4, chunks=34), "chunks = 34: expected 1 to 32"),
        (dict(planes=4, full=True), "vectors = 36: expected 0 to 32"),
        (dict(planes=8, chunks=18), "144 words of weights: expected at most half of weight_depth = 128"),
        (dict(width=300, planes=2), "expected 200 to be at most window_depth = 128"),
        (
            dict(planes=6, expand=3, chunks=22),
            "34 chunks with those of the expansion: expected at most chunk_depth = 32",
        ),
        (dict(planes=7, expand=5, chunks=10), "140 words of weights: expected at most half of weight_depth = 128"),
    ],
)
def test_refused_sizes(shape: dict, message: str) -> None:
    arguments = {"height": 1, "width": 2, "window_rows": 3, **shape}
    step = random_step(SMALL, **arguments)
    with pytest.raises(StepError, match=message):
        executor.execute_step(step.memory, step.descriptor, SMALL)


@pytest.mark.parametrize(
    ("cut", "cause", "message"),
    [
        ("parameters", ErrorCause.PARAMETER_READ, "parameter block of .* within the memory of"),
        ("input", ErrorCause.INPUT_READ, "input plane 1 at .* bytes within"),
        ("output", ErrorCause.OUTPUT_WRITE, "output plane 1 at .* bytes within"),
    ],
)
def test_addresses_outside_the_memory(cut: str, cause: ErrorCause, message: str) -> None:
    step = random_step(SMALL, 4, 4, 2, op=MAC)
    table = step.memory[step.descriptor.parameter_address :].view("<u8")
    if cut == "parameters":
        step = step.replace(parameter_address=step.memory.size // 8 * 8)
    elif cut == "input":
        table[1] = step.memory.size // 128 * 128
    else:
        table[3] = step.memory.size // 128 * 128
    with pytest.raises(StepError, match=message) as caught:
        executor.execute_step(step.memory, step.descriptor, SMALL)
    assert caught.value.cause == cause


def test_outputs_over_inputs_parameters_and_each_other() -> None:
    step = random_step(SMALL, 4, 4, 2)
    parameters = step.descriptor.parameter_address
    table = step.memory[parameters : parameters + 32].view("<u8")
    good = table.copy()
    for number, value, message in (
        (3, good[0], "output plane 1 .* apart from what is read"),
        (3, good[2] + 128, "output plane 1 .* apart from the planes before"),
        (2, parameters, "output plane 0 .* apart from what is read"),
        (2, good[2] + 8, "output plane 0 at .*: expected a multiple of 128"),
        (0, good[0] + 4, "input plane 0 at .*: expected a multiple of 8"),
    ):
        table[:] = good
        table[number] = value
        with pytest.raises(StepError, match=message):
            executor.execute_step(step.memory, step.descriptor, SMALL)


def test_dilations_beyond_7() -> None:
    step = random_step(SMALL, 4, 4, op=MAC, dilated=True, dilations=(1, 8))
    with pytest.raises(StepError, match=r"dilations in \[1, 8\]: expected 0 to 7"):
        executor.execute_step(step.memory, step.descriptor, SMALL)


def test_arithmetic_that_could_overflow() -> None:
    wide = AcceleratorConfig(outputs=8)
    step = random_step(wide, 2, 2, 40, chunks=2, wide_weights=True, fill=0)
    weights = step.descriptor.parameter_address + 8 * (step.descriptor.parameter_beats - 2 * 40 * 2 * 8)
    end = step.descriptor.parameter_address + 8 * step.descriptor.parameter_beats
    step.memory[weights:end] = 0x77
    with pytest.raises(StepError, match="output channel 0: accumulator in .*: expected at most 24 bits"):
        executor.execute_step(step.memory, step.descriptor, wide)
    step = random_step(SMALL, 2, 2, 2, expand=1)
    entry = step.descriptor.parameter_address + 8 * (1 + 2 + 17)
    step.memory[entry : entry + 8].view("<i8")[0] = (2**47 - 1) << 16 | 0x7FFF
    with pytest.raises(StepError, match=r"expanded channel 17: acc \* m \+ b in .*: expected at most 48 bits"):
        executor.execute_step(step.memory, step.descriptor, SMALL)
    step = random_step(SMALL, 2, 2, 1, op=MAC)
    entry = step.descriptor.parameter_address + 16 + 8 * (9 + 5)
    step.memory[entry : entry + 8].view("<i8")[0] = (2**47 - 1) << 16 | 0x7FFF
    with pytest.raises(StepError, match=r"depthwise lane 5: acc \* m \+ b in .*: expected at most 48 bits"):
        executor.execute_step(step.memory, step.descriptor, SMALL)


@pytest.mark.parametrize("limits", [(-128, 127), (0, 50), (-128, -3), (-7, 127)])
def test_worst_case_of_accumulators_is_reached(limits: tuple[int, int]) -> None:
    """The smallest and largest sums over all inputs within limits, by trying both limits for each weight."""
    weights = np.random.default_rng(5).integers(-128, 128, (6, 7)).astype(np.int8)
    inputs = np.array(list(itertools.product(limits, repeat=7)))
    sums = inputs @ weights.T.astype(np.int64)
    low, high = worst_case(weights, *limits)
    assert np.array_equal(low, sums.min(axis=0)) and np.array_equal(high, sums.max(axis=0))


# Programs


def two_steps() -> tuple[np.ndarray, Step]:
    """A program of twice the same step; its second descriptor follows the first."""
    step = random_step(SMALL, 3, 3, 1, op=MAC, chunks=2, seed=3)
    memory = np.concatenate([step.memory, np.zeros(-step.memory.size % 128, np.uint8), np.zeros(256, np.uint8)])
    offset = memory.size - 256
    memory[offset : offset + 128] = np.frombuffer(step.replace(last=0).descriptor.encode(), np.uint8)
    memory[offset + 128 :] = np.frombuffer(step.descriptor.encode(), np.uint8)
    return memory, step


def test_program_runs_to_the_last_step() -> None:
    memory, step = two_steps()
    seen = []
    counts = executor.execute(
        memory, memory.size - 256, SMALL, lambda n, descriptor, _: seen.append((n, descriptor.last))
    )
    assert seen == [(0, 0), (1, 1)] and len(counts) == 2
    expected = Naive(step.memory, step.descriptor, SMALL.outputs).run()
    assert np.array_equal(memory[: len(expected)], expected)


def test_bad_second_descriptor_leaves_the_first_done() -> None:
    memory, step = two_steps()
    memory[memory.size - 128] ^= 1
    with pytest.raises(StepError, match="step 1: descriptor at .* magic") as caught:
        executor.execute(memory, memory.size - 256, SMALL)
    assert (caught.value.cause, caught.value.step) == (ErrorCause.BAD_DESCRIPTOR, 1)
    expected = Naive(step.memory, step.descriptor, SMALL.outputs).run()
    assert np.array_equal(memory[: len(expected)], expected)


def test_wrong_length_of_parameters_is_a_bad_descriptor() -> None:
    step = random_step(SMALL, 3, 3, 1, op=MAC, chunks=2)
    step = step.replace(parameter_beats=step.descriptor.parameter_beats + 1)
    with pytest.raises(StepError, match="its sections have") as caught:
        executor.execute(step.memory, 0, SMALL)
    assert caught.value.cause == ErrorCause.BAD_DESCRIPTOR


def test_program_without_end_and_outside_the_memory() -> None:
    memory, _ = two_steps()
    memory[memory.size - 128 :] = memory[memory.size - 256 : memory.size - 128]
    with pytest.raises(StepError, match="step 2: descriptor at .*: expected it within the memory") as caught:
        executor.execute(memory, memory.size - 256, SMALL)
    assert caught.value.cause == ErrorCause.PARAMETER_READ
    with pytest.raises(StepError, match="program offset 8: expected a multiple of 128"):
        executor.execute(memory, 8, SMALL)


def test_no_step_writes_over_another_steps_parameters() -> None:
    memory, step = two_steps()
    start, size = step.descriptor.parameter_address, 8 * step.descriptor.parameter_beats
    copy = memory.size
    memory = np.concatenate([memory, memory[start : start + size]])
    second = step.replace(parameter_address=copy).descriptor
    memory[copy - 128 : copy] = np.frombuffer(second.encode(), np.uint8)
    executor.execute(memory, copy - 256, SMALL)
    # The first step's only output plane now lies over the parameters of the second.
    memory[start + 8 : start + 16].view("<u8")[0] = copy
    with pytest.raises(StepError, match="step 0: output plane 0 .* apart from what is read"):
        executor.execute(memory, copy - 256, SMALL)


def test_memory_of_another_kind() -> None:
    step = random_step(SMALL, 2, 2)
    with pytest.raises(StepError, match=r"memory is int8 .*: expected contiguous uint8"):
        executor.execute_step(step.memory.view(np.int8), step.descriptor, SMALL)

# SPDX-License-Identifier: Apache-2.0
"""A step by a byte-by-byte reading of the descriptor's text."""

from __future__ import annotations

import itertools

import numpy as np

from codenet.isa import DepthwiseOp, Descriptor

MAC, MAX, OFF = DepthwiseOp.MAC, DepthwiseOp.MAX, DepthwiseOp.OFF


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

"""A compiled network: what the driver writes to memory, where each tensor lies, and the ``.cdn`` file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codenet.config import CHUNK, LANES, VECTOR_BYTES, AcceleratorConfig
from codenet.errors import CodenetError, FormatError, GraphError
from codenet.graph import INPUT_ZERO_POINT
from codenet.isa import BY_NAME, DESCRIPTOR_BYTES, ISA_VERSION, DepthwiseOp, Descriptor

FILE_MAGIC = b"CODENET\0"
FILE_VERSION = 1

_PREAMBLE = struct.Struct("<8sIIQQ")
"""Magic, version of the file, version of the descriptors, bytes of the compressed description and of the compressed image."""


@dataclass(frozen=True)
class PlacedTensor:
    """Where a tensor of the graph lies once its step has finished.

    Attributes
    ----------
    name, height, width, channels, dtype, scale, zero_point:
        As in the graph: ``int8`` or ``int16`` ``[height, width, channels]``.
    step:
        Index of the step whose end completes the tensor.
    planes:
        Byte offset of each plane that carries a channel.
    index:
        int32 ``[channels]``: ``plane * lanes + lane`` of each channel; 16 lanes a plane for int8, 8 for int16.
    upsample:
        1 if stored at half height and width (nearest neighbour gives the tensor), else 0.
    live_until:
        Last step at whose end all of it is still there (memory that no later step reads may serve another tensor); the number
        of steps for outputs.
    """

    name: str
    height: int
    width: int
    channels: int
    dtype: str
    scale: float
    zero_point: int
    step: int
    planes: tuple[int, ...]
    index: np.ndarray
    upsample: int
    live_until: int

    @property
    def lanes(self) -> int:
        """Channels of one plane."""
        return LANES if self.dtype == "int8" else CHUNK

    def read(self, memory: np.ndarray) -> np.ndarray:
        """The tensor ``[height, width, channels]`` from ``memory`` (uint8, from the base address)."""
        height, width = self.height >> self.upsample, self.width >> self.upsample
        out = np.empty((height, width, self.channels), dtype=self.dtype)
        plane_of, lane_of = np.divmod(self.index, self.lanes)
        for number, offset in enumerate(self.planes):
            chosen = np.flatnonzero(plane_of == number)
            data = memory[offset : offset + height * width * VECTOR_BYTES].view(np.dtype(self.dtype).newbyteorder("<"))
            out[..., chosen] = data.reshape(height, width, self.lanes)[..., lane_of[chosen]]
        return out.repeat(2, axis=0).repeat(2, axis=1) if self.upsample else out

    def read_pixels(self, memory: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """``[len(y), channels]``: the tensor at the pixels (y[n], x[n]), without touching the others."""
        y, x = np.asarray(y, dtype=np.int64) >> self.upsample, np.asarray(x, dtype=np.int64) >> self.upsample
        pixels = y * (self.width >> self.upsample) + x
        out = np.empty((len(pixels), self.channels), dtype=self.dtype)
        plane_of, lane_of = np.divmod(self.index, self.lanes)
        size = (self.height >> self.upsample) * (self.width >> self.upsample) * VECTOR_BYTES
        for number, offset in enumerate(self.planes):
            chosen = np.flatnonzero(plane_of == number)
            data = memory[offset : offset + size].view(np.dtype(self.dtype).newbyteorder("<")).reshape(-1, self.lanes)
            out[:, chosen] = data[pixels[:, None], lane_of[chosen]]
        return out


@dataclass(frozen=True)
class InputLayout:
    """Where the image goes: 4 bytes a pixel, with a border of one row above and one pixel at the left of the zero point.

    Pixel (y, x) lies at ``offset + (y + 1) * row_bytes + 4 * (x + 1)``: int8 red, green, blue (``p - 128``), and a byte that counts for nothing.
    """

    offset: int
    row_bytes: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """Bytes of the whole buffer."""
        return (self.height + 1) * self.row_bytes

    def write(self, memory: np.ndarray, image: np.ndarray) -> None:
        """Write ``image`` (int8 ``[height, width, 3]``) and its border into ``memory`` (uint8, from the base address).

        Raises
        ------
        GraphError
            Wrong shape or dtype.
        """
        if image.dtype != np.int8 or image.shape != (self.height, self.width, 3):
            raise GraphError(
                f"image is {image.dtype} {list(image.shape)}: expected int8 {[self.height, self.width, 3]}"
            )
        rows = memory[self.offset : self.offset + self.size].view(np.int8).reshape(self.height + 1, self.row_bytes)
        rows[0] = INPUT_ZERO_POINT
        rows[:, :4] = INPUT_ZERO_POINT
        rows[:, 4 * (self.width + 1) :] = INPUT_ZERO_POINT
        pixels = np.full((self.height, self.width, 4), INPUT_ZERO_POINT, dtype=np.int8)
        pixels[..., :3] = image
        rows[1:, 4 : 4 * (self.width + 1)] = pixels.reshape(self.height, 4 * self.width)


@dataclass(frozen=True)
class Program:
    """A network compiled for accelerators of ``config``.

    Attributes
    ----------
    name:
        The graph's.
    config:
        The accelerator that it was compiled for; it runs on no other.
    descriptors, step_names:
        One a step, in order. The last has ``depthwise_op`` PEAKS if the network has a heatmap.
    image:
        What memory holds from offset 0 before the first frame: descriptors and parameter blocks.
    memory_bytes:
        All memory that the program needs, the image included.
    program_offset:
        Of the first descriptor.
    input:
        Where to write the photo.
    tensors:
        Every tensor of the graph that exists in memory, in order of completion. Concatenations and the like are views:
        they are listed if all that they show is still there at that moment.
    outputs:
        By role.
    classes, metadata:
        The graph's.
    graph_macs:
        Multiply-accumulates of the graph.
    step_macs:
        Multiply-accumulates that each step does for the graph (fewer in sum: what lies behind an upsampling is done once).
    """

    name: str
    config: AcceleratorConfig
    descriptors: tuple[Descriptor, ...]
    step_names: tuple[str, ...]
    image: bytes
    memory_bytes: int
    program_offset: int
    input: InputLayout
    tensors: tuple[PlacedTensor, ...]
    outputs: Mapping[str, PlacedTensor]
    classes: tuple[str, ...]
    graph_macs: int
    step_macs: tuple[int, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def peak_step(self) -> Descriptor | None:
        """The descriptor of the step that emits peak records, if there is one."""
        last = self.descriptors[-1]
        return last if last.depthwise_op == DepthwiseOp.PEAKS else None

    def threshold_for(self, score: float) -> int:
        """Smallest heatmap integer whose sigmoid is at least ``score``; never so low that clamped or unused lanes pass.

        Raises
        ------
        GraphError
            ``score`` is not within (0, 1), or the network has no heatmap.
        """
        heatmap = self._heatmap()
        low = self.descriptors[heatmap.step].pointwise_lo + 1
        return peak_threshold(score, heatmap.scale, heatmap.zero_point, low)

    def patch_threshold(self, memory: np.ndarray, threshold: int) -> None:
        """Change the threshold of the peak step in ``memory`` (uint8, from the base address), between frames."""
        self._heatmap()
        item = BY_NAME["peak_threshold"]
        if not -32768 <= threshold <= 32767:
            raise GraphError(f"peak threshold {threshold}: expected an int16")
        start = self.program_offset + (len(self.descriptors) - 1) * DESCRIPTOR_BYTES + 4 * item.word
        word = memory[start : start + 4].view("<u4")
        mask = ((1 << item.width) - 1) << item.shift
        word[0] = (int(word[0]) & ~mask) | ((threshold << item.shift) & mask)

    def _heatmap(self) -> PlacedTensor:
        if "heatmap" not in self.outputs:
            raise GraphError(f"program {self.name!r} has no output 'heatmap': it has {sorted(self.outputs)}")
        return self.outputs["heatmap"]

    def info(self) -> str:
        """A table of steps for people: shapes, planes, multiply-accumulates, cycles of the array, memory."""
        return _table(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ``.cdn`` file; complete or not at all."""
        description = zlib.compress(json.dumps(_describe(self)).encode(), 9)
        image = zlib.compress(self.image, 9)
        body = _PREAMBLE.pack(FILE_MAGIC, FILE_VERSION, ISA_VERSION, len(description), len(image)) + description + image
        target = Path(path)
        temporary = target.with_name(target.name + ".part")
        temporary.write_bytes(body + hashlib.sha256(body).digest())
        temporary.replace(target)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Program:
        """Read a ``.cdn`` file.

        Raises
        ------
        FormatError
            Not a program file, truncated, corrupted, or of another version.
        FileNotFoundError
            There is no such file.
        """
        data = Path(path).read_bytes()
        if len(data) < _PREAMBLE.size or data[: len(FILE_MAGIC)] != FILE_MAGIC:
            raise FormatError(f"{path}: expected a CoDeNet program file, found something else")
        _, version, isa, description_size, image_size = _PREAMBLE.unpack_from(data)
        if version != FILE_VERSION:
            raise FormatError(
                f"{path}: program file version {version}: expected {FILE_VERSION}; compile the graph again"
            )
        if isa != ISA_VERSION:
            raise FormatError(f"{path}: descriptor version {isa}: expected {ISA_VERSION}; compile the graph again")
        size = _PREAMBLE.size + description_size + image_size
        if len(data) != size + hashlib.sha256().digest_size:
            expected = size + hashlib.sha256().digest_size
            raise FormatError(f"{path}: {len(data)} bytes: expected {expected}; the file is truncated or corrupted")
        if hashlib.sha256(data[:size]).digest() != data[size:]:
            raise FormatError(f"{path}: checksum does not match: the file is corrupted")
        try:
            description = json.loads(zlib.decompress(data[_PREAMBLE.size : _PREAMBLE.size + description_size]))
            return _restore(description, zlib.decompress(data[_PREAMBLE.size + description_size : size]))
        except (KeyError, TypeError, ValueError, IndexError, zlib.error, CodenetError) as error:
            raise FormatError(f"{path}: unusable program file: {error}") from error


def peak_threshold(score: float, scale: float, zero_point: int, low: int = -32767) -> int:
    """Smallest integer ``q >= low`` with ``sigmoid(scale * (q - zero_point)) >= score``, at most 32767.

    Raises
    ------
    GraphError
        ``score`` is not within (0, 1).
    """
    if not 0.0 < score < 1.0:
        raise GraphError(f"score threshold {score}: expected more than 0 and less than 1")
    logit = math.log(score / (1.0 - score))
    return min(max(math.ceil(logit / scale + zero_point), low), 32767)


def array_cycles(step: Descriptor) -> int:
    """Cycles that the array (or the bypass, or the peak comparators) works in ``step`` if it never waits."""
    if step.depthwise_op == DepthwiseOp.PEAKS:
        return step.output_pixels * step.input_planes
    groups = step.groups * (1 + step.wide_weights) if step.pointwise else 1
    loaded_pixels = (step.input_height * step.input_width) >> (2 * step.upsample - step.repeat)
    return loaded_pixels * step.expand_words + step.output_pixels * step.vectors * groups


def _describe(program: Program) -> dict[str, Any]:
    return {
        "name": program.name,
        "config": program.config.to_dict(),
        "steps": len(program.descriptors),
        "step_names": program.step_names,
        "step_macs": program.step_macs,
        "memory_bytes": program.memory_bytes,
        "program_offset": program.program_offset,
        "input": vars(program.input),
        "tensors": [vars(tensor) | {"index": tensor.index.tolist()} for tensor in program.tensors],
        "outputs": {role: tensor.name for role, tensor in program.outputs.items()},
        "classes": program.classes,
        "graph_macs": program.graph_macs,
        "metadata": dict(program.metadata),
    }


def _restore(description: dict[str, Any], image: bytes) -> Program:
    start = description["program_offset"]
    ends = range(start + DESCRIPTOR_BYTES, start + DESCRIPTOR_BYTES * description["steps"] + 1, DESCRIPTOR_BYTES)
    tensors = tuple(
        PlacedTensor(**(entry | {"planes": tuple(entry["planes"]), "index": np.array(entry["index"], dtype=np.int32)}))
        for entry in description["tensors"]
    )
    by_name = {tensor.name: tensor for tensor in tensors}
    return Program(
        name=description["name"],
        config=AcceleratorConfig.from_dict(description["config"]),
        descriptors=tuple(Descriptor.decode(image[end - DESCRIPTOR_BYTES : end]) for end in ends),
        step_names=tuple(description["step_names"]),
        image=image,
        memory_bytes=description["memory_bytes"],
        program_offset=start,
        input=InputLayout(**description["input"]),
        tensors=tensors,
        outputs={role: by_name[name] for role, name in description["outputs"].items()},
        classes=tuple(description["classes"]),
        graph_macs=description["graph_macs"],
        step_macs=tuple(description["step_macs"]),
        metadata=description["metadata"],
    )


def _operation_text(step: Descriptor) -> str:
    parts = ["pw"] if step.expand else []
    if step.depthwise_op != DepthwiseOp.OFF:
        name = {DepthwiseOp.MAC: "dw", DepthwiseOp.MAX: "max", DepthwiseOp.PEAKS: "peaks"}[
            DepthwiseOp(step.depthwise_op)
        ]
        parts.append(name + ("-deform" if step.dilated else ""))
    if step.pointwise:
        parts.append(("3x3" if step.full else "pw") + ("8" if step.wide_weights else ""))
    if not parts:
        parts.append("copy")
    return "+".join(parts) + (" s2" if step.stride2 else "") + (" up" if step.upsample else "")


def _table(program: Program) -> str:
    header = ("step", "operation", "input", "output", "planes", "groups", "rows", "MMAC", "kcycles", "name")
    rows = [header]
    for number, (step, name, macs) in enumerate(
        zip(program.descriptors, program.step_names, program.step_macs, strict=True)
    ):
        rows.append(
            (
                str(number),
                _operation_text(step),
                f"{step.input_height}x{step.input_width}",
                f"{step.output_height}x{step.output_width}",
                (f"{step.expand_planes}>" if step.expand else "")
                + f"{step.input_planes + step.dilated}>{step.output_planes}"
                + ("w" if step.wide_output else ""),
                (f"{step.expand_groups}+" if step.expand else "") + str(step.groups),
                str(step.window_rows),
                f"{macs / 1e6:.2f}",
                f"{array_cycles(step) / 1e3:.1f}",
                name,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    cycles = sum(array_cycles(step) for step in program.descriptors)
    utilization = sum(program.step_macs) / (cycles * program.config.macs_per_cycle)
    untrained = " (untrained)" if program.metadata.get("untrained") else ""
    return "\n".join(
        [
            f"{program.name}{untrained}: {program.input.height}x{program.input.width}, {len(program.classes)} classes",
            f"accelerator: {LANES} x {program.config.outputs} multipliers",
            "",
            *lines,
            "",
            f"{len(rows) - 1} steps, {len(program.tensors)} tensors in memory",
            f"{program.graph_macs / 1e6:.1f} MMAC in the graph, {sum(program.step_macs) / 1e6:.1f} MMAC computed",
            f"{cycles / 1e3:.1f} kcycles if the array never waits ({100 * utilization:.0f} % of its multipliers at work)",
            f"memory: {program.memory_bytes / 2**20:.2f} MiB, of it {len(program.image) / 2**20:.2f} MiB program and weights",
        ]
    )

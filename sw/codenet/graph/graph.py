"""A network as a small graph of quantized operations: what the exporter writes and the compiler reads.

Every operation produces one tensor, named like the operation. Numbers are those of docs/numbers.md: an int8
activation ``q`` stands for ``scale * (q - zero_point)``; head outputs are int16. The file (``.cdg``) is a NumPy ``.npz``
archive with a JSON description and the weight arrays.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from codenet.errors import FormatError, GraphError

FORMAT = "codenet-graph"
VERSION = 1

INPUT_ZERO_POINT = -14
"""Zero point of the image tensor ``q = pixel - 128``: grey 114 is zero, and is what padding reads."""

INPUT_SCALE = 1 / 64


@dataclass(frozen=True)
class Tensor:
    """Shape ``[height, width, channels]`` and meaning of a tensor of ``dtype`` ``int8`` or ``int16``."""

    name: str
    height: int
    width: int
    channels: int
    scale: float
    zero_point: int
    dtype: str = "int8"

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)``."""
        return (self.height, self.width, self.channels)


@dataclass(frozen=True)
class Requantize:
    """``y = clamp((acc * m + b) >> s, lo, hi)``; ``m`` int16 ``[C]``, ``b`` int64 ``[C]`` within 48 bits, the others scalars.

    ``lo`` and ``hi`` are within int8, or int16 for wide outputs.
    """

    m: np.ndarray
    b: np.ndarray
    s: int
    lo: int
    hi: int


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation. ``name`` is also the name of its output; ``inputs`` are names of earlier operations."""

    name: str
    inputs: tuple[str, ...] = ()
    kind: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class Input(Operation):
    """The image, int8 ``[height, width, 3]``: ``q = pixel - 128``."""

    kind: ClassVar[str] = "input"
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Convolution(Operation):
    """Full convolution, kernel 1 or 3, padding ``kernel // 2`` with the input's zero point.

    ``weights`` int8 ``[O, K, K, I]``, within [-7, 7] (``weight_bits`` 4) or [-127, 127] (8). ``wide``: int16 output.
    """

    kind: ClassVar[str] = "convolution"
    weights: np.ndarray
    weight_bits: int = 4
    stride: int = 1
    requantize: Requantize
    scale: float
    zero_point: int
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Depthwise(Operation):
    """Depthwise 3x3, ``weights`` int8 ``[C, 3, 3]`` within [-7, 7]; with a second input, the dilation of each pixel.

    ``acc[y,x,c] = sum_ij w[c,i,j] * q[y*stride + i*d, x*stride + j*d, c]``, ``d`` = 1 or the second input (one channel,
    values 0 to 7, of the output's height and width; stride 1 only).
    """

    kind: ClassVar[str] = "depthwise"
    weights: np.ndarray
    stride: int = 1
    requantize: Requantize
    scale: float
    zero_point: int


@dataclass(frozen=True, kw_only=True)
class MaxPool(Operation):
    """Maximum of the 3x3 window, padding with the zero point (which must be the smallest value of the input)."""

    kind: ClassVar[str] = "max_pool"
    stride: int = 2


@dataclass(frozen=True, kw_only=True)
class Upsample(Operation):
    """Nearest-neighbour upsampling by 2: ``y[i, j] = x[i // 2, j // 2]``."""

    kind: ClassVar[str] = "upsample"


@dataclass(frozen=True, kw_only=True)
class Concat(Operation):
    """Concatenation of channels; all inputs share height, width, scale and zero point."""

    kind: ClassVar[str] = "concat"


@dataclass(frozen=True, kw_only=True)
class Slice(Operation):
    """Channels ``start`` to ``stop`` (exclusive)."""

    kind: ClassVar[str] = "slice"
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Shuffle(Operation):
    """ShuffleNet channel shuffle: ``y[k * groups + g] = x[g * (C // groups) + k]``."""

    kind: ClassVar[str] = "shuffle"
    groups: int = 2


KINDS: dict[str, type[Operation]] = {
    cls.kind: cls for cls in (Input, Convolution, Depthwise, MaxPool, Upsample, Concat, Slice, Shuffle)
}


@dataclass(frozen=True)
class Graph:
    """A checked network.

    Parameters
    ----------
    name:
        For people, for example ``"codenet-a voc6"``.
    operations:
        In an order in which every input comes before its use. Exactly one :class:`Input`, the first.
    outputs:
        Role to tensor name. A detector has ``heatmap`` (int16, one channel a class), ``size`` (2: width, height) and
        ``offset`` (2: x, y), all of the same height and width, in units of output pixels.
    classes:
        Class names, one for each heatmap channel.
    metadata:
        JSON-compatible remarks (data set, accuracy, "untrained", ...).

    Raises
    ------
    GraphError
        Names the operation, the value and what was expected.
    """

    name: str
    operations: tuple[Operation, ...]
    outputs: Mapping[str, str]
    classes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tensors", _infer(self))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, in order of computation."""
        return self._tensors  # type: ignore[attr-defined, no-any-return]

    @property
    def input(self) -> Tensor:
        """The tensor that a photo becomes."""
        return self.tensors[self.operations[0].name]

    def __getitem__(self, name: str) -> Operation:
        for operation in self.operations:
            if operation.name == name:
                return operation
        raise GraphError(f"graph {self.name!r} has no operation {name!r}")

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of each convolution (padding included), by operation name."""
        return {op.name: count for op in self.operations if (count := _macs(op, self.tensors))}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ``.cdg`` file; complete or not at all."""
        arrays: dict[str, np.ndarray] = {}
        description = {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "outputs": dict(self.outputs),
            "classes": list(self.classes),
            "metadata": dict(self.metadata),
            "operations": [_describe(op, arrays) for op in self.operations],
        }
        description["sha256"] = _digest(arrays)
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(description).encode(), dtype=np.uint8)
        contents: dict[str, Any] = {"description": text, **arrays}
        np.savez_compressed(buffer, **contents)  # Without allow_pickle, which NumPy before 2.1 takes for an array.
        target = Path(path)
        temporary = target.with_name(target.name + ".part")
        temporary.write_bytes(buffer.getvalue())
        temporary.replace(target)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Graph:
        """Read a ``.cdg`` file.

        Raises
        ------
        FormatError
            Not a graph file, truncated, corrupted, or of another version.
        """
        try:
            with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            description = json.loads(arrays.pop("description").tobytes())
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
            raise FormatError(f"{path}: expected a CoDeNet graph file, found something else ({error})") from error
        if not isinstance(description, dict) or description.get("format") != FORMAT:
            raise FormatError(f"{path}: expected format {FORMAT!r}")
        if description.get("version") != VERSION:
            raise FormatError(f"{path}: graph format version {description.get('version')}: expected {VERSION}")
        if description.get("sha256") != _digest(arrays):
            raise FormatError(f"{path}: checksum does not match the weights: the file is corrupted")
        return cls(
            name=description["name"],
            operations=tuple(_operation(entry, arrays) for entry in description["operations"]),
            outputs=description["outputs"],
            classes=tuple(description["classes"]),
            metadata=description["metadata"],
        )


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + str(arrays[name].dtype).encode() + str(arrays[name].shape).encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _describe(operation: Operation, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": operation.kind}
    for item in dataclasses.fields(operation):
        value = getattr(operation, item.name)
        if isinstance(value, Requantize):
            arrays[f"{operation.name}/m"] = np.asarray(value.m, dtype=np.int16)
            arrays[f"{operation.name}/b"] = np.asarray(value.b, dtype=np.int64)
            entry["requantize"] = {"s": int(value.s), "lo": int(value.lo), "hi": int(value.hi)}
        elif isinstance(value, np.ndarray):
            arrays[f"{operation.name}/{item.name}"] = value
        else:
            entry[item.name] = value
    return entry


def _operation(entry: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Operation:
    values = dict(entry)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise FormatError(f"operation {values.get('name')!r} is of kind {kind!r}: expected one of {sorted(KINDS)}")
    name = values["name"]
    values["inputs"] = tuple(values["inputs"])
    try:
        if "requantize" in values:
            values["requantize"] = Requantize(arrays[f"{name}/m"], arrays[f"{name}/b"], **values["requantize"])
            values["weights"] = arrays[f"{name}/weights"]
        return KINDS[kind](**values)
    except (KeyError, TypeError) as error:
        raise FormatError(f"operation {name!r}: incomplete description ({error})") from error


def _require(condition: bool, operation: Operation, message: str) -> None:
    if not condition:
        raise GraphError(f"{operation.kind} {operation.name!r}: {message}")


def _infer(graph: Graph) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for index, operation in enumerate(graph.operations):
        _require(operation.kind in KINDS, operation, f"unknown kind; expected one of {sorted(KINDS)}")
        _require(operation.name not in tensors, operation, "the name is used twice")
        _require(
            (index == 0) == isinstance(operation, Input), operation, "expected exactly one input, the first operation"
        )
        for name in operation.inputs:
            _require(name in tensors, operation, f"input {name!r} is not the name of an earlier operation")
        tensors[operation.name] = _output(operation, [tensors[name] for name in operation.inputs])
    for role, name in graph.outputs.items():
        if name not in tensors:
            raise GraphError(f"output {role!r} is {name!r}: expected the name of an operation")
    if "heatmap" in graph.outputs:
        channels = tensors[graph.outputs["heatmap"]].channels
        if len(graph.classes) != channels:
            raise GraphError(
                f"{len(graph.classes)} class names for a heatmap of {channels} channels: expected one each"
            )
    return tensors


def _output(op: Operation, inputs: list[Tensor]) -> Tensor:
    if isinstance(op, Input):
        _require(op.height > 0 and op.width > 0, op, f"size {op.height}x{op.width}: expected at least one pixel")
        return Tensor(op.name, op.height, op.width, 3, INPUT_SCALE, INPUT_ZERO_POINT)
    expected = {"concat": None, "depthwise": (1, 2)}.get(op.kind, (1,))
    _require(expected is None or len(inputs) in expected, op, f"{len(inputs)} inputs: expected {expected}")
    _require(len(inputs) > 0, op, "no inputs")
    x = inputs[0]
    for tensor in inputs:
        _require(tensor.dtype == "int8", op, f"input {tensor.name!r} is {tensor.dtype}: expected int8")
    if isinstance(op, Convolution):
        _check_convolution(op, x)
        dtype = "int16" if op.wide else "int8"
        return Tensor(
            op.name,
            -(-x.height // op.stride),
            -(-x.width // op.stride),
            op.weights.shape[0],
            op.scale,
            op.zero_point,
            dtype,
        )
    if isinstance(op, Depthwise):
        _check_depthwise(op, inputs)
        return Tensor(op.name, -(-x.height // op.stride), -(-x.width // op.stride), x.channels, op.scale, op.zero_point)
    if isinstance(op, MaxPool):
        _require(op.stride in (1, 2), op, f"stride {op.stride}: expected 1 or 2")
        _require(x.zero_point == -128, op, f"input zero point {x.zero_point}: expected -128, the smallest value")
        return dataclasses.replace(x, name=op.name, height=-(-x.height // op.stride), width=-(-x.width // op.stride))
    if isinstance(op, Upsample):
        return dataclasses.replace(x, name=op.name, height=2 * x.height, width=2 * x.width)
    if isinstance(op, Concat):
        for tensor in inputs[1:]:
            same = (tensor.height, tensor.width, tensor.scale, tensor.zero_point)
            _require(same == (x.height, x.width, x.scale, x.zero_point), op, f"{tensor} does not match {x}")
        return dataclasses.replace(x, name=op.name, channels=sum(tensor.channels for tensor in inputs))
    if isinstance(op, Slice):
        _require(0 <= op.start < op.stop <= x.channels, op, f"channels {op.start}:{op.stop} of {x.channels}")
        return dataclasses.replace(x, name=op.name, channels=op.stop - op.start)
    assert isinstance(op, Shuffle)
    _require(op.groups > 0 and x.channels % op.groups == 0, op, f"{op.groups} groups of {x.channels} channels")
    return dataclasses.replace(x, name=op.name)


def _check_convolution(op: Convolution, x: Tensor) -> None:
    shape = op.weights.shape
    _require(len(shape) == 4 and shape[1] == shape[2], op, f"weights {list(shape)}: expected [O, K, K, I]")
    _require(shape[1] in (1, 3), op, f"kernel {shape[1]}: expected 1 or 3")
    _require(shape[3] == x.channels, op, f"weights {list(shape)} on {x.channels} channels")
    _require(op.weight_bits in (4, 8), op, f"weight_bits {op.weight_bits}: expected 4 or 8")
    _require(op.stride in (1, 2, 4), op, f"stride {op.stride}: expected 1, 2 or 4")
    _check_weights(op, op.weights, 7 if op.weight_bits == 4 else 127)
    _check_requantize(op, op.requantize, shape[0], wide=op.wide)


def _check_depthwise(op: Depthwise, inputs: list[Tensor]) -> None:
    x = inputs[0]
    shape = op.weights.shape
    _require(shape == (x.channels, 3, 3), op, f"weights {list(shape)}: expected {[x.channels, 3, 3]}")
    _require(op.stride in (1, 2), op, f"stride {op.stride}: expected 1 or 2")
    if len(inputs) == 2:
        _require(op.stride == 1, op, f"stride {op.stride} with dilations: expected 1")
        expected = (x.height, x.width, 1)
        _require(inputs[1].shape == expected, op, f"dilations {list(inputs[1].shape)}: expected {list(expected)}")
    _check_weights(op, op.weights, 7)
    _check_requantize(op, op.requantize, x.channels, wide=False)


def _check_weights(op: Operation, weights: np.ndarray, limit: int) -> None:
    _require(weights.dtype == np.int8, op, f"weights are {weights.dtype}: expected int8")
    if weights.size:
        low, high = int(weights.min()), int(weights.max())
        _require(-limit <= low and high <= limit, op, f"weights in [{low}, {high}]: expected [-{limit}, {limit}]")


def _check_requantize(op: Operation, r: Requantize, channels: int, *, wide: bool) -> None:
    limits = (-32768, 32767) if wide else (-128, 127)
    _require(r.m.shape == (channels,), op, f"requantize m {list(r.m.shape)}: expected [{channels}]")
    _require(r.b.shape == (channels,), op, f"requantize b {list(r.b.shape)}: expected [{channels}]")
    _require(bool(np.all(np.abs(r.m.astype(np.int64)) < 2**15)), op, "requantize m exceeds 16 bits")
    _require(bool(np.all((r.b >= -(2**47)) & (r.b < 2**47))), op, "requantize b exceeds 48 bits")
    _require(0 <= r.s <= 47, op, f"requantize s = {r.s}: expected 0 to 47")
    _require(limits[0] <= r.lo <= r.hi <= limits[1], op, f"requantize range [{r.lo}, {r.hi}]: expected within {limits}")


def _macs(op: Operation, tensors: Mapping[str, Tensor]) -> int:
    if isinstance(op, Convolution | Depthwise):
        out = tensors[op.name]
        return out.height * out.width * int(op.weights.size)
    return 0


def consumers(graph: Graph) -> dict[str, list[Operation]]:
    """Operations that read each tensor, by tensor name."""
    readers: dict[str, list[Operation]] = {name: [] for name in graph.tensors}
    for operation in graph.operations:
        for name in operation.inputs:
            readers[name].append(operation)
    return readers


def walk(graph: Graph) -> Iterator[tuple[Operation, Tensor]]:
    """Operations with their output tensors, in order of computation."""
    for operation in graph.operations:
        yield operation, graph.tensors[operation.name]

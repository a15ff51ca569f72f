# SPDX-License-Identifier: Apache-2.0
"""Program files, input layout, thresholds and the table for people."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codenet.compiler import compile
from codenet.config import AcceleratorConfig
from codenet.errors import FormatError, GraphError
from codenet.fit import LETTERBOX, STRETCH
from codenet.golden import interpreter
from codenet.isa import DESCRIPTOR_BYTES, Descriptor
from codenet.program import FILE_VERSION, InputLayout, PlacedTensor, Program, array_cycles, peak_threshold
from tests import networks


@pytest.fixture(scope="module")
def program() -> Program:
    return compile(networks.network(32, classes=3), AcceleratorConfig.small())


@pytest.fixture(scope="module")
def data(program: Program, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("program") / "network.cdn"
    program.save(path)
    return path.read_bytes()


def same(a: PlacedTensor, b: PlacedTensor) -> bool:
    """Equal, with the arrays compared as arrays."""
    index = np.array_equal(a.index, b.index) and a.index.dtype == b.index.dtype == np.int32
    return index and dataclasses.replace(a, index=b.index) == b


def test_round_trip(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "network.cdn"
    program.save(path)
    assert [item.name for item in tmp_path.iterdir()] == ["network.cdn"], "no temporary file is left"
    loaded = Program.load(path)
    arrays = {"tensors": (), "outputs": {}}
    assert dataclasses.replace(loaded, **arrays) == dataclasses.replace(program, **arrays)  # type: ignore[arg-type]
    assert all(same(a, b) for a, b in zip(loaded.tensors, program.tensors, strict=True))
    assert loaded.outputs.keys() == program.outputs.keys() == {"heatmap", "size", "offset"}
    assert all(same(loaded.outputs[role], program.outputs[role]) for role in program.outputs)


def test_fit_is_the_graph_s_and_a_stretched_program_says_nothing_of_it(data: bytes, tmp_path: Path) -> None:
    graph = networks.network(32, classes=3)
    first = dataclasses.replace(graph.operations[0], fit=LETTERBOX)  # type: ignore[call-arg]
    letterboxed = dataclasses.replace(graph, operations=(first, *graph.operations[1:]))
    compile(letterboxed, AcceleratorConfig.small()).save(tmp_path / "letterbox.cdn")
    loaded = Program.load(tmp_path / "letterbox.cdn")
    assert loaded.input.fit == LETTERBOX and "32x32 (letterbox)" in loaded.info()
    stretched = _load(data, tmp_path)
    assert stretched.input.fit == STRETCH and stretched.image == loaded.image
    assert _described(data)["input"].keys() == {"offset", "row_bytes", "height", "width"}


def _described(data: bytes) -> dict[str, Any]:
    """The description in a program file."""
    start, size = struct.calcsize("<8sIIQQ"), struct.unpack_from("<8sIIQQ", data)[3]
    description: dict[str, Any] = json.loads(zlib.decompress(data[start : start + size]))
    return description


def test_file_of_configuration_a_is_small(tmp_path: Path) -> None:
    path = tmp_path / "a.cdn"
    compile(networks.codenet("a")).save(path)
    assert path.stat().st_size < 2_000_000


def _load(data: bytes, folder: Path) -> Program:
    path = folder / "broken.cdn"
    path.write_bytes(data)
    return Program.load(path)


@pytest.mark.parametrize("kept", [0, 7, 20, 31, 32, 100, 0.5, -33, -32, -1])
def test_truncated(data: bytes, kept: float, tmp_path: Path) -> None:
    size = int(kept * len(data)) if isinstance(kept, float) else kept
    with pytest.raises(FormatError, match=r"broken\.cdn"):
        _load(data[:size], tmp_path)


def test_surplus_bytes(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="truncated or corrupted"):
        _load(data + b"\0", tmp_path)


def test_flipped_bits(data: bytes, tmp_path: Path) -> None:
    """One bit anywhere: every byte of the preamble, and a hundred others."""
    rng = np.random.default_rng(0)
    for position in [*range(32), *rng.integers(32, len(data), 100).tolist(), len(data) - 1]:
        broken = bytearray(data)
        broken[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(FormatError, match=r"broken\.cdn"):
            _load(bytes(broken), tmp_path)


@pytest.mark.parametrize(
    ("offset", "name"), [(8, "program file version 999: expected"), (12, "descriptor version 999")]
)
def test_other_versions(data: bytes, offset: int, name: str, tmp_path: Path) -> None:
    broken = bytearray(data)
    struct.pack_into("<I", broken, offset, 999)
    with pytest.raises(FormatError, match=name):
        _load(bytes(broken), tmp_path)
    assert FILE_VERSION != 999


def test_valid_checksum_over_nonsense(data: bytes, tmp_path: Path) -> None:
    """A file whose checksum fits its bytes, but whose description is none."""
    body = bytearray(data[:-32])
    body[32:40] = bytes(8)
    with pytest.raises(FormatError, match="unusable program file"):
        _load(bytes(body) + hashlib.sha256(body).digest(), tmp_path)


def described(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The same file with another description, and the checksum for it."""
    size, image = struct.unpack_from("<QQ", data, 16)
    text = json.loads(zlib.decompress(data[32 : 32 + size]))
    change(text)
    packed = zlib.compress(json.dumps(text).encode())
    body = data[:16] + struct.pack("<QQ", len(packed), image) + packed + data[32 + size : -32]
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(memory_bytes=-1), "memory_bytes = -1: expected an integer"),
        (lambda d: d.update(memory_bytes=1e9), "memory_bytes = 1000000000.0: expected an integer"),
        (lambda d: d.update(memory_bytes=2**40), "expected an integer, .* to 4294967295"),
        (lambda d: d.update(steps=0), "steps = 0: expected an integer, 1 or more"),
        (lambda d: d["step_names"].pop(), "number of step_names = .*: expected one for each of .* steps"),
        (lambda d: d["step_names"].__setitem__(0, 5), "step_names = 5: expected a text"),
        (lambda d: d["step_macs"].pop(), "step_macs"),
        (lambda d: d["step_macs"].__setitem__(0, "1"), "step_macs = '1': expected an integer"),
        (lambda d: d["classes"].__setitem__(0, None), "classes = None: expected a text"),
        (lambda d: d.update(metadata=[]), "metadata = .*: expected an object"),
        (lambda d: d["input"].update(row_bytes=4), "input row_bytes = 4"),
        (lambda d: d["input"].update(offset=2**31), "input offset = 2147483648"),
        (lambda d: d["input"].update(height=True), "input height = True"),
        (lambda d: d["tensors"][0].update(index=[2**70]), "int|large"),
        (lambda d: d["tensors"][0].update(index=[0.5]), "index has something else than integers"),
        (lambda d: d["tensors"][0].update(index=[]), "length of index = 0: expected an integer"),
        (lambda d: d["tensors"][0]["index"].__setitem__(0, 4000), "index = 4000: expected an integer, 0 to"),
        (lambda d: d["tensors"][0]["planes"].__setitem__(0, [1]), "plane = .*: expected an integer, 0 to"),
        (lambda d: d["tensors"][0]["planes"].__setitem__(0, 2**31), "plane = 2147483648: expected an integer, 0 to"),
        (lambda d: d["tensors"][0].update(dtype="float32"), "dtype = 'float32': expected int8 or int16"),
        (lambda d: d["tensors"][0].update(scale=0), "scale = 0: expected a number above 0"),
        (lambda d: d["tensors"][0].update(step=1000), "step = 1000: expected an integer, 0 to"),
        (lambda d: d["tensors"][0].update(upsample=2), "upsample = 2: expected an integer, 0 to 1"),
        (lambda d: d["outputs"].update(heatmap="nothing"), "nothing"),
    ],
)
def test_valid_checksum_over_a_description_that_no_program_has(
    data: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = tmp_path / "x.cdn"
    path.write_bytes(described(data, change))
    with pytest.raises(FormatError, match=f"x.cdn: unusable program file: .*{message}"):
        Program.load(path)


def test_description_that_is_packed_again_is_taken(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.cdn"
    path.write_bytes(described(data, lambda d: None))
    assert Program.load(path).name == "network"


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="expected a CoDeNet program file"):
        _load(b"\x89PNG\r\n\x1a\n" + bytes(100), tmp_path)
    with pytest.raises(FileNotFoundError):
        Program.load(tmp_path / "missing.cdn")


def test_descriptors_lie_in_the_image(program: Program) -> None:
    for number, step in enumerate(program.descriptors):
        start = program.program_offset + DESCRIPTOR_BYTES * number
        assert Descriptor.decode(program.image[start : start + DESCRIPTOR_BYTES]) == step
    assert [step.last for step in program.descriptors] == [0] * (len(program.descriptors) - 1) + [1]


def test_input_layout_by_hand() -> None:
    """2 x 2 pixels: rows of 16 bytes, border of -14 above and at the left, and to the right of the image."""
    layout = InputLayout(offset=8, row_bytes=16, height=2, width=2)
    memory = np.full(8 + 48 + 8, 99, dtype=np.uint8)
    layout.write(memory, np.arange(12, dtype=np.int8).reshape(2, 2, 3))
    rows = memory[8:56].view(np.int8).reshape(3, 16).tolist()
    assert rows[0] == [-14] * 16
    assert rows[1][:7] == [-14] * 4 + [0, 1, 2] and rows[1][8:11] == [3, 4, 5] and rows[1][12:] == [-14] * 4
    assert rows[2][4:7] == [6, 7, 8] and rows[2][8:11] == [9, 10, 11]
    assert (memory[:8] == 99).all() and (memory[56:] == 99).all()


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3), np.int8), np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.int8)]
)
def test_wrong_image(image: np.ndarray) -> None:
    with pytest.raises(GraphError, match=r"expected int8 \[2, 2, 3\]"):
        InputLayout(0, 16, 2, 2).write(np.zeros(48, np.uint8), image)


def test_read_by_hand() -> None:
    """Three int16 channels in two planes, stored at half size."""
    memory = np.zeros(64, dtype=np.uint8)
    memory[16:32].view("<i2")[:] = range(8)
    memory[48:64].view("<i2")[:] = range(-8, 0)
    index = np.array([8 + 7, 2, 0], dtype=np.int32)
    tensor = PlacedTensor("t", 2, 2, 3, "int16", 1.0, 0, 0, (16, 48), index, 1, 1)
    assert tensor.read(memory).tolist() == [[[-1, 2, 0]] * 2] * 2
    assert tensor.read_pixels(memory, np.array([1, 0]), np.array([0, 1])).tolist() == [[-1, 2, 0]] * 2


def test_read_pixels_is_read(program: Program) -> None:
    rng = np.random.default_rng(0)
    memory = rng.integers(0, 256, program.memory_bytes, dtype=np.uint8)
    for tensor in program.tensors:
        y, x = rng.integers(0, tensor.height, 5), rng.integers(0, tensor.width, 5)
        np.testing.assert_array_equal(tensor.read_pixels(memory, y, x), tensor.read(memory)[y, x])
        assert tensor.read_pixels(memory, y[:0], x[:0]).shape == (0, tensor.channels)


@pytest.mark.parametrize("score", [1e-6, 0.1, 0.3, 0.5, 0.999])
def test_threshold_is_the_smallest_that_reaches_the_score(program: Program, score: float) -> None:
    threshold = program.threshold_for(score)
    scale = program.outputs["heatmap"].scale

    def sigmoid(q: int) -> float:
        return 1 / (1 + math.exp(-q * scale))

    assert sigmoid(threshold) >= score > sigmoid(threshold - 1)


@pytest.mark.parametrize("score", [0.0, 1.0, -1.0, math.nan])
def test_impossible_scores(program: Program, score: float) -> None:
    with pytest.raises(GraphError, match="score threshold"):
        program.threshold_for(score)


def test_threshold_limits() -> None:
    assert peak_threshold(1 - 1e-12, 1e-6, 0) == 32767
    assert peak_threshold(1e-12, 1e-6, 0) == -32767
    assert peak_threshold(0.5, 1.0, 0, low=3) == 3


@pytest.mark.parametrize("threshold", [-32768, -1, 0, 32767])
def test_patched_threshold(program: Program, threshold: int) -> None:
    memory = np.frombuffer(program.image, dtype=np.uint8).copy()
    program.patch_threshold(memory, threshold)
    start = program.program_offset + DESCRIPTOR_BYTES * (len(program.descriptors) - 1)
    assert program.peak_step is not None
    patched = Descriptor.decode(memory[start : start + DESCRIPTOR_BYTES].tobytes())
    assert patched == dataclasses.replace(program.peak_step, peak_threshold=threshold)
    memory[start : start + DESCRIPTOR_BYTES] = 0
    image = np.frombuffer(program.image, dtype=np.uint8)
    assert np.array_equal(np.delete(memory, slice(start, start + 128)), np.delete(image, slice(start, start + 128)))


def test_program_without_heatmap() -> None:
    net = networks.Builder(16, 16)
    net.convolution("stem", "image", 8, kernel=3, stride=4, bits=8)
    program = compile(net.graph("stem", {"features": "stem"}))
    assert program.peak_step is None
    with pytest.raises(GraphError, match="has no output 'heatmap'"):
        program.threshold_for(0.5)


def test_info(program: Program) -> None:
    lines = program.info().splitlines()
    assert "untrained" in lines[0] and "32x32" in lines[0]
    table = [line for line in lines if line[:1].isdigit() and "x" in line]
    assert len(table) == len(program.descriptors) and "peaks" in table[-1]
    assert any("stage1.0.b1.dw + stage1.0.b1.pw" in line and "dw+pw s2" in line for line in table)
    assert sum(array_cycles(step) for step in program.descriptors) > 0


def test_array_cycles_by_hand(program: Program) -> None:
    """16 x 8 array: the stem of 8 channels and 8-bit weights takes 3 vectors, two words each, for a group of 8 and an
    empty one.
    """
    stem = program.descriptors[0]
    assert (stem.output_pixels, stem.vectors, stem.wide_weights) == (64, 3, 1)
    assert array_cycles(stem) == 64 * 3 * 2 * stem.groups
    assert array_cycles(program.descriptors[-1]) == 64


def test_tensors_in_order_of_completion(program: Program) -> None:
    steps = [tensor.step for tensor in program.tensors]
    assert steps == sorted(steps) and steps[0] == 0
    graph = networks.network(32, classes=3)
    expected = interpreter.run(graph, networks.random_image(32, 32), keep=list(graph.tensors))
    for tensor in program.tensors:
        shape = (tensor.height, tensor.width, tensor.channels)
        assert shape == expected[tensor.name].shape and tensor.dtype == expected[tensor.name].dtype

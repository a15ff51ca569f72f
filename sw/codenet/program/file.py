# SPDX-License-Identifier: Apache-2.0
"""The program file (``.cdn``): a preamble, a compressed JSON description, the compressed memory image, and a checksum
of it all.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codenet import files
from codenet.config import AcceleratorConfig
from codenet.errors import CodenetError, FormatError
from codenet.fit import STRETCH
from codenet.isa import DESCRIPTOR_BYTES, ISA_VERSION, Descriptor
from codenet.program.checks import check_fields
from codenet.program.memory import InputLayout, PlacedTensor

if TYPE_CHECKING:
    from codenet.program.program import Program

FILE_MAGIC = b"CODENET\0"
FILE_VERSION = 1

_PREAMBLE = struct.Struct("<8sIIQQ")
"""Magic, version of the file, version of the descriptors, bytes of the compressed description and of the compressed
image.
"""

_UNUSABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, zlib.error)
"""What reading fields from bytes that are not a program's may raise."""


def write(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a program; complete or not at all."""
    description = zlib.compress(json.dumps(_describe(program)).encode(), 9)
    image = zlib.compress(program.image, 9)
    body = _PREAMBLE.pack(FILE_MAGIC, FILE_VERSION, ISA_VERSION, len(description), len(image)) + description + image
    files.write(path, body + hashlib.sha256(body).digest())


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Fields of a :class:`~codenet.program.Program`.

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
        raise FormatError(f"{path}: program file version {version}: expected {FILE_VERSION}; compile the graph again")
    if isa > ISA_VERSION:
        raise FormatError(
            f"{path}: descriptor version {isa}, of a later release: expected {ISA_VERSION}; install that release and "
            f"its bitstream, or compile the graph with this one"
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
        fields = _restore(description, zlib.decompress(data[_PREAMBLE.size + description_size : size]))
        check_fields(fields)
        return fields
    except (*_UNUSABLE, CodenetError) as error:
        raise FormatError(f"{path}: unusable program file: {error}") from error


def _describe(program: Program) -> dict[str, Any]:
    return {
        "name": program.name,
        "config": program.config.to_dict(),
        "steps": len(program.descriptors),
        "step_names": program.step_names,
        "step_macs": program.step_macs,
        "memory_bytes": program.memory_bytes,
        "program_offset": program.program_offset,
        "input": _describe_input(program.input),
        "tensors": [vars(tensor) | {"index": tensor.index.tolist()} for tensor in program.tensors],
        "outputs": {role: tensor.name for role, tensor in program.outputs.items()},
        "classes": program.classes,
        "graph_macs": program.graph_macs,
        "metadata": dict(program.metadata),
    }


def _describe_input(layout: InputLayout) -> dict[str, Any]:
    values = dict(vars(layout))
    if layout.fit == STRETCH:  # What a file says that has no fit.
        del values["fit"]
    return values


def _restore(description: dict[str, Any], image: bytes) -> dict[str, Any]:
    start = description["program_offset"]
    ends = range(start + DESCRIPTOR_BYTES, start + DESCRIPTOR_BYTES * description["steps"] + 1, DESCRIPTOR_BYTES)
    tensors = tuple(_restore_tensor(entry) for entry in description["tensors"])
    by_name = {tensor.name: tensor for tensor in tensors}
    return dict(
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


def _restore_tensor(entry: dict[str, Any]) -> PlacedTensor:
    if any(type(index) is not int for index in entry["index"]):
        raise TypeError(f"tensor {entry['name']!r}: index has something else than integers")
    index = np.array(entry["index"], dtype=np.int32)
    return PlacedTensor(**(entry | {"planes": tuple(entry["planes"]), "index": index}))

# SPDX-License-Identifier: Apache-2.0
"""Files that users give, how each is broken, and what reads it."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codenet.compiler import compile
from codenet.config import AcceleratorConfig
from codenet.devices.bitstream import Handoff, configuration
from codenet.devices.golden import GoldenDevice
from codenet.golden import interpreter
from codenet.graph import Graph
from codenet.graph import file as graph_file
from codenet.program import Program
from codenet.program import file as program_file
from codenet.runtime.accelerator import Accelerator
from codenet.vision.image import load, resize, to_activation
from models.data.load import load_data
from tests import networks
from tests.board.handoff import bit_file, hwh
from tests.fuzz.mutate import Rng, change_json, change_xml, damage

CONFIG = AcceleratorConfig.small()
SHAPE: dict[str, Any] = {"units": (1, 1, 1), "channels": (8, 8, 8, 8, 8), "decoder": (8, 8, 8), "head": 8}


class Target(ABC):
    """A kind of file.

    Attributes
    ----------
    name:
        For people, and of the command.
    whole:
        Share of cases whose change is of the file's bytes; the others change what it means.
    memory:
        Bytes that reading one may take, however small it is.
    """

    name: str
    whole = 0.5
    memory = 256 << 20

    @cached_property
    @abstractmethod
    def valid(self) -> list[bytes]:
        """Files that are taken."""

    def meaning(self, rng: Rng, data: bytes) -> bytes:
        """A file that is well-formed and says something else."""
        raise NotImplementedError

    def case(self, rng: Rng) -> bytes:
        """A broken file."""
        data = self.valid[rng.integers(len(self.valid))]
        if rng.random() < self.whole:
            return damage(rng, data, self.valid[rng.integers(len(self.valid))])
        return self.meaning(rng, data)

    @abstractmethod
    def read(self, data: bytes, folder: Path, rng: Rng) -> None:
        """Take the file, and, for some, use it; ``folder`` is for what has to lie on disk."""


class ProgramFile(Target):
    name = "program"

    @cached_property
    def valid(self) -> list[bytes]:
        return [_saved(compile(networks.network(32, seed=n, **SHAPE), CONFIG)) for n in range(2)]

    def meaning(self, rng: Rng, data: bytes) -> bytes:
        preamble = program_file._PREAMBLE
        magic, version, isa, size, _ = preamble.unpack_from(data)
        text = zlib.decompress(data[preamble.size : preamble.size + size])
        image = zlib.decompress(data[preamble.size + size : -32])
        if rng.random() < 0.6:
            text = json.dumps(change_json(rng, json.loads(text))).encode()
        else:
            image = damage(rng, image)
        parts = zlib.compress(text), zlib.compress(image)
        body = preamble.pack(magic, version, isa, *map(len, parts)) + b"".join(parts)
        return body + hashlib.sha256(body).digest()

    def read(self, data: bytes, folder: Path, rng: Rng) -> None:
        path = folder / "x.cdn"
        path.write_bytes(data)
        program = Program.load(path)
        program.info()
        with Accelerator(GoldenDevice(CONFIG), program) as accelerator:
            layout = program.input
            outputs = accelerator.run(np.zeros((layout.height, layout.width, 3), np.int8))
            for role in outputs.tensors:
                outputs.read(role)


class GraphFile(Target):
    name = "graph"

    @cached_property
    def valid(self) -> list[bytes]:
        return [_saved(networks.network(32, seed=n, **SHAPE)) for n in range(2)]

    def meaning(self, rng: Rng, data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as archive:
            arrays = {name: archive[name] for name in archive.files}
        description = json.loads(arrays.pop("description").tobytes())
        if rng.random() < 0.8:
            description = change_json(rng, description)
        else:
            name = str(rng.choice(list(arrays)))
            arrays[name] = _changed(rng, arrays[name])
            description["sha256"] = graph_file._digest(arrays)
        file = io.BytesIO()
        np.savez(file, description=np.frombuffer(json.dumps(description).encode(), np.uint8), **arrays)
        return file.getvalue()

    def read(self, data: bytes, folder: Path, rng: Rng) -> None:
        path = folder / "x.cdg"
        path.write_bytes(data)
        graph = Graph.load(path)
        if rng.random() < 0.1:
            _same_on_both(graph)


def _same_on_both(graph: Graph) -> None:
    """What is compiled computes what the graph says."""
    program = compile(graph, CONFIG)
    layout = program.input
    image = networks.random_image(layout.height, layout.width)
    with Accelerator(GoldenDevice(CONFIG), program) as accelerator:
        outputs = accelerator.run(image)
        tensors = interpreter.run(graph, image)
        for role, name in graph.outputs.items():
            assert np.array_equal(outputs.read(role), tensors[name]), f"output {role} is not what the graph says"


def _changed(rng: Rng, array: np.ndarray) -> np.ndarray:
    action = rng.integers(4)
    if action == 0:
        return array[: len(array) // 2]
    if action == 1:
        return array.astype([np.float32, np.int64, np.uint8, np.complex64][rng.integers(4)])
    if action == 2:
        return array.reshape(-1)
    raw = bytearray(array.tobytes())
    raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
    return np.frombuffer(bytes(raw), array.dtype).reshape(array.shape)


class BitFile(Target):
    name = "bit"
    whole = 0.7

    @cached_property
    def valid(self) -> list[bytes]:
        return [bit_file(), bit_file(bytes(1000))]

    def meaning(self, rng: Rng, data: bytes) -> bytes:
        """Another length of a field."""
        place = int(rng.integers(13, 80))
        return data[:place] + struct.pack(">H", int(rng.choice([0, 1, 255, 65535]))) + data[place + 2 :]

    def read(self, data: bytes, folder: Path, rng: Rng) -> None:
        path = folder / "x.bit"
        path.write_bytes(data)
        assert len(configuration(path)) % 4 == 0


class HandoffFile(Target):
    name = "hwh"

    @cached_property
    def valid(self) -> list[bytes]:
        return [hwh().encode(), hwh(interrupt=True, ports=(0,)).encode()]

    def meaning(self, rng: Rng, data: bytes) -> bytes:
        return change_xml(rng, data.decode())

    def read(self, data: bytes, folder: Path, rng: Rng) -> None:
        (folder / "x.hwh").write_bytes(data)
        Handoff.read(folder / "x.bit")


VOC = """<annotation><folder>x</folder><filename>photo.png</filename><size><width>24</width><height>16</height>
<depth>3</depth></size><object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>
<xmax>20</xmax><ymax>12</ymax></bndbox></object><object><name>dog</name><bndbox><xmin>3.5</xmin><ymin>2</ymin>
<xmax>9</xmax><ymax>12</ymax></bndbox></object></annotation>"""


class VocFile(Target):
    name = "voc"

    @cached_property
    def valid(self) -> list[bytes]:
        return [VOC.encode(), VOC.replace("dog", "cat").encode("utf-16")]

    def meaning(self, rng: Rng, data: bytes) -> bytes:
        return change_xml(rng, VOC)

    def read(self, data: bytes, folder: Path, rng: Rng) -> None:
        if not (folder / "Annotations").exists():
            for name in ("Annotations", "JPEGImages"):
                (folder / name).mkdir()
            _photo("RGB").save(folder / "JPEGImages" / "photo.png")
        (folder / "Annotations" / "photo.xml").write_bytes(data)
        load_data(f"{folder}:trainval", "train")


COCO = {
    "images": [{"id": 1, "file_name": "photo.png", "width": 24, "height": 16}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 10.5, 8], "iscrowd": 0, "area": 84},
        {"id": 2, "image_id": 1, "category_id": 5, "bbox": [3, 2, 10, 8], "iscrowd": 1, "segmentation": []},
    ],
    "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog", "supercategory": "animal"}],
    "info": {"year": 2017},
}


class CocoFile(Target):
    name = "coco"

    @cached_property
    def valid(self) -> list[bytes]:
        return [json.dumps(COCO).encode(), json.dumps(COCO, indent=1).encode()]

    def meaning(self, rng: Rng, data: bytes) -> bytes:
        return json.dumps(change_json(rng, COCO), indent=int(rng.integers(2)) or None).encode()

    def read(self, data: bytes, folder: Path, rng: Rng) -> None:
        if not (folder / "images").exists():
            for name in ("annotations", "images"):
                (folder / name).mkdir()
            _photo("RGB").save(folder / "images" / "photo.png")
        (folder / "annotations" / "instances_train.json").write_bytes(data)
        load_data(f"{folder}:train", "train")


class PhotoFile(Target):
    name = "photo"
    whole = 1.0
    #: A few bytes of WebP may stand for as many pixels as Pillow allows.
    memory = Target.memory + 4 * 2 * (Image.MAX_IMAGE_PIXELS or 0)

    @cached_property
    def valid(self) -> list[bytes]:
        exif = Image.Exif()
        exif[0x0112] = 6
        files = [
            *(_encoded("RGB", "JPEG", exif=exif), _encoded("L", "JPEG"), _encoded("CMYK", "JPEG")),
            *(_encoded("RGB", "JPEG", progressive=True), _encoded("RGBA", "PNG"), _encoded("P", "PNG")),
            *(_encoded("I;16", "PNG"), _encoded("1", "PNG"), _encoded("P", "GIF"), _encoded("RGB", "WEBP")),
            *(_encoded("RGB", "BMP"), _encoded("RGB", "TIFF"), _encoded("RGB", "TIFF", compression="tiff_lzw")),
            *(_encoded("RGB", "PPM"), _encoded("RGB", "TGA"), _encoded("RGBA", "ICO")),
        ]
        return files

    def read(self, data: bytes, folder: Path, rng: Rng) -> None:
        path = folder / "x.photo"
        path.write_bytes(data)
        assert to_activation(resize(load(path), 32, 48)).shape == (32, 48, 3)


def _photo(mode: str) -> Image.Image:
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 24, 3), np.uint8))
    return photo.convert("L").convert("I").convert("I;16") if mode == "I;16" else photo.convert(mode)


def _encoded(mode: str, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    _photo(mode).save(file, kind, **options)
    return file.getvalue()


class Checkpoint(Target):
    name = "checkpoint"
    whole = 0.8

    @cached_property
    def valid(self) -> list[bytes]:
        import torch

        return [self._packed(self._state), self._packed(self._state | {"epoch": torch.tensor(3)})]

    @cached_property
    def _state(self) -> dict[str, Any]:
        from models.network import CoDeNet, float_identity, get_config

        small = {"size": 64, "channels": (8, 8, 16, 16, 16), "units": (1, 1, 1), "decoder": (8, 8, 8), "head": 8}
        network = CoDeNet(replace(get_config("a"), **small), ("cat", "dog"))
        weights = network.state_dict()
        return {**float_identity(network), "network": weights, "average": weights}

    def _packed(self, state: Any) -> bytes:
        import torch

        file = io.BytesIO()
        torch.save(state, file)
        return file.getvalue()

    def meaning(self, rng: Rng, data: bytes) -> bytes:
        weights = {key: self._state[key] for key in ("network", "average") if rng.random() < 0.5}
        rest = {key: value for key, value in self._state.items() if key not in weights}
        return self._packed(change_json(rng, rest) | weights)

    def read(self, data: bytes, folder: Path, rng: Rng) -> None:
        from models.network.checkpoints import load_network

        path = folder / "x.pt"
        path.write_bytes(data)
        load_network(path)


def _saved(thing: Program | Graph) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        thing.save(path)
        return path.read_bytes()


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *(ProgramFile(), GraphFile(), BitFile(), HandoffFile(), VocFile(), CocoFile(), PhotoFile(), Checkpoint()),
    )
}

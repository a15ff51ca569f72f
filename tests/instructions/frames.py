# SPDX-License-Identifier: Apache-2.0
"""The host's part of a frame, part by part, each between two marks that the counting plugin sees: ``frames.py PHOTO``.

Prints, as JSON, the names of the parts in the order in which they ran. Needs the package codenet and, for what cameras
deliver, OpenCV; nothing of the checkout.
"""

from __future__ import annotations

import io
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import PIL
from PIL import Image

from codenet.cli.benchmark import peak_list
from codenet.devices.golden import GoldenDevice
from codenet.fit import place
from codenet.live.hub import encode
from codenet.program import Program
from codenet.runtime.accelerator import Accelerator
from codenet.runtime.detector import to_units
from codenet.vision.boxes import decode
from codenet.vision.image import BILINEAR, load, prepare
from codenet.zoo import ZOO

CAMERAS = ((640, 480), (1280, 720))
"""Width and height."""

PROGRAMS = ("codenet-a", "codenet-c")
PEAKS = (10, 100)
PUBLISHED = ((640, 360), (3840, 2160))
"""Sizes of photos whose halving was timed on a board (:data:`tests.instructions.estimate.PUBLISHED`)."""

REPETITIONS = 3

Work = Callable[[], Any]


class InstantDevice(GoldenDevice):
    """Registers of an accelerator that is done as soon as it is started, with ``peaks`` peaks."""

    peaks = 10

    def _run(self) -> None:
        self._done = True
        self._values |= {"PEAK_COUNT": self.peaks, "IRQ_STATUS": 1}


def parts(photo: str, cameras: Iterable[tuple[int, int]] = CAMERAS) -> Iterable[tuple[str, Work]]:
    """Names of the parts and what they do; each is made when the one before it has run."""
    yield "nothing", lambda: None
    programs = {name: Program.load(ZOO / f"{name}.cdn") for name in PROGRAMS}
    for width, height in cameras:
        camera = f"{width}x{height}"
        rgb = load(photo).resize((width, height))
        bgr = np.ascontiguousarray(np.asarray(rgb)[..., ::-1])
        yield from ((f"{name} {camera}", work) for name, work in _deliveries(rgb, bgr))
        for program in programs.values():
            layout = program.input
            arguments = (layout.height, layout.width, layout.fit)
            yield (
                f"fit {camera} {layout.width}",
                lambda bgr=bgr, arguments=arguments: prepare(bgr[..., ::-1], *arguments),
            )
    for program in programs.values():
        layout = program.input
        small = prepare(rgb, layout.height, layout.width, layout.fit)
        with Accelerator(InstantDevice(program.config), program, frames=2) as accelerator:
            accelerator.run(np.zeros((layout.height, layout.width, 3), np.int8))
            yield f"write {layout.width}", lambda small=small, to=accelerator: small.write(to.pixels)
            yield f"start {layout.width}", accelerator.start
            yield f"finish {layout.width}", accelerator.finish
    placement = place((480, 640), (layout.height, layout.width), layout.fit)
    for count in PEAKS:
        outputs = peak_list(program, count)
        yield f"decode {count}", lambda outputs=outputs: decode(to_units(outputs), program.classes, placement)


def _deliveries(rgb: Image.Image, bgr: np.ndarray) -> Iterable[tuple[str, Work]]:
    """What OpenCV does to frames of cameras, and to pictures for viewers."""
    import cv2

    cv2.setNumThreads(1)
    jpeg = io.BytesIO()
    rgb.save(jpeg, "JPEG", quality=85, subsampling="4:2:2")
    coded = np.frombuffer(jpeg.getvalue(), np.uint8)
    yuyv = np.resize(np.frombuffer(rgb.convert("YCbCr").tobytes(), np.uint8), (*bgr.shape[:2], 2))
    yield "mjpeg", lambda: cv2.imdecode(coded, cv2.IMREAD_COLOR)
    yield "yuyv", lambda: cv2.cvtColor(yuyv, cv2.COLOR_YUV2BGR_YUYV)
    yield "page", lambda: encode(bgr[..., ::-1])


def published() -> Iterable[tuple[str, Work]]:
    """What was timed on a board by others."""
    for width, height in PUBLISHED:
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(noise)
        yield f"halve {width}x{height}", lambda image=image, to=(width // 2, height // 2): image.resize(to, BILINEAR)


def run(every: Iterable[tuple[str, Work]], mark: Callable[[], object] = os.sched_yield) -> list[str]:
    """Do each part some times between two marks; returns the parts' names, in order."""
    names = []
    for name, work in every:
        alternating = name.startswith("start")  # A frame that was started has to be finished.
        for _ in range(1 if alternating or name.startswith("finish") else REPETITIONS):
            mark()
            work()
            mark()
            names.append(name)
    return names


def main(photo: str) -> int:
    names = [*run(parts(photo)), *run(published())]
    machine = (
        f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, Pillow {PIL.__version__}"
    )
    json.dump({"machine": machine, "parts": names}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

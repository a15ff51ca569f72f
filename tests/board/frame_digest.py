# SPDX-License-Identifier: Apache-2.0
"""Prints, as JSON, what a photo becomes on this machine: ``frame_digest.py PHOTO ...``.

Needs the package codenet and nothing of the checkout. Every figure is exact (hashes, numbers in hexadecimal), so that
the outputs of two machines can be compared as text.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys

import numpy as np
import PIL
from PIL import Image

from codenet import Detector
from codenet.vision.image import load, resize
from codenet.zoo import DEFAULT_PROGRAM

THRESHOLD = 0.02


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def detections_text(detections: list) -> list[str]:
    return [" ".join([d.label, d.score.hex(), *(edge.hex() for edge in d.box)]) for d in detections]


def frame(detector: Detector, photo: str) -> dict:
    """Pixels, outputs and detections of one photo."""
    layout = detector.program.input
    single = detections_text(detector(photo))
    memory = detector.accelerator.memory
    outputs = {role: digest(tensor.read(memory)) for role, tensor in detector.program.outputs.items()}
    streamed = [detections_text(result.detections) for result in detector.stream([photo, photo], workers=2)]
    boxes = detector.draw(photo, detector(photo))
    assert isinstance(boxes, Image.Image)
    return {
        "pixels": digest(resize(load(photo), layout.height, layout.width, layout.fit)),
        "outputs": outputs,
        "detections": single,
        "stream is the same": streamed == [single, single],
    }


def main(photos: list[str]) -> int:
    machine = (
        f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, Pillow {PIL.__version__}"
    )
    with Detector(DEFAULT_PROGRAM, "golden", threshold=THRESHOLD) as detector:
        frames = {photo.rpartition("/")[2]: frame(detector, photo) for photo in photos}
    json.dump({"machine": machine, "program": digest_of_file(DEFAULT_PROGRAM), "frames": frames}, sys.stdout, indent=1)
    return 0


def digest_of_file(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

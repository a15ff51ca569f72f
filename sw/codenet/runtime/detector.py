# SPDX-License-Identifier: Apache-2.0
"""The detector: photo in, boxes out."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from types import TracebackType

import numpy as np
from PIL import Image

from codenet.devices import Device, open_device
from codenet.errors import ConfigError, DeviceError, FormatError
from codenet.fit import Placement
from codenet.program import PlacedTensor, Program
from codenet.runtime.accelerator import Accelerator
from codenet.runtime.frame import Outputs
from codenet.runtime.stream import Stream, Times
from codenet.vision.boxes import IOU_THRESHOLD, TOP_K, Detection, Peaks, decode, sigmoid
from codenet.vision.draw import draw
from codenet.vision.image import Levels, Source, check_levels

logger = logging.getLogger(__name__)

ROLES = {"heatmap": None, "size": 2, "offset": 2}
"""Outputs of a detector, with their channels (heatmap: one a class)."""


class Detector:
    """Finds objects in photos.

    Parameters
    ----------
    program:
        A compiled detector, or the path of its ``.cdn`` file.
    device:
        ``"auto"`` (the board if this machine has one, otherwise the golden model), another name that
        :func:`codenet.devices.open_device` knows, or an open device, which stays the caller's.
    threshold:
        Smallest score, in (0, 1), of what is reported.
    iou_threshold:
        Of non-maximum suppression, 0 to 1: boxes of a class with more IoU are one object
        (:func:`codenet.vision.boxes.nms`).
    levels:
        Of grey photos of more than 8 bits: the values that are black and white (:func:`codenet.vision.image.load`).

    Attributes
    ----------
    times:
        Of the last photo that was given to the detector itself; those of a stream are in its results.

    Raises
    ------
    FormatError
        Not a program file, or not the program of a detector.
    GraphError
        The threshold is not within (0, 1).
    ConfigError
        The IoU threshold is not within [0, 1], or white is not above black.
    DeviceError
        The device is missing, doesn't answer or doesn't fit the program.
    """

    def __init__(
        self,
        program: str | os.PathLike[str] | Program,
        device: str | Device = "auto",
        *,
        threshold: float = 0.3,
        iou_threshold: float = IOU_THRESHOLD,
        levels: Levels | None = None,
    ) -> None:
        if not 0 <= iou_threshold <= 1:
            raise ConfigError(f"iou_threshold {iou_threshold}: expected 0 to 1")
        check_levels(levels)
        self.levels = levels
        self.program = program if isinstance(program, Program) else Program.load(program)
        _check_outputs(self.program)
        self.program.threshold_for(threshold)
        self.threshold = threshold
        self.iou_threshold = iou_threshold
        self.times = Times()
        self._owns_device = isinstance(device, str)
        self.device = open_device(device, self.program.config) if isinstance(device, str) else device
        try:
            self.accelerator = Accelerator(self.device, self.program, frames=2)
        except BaseException:
            if self._owns_device:
                self.device.close()
            raise

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, by class index."""
        return self.program.classes

    def __call__(self, photo: Source, *, threshold: float | None = None, top_k: int = TOP_K) -> list[Detection]:
        """Detections in a photo, best first, of the best ``top_k`` peaks.

        Parameters
        ----------
        photo:
            Anything that :func:`codenet.vision.image.load` takes.
        threshold:
            Instead of the detector's own.

        Raises
        ------
        FormatError
            Not a photo.
        DeviceError
            The device failed, or a stream of this detector is open.
        """
        with self._stream([photo], threshold, top_k, brief=True) as stream:
            result = next(stream)
        self.times = result.times
        return result.detections

    def stream(
        self, photos: Iterable[Source], *, threshold: float | None = None, top_k: int = TOP_K, workers: int = 0
    ) -> Stream:
        """Results of many photos or of a camera, in order, two frames in flight::

            for result in detector.stream(camera):
                print(result.detections, result.times)

        Each result equals what the detector returns for that photo alone.

        Parameters
        ----------
        photos:
            Anything that :func:`codenet.vision.image.load` takes, each. An array must not be changed before its result
            is there.
        threshold, top_k:
            As of a single photo.
        workers:
            Threads that decode and prepare photos ahead. None: that is done while the accelerator runs, and a result
            comes one photo after its own. Each worker lets another processor core help, for the price of one photo's
            delay more.

        Raises
        ------
        GraphError
            The threshold is not within (0, 1).
        ConfigError
            ``workers`` is not a number of threads.
        """
        return self._stream(photos, threshold, top_k, workers)

    def _stream(
        self,
        photos: Iterable[Source],
        threshold: float | None,
        top_k: int,
        workers: int = 0,
        *,
        brief: bool = False,
    ) -> Stream:
        score = float(self.threshold if threshold is None else threshold)
        self.program.threshold_for(score)

        def detections(outputs: Outputs, placement: Placement) -> list[Detection]:
            return self._detections(outputs, placement, top_k)

        return Stream(
            self.accelerator, photos, detections, score=score, levels=self.levels, workers=workers, brief=brief
        )

    def _detections(self, outputs: Outputs, placement: Placement, top_k: int) -> list[Detection]:
        if outputs.peaks_found > len(outputs.peaks):
            logger.warning(
                "%d peaks found, room for %d: the lowest rows are lost; raise the threshold",
                outputs.peaks_found,
                len(outputs.peaks),
            )
        return decode(to_units(outputs), self.classes, placement, top_k=top_k, iou_threshold=self.iou_threshold)

    def closest(self) -> tuple[str, float]:
        """Class and score of the highest point of the heatmap of the last photo, below the threshold or not.

        What to look at when nothing is found. The detector must not have a frame running.
        """
        name = self.program.outputs["heatmap"].name
        heatmap = self.accelerator.tensor(name)
        best = int(heatmap.max(axis=(0, 1)).argmax())
        logit = _real(heatmap[..., best].max().reshape(1), self.program.outputs["heatmap"])
        return self.classes[best], float(sigmoid(logit)[0])

    def draw(self, photo: Source, detections: Iterable[Detection]) -> Image.Image:
        """The photo with its detections (:func:`codenet.vision.draw.draw`)."""
        return draw(photo, detections, levels=self.levels)

    def close(self) -> None:
        """Release memory and device. Calling it twice does no harm."""
        self.accelerator.close()
        if self._owns_device:
            self.device.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def to_units(outputs: Outputs) -> Peaks:
    """Peaks of a frame with size and offset at their pixels, in real units.

    Raises
    ------
    DeviceError
        A record is none of this heatmap's: the device wrote nonsense.
    """
    records = outputs.peaks
    heatmap = outputs.tensors["heatmap"]
    classes = np.full(int(heatmap.index.max()) + 2, -1)  # The last is for all channels that are too large.
    classes[heatmap.index] = np.arange(heatmap.channels)
    class_index = classes[np.minimum(records["channel"], len(classes) - 1)]
    x, y = records["x"].astype(np.int64), records["y"].astype(np.int64)
    stray = np.flatnonzero((class_index < 0) | (x >= heatmap.width) | (y >= heatmap.height))
    if stray.size:
        raise DeviceError(
            f"peak record {stray[0]} is {records[stray[0]]}: expected a channel of the heatmap's {heatmap.channels} "
            f"and a pixel of {heatmap.height}x{heatmap.width}"
        )
    return Peaks(
        x=x,
        y=y,
        class_index=class_index,
        logits=_real(records["value"], heatmap),
        size=_real(outputs.at("size", y, x), outputs.tensors["size"]),
        offset=_real(outputs.at("offset", y, x), outputs.tensors["offset"]),
        output_size=(heatmap.height, heatmap.width),
    )


def _real(values: np.ndarray, tensor: PlacedTensor) -> np.ndarray:
    real: np.ndarray = tensor.scale * (values.astype(np.float64) - tensor.zero_point)
    return real


def _check_outputs(program: Program) -> None:
    if program.peak_step is None:
        raise FormatError(f"program {program.name!r}: has no peak step, it is not a detector")
    for role, channels in ROLES.items():
        tensor = program.outputs.get(role)
        if tensor is None:
            raise FormatError(f"program {program.name!r}: has no output {role!r}, it is not a detector")
        if tensor.channels != (channels or len(program.classes)):
            raise FormatError(
                f"program {program.name!r}: output {role!r} has {tensor.channels} channels, expected "
                f"{channels or len(program.classes)}"
            )

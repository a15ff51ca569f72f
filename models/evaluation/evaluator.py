# SPDX-License-Identifier: Apache-2.0
"""One evaluation loop for all sources, in one process or several."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Iterable
from pathlib import Path

import torch
from tqdm import tqdm

from codenet.errors import CodenetError
from codenet.vision.boxes import IOU_THRESHOLD, Detection
from models.command import sheltered
from models.data import DetectionData, read_image
from models.evaluation.metrics import Score, average_precision
from models.evaluation.sources import Source, open_source


def _check_classes(data: DetectionData, classes: tuple[str, ...]) -> None:
    if data.classes != classes:
        raise CodenetError(f"evaluation: data has classes {data.classes}, expected {classes}")


def _progress(found: Iterable[list[Detection]], data: DetectionData) -> list[list[Detection]]:
    return list(tqdm(found, total=len(data), desc="evaluate", unit="img", mininterval=1))


def evaluate(source: Source, data: DetectionData) -> Score:
    """Run ``source`` on every image of ``data``, whose classes must be the source's."""
    _check_classes(data, source.classes)
    return average_precision(data, _progress((source.detect(read_image(r.path)) for r in data), data))


@functools.lru_cache(maxsize=1)
def _opened(path: Path, device: str, exact: bool, iou_threshold: float) -> Source:
    """The source of a worker process, opened once."""
    torch.set_num_threads(1)
    return open_source(path, device, exact, iou_threshold)


def _detect_in_worker(settings: tuple[Path, str, bool, float], photo: Path) -> list[Detection]:
    return _opened(*settings).detect(read_image(photo))


def evaluate_file(
    path: Path,
    data: DetectionData,
    device: str = "golden",
    exact: bool = False,
    workers: int = 1,
    iou_threshold: float = IOU_THRESHOLD,
) -> Score:
    """Run a file, as `open_source` takes it, on every image of ``data`` in ``workers`` processes of one thread.

    The result does not depend on how many. `CodenetError` for less than one, or if the classes differ.
    """
    if workers < 1:
        raise CodenetError(f"evaluation: {workers} workers, expected at least one")
    if workers == 1:
        return evaluate(open_source(path, device, exact, iou_threshold), data)
    # Started anew: a fork would copy the threads' locks of libraries that are in use.
    context, settings = multiprocessing.get_context("spawn"), (path, device, exact, iou_threshold)
    with sheltered():
        pool = context.Pool(workers)
    with pool:
        detect = functools.partial(_detect_in_worker, settings)
        found = pool.imap(detect, [record.path for record in data], chunksize=4)
        return average_precision(data, _progress(found, data))

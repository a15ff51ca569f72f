# SPDX-License-Identifier: Apache-2.0
"""``codenet detect``: objects in photos, as text, as pictures with boxes, and as JSON and CSV for other programs."""

from __future__ import annotations

import argparse
import csv
import glob
import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codenet import files
from codenet.command import report
from codenet.errors import ConfigError, DeviceError, FormatError
from codenet.zoo import DEFAULT_PROGRAM, shipped_program

if TYPE_CHECKING:
    from codenet.runtime.detector import Detector
    from codenet.vision.boxes import Detection

COLUMNS = ("file", "label", "score", "left", "top", "right", "bottom")
"""Of the CSV file."""


@dataclass(frozen=True)
class Found:
    """Detections of a photo."""

    photo: Path
    detections: list[Detection]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("detect", help="find objects in photos")
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="image file, folder of them, or pattern in quotes")
    add_detector_options(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="write the photos with boxes here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the detections here, as COCO's results")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the detections here, a line each")
    parser.set_defaults(run=_run)


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """What a detector is made with: ``--program``, ``--device``, ``--threshold`` and ``--levels``."""
    parser.add_argument(
        "--program", type=Path, help=f"compiled detector (default: the package's {DEFAULT_PROGRAM.name})"
    )
    parser.add_argument("--device", default="auto", help="auto (a board, else golden), golden, rtl ... (default: auto)")
    parser.add_argument("--threshold", type=float, default=0.3, metavar="SCORE", help="smallest score (default: 0.3)")
    parser.add_argument(
        "--levels",
        type=int,
        nargs=2,
        metavar=("BLACK", "WHITE"),
        help="values that are black and white, in grey photos of more than 8 bits (default: 0 65535)",
    )


def expand(names: Iterable[str]) -> Iterator[Path | FormatError]:
    """Photos that the arguments name, in order; an error in the place of an argument that names none."""
    from codenet.vision.camera import is_photo, photos_in

    for name in names:
        path = Path(name)
        if path.is_dir():
            try:
                yield from photos_in(path)
            except FormatError as error:
                yield error
        elif not path.exists() and glob.has_magic(name):
            matches = sorted(match for match in map(Path, glob.glob(name, recursive=True)) if is_photo(match))
            yield from matches
            if not matches:
                yield FormatError(f"{name}: no photo has such a name")
        else:
            yield path


def coco_results(found: Sequence[Found]) -> list[dict[str, Any]]:
    """Detections as COCO's evaluation takes them: ``bbox`` is left, top, width, height.

    ``image_id`` is the number that the photo is named by (``000000000139.jpg``: 139) if all are named so, otherwise the
    place of the photo, from 1; ``category_id`` is the place of the class, from 1. ``file_name`` and ``category`` say
    both in words.
    """
    stems = [entry.photo.stem for entry in found]
    numbered = all(stem.isascii() and stem.isdigit() for stem in stems) and len(set(map(int, stems))) == len(stems)
    return [
        {
            "image_id": int(entry.photo.stem) if numbered else place,
            "category_id": d.class_index + 1,
            "bbox": [d.box[0], d.box[1], d.box[2] - d.box[0], d.box[3] - d.box[1]],
            "score": d.score,
            "file_name": str(entry.photo),
            "category": d.label,
        }
        for place, entry in enumerate(found, 1)
        for d in entry.detections
    ]


def csv_text(found: Iterable[Found]) -> str:
    """Detections as CSV, with a line of :data:`COLUMNS` first; edges in pixels of the photo."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in found:
        for d in entry.detections:
            writer.writerow((entry.photo, d.label, f"{d.score:.4f}", *(f"{edge:.2f}" for edge in d.box)))
    return out.getvalue()


def _run(options: argparse.Namespace) -> int:
    from codenet.runtime.detector import Detector

    status = 0
    photos: list[Path] = []
    for item in expand(options.photos):
        if isinstance(item, Path):
            photos.append(item)
        else:
            status = report("codenet", item)
    program = options.program or shipped_program()
    inputs = [*photos, program]
    _check_outputs(options, inputs)
    if not photos:
        return status
    levels = tuple(options.levels) if options.levels else None
    found: list[Found] = []
    with (
        Detector(program, options.device, threshold=options.threshold, levels=levels) as detector,
        detector.stream(photos, workers=1) as stream,
    ):
        pictures = _Pictures(detector, options.output, inputs)
        for photo in photos:
            try:
                found.append(Found(photo, next(stream).detections))
                _print(found[-1])
                pictures.write(found[-1])
            except (FormatError, OSError) as error:
                if isinstance(error, DeviceError):  # A timeout is both.
                    raise
                status = report("codenet", error)  # The other photos may be good.
        if found and not any(entry.detections for entry in found):
            _hint(detector, found[-1].photo)
    if options.json is not None:
        files.write_json(options.json, coco_results(found), inputs=inputs)
    if options.csv is not None:
        files.write(options.csv, csv_text(found), inputs=inputs)
    return status


def _check_outputs(options: argparse.Namespace, inputs: Sequence[Path]) -> None:
    """Before any work is done; the folder is made."""
    outputs = [path for path in (options.json, options.csv) if path is not None]
    for path in outputs:
        files.check_output(path, inputs)
    if len(outputs) > len(set(map(os.path.realpath, outputs))):
        raise ConfigError(f"--json and --csv {options.csv}: expected two files")
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)


def _print(entry: Found) -> None:
    print(f"{entry.photo}: {len(entry.detections)} detections")
    for d in entry.detections:
        print(f"  {d.label} {d.score:.2f} ({', '.join(f'{edge:.1f}' for edge in d.box)})")


class _Pictures:
    """Photos with boxes in a folder; with ``None``, nowhere."""

    def __init__(self, detector: Detector, folder: Path | None, inputs: Sequence[Path]) -> None:
        self._detector, self._folder, self._inputs = detector, folder, inputs
        self._taken: set[Path] = set()

    def write(self, entry: Found) -> None:
        if self._folder is None:
            return
        target = self._unused(self._folder / f"{entry.photo.stem}-detections.jpg")
        picture = io.BytesIO()
        self._detector.draw(entry.photo, entry.detections).save(picture, "JPEG", quality=90)
        files.write(target, picture.getvalue(), inputs=self._inputs)
        print(f"  written to {target}")

    def _unused(self, target: Path) -> Path:
        """``target``, numbered if this run has already written one of the same name."""
        stem, number = target.stem, 2
        while target in self._taken:
            target, number = target.with_stem(f"{stem}-{number}"), number + 1
        self._taken.add(target)
        return target


def _hint(detector: Detector, photo: Path) -> None:
    """What a network that finds nothing comes closest to."""
    label, score = detector.closest()
    lower = math.floor(100 * min(score, detector.threshold)) / 100
    advice = f"--threshold {lower:.2f} shows it" if lower > 0 else "it has not learned to see anything here"
    print(f"no score reaches {detector.threshold:g}: the best of {photo} is {score:.3f} ({label}); {advice}")

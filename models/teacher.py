# SPDX-License-Identifier: Apache-2.0
"""Boxes that a YOLOX network finds in photos, to train with: ``python -m models.teacher ONNX --data FOLDER -o FILE``.

The boxes are found once and kept; `models.data.with_teacher` adds them to the photos' annotations. A file that has some
of the photos is completed.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from codenet import command
from codenet.errors import CodenetError
from codenet.vision.boxes import IOU_THRESHOLD, Detection
from models.command import check_outputs, number, sheltered
from models.data import LISTS, Record, TeacherBoxes, load_data, named_classes, read_image, split_of
from models.data.teacher import photo_name
from models.evaluation import average_precision
from models.pretrained.yolox import SCORE_THRESHOLD, Yolox

#: Photos between two writings of the file: what a kill can lose.
_SAVE_EVERY = 2000


@functools.lru_cache(maxsize=1)
def _opened(path: Path, classes: tuple[str, ...], score_threshold: float, iou_threshold: float) -> Yolox:
    """The teacher of a process, opened once."""
    return Yolox(path, classes, score_threshold, iou_threshold)


def _detect(settings: tuple[Path, tuple[str, ...], float, float], photo: Path) -> list[Detection]:
    return _opened(*settings).detect(read_image(photo))


def detect_all(teacher: Yolox, records: Sequence[Record], workers: int = 1) -> Iterator[list[Detection]]:
    """What ``teacher`` finds in each record's photo, in ``workers`` processes of one thread."""
    photos = [record.path for record in records]
    if workers == 1:
        yield from (teacher.detect(read_image(photo)) for photo in photos)
        return
    detect = functools.partial(_detect, (teacher.path, teacher.classes, teacher.score_threshold, teacher.iou_threshold))
    with sheltered():
        pool = multiprocessing.get_context("spawn").Pool(workers)
    with pool:
        yield from pool.imap(detect, photos, chunksize=4)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command.Parser(prog="python -m models.teacher", description=__doc__.splitlines()[0])
    parser.add_argument("teacher", type=Path, metavar="ONNX", help="YOLOX of COCO's classes, as released")
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FOLDER[:SPLIT]",
        help="folders in COCO JSON, VOC XML or YOLO format, and their splits (default: train)",
    )
    parser.add_argument(
        "--classes", nargs="+", default=["animals"], help=f"names, or one of {', '.join(LISTS)} (default: animals)"
    )
    result = parser.add_mutually_exclusive_group(required=True)
    result.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="JSON file for the boxes; one that is there is completed"
    )
    result.add_argument("--evaluate", action="store_true", help="write nothing, print the average precision")
    parser.add_argument(
        "--threshold", type=number(float, 0, 1), default=SCORE_THRESHOLD, help=f"least score ({SCORE_THRESHOLD})"
    )
    parser.add_argument(
        "--iou-threshold",
        type=number(float, 0, 1),
        default=IOU_THRESHOLD,
        help=f"of boxes that count as one object ({IOU_THRESHOLD})",
    )
    parser.add_argument("--limit", type=number(int, 1), help="only the first photos of each folder")
    parser.add_argument("--workers", type=number(int, 1), default=1, help="processes that share the photos (1)")
    return parser.parse_args(arguments)


def _progress(found: Iterator[list[Detection]], records: Sequence[Record]) -> Iterator[list[Detection]]:
    return iter(tqdm(found, total=len(records), desc="teacher", unit="img", mininterval=1))


def _evaluate(teacher: Yolox, options: argparse.Namespace) -> None:
    data = load_data(options.data, "train", teacher.classes, limit=options.limit)
    found = list(_progress(detect_all(teacher, data.records, options.workers), data.records))
    print(average_precision(data, found).table())


def _named_records(sources: Sequence[str], limit: int | None) -> dict[str, Record]:
    """The photos of all sources by name; `CodenetError` for two of one name."""
    records: dict[str, Record] = {}
    for source in sources:
        folder, _ = split_of(source, "train")
        for record in load_data(source, "train", limit=limit):
            name = photo_name(record.path, folder)
            other = records.setdefault(name, record)
            if not record.path.samefile(other.path):
                raise CodenetError(
                    f"data: {record.path} and {other.path} would both be named {name}; rename one of the folders"
                )
    return records


def _begin(teacher: Yolox, output: Path) -> TeacherBoxes:
    """What ``output`` has already; `CodenetError` if that is no file of this teacher."""
    identity = {
        "file": teacher.path.name,
        "sha256": hashlib.sha256(teacher.path.read_bytes()).hexdigest(),
        "score_threshold": teacher.score_threshold,
        "iou_threshold": teacher.iou_threshold,
    }
    boxes = TeacherBoxes(str(output), identity, teacher.classes)
    if not output.exists():
        return boxes
    there = TeacherBoxes.load(output)
    asked, found = ({**side.teacher, "classes": ", ".join(side.classes)} for side in (boxes, there))
    for key, value in asked.items():
        if key != "file" and found.get(key) != value:
            raise CodenetError(
                f"{output}: has boxes of another {key}: {found.get(key)}, expected {value}; remove it, or give another "
                f"FILE"
            )
    return there


def _write(teacher: Yolox, options: argparse.Namespace) -> None:
    check_outputs([options.output], [options.teacher])
    boxes = _begin(teacher, options.output)
    records = _named_records(options.data, options.limit)
    left = {name: record for name, record in records.items() if not boxes.has(name, record)}
    if len(left) < len(records):
        print(f"{options.output}: has {len(records) - len(left)} of {len(records)} photos already")
    photos = list(left.values())
    found = _progress(detect_all(teacher, photos, options.workers), photos)
    try:
        for count, (name, record, detections) in enumerate(zip(left, photos, found, strict=True), start=1):
            boxes.add(name, record, detections)
            if count % _SAVE_EVERY == 0:
                boxes.save(options.output)
    except KeyboardInterrupt:
        boxes.save(options.output)
        raise KeyboardInterrupt(f"{options.output} has {len(boxes.photos)} photos; the same command goes on") from None
    boxes.save(options.output)
    count = sum(len(boxes.find(record).labels) for record in records.values())
    print(f"{options.output}: {count} boxes of {', '.join(teacher.classes)} in {len(records)} photos")


def _run(options: argparse.Namespace) -> None:
    classes = named_classes(options.classes)
    if classes is None:
        raise CodenetError(f"--classes auto: expected names, or one of {', '.join(LISTS)}")
    teacher = Yolox(options.teacher, classes, options.threshold, options.iou_threshold)
    (_evaluate if options.evaluate else _write)(teacher, options)


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for anything that cannot be read or written."""
    return command.run("models.teacher", lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Reading of COCO JSON files, in the layouts that they come in."""

from __future__ import annotations

import json
import math
import re
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from codenet.errors import CodenetError
from models.data.annotations import Annotations, Box, Picture
from models.data.files import Photos, folders, read_text, visible
from models.data.splits import KNOWN, PARTS, Splits, part

#: Files that hold all splits, or none: of Roboflow, Label Studio, FiftyOne and others.
_UNSPLIT = ("_annotations.coco.json", "result.json", "labels.json", "annotations.json", "coco.json")

#: What flags may be, in any letters.
_FLAGS = {"0": False, "false": False, "none": False, "1": True, "true": True}


def find_coco(folder: Path) -> Splits:
    """The splits that ``folder`` has in COCO JSON.

    ``instances_<split>.json``, or ``<split>.json`` of a known name, in it or in ``annotations``;
    ``<split>/_annotations.coco.json``; otherwise one file of `_UNSPLIT`, of which `PARTS` are made.
    """
    files: dict[str, Path] = {}
    for place in (folder / "annotations", folder):
        files |= {path.stem: path for path in visible(place, "*.json") if path.stem.casefold() in KNOWN}
        files |= {path.stem.removeprefix("instances_"): path for path in visible(place, "instances_*.json")}
    files |= {path.name: path / _UNSPLIT[0] for path in folders(folder) if (path / _UNSPLIT[0]).is_file()}
    if files:
        return {split: partial(read_coco, path, _photos(folder, path, split)) for split, path in files.items()}
    whole = next((folder / name for name in _UNSPLIT if (folder / name).is_file()), None)
    return {} if whole is None else {split: partial(_read_part, whole, folder, split) for split in PARTS}


def _photos(folder: Path, path: Path, split: str) -> Photos:
    """Where the photos of a split's file may lie."""
    places = (f"images/{split}", split, f"{split}/images", "images", "data")
    return Photos(*(folder / place for place in places), path.parent / "images", path.parent, folder)


def _read_part(path: Path, folder: Path, split: str) -> Annotations:
    annotations = read_coco(path, Photos(folder / "images", folder / "data", folder))
    annotations.pictures = part(sorted(annotations.pictures, key=lambda picture: picture.path), split)
    return annotations


class _Text:
    """The text of a JSON file; finds the lines of its records when a message needs them."""

    def __init__(self, path: Path) -> None:
        self.path, self.text = path, read_text(path)

    def content(self) -> dict[str, Any]:
        """The file's value; `CodenetError` with line and column if it is not JSON, or no COCO annotations."""
        try:
            content = json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise CodenetError(
                f"data: {self.path}: not readable as JSON: {error}; export the annotations again"
            ) from error
        for key in ("images", "annotations", "categories"):
            if not isinstance(content, dict) or not isinstance(content.get(key), list):
                raise CodenetError(
                    f"data: {self.path}: {key!r} is missing or no list, expected COCO's images, annotations, categories"
                )
        return content

    @cached_property
    def offsets(self) -> dict[str, list[int]]:
        """Where each record of ``images`` and ``annotations`` starts; empty for files of one line, where a line says
        nothing.
        """
        offsets: dict[str, list[int]] = {"images": [], "annotations": []}
        if "\n" not in self.text.strip():
            return offsets
        decoder = json.JSONDecoder()
        for key, starts in offsets.items():
            found = re.search(rf'"{key}"\s*:\s*\[\s*', self.text)
            position = found.end() if found else len(self.text)
            while position < len(self.text) and self.text[position] != "]":
                starts.append(position)
                position = decoder.raw_decode(self.text, position)[1]
                position = re.compile(r"[\s,]*").match(self.text, position).end()  # type: ignore[union-attr]
        return offsets

    def name(self, key: str, index: int, record: Any) -> str:
        """What a message calls a record: file, line if there are lines, list, number in the file, id."""
        starts = self.offsets[key]
        line = f":{self.text.count(chr(10), 0, starts[index]) + 1}" if index < len(starts) else ""
        number = record.get("id") if isinstance(record, dict) else None
        label = f"{key[:-1]} {index} of the list" if number is None else f"{key[:-1]} {number}"
        return f"{self.path}{line}: {label}"


class _Place:
    """Names a record when it is printed: lines cost a pass through the file."""

    __slots__ = ("text", "key", "index", "record")

    def __init__(self, text: _Text, key: str, index: int, record: Any) -> None:
        self.text, self.key, self.index, self.record = text, key, index, record

    def __str__(self) -> str:
        return self.text.name(self.key, self.index, self.record)


def _value(record: dict[str, Any], key: str, *kinds: type) -> Any:
    value = record[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ValueError(f"{key} is {value!r}, expected {' or '.join(kind.__name__ for kind in kinds)}")
    return value


def _number(record: dict[str, Any], key: str) -> int | str:
    """What a record is called by others: 7, 7.0 and "7" are the same number."""
    value = _value(record, key, int, float, str)
    text = value.strip() if isinstance(value, str) else str(value).removesuffix(".0")
    return int(text) if re.fullmatch(r"0|-?[1-9]\d*", text) else text


def _flag(record: dict[str, Any], key: str) -> bool:
    text = str(record.get(key)).strip().removesuffix(".0").casefold()
    if text not in _FLAGS:
        raise ValueError(f"{key} is {record[key]!r}, expected 0 or 1")
    return _FLAGS[text]


def _side(record: dict[str, Any], key: str) -> int:
    """Width or height in pixels; 0 where the file leaves it out."""
    if record.get(key) is None:
        return 0
    value = _value(record, key, int, float)
    if not math.isfinite(value):
        raise ValueError(f"{key} is {value}, expected pixels")
    return int(value)


def _picture(record: dict[str, Any], photos: Photos, place: _Place) -> Picture:
    path = photos.find(_value(record, "file_name", str))
    number = _number(record, "id")
    return Picture(number, path, _side(record, "width"), _side(record, "height"), [], place)  # type: ignore[arg-type]


def _corners(record: dict[str, Any]) -> tuple[float, float, float, float]:
    box = record["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        raise ValueError(f"bbox is {box!r}, expected four numbers x, y, width, height")
    x, y, width, height = box
    return (x, y, x + width, y + height)


def _categories(content: dict[str, Any], path: Path) -> dict[int | str, str]:
    """Names by number; `CodenetError` for records without either, and for numbers or names that occur twice."""
    names: dict[int | str, str] = {}
    for index, category in enumerate(content["categories"]):
        try:
            number, name = _number(category, "id"), _value(category, "name", str).strip()
        except (KeyError, TypeError, ValueError):
            name = ""
        if not name:
            raise CodenetError(f"data: {path}: category {index} of the list is {category!r}, expected id and name")
        if number in names or name in names.values():
            raise CodenetError(f"data: {path}: category {number} {name!r} is there twice")
        names[number] = name
    return names


def _pictures(text: _Text, records: list[Any], photos: Photos, annotations: Annotations) -> dict[int | str, Picture]:
    """Pictures by number; malformed records, and those that share a number or a photo, are named."""
    pictures: dict[int | str, Picture] = {}
    files: dict[Path, tuple[int | str, str]] = {}
    for index, record in enumerate(records):
        place = _Place(text, "images", index, record)
        try:
            picture = _picture(record, photos, place)
        except (KeyError, TypeError, ValueError) as error:
            annotations.errors.append(f"{place}: malformed record: {_reason(error)}")
            continue
        number, name = picture.image_id, record["file_name"]
        if number in pictures:
            annotations.errors.append(f"{place}: image {number} is there twice, expected a number of its own")
        pictures[number] = picture
        first, first_name = files.setdefault(picture.path, (number, name))
        if name != first_name:
            annotations.errors.append(
                f"{place}: {name!r} and {first_name!r} both mean {picture.path}, expected a photo for each"
            )
        elif first != number:
            annotations.warnings.append(
                f"{text.path}: images {first} and {number} are the same file {picture.path.name}"
            )
    return pictures


def read_coco(path: Path, photos: Photos) -> Annotations:
    """What a COCO JSON file says of ``photos``.

    The result's ``errors`` name malformed records, numbers that occur twice, and unknown images and categories.
    `CodenetError` for a file that is no COCO annotations at all.
    """
    text = _Text(path)
    content = text.content()
    names = _categories(content, path)
    classes = [names[key] for key in sorted(names, key=lambda key: (isinstance(key, str), key))]
    annotations = Annotations(str(path), tuple(classes), [])
    pictures = _pictures(text, content["images"], photos, annotations)
    annotations.pictures = list(pictures.values())
    seen: set[int | str] = set()
    for index, record in enumerate(content["annotations"]):
        place = _Place(text, "annotations", index, record)
        try:
            image, number, category = (_number(record, key) for key in ("image_id", "id", "category_id"))
            corners, crowd = _corners(record), _flag(record, "iscrowd")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            annotations.errors.append(f"{place}: malformed record: {_reason(error)}")
            continue
        if number in seen:
            annotations.errors.append(f"{place}: annotation {number} is there twice, expected a number of its own")
        seen.add(number)
        if category not in names:
            annotations.errors.append(f"{place}: category {category} is not in the file, which has {names}")
        elif image not in pictures:
            annotations.errors.append(f"{place}: image {image} is not in the file")
        else:
            pictures[image].boxes.append(Box(names[category], corners, crowd, place))
    return annotations


def _reason(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)

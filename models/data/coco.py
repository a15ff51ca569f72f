"""Reading of COCO JSON files, in the layouts that they come in."""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from codenet.errors import CodenetError
from models.data.annotations import Annotations, Box, Picture

#: Where a split's file may lie in a folder, and where its images then may; ``{}`` is the split.
LAYOUTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("instances_{}.json", ("images/{}", "images", "{}")),
    ("annotations/instances_{}.json", ("{}", "images/{}", "images")),
    ("annotations/instances_{}2017.json", ("{}2017", "images/{}2017", "images")),
    ("{}/_annotations.coco.json", ("{}",)),
)


def find_coco(folder: Path, split: str) -> tuple[Path, Path] | None:
    """Annotation file and image folder of ``split``, or None if ``folder`` has no such file in any of `LAYOUTS`."""
    for file, places in LAYOUTS:
        path = folder / file.format(split)
        if path.is_file():
            images = [folder / place.format(split) for place in places]
            return path, next((place for place in images if place.is_dir()), images[0])
    return None


class _Text:
    """The text of a JSON file; finds the lines of its records when a message needs them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CodenetError(f"data: {path}: cannot be read: {error}") from error

    def content(self) -> dict[str, Any]:
        """The file's value; `CodenetError` with line and column if it is not JSON, or no COCO annotations."""
        try:
            content = json.loads(self.text)
        except ValueError as error:
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
        """Where each record of ``images`` and ``annotations`` starts; empty for files of one line, where a line says nothing."""
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


def _picture(record: dict[str, Any], images: Path) -> Picture:
    width, height = (int(_value(record, key, int, float)) for key in ("width", "height"))
    return Picture(_value(record, "id", int, str), images / _value(record, "file_name", str), width, height, [])


def _corners(record: dict[str, Any]) -> tuple[float, float, float, float]:
    box = record["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, int | float) for value in box):
        raise ValueError(f"bbox is {box!r}, expected four numbers x, y, width, height")
    x, y, width, height = box
    return (x, y, x + width, y + height)


def _categories(content: dict[str, Any], path: Path) -> dict[Any, str]:
    """Names by number; `CodenetError` for records without either, and for numbers or names that occur twice."""
    names: dict[Any, str] = {}
    for index, category in enumerate(content["categories"]):
        if not isinstance(category, dict) or "id" not in category or not isinstance(category.get("name"), str):
            raise CodenetError(f"data: {path}: category {index} of the list is {category!r}, expected id and name")
        if category["id"] in names or category["name"] in names.values():
            raise CodenetError(f"data: {path}: category {category['id']} {category['name']!r} is there twice")
        names[category["id"]] = category["name"]
    return names


def read_coco(path: Path, images: Path) -> Annotations:
    """What a COCO JSON file says; ``images`` is the folder that its file names count from.

    The result's ``errors`` name malformed records, numbers that occur twice, and unknown images and categories.
    `CodenetError` for a file that is no COCO annotations at all.
    """
    text = _Text(path)
    content = text.content()
    names = _categories(content, path)
    errors, warnings = [], []
    pictures: dict[Any, Picture] = {}
    for index, record in enumerate(content["images"]):
        place = _Place(text, "images", index, record)
        try:
            picture = _picture(record, images)
        except (KeyError, TypeError, ValueError) as error:
            errors.append(f"{place}: malformed record: {_reason(error)}")
            continue
        if picture.image_id in pictures:
            errors.append(f"{place}: image {picture.image_id} is there twice, expected a number of its own")
        pictures[picture.image_id] = picture
    files: dict[Path, Any] = {}
    for number, picture in pictures.items():
        if picture.path in files:
            warnings.append(f"{path}: images {files[picture.path]} and {number} are the same file {picture.path.name}")
        files[picture.path] = number
    seen: set[Any] = set()
    for index, record in enumerate(content["annotations"]):
        place = _Place(text, "annotations", index, record)
        try:
            box = Box(names.get(record["category_id"], ""), _corners(record), bool(record.get("iscrowd", 0)), place)
            image, number = (_value(record, key, int, str) for key in ("image_id", "id"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            errors.append(f"{place}: malformed record: {_reason(error)}")
            continue
        if number in seen:
            errors.append(f"{place}: annotation {number} is there twice, expected a number of its own")
        seen.add(number)
        if not box.name:
            errors.append(f"{place}: category {record['category_id']} is not in the file, which has {names}")
        elif image not in pictures:
            errors.append(f"{place}: image {image} is not in the file")
        else:
            pictures[image].boxes.append(box)
    classes = tuple(names[key] for key in sorted(names))
    return Annotations(str(path), classes, list(pictures.values()), errors, warnings)


def _reason(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)

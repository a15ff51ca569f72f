# SPDX-License-Identifier: Apache-2.0
"""Reading of YOLO's text files, a box or polygon a line, in the layouts that they come in."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from codenet.errors import CodenetError
from models.data.annotations import Annotations, Box, Picture
from models.data.data_yaml import read_data_yaml
from models.data.files import Photos, folders, listed, photos_in, read_text, visible
from models.data.splits import KNOWN, PARTS, Splits, part, pick

#: Files with a name of a class a line.
_NAMES = ("classes.txt", "obj.names", "labels/classes.txt", "train/classes.txt", "train/labels/classes.txt")

#: Keys of ``data.yaml`` that count.
_KEYS = ("path", "train", "val", "valid", "test", "names", "kpt_shape")

#: Numbers may leave 0 to 1 by this much (rounding).
_SLACK = 0.01


def find_yolo(folder: Path) -> Splits:
    """The splits that ``folder`` has in YOLO's text files.

    Those that ``data.yaml`` names; ``images/<split>`` with ``labels/<split>``, ``<split>/images`` with
    ``<split>/labels``; lists ``<split>.txt`` beside ``obj.names`` or ``classes.txt``; folders of a known name with
    photos and text files in them; otherwise ``images`` with ``labels``, or photos and text files in the folder itself,
    of which `PARTS` are made.
    """
    yaml = _yaml(folder)
    named = read_data_yaml(yaml, _KEYS) if yaml is not None else {}
    sources: dict[str, list[Path]] = {}
    for inner in folders(folder / "images"):
        if (folder / "labels" / inner.name).is_dir():
            sources[inner.name] = [inner]
    for inner in folders(folder):
        known = inner.name.removeprefix("obj_").removesuffix("_data").casefold() in KNOWN
        if (inner / "images").is_dir() and (inner / "labels").is_dir():
            sources[inner.name] = [inner / "images"]
        elif known and _labelled(inner):
            sources[inner.name] = [inner]
    has_names = yaml is not None or any((folder / name).is_file() for name in _NAMES)
    if has_names:
        sources |= {path.stem: [path] for path in visible(folder, "*.txt") if path.stem.casefold() in KNOWN}
    for key in ("train", "val", "valid", "test"):
        if named.get(key):
            values = named[key] if isinstance(named[key], list) else [named[key]]
            paths = [_source(folder, str(named.get("path", "")), str(value)) for value in values]
            if pick(sources, key) is None or all(path.exists() for path in paths):
                sources[key] = paths
    if sources:
        return {split: partial(_read_sources, folder, split, paths) for split, paths in sources.items()}
    whole = folder / "images" if (folder / "labels").is_dir() and (folder / "images").is_dir() else folder
    if whole == folder and not (has_names and _labelled(folder)):
        return {}
    return {split: partial(_read_sources, folder, split, [whole], True) for split in PARTS}


def _yaml(folder: Path) -> Path | None:
    """The YAML file of a set: of a usual name, else the only one that has names of classes."""
    files = [path for pattern in ("*.yaml", "*.yml") for path in visible(folder, pattern)]
    usual = [path for path in files if path.stem in ("data", "dataset")]
    if usual:
        return usual[0]
    named = [path for path in files if any(line.startswith("names") for line in read_text(path).splitlines())]
    return named[0] if len(named) == 1 else None


def _labelled(folder: Path) -> bool:
    """Whether a photo of the folder has a text file beside it."""
    texts = {path.stem for path in visible(folder, "*.txt")}
    return bool(texts) and any(path.stem in texts for path in photos_in(folder))


def _source(folder: Path, root: str, value: str) -> Path:
    """The folder or list that ``data.yaml`` names: the longest end of the path, which may count from elsewhere."""
    parts = [word for word in value.replace("\\", "/").split("/") if word not in ("", ".", "..")]
    root_parts = [word for word in root.replace("\\", "/").split("/") if word not in ("", ".", "..")]
    bases = [folder.joinpath(*root_parts[n:]) for n in range(len(root_parts) + 1)]
    ends = [base.joinpath(*parts[n:]) for n in range(len(parts)) for base in bases]
    return next((path for path in ends if path.exists()), folder / value)


def _photos_of(folder: Path, source: Path) -> list[Path]:
    """Photos of a folder, or of a list. `CodenetError` if neither is there."""
    if source.is_dir():
        return photos_in(source / "images" if (source / "images").is_dir() else source)
    if not source.is_file():
        raise CodenetError(f"data: {folder}: {source} is missing, expected a folder of photos or a list of them")
    photos = Photos(source.parent, folder, folder / "images")
    try:
        return [photos.find(line) for line in dict.fromkeys(listed(source))]
    except ValueError as error:
        raise CodenetError(f"data: {source}: {error}") from error


def _read_sources(folder: Path, split: str, sources: list[Path], halved: bool = False) -> Annotations:
    photos = [path for source in sources for path in _photos_of(folder, source)]
    names, points = _classes(folder)
    read = _Reader(names, points, f"{folder}:{split}")
    annotations = read.annotations(part(photos, split) if halved else photos)
    used = {_label_file(path) for path in photos}
    for label_folder in filter(None, {_label_folder(source) for source in sources if source.is_dir()}):
        lost = [path for path in visible(label_folder, "**/*.txt") if path.name != "classes.txt" and path not in used]
        annotations.errors += [f"{path}: its photo is missing" for path in lost]
    return annotations


def _label_folder(photos: Path) -> Path | None:
    """The folder of labels that belongs to one of photos, whose path has ``images`` in it; otherwise None."""
    if (photos / "images").is_dir():
        photos = photos / "images"
    for n in reversed(range(len(photos.parts))):
        if photos.parts[n].casefold() == "images":
            return Path(*photos.parts[:n], "labels", *photos.parts[n + 1 :])
    return None


def _label_file(photo: Path) -> Path:
    """The text file of a photo: in a folder of labels, or beside it."""
    beside, folder = photo.with_suffix(".txt"), _label_folder(photo.parent)
    return folder / beside.name if folder is not None and not beside.is_file() else beside


def _classes(folder: Path) -> tuple[dict[int, str], bool]:
    """Names of the classes by number, and whether key points follow each box.

    `CodenetError` if nothing says the names.
    """
    yaml = _yaml(folder)
    named = read_data_yaml(yaml, _KEYS) if yaml is not None else {}
    path = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if named.get("names"):
        path, values = yaml, named["names"]
        try:
            pairs = (
                values.items()
                if isinstance(values, dict)
                else enumerate([values] if isinstance(values, str) else values)
            )
            names = {int(number): name.strip() for number, name in pairs}
        except ValueError as error:
            raise CodenetError(f"data: {path}: names: {error}; expected the classes' numbers") from error
    elif path is not None:
        names = dict(enumerate(line.strip() for line in read_text(path).splitlines() if line.strip()))
    else:
        names = {}
    if not names:
        raise CodenetError(
            f"data: {path or folder}: no names of classes, expected names in data.yaml, or one a line in classes.txt"
        )
    wrong = [name for name, count in Counter(names.values()).items() if count > 1 or not name]
    if wrong:
        raise CodenetError(f"data: {path}: class {wrong[0]!r} is there twice or empty, expected names of their own")
    return names, "kpt_shape" in named


class _Reader:
    """Reads the text files of photos."""

    def __init__(self, names: dict[int, str], points: bool, place: str) -> None:
        self.names, self.points, self.place = names, points, place

    def annotations(self, photos: list[Path]) -> Annotations:
        """What the text files of ``photos`` say; a photo without one has no boxes.

        The result's ``errors`` name, with file and line, what is no box, and photos that share a file.
        """
        classes = tuple(self.names[number] for number in sorted(self.names))
        annotations = Annotations(self.place, classes, [])
        owners: dict[Path, Path] = {}
        for number, photo in enumerate(photos, start=1):
            path, boxes = _label_file(photo), []
            lines = read_text(path).splitlines() if path.is_file() else []
            for row, line in enumerate(lines, start=1):
                try:
                    boxes += [self.box(line.split(), f"{path}:{row}")] if line.strip() else []
                except ValueError as error:
                    annotations.errors.append(f"{path}:{row}: {error}")
            if owners.setdefault(path, photo) != photo:
                annotations.errors.append(
                    f"{path}: is of {owners[path]} and of {photo}, expected one photo of its name"
                )
            annotations.pictures.append(Picture(number, photo, 0, 0, boxes, path, normalized=True))
        if photos and not any(path.is_file() for path in owners):
            annotations.errors.append(
                f"{self.place}: none of {len(photos)} photos has a text file, as {next(iter(owners))}"
            )
        return annotations

    def box(self, words: list[str], place: str) -> Box:
        """The box of a line: class, centre and size, or class and a polygon's corners.

        `ValueError` for anything else.
        """
        first, *words = words
        if self.points:
            words = words[:4]
        number = _float(first)
        if number not in self.names:
            raise ValueError(f"class is {first}, expected a number of {min(self.names)} to {max(self.names)}")
        if len(words) != 4 and (len(words) < 6 or len(words) % 2):
            raise ValueError(
                f"{len(words) + 1} columns, expected 5 (class, centre x, y, width, height) or 7, 9, 11 ... of a polygon"
            )
        values = [_fraction(word) for word in words]
        if len(values) == 4:
            x, y, width, height = values
            corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        else:
            corners = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
        return Box(self.names[int(number)], corners, False, place)


def _float(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{word!r} is no number") from None


def _fraction(word: str) -> float:
    value = _float(word)
    if not -_SLACK <= value <= 1 + _SLACK:
        raise ValueError(
            f"{word} is no fraction of the photo's width or height, expected 0 to 1 (not pixels, not percent)"
        )
    return value

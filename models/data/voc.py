# SPDX-License-Identifier: Apache-2.0
"""Reading of Pascal VOC XML files, in the layouts that they come in."""

from __future__ import annotations

import math
import re
from functools import partial
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from models.data.annotations import Annotations, Box, Picture
from models.data.files import Photos, encoding_mark, folders, listed, only, visible
from models.data.splits import KNOWN, PARTS, Splits, part, pick

#: Folders that XML files and photos may lie in, beside each other.
_ANNOTATIONS, _IMAGES = ("Annotations", "annotations"), ("JPEGImages", "images", "Images")


def find_voc(folder: Path, keep_difficult: bool = False) -> Splits:
    """The splits that ``folder`` has in VOC XML.

    ``ImageSets/Main/<split>.txt`` (or elsewhere) with ``Annotations`` and ``JPEGImages`` (the development kit's);
    folders ``<split>`` with XML files and photos in them or in such folders; ``Annotations/<split>``; otherwise XML
    files in ``Annotations`` or beside the photos, of which `PARTS` are made.
    """

    def reader(split: str, files: list[Path], xml: Path, *images: Path) -> partial[Annotations]:
        return partial(read_voc, files, xml, Photos(*images, folder), f"{folder}:{split}", keep_difficult)

    xml, images = _places(folder)
    lists = visible(folder / "ImageSets" / "Main", "*.txt") or visible(folder / "ImageSets", "*.txt")
    if not lists and xml != folder and visible(xml, "**/*.xml"):
        lists = [path for path in visible(folder, "*.txt") if path.stem.casefold() in KNOWN]
    if lists:
        names = {path.stem for path in lists}
        # The kit has a list for each class and split, too.
        splits = [path for path in lists if path.stem.rpartition("_")[2] not in names - {path.stem}]
        return {path.stem: partial(_read_list, folder, path, keep_difficult) for path in splits}
    found: Splits = {}
    for inner in folders(xml):
        if inner.name.casefold() in KNOWN and (files := visible(inner, "**/*.xml")):
            found[inner.name] = reader(inner.name, files, inner, images / inner.name, inner, images)
    for inner in folders(folder):
        inner_xml, inner_images = _places(inner)
        if inner_xml == inner or inner.name.casefold() in KNOWN:
            if inner not in (xml, images) and (files := visible(inner_xml, "*.xml")):
                found[inner.name] = reader(inner.name, files, inner_xml, inner_images, inner)
    if pick(found, "train") or pick(found, "val"):
        return found
    files = visible(xml, "*.xml" if xml == folder else "**/*.xml")
    parts: Splits = {split: reader(split, part(files, split), xml, images) for split in PARTS} if files else {}
    return parts | found


def _places(folder: Path) -> tuple[Path, Path]:
    """Folders of a set's XML files and of its photos: the set's own where it has none for them."""
    xml = next((folder / name for name in _ANNOTATIONS if (folder / name).is_dir()), None)
    xml = xml or next((folder / name for name in _IMAGES if visible(folder / name, "*.xml")), folder)
    return xml, next((folder / name for name in _IMAGES if (folder / name).is_dir()), xml)


def _read_list(folder: Path, path: Path, keep_difficult: bool) -> Annotations:
    """The set of a split's list, which names each file once or more."""
    xml, images = _places(folder)
    files = {_listed(line, xml): None for line in listed(path)}
    return read_voc(list(files), xml, Photos(images, folder), f"{folder}:{path.stem}", keep_difficult)


def _listed(line: str, xml: Path) -> Path:
    """The XML file of a line: a name, maybe with a path, a suffix, quotes, or the second column of the kit's lists for
    one class.
    """
    line = line.strip('"').replace("\\", "/")
    names = [line, re.sub(r"\s+-?[01]$", "", line).strip('"')]
    names += [re.sub(r"\.[A-Za-z]{3,4}$", "", name) for name in names]
    names += [name.rpartition("/")[2] for name in names]
    paths = [xml / f"{name}.xml" for name in names]
    return next((path for path in paths if path.is_file()), paths[0])


def _parse_text(path: Path) -> str:
    """The text of an XML file in its declared encoding; `ValueError` if that is unknown, or not the file's."""
    content = path.read_bytes()
    declared = re.match(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""", content)
    name = declared[1].decode() if declared else "utf-8"
    # Programs that write from UTF-16 strings declare that, whatever they write.
    unmarked = "utf-8" if name.casefold().startswith("utf-16") else name
    wide = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}.get(content[:2])
    try:
        return content.decode(encoding_mark(content) or wide or unmarked)
    except LookupError:
        raise ValueError(f"encoding is {name!r}, which Python does not know; save the file in UTF-8") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{error}; save the file in UTF-8") from None


class _Reader:
    """One XML file, with the lines of its elements.

    `ValueError`, mostly with the line, for what is missing or no number.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[ElementTree.Element, int] = {}
        builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate("utf-8")

        def start(tag: str, attributes: dict[str, str]) -> None:
            if ":" in tag:
                raise ValueError(f"{path}:{parser.CurrentLineNumber}: <{tag}> has a namespace prefix, expected none")
            self.lines[builder.start(tag, attributes)] = parser.CurrentLineNumber

        parser.StartElementHandler = start
        parser.EndElementHandler = builder.end
        parser.CharacterDataHandler = builder.data
        try:
            text = _parse_text(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: not a VOC annotation: {error}") from None
        try:
            parser.Parse(text.encode(), True)
        except expat.ExpatError as error:
            raise ValueError(f"{path}: not a VOC annotation: {error}") from None
        self.root = builder.close()
        if self.root.tag != "annotation":
            raise ValueError(
                f"{path}:{self.lines[self.root]}: not a VOC annotation: "
                f"root element is <{self.root.tag}>, expected <annotation>"
            )

    def place(self, element: ElementTree.Element) -> str:
        """What a message calls an element."""
        return f"{self.path}:{self.lines[element]}: {element.tag}"

    def number(self, element: ElementTree.Element, tag: str) -> float:
        child = element.find(tag)
        if child is None:
            raise ValueError(f"{self.place(element)}: {tag} is missing")
        text = (child.text or "").strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{self.place(child)} is {text!r}, expected a number")
        return value

    def box(self, item: ElementTree.Element, keep_difficult: bool) -> Box:
        """The box of an ``object``. VOC counts pixels from 1 and includes the last one."""
        x0, y0, x1, y1 = (self.number(item, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax"))
        name = item.findtext("name", "").strip()
        if not name:
            raise ValueError(f"{self.place(item)}: name is missing")
        difficult = item.find("difficult") is not None and self.number(item, "difficult") != 0
        return Box(name, (x0 - 1, y0 - 1, x1, y1), difficult and not keep_difficult, self.place(item))

    def picture(self, number: int, photos: Photos, stem: str, keep_difficult: bool) -> Picture:
        """The picture of the file, whose name without suffix is ``stem``, with subfolders."""
        boxes = [self.box(item, keep_difficult) for item in self.root.iter("object")]
        sides = [f"size/{key}" for key in ("width", "height")]
        columns, rows = (int(self.number(self.root, side)) if self.root.find(side) is not None else 0 for side in sides)
        try:
            photo = _photo(photos, stem, self.root.findtext("filename", "").strip())
        except ValueError as error:
            raise ValueError(f"{self.path}: filename: {error}") from None
        return Picture(number, photo, columns, rows, boxes, self.path)


def _photo(photos: Photos, stem: str, name: str) -> Path:
    """The photo of an XML file: the one that it names, else the one of its own name.

    `ValueError` if these are two, or several.
    """
    folder = stem.rpartition("/")[0]
    inner = f"{folder}/{Path(name.replace(chr(92), '/')).name}" if folder else name
    named, same = photos.named(inner) if name else None, photos.of_stem(stem)
    if named is None:
        return only(same, stem) or photos.bases[0] / (name or f"{stem}.jpg")
    if same and named not in same:
        raise ValueError(
            f"{name!r} is another photo than {same[0].name}, which has the name of the XML file; correct either"
        )
    return named


def read_voc(files: list[Path], folder: Path, photos: Photos, place: str, keep_difficult: bool = False) -> Annotations:
    """What VOC XML files in ``folder`` say. Boxes marked difficult become crowd boxes, unless ``keep_difficult``.

    The result's ``classes`` are the names in use, sorted; its ``errors`` name files that cannot be read, and with their
    line what is missing in them or no number.
    """
    annotations = Annotations(place, (), [], declared=False)
    owners: dict[Path, Path] = {}
    for number, path in enumerate(files, start=1):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        try:
            picture = _Reader(path).picture(number, photos, stem, keep_difficult)
        except ValueError as error:
            annotations.errors.append(str(error))
            continue
        if owners.setdefault(picture.path, path) != path:
            annotations.errors.append(
                f"{path}: photo is {picture.path}, as of {owners[picture.path]}; expected one of its own"
            )
        annotations.pictures.append(picture)
    names = {box.name for picture in annotations.pictures for box in picture.boxes}
    annotations.classes = tuple(sorted(names))
    return annotations

"""Reading of Pascal VOC XML files, in the layouts that they come in."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from PIL import Image

from codenet.errors import CodenetError
from models.data.annotations import Annotations, Box, Picture

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

#: EXIF's tag of the orientation, and its values for images that lie on their side.
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)

#: In a folder without lists of splits every so many-th image, by name, is ``val``; the others are ``train``.
VAL_EVERY = 5


def find_voc(folder: Path, split: str) -> tuple[list[Path], Path] | None:
    """XML files of ``split`` and the folder of their images; None if ``folder`` has none.

    Layouts: ``ImageSets/Main/<split>.txt`` with ``Annotations`` and ``JPEGImages`` (the development kit's); a folder ``<split>`` with
    XML files and images in it; XML files without any list, in ``Annotations`` or beside the images, of which ``train`` and ``val`` are
    disjoint parts (`VAL_EVERY`) and ``trainval`` all. `CodenetError` if the lists lack ``split``, or a list names no file.
    """
    annotations = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
    images = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else annotations
    lists = folder / "ImageSets" / "Main"
    if lists.is_dir():
        return [annotations / f"{stem}.xml" for stem in _stems(lists, split)], images
    if (folder / split).is_dir() and any((folder / split).glob("*.xml")):
        return sorted((folder / split).glob("*.xml")), folder / split
    files = sorted(annotations.glob("*.xml"))
    if not files:
        return None
    if not (folder / "JPEGImages").is_dir() and (folder / "images").is_dir():
        images = folder / "images"
    if split == "trainval":
        return files, images
    if split not in ("train", "val"):
        raise CodenetError(f"data: {folder} has no ImageSets/Main: its splits are train, val, trainval, not {split!r}")
    return [file for n, file in enumerate(files) if (n % VAL_EVERY == VAL_EVERY - 1) == (split == "val")], images


def _stems(lists: Path, split: str) -> list[str]:
    """Names in a split's list, each once."""
    path = lists / f"{split}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        splits = sorted(file.stem for file in lists.glob("*.txt") if "_" not in file.stem)
        raise CodenetError(f"data: {path}: cannot be read: {error}; the folder has splits {splits}") from error
    # The kit's lists for one class have a second column; here each line is a name.
    return list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))


class _Reader:
    """One XML file, with the lines of its elements. `ValueError` with the line for what is missing or no number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[ElementTree.Element, int] = {}
        builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()

        def start(tag: str, attributes: dict[str, str]) -> None:
            self.lines[builder.start(tag, attributes)] = parser.CurrentLineNumber

        parser.StartElementHandler = start
        parser.EndElementHandler = builder.end
        parser.CharacterDataHandler = builder.data
        with path.open("rb") as file:
            parser.ParseFile(file)
        self.root = builder.close()

    def place(self, element: ElementTree.Element) -> str:
        """What a message calls an element."""
        return f"{self.path}:{self.lines[element]}: {element.tag}"

    def number(self, element: ElementTree.Element, tag: str) -> float:
        text = element.findtext(tag)
        if text is None:
            raise ValueError(f"{self.place(element)}: {tag} is missing")
        try:
            return float(text)
        except ValueError:
            child = element.find(tag)
            raise ValueError(f"{self.place(child)} is {text.strip()!r}, expected a number") from None  # type: ignore[arg-type]

    def box(self, item: ElementTree.Element, keep_difficult: bool) -> Box:
        """The box of an ``object``. VOC counts pixels from 1 and includes the last one."""
        x0, y0, x1, y1 = (self.number(item, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax"))
        name = item.findtext("name", "").strip()
        if not name:
            raise ValueError(f"{self.place(item)}: name is missing")
        difficult = item.find("difficult") is not None and self.number(item, "difficult") != 0
        return Box(name, (x0 - 1, y0 - 1, x1, y1), difficult and not keep_difficult, self.place(item))


def _find_image(images: Path, stem: str, name: str) -> Path:
    """The image of an XML file: of the same name, else the one that it names; the first guess if there is none."""
    guesses = [images / f"{stem}{suffix}" for lower in SUFFIXES for suffix in (lower, lower.upper())]
    if name:
        # Some tools write a whole path of the machine that they ran on.
        guesses.append(images / name.replace("\\", "/").rsplit("/", 1)[-1])
    return next((path for path in guesses if path.is_file()), guesses[0])


def _image_size(path: Path) -> tuple[int, int] | None:
    """Width and height of an upright image, from its head alone; None if it cannot be told, which decoding will explain."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) in _TURNED
            return image.size[::-1] if turned else image.size
    except Exception:  # decoders raise whatever they trip over
        return None


def _size(reader: _Reader, image: Path, boxes: list[Box], warnings: list[str]) -> tuple[int, int]:
    """The annotated size; the image's, with a warning, where they differ and all boxes lie in the image: many tools write a wrong one."""
    sides = [f"size/{key}" for key in ("width", "height")]
    columns, rows = (
        int(reader.number(reader.root, side)) if reader.root.find(side) is not None else 0 for side in sides
    )
    annotated = (columns, rows)
    width, height = found = _image_size(image) or annotated
    if found == annotated or any(x1 > width + 1 or y1 > height + 1 for _, _, x1, y1 in (box.corners for box in boxes)):
        return annotated
    warnings.append(f"{reader.path}: size is annotated as {columns}x{rows}, the image's is {width}x{height}; took that")
    return found


def read_voc(files: list[Path], images: Path, place: str, keep_difficult: bool = False) -> Annotations:
    """What VOC XML files say. Boxes marked difficult become crowd boxes, unless ``keep_difficult``: no targets, ignored in evaluation.

    The result's ``classes`` are the names in use, sorted; its ``errors`` name files that cannot be read, and with their line what is
    missing in them or no number.
    """
    annotations = Annotations(place, (), [])
    names: set[str] = set()
    for number, path in enumerate(files, start=1):
        try:
            reader = _Reader(path)
        except (OSError, expat.ExpatError) as error:
            annotations.errors.append(f"{path}: not a VOC annotation: {error}")
            continue
        boxes = []
        image = _find_image(images, path.stem, reader.root.findtext("filename", "").strip())
        try:
            for item in reader.root.iter("object"):
                boxes.append(reader.box(item, keep_difficult))
            width, height = _size(reader, image, boxes, annotations.warnings)
        except ValueError as error:
            annotations.errors.append(str(error))
            continue
        names |= {box.name for box in boxes}
        annotations.pictures.append(Picture(number, image, width, height, boxes))
    annotations.classes = tuple(sorted(names))
    return annotations

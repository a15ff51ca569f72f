# SPDX-License-Identifier: Apache-2.0
"""Writes small data sets as tools export them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image


@dataclass(frozen=True)
class Photo:
    """A photo to copy, and its boxes: class, and x0, y0, x1, y1 with the pixels' edges at integers."""

    path: Path
    boxes: tuple[tuple[str, int, int, int, int], ...]

    @property
    def size(self) -> tuple[int, int]:
        with Image.open(self.path) as image:
            return image.size


#: CVAT's names of splits.
SUBSETS = {"train": "Train", "val": "Validation", "test": "Test"}

Splits = dict[str, Sequence[Photo]]


def names_of(splits: Splits) -> list[str]:
    return sorted({name for photos in splits.values() for photo in photos for name, *_ in photo.boxes})


def copy(photo: Photo, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(photo.path, folder))


def coco_json(photos: Sequence[Photo], names: Sequence[str], prefix: str = "") -> dict:
    """COCO's form, with a category 0 that no box is of, as Roboflow writes it."""
    content: dict = {"images": [], "annotations": [], "categories": [{"id": 0, "name": "things"}]}
    content["categories"] += [{"id": n, "name": name, "supercategory": "things"} for n, name in enumerate(names, 1)]
    for number, photo in enumerate(photos):
        width, height = photo.size
        content["images"].append(
            {"id": number, "file_name": prefix + photo.path.name, "width": width, "height": height}
        )
        for name, x0, y0, x1, y1 in photo.boxes:
            record = {"id": len(content["annotations"]), "image_id": number, "category_id": names.index(name) + 1}
            content["annotations"].append({**record, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0})
    return content


def voc_xml(photo: Photo, filename: str, size: tuple[int, int] | None = None) -> str:
    width, height = size or photo.size
    objects = "".join(
        f"<object>\n<name>{name}</name><difficult>0</difficult><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>\n"
        for name, x0, y0, x1, y1 in photo.boxes
    )
    size_xml = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>\n<filename>{filename}</filename>{size_xml}\n{objects}</annotation>\n"


def yolo_text(photo: Photo, names: Sequence[str]) -> str:
    width, height = photo.size
    return "".join(
        f"{names.index(name)} {(x0 + x1) / 2 / width!r} {(y0 + y1) / 2 / height!r} "
        f"{(x1 - x0) / width!r} {(y1 - y0) / height!r}\n"
        for name, x0, y0, x1, y1 in photo.boxes
    )


def roboflow(folder: Path, splits: Splits) -> None:
    """Roboflow's COCO export: a folder a split, photos and JSON in it; validation is ``valid``."""
    for split, photos in splits.items():
        inner = folder / {"val": "valid"}.get(split, split)
        for photo in photos:
            copy(photo, inner)
        (inner / "_annotations.coco.json").write_text(json.dumps(coco_json(photos, names_of(splits))))


def cvat(folder: Path, splits: Splits) -> None:
    """CVAT's VOC export: frames in a subfolder, lists named by its subsets."""
    for split, photos in splits.items():
        for photo in photos:
            copy(photo, folder / "JPEGImages" / "first clip")
            xml = folder / "Annotations" / "first clip" / f"{photo.path.stem}.xml"
            xml.parent.mkdir(parents=True, exist_ok=True)
            xml.write_text(voc_xml(photo, f"first clip/{photo.path.name}"))
        path = folder / "ImageSets" / "Main" / f"{SUBSETS[split]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"first clip/{photo.path.stem}\n" for photo in photos), encoding="utf-8-sig")


def labelimg(folder: Path, splits: Splits) -> None:
    """labelImg's XML beside photos, with the path of another machine, and what macOS adds to an archive."""
    for split, photos in splits.items():
        for photo in photos:
            path = copy(photo, folder / split)
            path.with_suffix(".xml").write_text(voc_xml(photo, f"C:\\Users\\me\\{photo.path.name}"))
            path.with_name(f"._{path.stem}.xml").write_bytes(b"\0\5\26\7")
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")


def yolo(folder: Path, splits: Splits) -> None:
    """Roboflow's YOLO export, whose ``data.yaml`` counts paths from elsewhere."""
    names = names_of(splits)
    for split, photos in splits.items():
        inner = folder / {"val": "valid"}.get(split, split)
        (inner / "labels").mkdir(parents=True)
        for photo in photos:
            copy(photo, inner / "images")
            (inner / "labels" / f"{photo.path.stem}.txt").write_text(yolo_text(photo, names))
    (folder / "README.txt").write_text("Exported.\n")
    (folder / "data.yaml").write_text(
        f"train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: {len(names)}\nnames: {names}\n"
    )


WRITERS = {"roboflow": roboflow, "cvat": cvat, "labelimg": labelimg, "yolo": yolo}

# SPDX-License-Identifier: Apache-2.0
"""Annotations against the photos that they are of: sizes, orientation, units, sets without boxes; in every format."""

import json

import pytest

from codenet.errors import CodenetError
from models.data import load_data
from tests.models.data.sets import Photo, coco_json, copy, voc_xml, yolo_text

FORMATS = ("coco", "voc")


def write(folder, form, photos, sizes=None):
    """A set of ``photos``, which are annotated to have other ``sizes``."""
    sizes = sizes or [photo.size for photo in photos]
    for photo, size in zip(photos, sizes, strict=True):
        copy(photo, folder / "train")
        if form == "voc":
            (folder / "train" / f"{photo.path.stem}.xml").write_text(voc_xml(photo, photo.path.name, size))
    if form == "coco":
        content = coco_json(photos, ["cat", "dog"])
        for record, (width, height) in zip(content["images"], sizes, strict=True):
            record.update(width=width, height=height)
        (folder / "train" / "_annotations.coco.json").write_text(json.dumps(content))
    return folder


def load(*arguments):
    return load_data(write(*arguments), "train")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [(902, 600), (225, 150), (452, 301), (300, 451)])
def test_photos_of_another_size_than_annotated(photo, tmp_path, form, size):
    with pytest.raises(
        CodenetError, match=f"size is annotated as {size[0]}x{size[1]}, the image's is 451x300: .*elsewhere"
    ):
        load(tmp_path / "set", form, [photo(size=(451, 300))], [size])


@pytest.mark.parametrize("form", FORMATS)
def test_a_size_that_the_boxes_disprove_is_the_photos(photo, tmp_path, form):
    """What sticks out of the annotated size and lies in the photo tells that the size is wrong, not the box."""
    box = ("cat", 40, 5, 60, 39)
    data = load(tmp_path / "set", form, [photo(boxes=[box])], [(40, 60)])
    assert (data.records[0].width, data.records[0].height) == (60, 40)
    assert data.records[0].boxes.tolist() == [[40, 5, 60, 39]]
    assert "size is annotated as 40x60, the image's is 60x40; took that" in data.warnings[0]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_photos_annotated_as_stored(photo, tmp_path, form, orientation):
    """The box happens to fit the upright photo."""
    turned = photo(orientation=orientation)
    with pytest.raises(CodenetError, match=f"orientation: 1 photos .*a.png: tag {orientation}, 60x40 as stored"):
        load(tmp_path / "set", form, [turned, photo("b.png")], [(60, 40), (60, 40)])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(5, 9))
def test_turned_photos_annotated_upright(photo, tmp_path, form, orientation):
    """They tell of those that have the same size both ways."""
    turned = photo(orientation=orientation, boxes=[("cat", 5, 6, 30, 58)])
    mirrored, square = photo("b.png", orientation=3), photo("c.png", (40, 40), orientation=6)
    data = load(tmp_path / "set", form, [turned, mirrored, square], [(40, 60), (60, 40), (40, 40)])
    assert [(record.width, record.height) for record in data] == [(40, 60), (60, 40), (40, 40)]
    assert data.records[0].boxes.tolist() == [[5, 6, 30, 58]] and data.warnings == []


@pytest.mark.parametrize("form", FORMATS)
def test_one_verdict_for_all_turned_photos(photo, tmp_path, form):
    photos = [photo(f"{n}.png", orientation=orientation) for n, orientation in enumerate((1, 3, 6, 8, 2))]
    with pytest.raises(
        CodenetError, match="data: 1 problems.*\n.*orientation: 4 photos .*exiftool .*mogrify"
    ) as caught:
        load(tmp_path / "set", form, photos)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("form", FORMATS)
def test_turned_photos_without_boxes_do_no_harm(photo, tmp_path, form):
    data = load(tmp_path / "set", form, [photo(), photo("b.png", boxes=[], orientation=6)])
    assert (data.records[1].width, data.records[1].height) == (40, 60)


def test_yolo_text_does_not_tell_the_orientation(photo, tmp_path):
    turned = photo(orientation=3)
    copy(turned, tmp_path / "set" / "train")
    (tmp_path / "set" / "train" / "a.txt").write_text(yolo_text(turned, ["cat"]))
    (tmp_path / "set" / "classes.txt").write_text("cat\n")
    with pytest.raises(CodenetError, match="orientation: 1 photos .*a.png: tag 3, .*without a size"):
        load_data(tmp_path / "set", "train")


def test_photos_that_are_no_photos(photo, tmp_path):
    folder = write(tmp_path / "set", "coco", [photo(), photo("b.png")])
    (folder / "train" / "a.png").write_bytes(b"text")
    (folder / "train" / "b.png").unlink()
    with pytest.raises(CodenetError, match="2 problems.*\n.*a.png: expected an image.*\n.*b.png: image is missing"):
        load_data(folder, "train")


def scaled(photo, scale):
    """The photo with boxes in another unit; ``voc_xml`` adds 1 to the first corner."""
    width, height = photo.size
    return [
        (name, x0 * scale / width, y0 * scale / height, x1 * scale / width, y1 * scale / height)
        for name, x0, y0, x1, y1 in photo.boxes
    ]


@pytest.mark.parametrize(
    ("scale", "guess"),
    [(1, r"fractions of width and height, 0 to 1 \(normalized\)"), (100, "percent of width and height")],
)
@pytest.mark.parametrize("form", FORMATS)
def test_boxes_in_other_units(photo, tmp_path, form, scale, guess):
    boxes = [("cat", 10 * n, 20 * n, 10 * n + 250, 20 * n + 60) for n in range(10)]
    whole = photo(size=(400, 300), boxes=boxes)
    folder = write(tmp_path / "set", form, [Photo(whole.path, tuple(scaled(whole, scale)))])
    if form == "voc":
        path = folder / "train" / "a.xml"
        text = path.read_text()
        for _, x0, y0, *_ in scaled(whole, scale):
            text = text.replace(f"<xmin>{x0 + 1}<", f"<xmin>{x0}<").replace(f"<ymin>{y0 + 1}<", f"<ymin>{y0}<")
        path.write_text(text)
    with pytest.raises(
        CodenetError, match=f"10 of 10 boxes .*the first at .*numbers look like {guess}, expected corners in pixels"
    ):
        load_data(folder, "train")


def test_the_unit_is_that_of_all_boxes_not_of_the_chosen_classes(photo, tmp_path):
    boxes = [("cat", 5, 6, 30, 35), ("cat", 5, 6, 31, 35), ("dog", 5, 6, 5.5, 6.5)]
    data = load_data(write(tmp_path / "set", "coco", [photo(boxes=boxes)]), "train", ("dog",))
    assert data.records[0].boxes.tolist() == [[5, 6, 5.5, 6.5]]
    assert "annotation 2: box [5, 6, 5.5, 6.5] has at most a pixel" in data.warnings[0]


def test_boxes_mostly_outside_of_their_photos(photo, tmp_path):
    with pytest.raises(CodenetError, match="2 of 2 boxes lie mostly outside, .*another unit, order or photo size"):
        load(tmp_path / "set", "coco", [photo(boxes=[("cat", 50, 30, 300, 240), ("dog", 40, 20, 400, 300)])])


@pytest.mark.parametrize("form", FORMATS)
def test_sets_without_boxes(photo, tmp_path, form):
    with pytest.raises(CodenetError, match="no boxes.* in 1 images; boxes found: none of any class"):
        load(tmp_path / "empty", form, [photo(boxes=[])])
    folder = write(tmp_path / "cats", form, [photo()])
    with pytest.raises(CodenetError, match="class 'cow' is not in the file|no boxes of cow"):
        load_data(folder, "train", ("cow",))
    with pytest.raises(CodenetError, match="no boxes of dog to train on; boxes found: cat 1"):
        load_data(folder, "train", ("cat", "dog"), trainable=True)


@pytest.mark.parametrize("form", FORMATS)
def test_a_class_without_boxes_is_a_word_in_evaluation(photo, tmp_path, form, caplog):
    data = load_data(write(tmp_path / "set", form, [photo()]), "train", ("dog", "cat"))
    assert data.counts().tolist() == [0, 1] and "no boxes of dog" in caplog.text


def test_classes_without_boxes_are_left_out_of_training(photo, tmp_path):
    folder = write(tmp_path / "set", "coco", [photo(boxes=[("dog", 5, 6, 30, 35)]), photo("b.png", boxes=[])])
    data = load_data(folder, "train", trainable=True)
    assert data.classes == ("dog",) and [record.labels.tolist() for record in data] == [[0], []]


def test_limit(photo, tmp_path):
    folder = write(tmp_path / "set", "coco", [photo(boxes=[]), photo("b.png")])
    assert len(load_data(folder, "train", limit=2)) == 2
    with pytest.raises(CodenetError, match="no boxes of things, cat, dog in 1 images"):
        load_data(folder, "train", limit=1)
    with pytest.raises(CodenetError, match="0 images, expected at least one"):
        load_data(folder, "train", limit=0)

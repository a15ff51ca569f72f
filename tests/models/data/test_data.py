# SPDX-License-Identifier: Apache-2.0
"""Data sets of both formats, and what is wrong with bad ones."""

import json

import numpy as np
import pytest
from PIL import Image

from codenet.errors import CodenetError
from models.data import ANIMALS, cached_images, image_cache, load_data, read_image
from models.data.classes import COCO, VOC, named_classes
from tests.models.data.sets import roboflow


def edit(folder, change):
    path = folder / "instances_train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_coco_selects_and_orders_classes(coco_folder):
    data = load_data(coco_folder, "train", ("dog", "cat"))
    assert data.classes == ("dog", "cat")
    assert [record.image_id for record in data] == [7, 9]
    first, second = data
    assert first.boxes.tolist() == [[8, 8, 40, 40]] and first.labels.tolist() == [1]
    assert second.boxes.tolist() == [[20, 24, 60, 56], [0, 0, 10, 10]] and second.labels.tolist() == [0, 0]
    assert second.crowd.tolist() == [False, True]


def test_coco_takes_all_classes_by_default(coco_folder):
    assert load_data(coco_folder, "train").classes == ("cat", "dog", "cow")


def test_boxes_of_other_classes_are_ignored(coco_folder):
    data = load_data(coco_folder, "train", ("cat",))
    assert [len(record.boxes) for record in data] == [1, 0]
    assert data.records[1].boxes.shape == (0, 4)


def test_voc_counts_pixels_from_one(voc_folder):
    data = load_data(voc_folder, "train")
    assert data.classes == ("raccoon",)
    assert data.records[0].boxes.tolist() == [[0, 0, 50, 40], [10, 5, 20, 15]]


def twice(records):
    records.append(dict(records[0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(image_id=99), "annotation 1: image 99 is not in the file"),
        (lambda c: c["annotations"][1].update(category_id=77), "annotation 2: category 77 is not in the file"),
        (lambda c: c["images"][0].update(file_name="gone.png"), "gone.png: image is missing"),
        (lambda c: c["images"][0].update(file_name="x" * 5000 + ".png"), "x.png: image is missing"),
        (lambda c: c["images"][0].update(file_name="x" * 5000 + "/y.png"), "y.png: image is missing"),
        (lambda c: c["annotations"][0].pop("bbox"), "annotation 1: malformed record: 'bbox' is missing"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "annotation 1: malformed record: bbox is \\[1, 2, 3\\]"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, None]), "annotation 1: malformed record: bbox is"),
        (lambda c: c["annotations"].insert(1, "text"), "annotation 1 of the list: malformed record"),
        (lambda c: c["annotations"][0].update(image_id=[7]), "annotation 1: malformed record: image_id is \\[7\\]"),
        (lambda c: c.pop("categories"), "'categories' is missing"),
        (lambda c: c.update(images={}), "'images' is missing or no list"),
        (lambda c: c.update(images=[], annotations=[]), "no images, expected at least one"),
        (lambda c: c["images"][1].update(width=128), "image 9: size is annotated as 128x64, the image's is 64x64"),
        (lambda c: c["images"][1].update(width=float("inf")), "image 9: malformed record: width is inf"),
        (
            lambda c: c["images"][1].update(width="64"),
            "image 9: malformed record: width is '64', expected int or float",
        ),
        (lambda c: twice(c["images"]), "image 7: image 7 is there twice"),
        (lambda c: twice(c["annotations"]), "annotation 1: annotation 1 is there twice"),
        (lambda c: twice(c["categories"]), "category 3 'cat' is there twice"),
    ],
)
def test_bad_coco_records_are_named(coco_folder, change, message):
    edit(coco_folder, change)
    with pytest.raises(CodenetError, match=message):
        load_data(coco_folder, "train")


def test_all_problems_are_listed_at_once_with_their_lines(coco_folder):
    path = coco_folder / "instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"][1]["image_id"] = 99
    del content["annotations"][2]["category_id"]
    # One record a line: the file's first line is the brace, the second opens "images".
    path.write_text(json.dumps(content, indent=1).replace("\n   ", " ").replace("\n  }", "}").replace("\n    ", " "))
    lines = path.read_text().splitlines()
    expected = [
        next(n for n, line in enumerate(lines, 1) if f'"id": {key},' in line and "bbox" in line) for key in (2, 3)
    ]
    with pytest.raises(CodenetError) as caught:
        load_data(coco_folder, "train")
    message = str(caught.value)
    assert "2 problems" in message
    assert f"instances_train.json:{expected[0]}: annotation 2: image 99" in message
    assert f"instances_train.json:{expected[1]}: annotation 3: malformed record: 'category_id' is missing" in message


def test_the_same_image_twice_is_a_warning(coco_folder):
    edit(coco_folder, lambda c: c["images"][1].update(file_name="one.png"))
    assert "images 7 and 9 are the same file one.png" in load_data(coco_folder, "train").warnings[0]


def test_boxes_that_are_mostly_empty_have_another_meaning(coco_folder):
    def to_corners(content):
        for annotation in content["annotations"]:
            annotation["bbox"][2:] = [-1, -1]

    edit(coco_folder, to_corners)
    with pytest.raises(CodenetError, match="3 of 3 boxes have no area .*annotation 1.* expected corners in pixels"):
        load_data(coco_folder, "train")


@pytest.mark.parametrize(
    ("box", "left", "message"),
    [
        ([8, 8, 0, 32], [], "no area"),
        ([70, 8, 20, 20], [], "no area"),
        ([8, 8, float("nan"), 32], [], "no area"),
        ([-10, 8, 32, 100], [[0, 8, 22, 64]], "reaches outside"),
        ([-0.5, 8, 32, 32], [[0, 8, 31.5, 40]], None),
    ],
)
def test_bad_boxes_are_repaired_with_a_warning(coco_folder, box, left, message):
    edit(coco_folder, lambda c: c["annotations"][0].update(bbox=box))
    data = load_data(coco_folder, "train")
    assert data.records[0].boxes.tolist() == left
    assert len(data.warnings) == (message is not None)
    if message:
        assert message in data.warnings[0] and "annotation 1" in data.warnings[0]


def test_class_that_the_file_lacks(coco_folder, voc_folder):
    with pytest.raises(CodenetError, match="class 'horse' is not in the file"):
        load_data(coco_folder, "train", ("cat", "horse"))
    with pytest.raises(CodenetError, match="class 'racoon' is not in the file, which has \\['raccoon'\\]"):
        load_data(voc_folder, "train", ("racoon",))


def test_classes_that_are_asked_for_twice(coco_folder, voc_folder):
    for folder, names in ((coco_folder, ("cat", "dog", "cat")), (voc_folder, ("raccoon", "raccoon "))):
        with pytest.raises(CodenetError, match=f"classes: '{names[0]}' is asked for twice"):
            load_data(folder, "train", names)


def test_classes_without_boxes_cannot_be_trained(coco_folder, voc_folder):
    load_data(coco_folder, "train", ("cat", "dog")).check_trainable()
    with pytest.raises(CodenetError, match="no boxes of cow to train on; boxes found: cat 1, dog 1. .*--classes auto"):
        load_data(coco_folder, "train").check_trainable()
    # The crowd box of class dog is no target.
    edit(coco_folder, lambda c: c["annotations"].pop(1))
    with pytest.raises(CodenetError, match="no boxes of dog"):
        load_data(coco_folder, "train", ("cat", "dog")).check_trainable()
    with pytest.raises(CodenetError, match="no boxes of person to train on; boxes found: raccoon 2"):
        load_data(voc_folder, "train", ("raccoon", "person")).check_trainable()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<xmin>11</xmin>", "<xmin>left</xmin>", "a.xml:3: xmin is 'left', expected a number"),
        ("<xmin>11</xmin>", "", "a.xml:3: object: bndbox/xmin is missing"),
        ("<width>50</width>", "<width>wide</width>", "a.xml:1: width is 'wide', expected a number"),
        ("<name>raccoon</name>", "<name> </name>", "a.xml:2: object: name is missing"),
        ("</annotation>", "</annotation", "a.xml: not a VOC annotation: unclosed token: line 4"),
    ],
)
def test_bad_voc_files_are_named_with_their_lines(voc_folder, old, new, message):
    path = voc_folder / "Annotations" / "a.xml"
    # The fixture's second line has the first object, the third ends it and begins the second.
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(CodenetError, match=message):
        load_data(voc_folder, "train")


@pytest.mark.parametrize(("old", "new"), [("<width>50</width>", "<width>0</width>"), ("<width>50</width>", "")])
def test_a_size_that_a_tool_left_out_is_the_images(voc_folder, old, new):
    path = voc_folder / "Annotations" / "a.xml"
    path.write_text(path.read_text().replace(old, new))
    data = load_data(voc_folder, "train")
    assert (data.records[0].width, data.records[0].height) == (50, 40)
    assert "a.xml: size is annotated as 0x40, the image's is 50x40; took that" in data.warnings[0]


def test_a_size_whose_sides_are_swapped_is_the_images_if_the_boxes_say_so(voc_folder):
    path = voc_folder / "Annotations" / "a.xml"
    path.write_text(path.read_text().replace("<width>50<", "<width>40<").replace("<height>40<", "<height>50<"))
    assert load_data(voc_folder, "train").records[0].width == 50
    # Lying on its side the image is 40x50, in which the first box does not lie: something else is wrong.
    image = Image.new("RGB", (50, 40))
    image.getexif()[0x0112] = 6
    image.save(voc_folder / "JPEGImages" / "a.jpg", exif=image.getexif())
    path.write_text(path.read_text().replace("<width>40<", "<width>50<").replace("<height>50<", "<height>40<"))
    with pytest.raises(CodenetError, match="orientation: 1 photos .*a.jpg: tag 6, 50x40 as stored, 40x50 upright"):
        load_data(voc_folder, "train")


def test_difficult_boxes_are_ignored_or_kept(voc_folder):
    path = voc_folder / "Annotations" / "a.xml"
    path.write_text(path.read_text().replace("<bndbox>", "<difficult>1</difficult><bndbox>", 1))
    assert load_data(voc_folder, "train").records[0].crowd.tolist() == [True, False]
    assert load_data(voc_folder, "train", keep_difficult=True).records[0].crowd.tolist() == [False, False]


def test_person_parts_are_no_objects(voc_folder):
    """VOC 2012 has heads, hands and feet inside of some persons."""
    path = voc_folder / "Annotations" / "a.xml"
    part = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    path.write_text(path.read_text().replace("<bndbox>", f"{part}<bndbox>", 1))
    data = load_data(voc_folder, "train")
    assert data.classes == ("raccoon",) and data.records[0].boxes.tolist() == [[0, 0, 50, 40], [10, 5, 20, 15]]


def test_unreadable_annotations(coco_folder, voc_folder):
    (coco_folder / "instances_train.json").write_text("{")
    with pytest.raises(CodenetError, match="instances_train.json: not readable as JSON: .*line 1 column 2"):
        load_data(coco_folder, "train")
    (coco_folder / "instances_train.json").write_bytes(b"\xff{}")
    with pytest.raises(CodenetError, match="instances_train.json: cannot be read"):
        load_data(coco_folder, "train")
    (voc_folder / "Annotations" / "a.xml").write_text("<annotation><size>")
    with pytest.raises(CodenetError, match="a.xml: not a VOC annotation: no element found: line 1"):
        load_data(voc_folder, "train")
    (voc_folder / "Annotations" / "a.xml").unlink()
    with pytest.raises(CodenetError, match="a.xml: not a VOC annotation: .*No such file"):
        load_data(voc_folder, "train")


def test_missing_folder_or_split(tmp_path, voc_folder):
    with pytest.raises(CodenetError, match="no annotations of split 'train': neither COCO JSON .*instances_train.json"):
        load_data(tmp_path, "train")
    with pytest.raises(CodenetError, match="nowhere: no such folder"):
        load_data(tmp_path / "nowhere", "train")
    with pytest.raises(CodenetError, match="no annotations of split 'test': VOC XML has train; choose"):
        load_data(voc_folder, "test")
    (voc_folder / "ImageSets" / "Main" / "train.txt").write_text("\n")
    with pytest.raises(CodenetError, match="no images, expected at least one"):
        load_data(voc_folder, "train")


def test_layout_of_coco_2017(coco_folder, tmp_path):
    folder = tmp_path / "coco2017"
    (folder / "annotations").mkdir(parents=True)
    (coco_folder / "instances_train.json").rename(folder / "annotations" / "instances_train2017.json")
    (coco_folder / "images").rename(folder / "train2017")
    for split in ("train", "train2017"):
        data = load_data(folder, split)
        assert len(data) == 2 and data.records[0].path == folder / "train2017" / "one.png"


def test_joined_sets_have_all_classes_and_images(coco_folder, voc_folder):
    data = load_data([coco_folder, f"{voc_folder}:train"], "train")
    assert data.classes == ("cat", "dog", "cow", "raccoon")
    assert [record.image_id for record in data] == [1, 2, 3]
    assert [record.labels.tolist() for record in data] == [[0], [1, 1], [3, 3]]
    # Each set has its own split.
    (voc_folder / "ImageSets" / "Main" / "train.txt").rename(voc_folder / "ImageSets" / "Main" / "trainval.txt")
    assert load_data([f"{voc_folder}:trainval", coco_folder], "train").records[0].path.name == "a.jpg"
    with pytest.raises(CodenetError, match="no annotations of split 'train': VOC XML has trainval"):
        load_data([voc_folder, coco_folder], "train")


def test_xml_beside_images_is_split_by_name(tmp_path, voc_folder):
    folder = tmp_path / "plain"
    folder.mkdir()
    for n in range(10):
        (folder / f"{n}.xml").write_bytes((voc_folder / "Annotations" / "a.xml").read_bytes())
        (folder / f"{n}.JPG").write_bytes((voc_folder / "JPEGImages" / "a.jpg").read_bytes())
    names = {split: [record.path.name for record in load_data(folder, split)] for split in ("train", "val", "trainval")}
    assert names["val"] == ["4.JPG", "9.JPG"] and len(names["train"]) == 8
    assert sorted(names["train"] + names["val"]) == names["trainval"]
    with pytest.raises(CodenetError, match="split 'test': VOC XML has train, trainval, val"):
        load_data(folder, "test")


def test_words_for_classes():
    assert named_classes(["auto"]) is None
    assert named_classes(["voc"]) == VOC and named_classes(["coco"]) == COCO and named_classes(["animals"]) == ANIMALS
    assert named_classes(["RBC", " WBC "]) == ("RBC", "WBC")
    # Pascal's twenty are in alphabetical order; COCO has eighty, all but the aeroplane's spelling and some others in
    # both.
    assert len(VOC) == 20 and list(VOC) == sorted(VOC) and set(ANIMALS) <= set(VOC) & set(COCO)
    assert len(COCO) == len(set(COCO)) == 80


def test_cache_follows_the_files(coco_folder, tmp_path):
    data = load_data(coco_folder, "train")
    images = cached_images(data, 32, tmp_path)
    assert images.shape == (2, 32, 32, 3) and images.dtype == np.uint8
    assert images[0, 10, 10].tolist() == [220, 30, 30]
    Image.new("RGB", (64, 64), (1, 2, 3)).save(data.records[0].path)
    assert cached_images(data, 32, tmp_path)[0, 10, 10].tolist() == [1, 2, 3]


def test_workers_that_fill_an_empty_cache_at_once(coco_folder, tmp_path, monkeypatch):
    """Workers of one training run once shared a partial file; the second to finish did not find it."""
    data = load_data(coco_folder, "train")
    photos, first = image_cache.photos, iter([True])

    def other_worker_first(*arguments):
        if not next(first, False):  # Of the threads that decode, one starts it.
            return resize(*arguments)
        monkeypatch.setattr(photos, "resize", resize)
        monkeypatch.setattr(image_cache.os, "getpid", lambda: 2)
        cached_images(data, 32, tmp_path)
        monkeypatch.undo()
        return resize(*arguments)

    resize = photos.resize
    monkeypatch.setattr(photos, "resize", other_worker_first)
    images = cached_images(data, 32, tmp_path)
    assert images[0, 10, 10].tolist() == [220, 30, 30]
    assert [file.suffix for file in tmp_path.glob("images-*")] == [".npy"]


def test_broken_image_is_named(coco_folder, tmp_path):
    data = load_data(coco_folder, "train")
    data.records[0].path.write_bytes(b"no image")
    with pytest.raises(CodenetError, match="one.png"):
        read_image(data.records[0].path)


def test_large_photos_are_no_attack(photo, tmp_path, monkeypatch, recwarn):
    """Of the size at which Pillow warns: they are read without a word, up to twice that, and then refused by name."""
    roboflow(tmp_path / "set", {"train": [photo("large.png", (60, 40))]})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    data = load_data(tmp_path / "set", "train")
    assert (data.records[0].width, data.records[0].height) == (60, 40)
    assert cached_images(data, 32, tmp_path / "cache").shape == (1, 32, 32, 3)
    assert not [warning for warning in recwarn if issubclass(warning.category, Image.DecompressionBombWarning)]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(CodenetError, match="large.png: has 2400 pixels, expected at most 2000; scale it down first"):
        load_data(tmp_path / "set", "train")


def test_all_unusable_images_are_listed_before_training(coco_folder, tmp_path):
    data = load_data(coco_folder, "train")
    whole = data.records[0].path.read_bytes()
    data.records[0].path.write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (64, 32)).save(data.records[1].path)
    with pytest.raises(CodenetError) as caught:
        cached_images(data, 32, tmp_path / "cache")
    message = str(caught.value)
    assert "2 of 2 images cannot be used" in message and "one.png: expected an image" in message
    assert "two.png: image is 64x32 after its orientation tag, annotated as 64x64" in message
    assert list((tmp_path / "cache").iterdir()) == []


def test_fingerprint_follows_the_boxes_not_the_folder(coco_folder, tmp_path):
    first = load_data(coco_folder, "train").fingerprint()
    moved = coco_folder.rename(tmp_path / "moved")
    assert load_data(moved, "train").fingerprint() == first
    edit(moved, lambda c: c["annotations"][0].update(bbox=[8, 8, 32, 31]))
    assert load_data(moved, "train").fingerprint() != first


def test_real_data_is_clean(real_data):
    data = load_data(real_data / "voc", "val", ANIMALS)
    assert len(data) == 722 and data.warnings == []
    # All boxes of the twenty classes are 1386.
    assert 1000 < sum(len(record.boxes) for record in data) < 1386
    assert load_data(real_data / "voc", "train").classes == VOC
    assert load_data(real_data / "coco", "train").classes == COCO
    assert load_data(real_data / "raccoon", "val").classes == ("raccoon",)
    assert load_data(real_data / "coco", "val", ANIMALS).records[0].boxes.shape[1] == 4

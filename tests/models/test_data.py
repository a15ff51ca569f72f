"""Data sets of both formats, and what is wrong with bad ones."""

import json

import numpy as np
import pytest
from PIL import Image

from codenet.errors import CodenetError
from models import data as data_module
from models.data import ANIMALS, cached_images, load_data, read_image


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(image_id=99), "annotation 1: image 99 is not in the file"),
        (lambda c: c["annotations"][1].update(category_id=77), "annotation 2: class is 'category 77'"),
        (lambda c: c["images"][0].update(file_name="gone.png"), "gone.png: image is missing"),
        (lambda c: c["annotations"][0].pop("bbox"), "malformed record: KeyError\\('bbox'\\)"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "malformed record"),
        (lambda c: c.pop("categories"), "'categories' is missing"),
        (lambda c: c["images"][1].update(width=0), "two.png: size is 0x64"),
    ],
)
def test_bad_coco_records_are_named(coco_folder, change, message):
    edit(coco_folder, change)
    with pytest.raises(CodenetError, match=message):
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


def test_class_that_the_file_lacks(coco_folder):
    with pytest.raises(CodenetError, match="class 'horse' is not in the file"):
        load_data(coco_folder, "train", ("cat", "horse"))


def test_unreadable_annotations(coco_folder, voc_folder):
    (coco_folder / "instances_train.json").write_text("{")
    with pytest.raises(CodenetError, match="instances_train.json: not readable as JSON"):
        load_data(coco_folder, "train")
    (voc_folder / "Annotations" / "a.xml").write_text("<annotation><size>")
    with pytest.raises(CodenetError, match="a.xml: not a VOC annotation"):
        load_data(voc_folder, "train")


def test_missing_folder_or_split(tmp_path, voc_folder):
    with pytest.raises(CodenetError, match="neither instances_train.json"):
        load_data(tmp_path, "train")
    with pytest.raises(CodenetError, match="test.txt: cannot be read"):
        load_data(voc_folder, "test")


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
    photos = data_module.photos

    def other_worker_first(*arguments):
        monkeypatch.setattr(photos, "resize", resize)
        monkeypatch.setattr(data_module.os, "getpid", lambda: 2)
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


def test_real_data_is_clean(real_data):
    data = load_data(real_data / "voc", "val", ANIMALS)
    assert len(data) == 722 and data.warnings == []
    assert sum(len(record.boxes) for record in data) == 1200 or sum(len(r.boxes) for r in data) > 1000
    assert load_data(real_data / "raccoon", "val").classes == ("raccoon",)
    assert load_data(real_data / "coco", "val", ANIMALS).records[0].boxes.shape[1] == 4

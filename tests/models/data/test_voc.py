# SPDX-License-Identifier: Apache-2.0
"""VOC XML as tools write it: which photo, lists, encodings, and XML that is none."""

import shutil

import pytest
from PIL import Image

from codenet.errors import CodenetError
from models.data import load_data


@pytest.fixture
def xml(voc_folder):
    return voc_folder / "Annotations" / "a.xml"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def photo_of(folder):
    return load_data(folder, "train").records[0].path.name


def other_photo(folder, name, size=(50, 40)):
    Image.new("RGB", size, (9, 9, 9)).save(folder / "JPEGImages" / name)


def test_the_named_file_of_two_of_one_stem(voc_folder, xml):
    other_photo(voc_folder, "a.png")
    assert photo_of(voc_folder) == "a.jpg"
    edit(xml, "a.jpg", "a.png")
    assert photo_of(voc_folder) == "a.png"
    edit(xml, "a.png", "D:\\photos\\A.PNG")
    assert photo_of(voc_folder) == "a.png"


@pytest.mark.parametrize("name", ["", "a", "gone.jpg"])
def test_two_of_one_stem_and_no_name(voc_folder, xml, name):
    other_photo(voc_folder, "a.png")
    edit(xml, "a.jpg", name)
    with pytest.raises(CodenetError, match="a.xml: filename: 'a' may be any of a.jpg, a.png: name the file"):
        load_data(voc_folder, "train")


def test_a_name_of_another_photo(voc_folder, xml):
    """Names in XML are stale where photos were renamed in bulk; or the XML was. Nothing tells."""
    other_photo(voc_folder, "b.jpg")
    edit(xml, "a.jpg", "b.jpg")
    with pytest.raises(CodenetError, match="a.xml: filename: 'b.jpg' is another photo than a.jpg"):
        load_data(voc_folder, "train")
    (voc_folder / "JPEGImages" / "a.jpg").unlink()
    assert photo_of(voc_folder) == "b.jpg"


@pytest.mark.parametrize("name", ["", "a", "a.jpeg", "gone.jpg", "folder/a.jpg"])
def test_the_photo_of_the_same_stem(voc_folder, xml, name):
    edit(xml, "a.jpg", name)
    assert photo_of(voc_folder) == "a.jpg"


def test_missing_photos_are_called_as_they_are_named(voc_folder, xml):
    edit(xml, "a.jpg", "raccoon.jpg")
    (voc_folder / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(CodenetError, match="JPEGImages/raccoon.jpg: image is missing"):
        load_data(voc_folder, "train")


def test_two_files_of_one_photo(voc_folder, xml):
    shutil.copy(xml, xml.with_name("b.xml"))
    (voc_folder / "ImageSets" / "Main" / "train.txt").write_text("a\nb\n")
    with pytest.raises(CodenetError, match="b.xml: photo is .*a.jpg, as of .*a.xml; expected one of its own"):
        load_data(voc_folder, "train")


@pytest.mark.parametrize(
    "content",
    [
        "a b\n".encode("utf-8-sig"),
        "a b\r\n".encode("utf-16"),
        b"a b 1\n",
        b"a b -1\na b  0\n",
        b'"a b"\n',
        b"a b.jpg\n",
        b"JPEGImages/a b.jpg\n",
        b"..\\JPEGImages\\a b.jpg\n",
        b"  a b  \n\n._a b\n",
    ],
)
def test_lists_of_names_with_spaces(voc_folder, xml, content):
    xml.rename(xml.with_name("a b.xml"))
    (voc_folder / "JPEGImages" / "a.jpg").rename(voc_folder / "JPEGImages" / "a b.jpg")
    (voc_folder / "ImageSets" / "Main" / "train.txt").write_bytes(content)
    data = load_data(voc_folder, "train")
    assert [record.path.name for record in data] == ["a b.jpg"]


def test_lists_that_cannot_be_read(voc_folder):
    (voc_folder / "ImageSets" / "Main" / "train.txt").write_bytes("größe\n".encode("latin-1"))
    with pytest.raises(CodenetError, match="train.txt: cannot be read: .*; expected text in UTF-8"):
        load_data(voc_folder, "train")


def test_the_kits_lists_of_classes_are_no_splits(voc_folder):
    lists = voc_folder / "ImageSets" / "Main"
    (lists / "raccoon_train.txt").write_text("a  1\n")
    (lists / "my_own.txt").write_text("a\n")
    with pytest.raises(CodenetError, match="VOC XML has my_own, train;"):
        load_data(voc_folder, "val")
    assert len(load_data(voc_folder, "my_own")) == 1


@pytest.mark.parametrize("place", ["ImageSets/training.txt", "train.txt", "Training.txt"])
def test_lists_in_other_places(voc_folder, xml, place):
    """None of them is overlooked: a set with lists is not divided."""
    shutil.copy(xml, xml.with_name("b.xml"))
    shutil.copy(voc_folder / "JPEGImages" / "a.jpg", voc_folder / "JPEGImages" / "b.jpg")
    edit(xml.with_name("b.xml"), "a.jpg", "b.jpg")
    (voc_folder / "ImageSets" / "Main" / "train.txt").rename(voc_folder / place)
    assert [record.path.name for record in load_data(voc_folder, "train")] == ["a.jpg"]
    with pytest.raises(CodenetError, match="VOC XML has [Tt]rain"):
        load_data(voc_folder, "val")


@pytest.mark.parametrize("layout", ["annotations/train + images/train", "train/annotations + train/images", "images"])
def test_layouts_of_folders(voc_folder, xml, tmp_path, layout):
    folder = tmp_path / "set"
    places = {
        "annotations/train + images/train": ("annotations/train", "images/train"),
        "train/annotations + train/images": ("train/annotations", "train/images"),
        "images": ("images", "images"),
    }[layout]
    for place, path in zip(places, (xml, voc_folder / "JPEGImages" / "a.jpg"), strict=True):
        (folder / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / place)
    assert photo_of(folder) == "a.jpg"


def test_frames_of_clips_with_equal_names(voc_folder, xml, tmp_path):
    """No list: XML in subfolders belongs to photos in subfolders of the same name."""
    folder = tmp_path / "set"
    for clip in ("one", "two"):
        for inner, path in (("Annotations", xml), ("JPEGImages", voc_folder / "JPEGImages" / "a.jpg")):
            (folder / inner / clip).mkdir(parents=True)
            shutil.copy(path, folder / inner / clip)
    other_photo(folder, "a.jpg")
    data = load_data(folder, "trainval")
    assert [record.path.parent.name for record in data] == ["one", "two"]


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("utf-8", "utf-8"),
        ("utf-8", "utf-8-sig"),
        ("iso-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("GBK", "gbk"),
        ("gb2312", "gb2312"),
        ("Shift_JIS", "shift_jis"),
        ("big5", "big5"),
        ("UTF-16", "utf-16"),
        ("utf-16", "utf-8"),
        (None, "utf-8"),
    ],
)
def test_encodings(voc_folder, xml, declared, encoding):
    name = {"gbk": "浣熊", "gb2312": "浣熊", "shift_jis": "狸", "big5": "浣熊"}.get(encoding, "wäschbär")
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    xml.write_text(head + xml.read_text().replace("raccoon", name), encoding=encoding)
    assert load_data(voc_folder, "train").classes == (name,)


@pytest.mark.parametrize(
    ("head", "text", "message"),
    [
        ('encoding="klingon"', b"", "a.xml: not a VOC annotation: encoding is 'klingon', which Python does not know"),
        ('encoding="hex"', b"", "a.xml: not a VOC annotation: encoding is 'hex', which Python does not know"),
        ('encoding="utf-8"', b"\xe4", "a.xml: not a VOC annotation: .*save the file in UTF-8"),
        ('encoding="shift_jis"', b"\xff\xff", "a.xml: not a VOC annotation: .*save the file in UTF-8"),
    ],
)
def test_other_encodings_are_a_clear_line(voc_folder, xml, head, text, message):
    xml.write_bytes(f'<?xml version="1.0" {head}?>\n'.encode() + xml.read_bytes().replace(b"raccoon", b"r" + text))
    with pytest.raises(CodenetError, match=message) as caught:
        load_data(voc_folder, "train")
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("annotation>", "annotations>"), "a.xml:1: not a VOC annotation: root element is <annotations>"),
        (("annotation>", "voc:annotation>"), "a.xml:1: <voc:annotation> has a namespace prefix"),
        (("object>", "v:object>"), "a.xml:2: <v:object> has a namespace prefix"),
        (("bndbox>", "v:bndbox>"), "a.xml:2: <v:bndbox> has a namespace prefix"),
    ],
)
def test_xml_that_is_no_annotation(voc_folder, xml, change, message):
    edit(xml, *change)
    with pytest.raises(CodenetError, match=message):
        load_data(voc_folder, "train")


@pytest.mark.parametrize("number", ["nan", "inf", "1e400", "", "twelve"])
def test_numbers_that_are_none(voc_folder, xml, number):
    edit(xml, "<xmin>11</xmin>", f"<xmin>{number}</xmin>")
    with pytest.raises(CodenetError, match=f"a.xml:3: xmin is '{number}', expected a number"):
        load_data(voc_folder, "train")


def test_names_with_spaces(voc_folder, xml):
    edit(xml, "raccoon", "\n  raccoon ")
    assert load_data(voc_folder, "train").classes == ("raccoon",)
    assert load_data(voc_folder, "train", ("raccoon ",)).classes == ("raccoon ",)

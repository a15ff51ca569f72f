# SPDX-License-Identifier: Apache-2.0
"""Photos of every kind give the right pixels, and what is no photo is refused by name."""

import struct
import zlib
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from PIL import Image

from codenet.errors import ConfigError, FormatError
from codenet.fit import FITS, LETTERBOX, STRETCH, place
from codenet.vision.image import BILINEAR, GREY, load, prepare, resize, to_activation
from tests.paths import ROOT

PHOTO = ROOT / "docs/photos/chelsea.jpg"


def pixels(source):
    return np.asarray(load(source))


@pytest.fixture
def rgb():
    return np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_path_image_and_array_agree():
    with Image.open(PHOTO) as image:
        expected = np.asarray(image)
        assert np.array_equal(pixels(image), expected)
    assert expected.shape == (300, 451, 3)
    assert np.array_equal(pixels(PHOTO), expected)
    assert np.array_equal(pixels(str(PHOTO)), expected)
    assert np.array_equal(pixels(expected), expected)


def test_the_photo_given_is_not_changed(rgb):
    image = Image.fromarray(rgb)
    load(image).paste((0, 0, 0), (0, 0, 7, 5))
    assert np.array_equal(np.asarray(image), rgb)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (9, 1, 3)])
def test_tiny_arrays(shape):
    array = np.full(shape, 200, np.uint8)
    assert np.array_equal(pixels(array), array)


def test_array_that_is_not_contiguous(rgb):
    assert np.array_equal(pixels(rgb[::-1, ::2]), rgb[::-1, ::2])


def test_grey(rgb):
    grey = rgb[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(pixels(grey), expected)
    assert np.array_equal(pixels(Image.fromarray(grey)), expected)


def test_black_and_white():
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert pixels(image).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_transparent_pixels_show_grey():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [214, 14, 114, 128]]], np.uint8)
    opaque, clear, half = pixels(rgba)[0].tolist()
    assert opaque == [10, 20, 30]
    assert clear == [GREY] * 3
    assert half == [164, 64, 114]  # GREY + (value - GREY) * 128 / 255, rounded


def test_grey_with_alpha():
    image = Image.new("LA", (1, 1), (30, 0))
    assert pixels(image).tolist() == [[[GREY] * 3]]


def test_palette_and_its_transparent_entry(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    assert pixels(image).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    image.save(tmp_path / "p.png", transparency=1)
    assert pixels(tmp_path / "p.png").tolist() == [[[255, 0, 0], [GREY] * 3]]
    image.save(tmp_path / "p.gif")
    assert pixels(tmp_path / "p.gif").tolist() == [[[255, 0, 0], [0, 0, 255]]]


def test_cmyk(tmp_path):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert pixels(image)[0, 0].tolist() == [255, 0, 0]
    image.save(tmp_path / "red.jpg", quality=95)
    assert np.abs(pixels(tmp_path / "red.jpg").astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
def test_16_bit_is_scaled_not_cut(tmp_path, kind):
    values = np.array([[0, 255, 256, 32768, 65534, 65535]], np.uint16)
    path = tmp_path / f"deep.{kind}"
    if kind == "pgm":
        path.write_bytes(b"P5 6 1 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    assert pixels(path)[..., 0].tolist() == [[0, 1, 1, 128, 255, 255]]


@pytest.mark.parametrize("kind", ["png", "tif", "webp"])
def test_orientation_is_applied(tmp_path, rgb, kind):
    image = Image.fromarray(rgb)
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    path = tmp_path / f"turned.{kind}"
    image.save(path, exif=exif, **({"lossless": True} if kind == "webp" else {}))
    assert np.array_equal(pixels(path), np.rot90(rgb, -1))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 3), np.uint16), "uint16"),
        (np.zeros((4, 4, 2), np.uint8), r"\[4, 4, 2\]"),
        (np.zeros(4, np.uint8), r"\[4\]"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\[1, 4, 4, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), r"\[0, 4, 3\]"),
        (np.zeros((4, 0), np.uint8), r"\[4, 0\]"),
    ],
)
def test_array_of_another_kind(array, message):
    with pytest.raises(FormatError, match=message):
        load(array)


def test_image_of_zero_size():
    with pytest.raises(FormatError, match="0x5"):
        load(Image.new("RGB", (0, 5)))
    with pytest.raises(FormatError, match="0x5"):
        resize(Image.new("RGB", (0, 5)), 4, 4)


@pytest.mark.parametrize("source", [None, 3, b"abc", [[1, 2]]])
def test_object_of_another_kind(source):
    with pytest.raises(FormatError, match=type(source).__name__):
        load(source)


def test_floating_point_image():
    with pytest.raises(FormatError, match="floating-point"):
        load(Image.new("F", (2, 2)))


def test_32_bit_image_out_of_range():
    with pytest.raises(FormatError, match="70000"):
        load(Image.new("I", (2, 2), 70000))


def test_text_file(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("not a photo")
    with pytest.raises(FormatError, match=r"notes\.jpg"):
        load(path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(FormatError, match=r"empty\.png"):
        load(path)


def test_folder_and_missing_file(tmp_path):
    with pytest.raises(FormatError, match="folder"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
        load(tmp_path / "missing.jpg")


@pytest.mark.parametrize("kind", ["jpg", "png", "gif", "bmp", "tif", "webp"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.8])
def test_truncated_file(tmp_path, kind, part):
    path = tmp_path / f"cut.{kind}"
    load(PHOTO).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(FormatError, match=r"cut\."):
        load(path)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_strips_that_do_not_cover_a_tiff(tmp_path, rgb, compression):
    """Pillow leaves black what no strip covers, and takes memory for it."""
    path = tmp_path / "short.tif"
    Image.fromarray(rgb).save(path, compression=compression)
    load(path)
    data = bytearray(path.read_bytes())
    entries = int.from_bytes(data[4:8], "little") + 2
    length = data.index(np.uint16(257).tobytes(), entries)  # ImageLength: tag, type, count, value
    assert data[length + 8 : length + 12] == np.uint32(5).tobytes()
    data[length + 2 : length + 12] = struct.pack("<HII", 4, 1, 1 << 20)
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"short\.tif: .*(7x1048576 pixels, whose strips or tiles cover 7x5|broken)"):
        load(path)


def test_resize_stretches_to_the_size():
    photo = Image.new("RGB", (2, 1))
    photo.putpixel((1, 0), (255, 255, 255))
    small = resize(photo, 3, 4)
    assert small.shape == (3, 4, 3) and small.dtype == np.uint8
    assert small[:, :, 0].tolist() == [[0, 64, 191, 255]] * 3


def test_resize_of_one_pixel():
    assert (resize(Image.new("RGB", (1, 1), (9, 8, 7)), 6, 5) == [9, 8, 7]).all()


def test_resize_to_the_same_size_keeps_every_pixel(rgb):
    assert np.array_equal(resize(Image.fromarray(rgb), 5, 7), rgb)


def test_letterboxed_photo_by_hand():
    photo = Image.new("RGB", (2, 1), (9, 8, 7))
    wide, tall = resize(photo, 5, 6, LETTERBOX), resize(photo, 4, 2, LETTERBOX)
    assert (wide[1:4] == [9, 8, 7]).all() and (wide[[0, 4]] == 114).all() and wide.shape == (5, 6, 3)
    assert (tall[1] == [9, 8, 7]).all() and (tall[[0, 2, 3]] == 114).all(), "an odd row of grey is below"


def place_by_fractions(photo_size, input_size):
    """Top, left, height and width of a letterboxed photo, in exact arithmetic."""
    scale = min(Fraction(i, p) for i, p in zip(input_size, photo_size, strict=True))
    shown = [max(1, floor(scale * side + Fraction(1, 2))) for side in photo_size]
    return [floor(Fraction(i - s, 2)) for i, s in zip(input_size, shown, strict=True)] + shown


def test_letterbox_of_many_sizes():
    rng = np.random.default_rng(1)
    for photo_size in [*rng.integers(1, 5000, (300, 2)).tolist(), (1, 5000), (5000, 1), (384, 640), (96, 160)]:
        for input_size in ((384, 640), (96, 64), (320, 320)):
            found = place(tuple(photo_size), input_size, LETTERBOX)
            expected = place_by_fractions(photo_size, input_size)
            assert [found.top, found.left, found.height, found.width] == expected, (photo_size, input_size)
            assert found.height == input_size[0] or found.width == input_size[1]
            assert found.frame == (input_size[1] / found.width, input_size[0] / found.height)


def test_letterboxing_a_photo_of_the_input_s_proportions_is_stretching():
    photo = load(PHOTO).resize((160, 96))
    assert np.array_equal(resize(photo, 192, 320, LETTERBOX), resize(photo, 192, 320))


def test_resize_wants_rgb():
    with pytest.raises(FormatError, match="mode L"):
        resize(Image.new("L", (2, 2)), 2, 2)


def test_activation_of_every_pixel_value():
    rgb = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    q = to_activation(rgb)
    assert q.dtype == np.int8
    assert np.array_equal(q.astype(int), rgb.astype(int) - 128)


@pytest.mark.parametrize("bad", [np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 4), np.uint8)])
def test_activation_of_something_else(bad):
    with pytest.raises(FormatError, match=r"uint8 \[H, W, 3\]"):
        to_activation(bad)


def written(source, height, width, fit=STRETCH):
    """What :func:`prepare` leaves in an accelerator's input, as the tensor that the network reads."""
    memory = np.zeros((height + 1, 4 * width + 24), np.uint8)
    pixels = memory[1:, 4 : 4 * (width + 1)].reshape(height, width, 4)
    small = prepare(source, height, width, fit)
    small.write(pixels)
    assert not memory[0].any() and not memory[:, :4].any() and not memory[:, 4 * (width + 1) :].any()
    return pixels[..., :3].view(np.int8), small.placement.photo_size


def photos_of_every_kind(folder):
    photo = load(PHOTO)
    array = np.asarray(photo)
    yield "path", PHOTO
    yield "image", photo
    yield "array", array
    yield "bgr", np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    yield "bgr, part of a frame", array[10:200, 50:300, ::-1]
    yield "mirrored", array[:, ::-1]
    yield "upside down", array[::-1, :, ::-1]
    yield "grey", array[..., 1]
    yield "rgba", np.dstack([array, array[..., 0]])
    for mode in ("L", "RGBA", "CMYK", "P", "1", "I;16"):
        yield mode, Image.fromarray(array[..., 0].astype(np.uint16) * 257) if mode == "I;16" else photo.convert(mode)
    for orientation in range(1, 9):
        exif = photo.getexif()
        exif[0x0112] = orientation
        photo.save(folder / f"{orientation}.jpg", exif=exif)
        yield f"orientation {orientation}", folder / f"{orientation}.jpg"
    yield "one pixel", array[:1, :1]


@pytest.mark.parametrize("fit", FITS)
def test_prepared_pixels_are_those_of_resize(tmp_path, fit):
    for name, source in photos_of_every_kind(tmp_path):
        for height, width in ((64, 96), (300, 451), (512, 512)):
            found, size = written(source, height, width, fit)
            photo = load(source)
            assert np.array_equal(found, to_activation(resize(photo, height, width, fit))), (name, height, width)
            assert size == (photo.height, photo.width), name


def test_preparing_leaves_the_photo_alone(rgb):
    before = rgb.copy()
    image = Image.fromarray(rgb)
    for source in (rgb, rgb[..., ::-1], image):
        small = prepare(source, 5, 7)
        small.image.paste((1, 2, 3), (0, 0, 7, 5))
    assert np.array_equal(rgb, before) and np.array_equal(np.asarray(image), before)


@pytest.mark.parametrize("bad", [np.zeros((2, 2, 3)), np.zeros((0, 2, 3), np.uint8), np.zeros((2, 2, 2), np.uint8), 7])
def test_preparing_no_photo(bad, tmp_path):
    with pytest.raises(FormatError):
        prepare(bad, 4, 4)
    (tmp_path / "cut.jpg").write_bytes(PHOTO.read_bytes()[:9000])
    with pytest.raises(FormatError, match=r"cut\.jpg"):
        prepare(tmp_path / "cut.jpg", 4, 4)


def test_pillows_short_cuts_give_other_pixels():
    """Why :func:`prepare` does without them."""
    expected = resize(load(PHOTO), 64, 64)
    gap = load(PHOTO).resize((64, 64), BILINEAR, reducing_gap=2.0)
    assert not np.array_equal(np.asarray(gap), expected)
    with Image.open(PHOTO) as image:
        image.draft("RGB", (128, 128))
        draft = image.resize((64, 64), BILINEAR)
    assert not np.array_equal(np.asarray(draft), expected)


BGRA = np.random.default_rng(2).integers(0, 256, (5, 7, 4), dtype=np.uint8)


@pytest.mark.parametrize("use", [load, lambda frame: prepare(frame, 4, 4)], ids=["load", "prepare"])
@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (BGRA[..., 0][..., ::-1], r"\[5, 7\] \(grey\) with its columns reversed.*expected the frame itself"),
        (BGRA[..., 0].astype(np.uint16)[..., ::-1], r"\[5, 7\] \(grey\)"),
        (BGRA[..., ::-1], r"\[5, 7, 4\] \(RGBA\).*alpha would be red.*frame\[..., \[2, 1, 0, 3\]\]"),
        (BGRA[::-1, ::-1, ::-1], r"\(RGBA\)"),
    ],
    ids=["grey", "deep grey", "bgra", "bgra turned"],
)
def test_opencvs_idiom_on_frames_without_three_channels(use, frame, words):
    """Mirrored, or with alpha for red, they would pass for photos."""
    with pytest.raises(FormatError, match=words):
        use(frame)


def test_what_to_write_instead():
    bgr = np.ascontiguousarray(BGRA[..., :3])
    expected = pixels(bgr[..., ::-1])
    assert np.array_equal(expected, bgr[..., [2, 1, 0]])
    assert np.array_equal(pixels(BGRA[..., 2::-1]), expected)
    opaque = BGRA.copy()
    opaque[..., 3] = 255
    assert np.array_equal(pixels(opaque[..., [2, 1, 0, 3]]), expected)
    grey = BGRA[..., 0]
    assert np.array_equal(pixels(np.fliplr(grey).copy())[..., 0], grey[:, ::-1])
    assert np.array_equal(pixels(grey[::-1])[..., 0], grey[::-1])
    assert np.array_equal(pixels(BGRA[:, :1, 0][..., ::-1])[..., 0], BGRA[:, :1, 0]), (
        "one column is its own mirror image"
    )


def deep(folder, values, kind):
    """16-bit grey ``[H, W]`` as a photo of each kind."""
    path = folder / f"deep.{kind}"
    if kind == "array":
        return values
    if kind == "image":
        return Image.fromarray(values)
    if kind == "rgb.png":
        path.write_bytes(png(np.repeat(values[..., None], 3, axis=2)))
    else:
        Image.fromarray(values).save(path)
    return path


def png(rgb):
    """A PNG of 16 bits a colour, which Pillow reads but does not write."""

    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    height, width, _ = rgb.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


GREYS = ["array", "image", "png", "tif"]


@pytest.mark.parametrize("kind", [*GREYS, "rgb.png"])
@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(0, 1023, True), (3, 4095, True), (29000, 34000, True), (0, 32766, True), (0, 65535, False), (9, 40000, False)],
)
def test_a_part_of_the_range_is_told(tmp_path, caplog, kind, low, high, told):
    values = np.linspace(low, high, 30).astype(np.uint16).reshape(5, 6)
    load(deep(tmp_path, values, kind))
    text = caplog.text
    if kind == "rgb.png":
        low, high = low // 256 * 256, high // 256 * 256 + 255
    assert (f"from {low} to {high} of 0 to 65535" in text and "levels=(black, white)" in text) if told else not text
    assert not text or kind in ("array", "image") or f"deep.{kind}" in text


@pytest.mark.parametrize("kind", GREYS)
def test_the_range_can_be_said(tmp_path, caplog, kind):
    values = np.array([[0, 99, 100, 1124, 2148, 4000]], np.uint16)
    photo = deep(tmp_path, values, kind)
    assert np.asarray(load(photo, levels=(100, 2148)))[0, :, 0].tolist() == [0, 0, 0, 128, 255, 255]
    small = prepare(photo, 1, 6, levels=(100, 2148))
    assert np.asarray(small.image)[0, :, 0].tolist() == [0, 0, 0, 128, 255, 255]
    assert not caplog.text


def test_a_black_frame_is_no_part_of_the_range(caplog):
    load(np.zeros((4, 4), np.uint16))
    assert not caplog.text


def test_levels_of_other_photos(tmp_path, rgb):
    assert np.array_equal(np.asarray(load(rgb, levels=(0, 100))), rgb)
    with pytest.raises(ConfigError, match="levels 5 and 5: expected black below white"):
        load(rgb, levels=(5, 5))
    with pytest.raises(FormatError, match="rgb.png: 16 bits a colour: levels are for grey photos"):
        load(deep(tmp_path, np.zeros((4, 4), np.uint16), "rgb.png"), levels=(0, 4095))
    values = np.array([[-70000, 0, 70000]], np.int32)
    assert np.asarray(load(Image.fromarray(values), levels=(-70000, 70000)))[0, :, 0].tolist() == [0, 128, 255]


def test_messages_of_pillow_do_not_get_through(tmp_path, monkeypatch, recwarn):
    path = tmp_path / "large.png"
    Image.new("L", (60, 50)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert load(path).size == (60, 50) and not recwarn.list, "a large photo is no attack"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(FormatError, match=r"large\.png: has 3000 pixels, expected at most 2000; scale it down first$"):
        load(path)
    (tmp_path / "notes.jpg").write_text("no photo")
    with pytest.raises(FormatError, match=r"or a broken one$"):
        load(tmp_path / "notes.jpg")


@pytest.mark.parametrize("part", [np.s_[:], np.s_[1:, ::2], np.s_[::-1, 3:], np.s_[:1, :1]])
def test_bgr_frames_are_loaded_as_they_are(part):
    frame = np.random.default_rng(5).integers(0, 256, (6, 9, 3), dtype=np.uint8)[part]
    photo = load(frame[..., ::-1])
    assert np.array_equal(np.asarray(photo), np.stack([frame[..., 2], frame[..., 1], frame[..., 0]], axis=-1))
    frame[:] = 0
    assert np.asarray(photo).any()

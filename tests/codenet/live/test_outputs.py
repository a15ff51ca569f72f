# SPDX-License-Identifier: Apache-2.0
"""Lines, and pictures in a folder."""

import errno
import io
import json

import numpy as np
import pytest

from codenet import files
from codenet.live.outputs import JsonLines, Notices, Pictures, Text, text_lines
from codenet.vision.image import load
from tests.codenet.live.stage import seen

FRAME = {
    "event": "frame",
    "frame": 1,
    "time": 1800000001.0,
    "file": None,
    "width": 200,
    "height": 60,
    "detections": [{"label": "cat", "class_index": 0, "score": 0.5, "box": [10.0, 5.0, 120.0, 40.0]}],
    "times": {"prepare_ms": 1.25, "wait_ms": 0.5, "decode_ms": 0.125, "cycles": 150000, "accelerator_ms": 1.0},
    "rate": 12.5,
    "threshold": 0.3,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_json_lines():
    out = io.StringIO()
    lines = JsonLines(out)
    lines.seen(seen(1))
    lines.lost("camera 0: has stopped")
    lines.back("camera 0")
    lines.seen(seen(2, photo="a.jpg", clock_hz=None))
    first, lost, back, second = map(json.loads, out.getvalue().splitlines())
    assert first == FRAME
    assert (lost, back) == ({"event": "lost", "reason": "camera 0: has stopped"}, {"event": "back"})
    assert second["file"] == "a.jpg" and second["times"]["accelerator_ms"] is None


def test_text_is_a_line_a_frame_where_nobody_watches():
    out = io.StringIO()
    text = Text(out)
    text.seen(seen(1))
    text.seen(seen(2, detections=[]))
    assert out.getvalue() == "frame 1: cat 0.50\nframe 2: nothing\n"


def test_text_stays_in_its_place_in_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "24")
    out = Terminal()
    text = Text(out, rate=1e9)
    text.seen(seen(1))
    text.seen(seen(2))
    text.lost("gone")
    text.seen(seen(3))
    frames = out.getvalue().split("\x1b[J")
    assert not frames[0].startswith("\x1b[") and frames[1].startswith("\x1b[3F") and frames[2].startswith("frame 3")
    lines = frames[0].replace("\x1b[K", "").splitlines()
    assert len(lines) == 3 and max(map(len, lines)) == 39
    assert "cat" in lines[2] and "(10, 5, 120, 40)" in lines[2]


def test_text_is_not_shown_faster_than_anybody_reads():
    out = Terminal()
    text = Text(out, rate=1e-3)
    for number in range(1, 50):
        text.seen(seen(number))
    assert out.getvalue().count("frame") == 1


def test_lines_of_a_device_without_a_clock():
    assert text_lines(seen(1, clock_hz=None))[1].endswith("accelerator no clock")
    assert text_lines(seen(1))[1].endswith("accelerator 1.0 ms")


def test_pictures_have_boxes_and_the_newest_are_kept(tmp_path):
    folder = tmp_path / "deep" / "pictures"
    pictures = Pictures(folder, keep=3)
    for number in range(1, 6):
        pictures.seen(seen(number))
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"codenet-20270115T08000{n}.000000Z.jpg" for n in (3, 4, 5)]
    picture = load(folder / names[0])
    assert picture.size == (200, 60)
    assert np.asarray(picture)[..., 0].max() > 100, "no box on a photo of 7"


def test_pictures_of_earlier_sessions_count_and_other_files_stay(tmp_path):
    others = ["mine.jpg", "codenet-1.jpg", "codenet-20270115T080001.000000Z.jpg.txt"]
    for name in [*others, "codenet-20000101T000000.000000Z.jpg", "codenet-20000101T000001.000000Z.jpg"]:
        (tmp_path / name).touch()
    Pictures(tmp_path, keep=2).seen(seen(1))
    kept = {"codenet-20000101T000001.000000Z.jpg", "codenet-20270115T080001.000000Z.jpg"}
    assert {path.name for path in tmp_path.iterdir()} == {*others, *kept}


def test_pictures_every_so_often(tmp_path):
    pictures = Pictures(tmp_path, every=10.0)
    for number in range(1, 30):
        pictures.seen(seen(number))
    assert len(list(tmp_path.iterdir())) == 3


def test_pictures_are_whole_or_not_there(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    pictures = Pictures(tmp_path)
    pictures.seen(seen(1))
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        pictures.seen(seen(5))
    assert [path.name for path in tmp_path.iterdir()] == ["codenet-20270115T080001.000000Z.jpg"]


def test_notices():
    lines = []
    notices = Notices(lines.append)
    notices.seen(seen(1))
    notices.lost("camera 0: has stopped, 5 frames failed one after the other")
    notices.back("camera 0")
    assert lines == ["camera 0: has stopped, 5 frames failed one after the other; waiting for it", "camera 0: is back"]

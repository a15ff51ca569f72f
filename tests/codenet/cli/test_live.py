# SPDX-License-Identifier: Apache-2.0
"""``codenet live``: its outputs, its ends, and one line for whatever is wrong."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from codenet import Detector, cli
from codenet.vision.camera import LOST_FRAMES
from codenet.vision.image import load
from tests.codenet.live.stage import unpack
from tests.paths import ROOT

PHOTO = ROOT / "docs/photos/chelsea.jpg"


@pytest.fixture
def photos(tmp_path):
    """A folder with a.png and b.jpg."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(PHOTO, folder / "b.jpg")
    load(PHOTO).rotate(180).save(folder / "a.png")
    return folder


@pytest.fixture
def live(program, capsys):
    """Status, lines of the output, lines of errors."""

    def live(*arguments):
        words = ["live", *arguments, "--program", program, "--device", "golden", "--threshold", 0.05]
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err and all(line.startswith("codenet") for line in err.splitlines()), err
        return status, out.splitlines(), err.splitlines()

    return live


def test_json_is_what_the_detector_finds(live, photos, program):
    status, out, err = live(photos, "--json")
    assert (status, err) == (0, [])
    first, second = map(json.loads, out)
    with Detector(program, "golden", threshold=0.05) as detector:
        for line, name in ((first, "a.png"), (second, "b.jpg")):
            assert line["event"] == "frame" and line["file"] == str(photos / name)
            expected = detector(photos / name)
            assert expected, "a test without detections tests nothing"
            assert [d["label"] for d in line["detections"]] == [d.label for d in expected]
            assert (line["width"], line["height"]) == load(photos / name).size


def test_text_unless_something_else_is_asked_for(live, photos, tmp_path):
    pattern = str(photos / "*.png")
    status, out, _ = live(pattern)
    assert status == 0 and len(out) == 1 and re.match(r"frame 1: class\d 0\.\d\d", out[0])
    assert live(photos / "b.jpg", "--pictures", tmp_path / "out")[1] == []
    assert len(live(photos / "b.jpg", "--pictures", tmp_path / "out", "--text")[1]) == 1


def test_pictures(live, photos, tmp_path):
    status, *_ = live(photos, "--pictures", tmp_path / "out", "--every", 0, "--keep", 1)
    (name,) = os.listdir(tmp_path / "out")
    assert status == 0 and load(tmp_path / "out" / name).size == load(PHOTO).size


def test_bad_photo_is_told_and_left_out(live, photos):
    (photos / "a.png").write_bytes(b"no photo")
    status, out, err = live(photos, "--json")
    assert status == 2 and len(out) == 1
    assert len(err) == 1 and "a.png: expected an image" in err[0]
    assert live(photos / "a.png", "--loop")[0] == 2, "a loop without a photo would never end"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such camera, folder, photo or video"),
        (["no*.jpg"], "no*.jpg: no photo has such a name"),
        (["{empty}"], "has no photos"),
        (["{photos}", "--serve", "x"], "--serve x: expected PORT or HOST:PORT"),
        (["{photos}", "--serve", "{used}"], "--serve 127.0.0.1:{used}: Address already in use"),
        (["{photos}", "--serve", "203.0.113.1:0"], "--serve 203.0.113.1:0: Cannot assign requested address"),
        (["{photos}", "--serve", "0", "--token", "short"], "--token of 5 characters: expected 8 to 256"),
        (["{photos}", "--mqtt", "broker"], "--mqtt broker: expected HOST[:PORT]/TOPIC"),
        (["{photos}", "--pictures", "{photos}/b.jpg"], "b.jpg: File exists"),
        (["{photos}", "--rate", "0"], "--rate 0.0: expected more than 0"),
        (["{photos}", "--rate", "nan"], "--rate nan: expected more than 0"),
        (["{photos}", "--show", "-1"], "--show -1.0: expected more than 0"),
        (["{photos}", "--keep", "0"], "--keep 0: expected 1 or more"),
        (["{photos}", "--viewers", "0"], "--viewers 0: expected 1 or more"),
        (["{photos}", "--every", "-1"], "--every -1.0: expected 0 or more"),
        (["0", "--size", "0", "480"], "--size 0: expected 1 or more"),
        (["{photos}", "--workers", "-1"], "workers -1: expected 0 or more threads"),
        (["{photos}", "--text", "--json"], "not allowed with argument"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(live, photos, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setitem(sys.modules, "cv2", None)
    (tmp_path / "empty").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as used:
        words = {"photos": photos, "empty": tmp_path / "empty", "used": used.getsockname()[1]}
        status, out, err = live(*(argument.format(**words) for argument in arguments))
    assert status == 2 and len(err) == 1 and message.format(**words) in err[0]


class Capture:
    """A camera of OpenCV's: three frames, gone for a while, one of a format that nobody knows, and Ctrl-C."""

    opened = 0

    def __init__(self, source):
        type(self).opened += 1
        self.script = {1: [FRAME] * 3, 3: [FRAME, np.zeros((4, 4), np.float32)]}.get(self.opened, [])

    def isOpened(self):
        return self.opened in (1, 3, 5)

    def set(self, name, value):
        pass

    def read(self):
        if self.opened == 5:
            raise KeyboardInterrupt
        return (True, self.script.pop(0)) if self.script else (False, None)

    def release(self):
        pass


FRAME = np.zeros((48, 64, 3), np.uint8)


@pytest.fixture
def camera(monkeypatch):
    """OpenCV with a camera."""

    def install(capture):
        names = {name: name for name in ("CAP_PROP_FRAME_WIDTH", "CAP_PROP_FRAME_HEIGHT", "CAP_PROP_BUFFERSIZE")}
        monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(VideoCapture=capture, **names))

    monkeypatch.setattr("codenet.live.session.DELAYS", (0.0,))
    return install


def test_camera_that_vanishes(live, camera):
    camera(Capture)
    status, out, err = live("0", "--json", "--workers", 0)
    events = [json.loads(line)["event"] for line in out]
    assert events == ["frame"] * 3 + ["lost", "back", "frame", "lost"]
    gone = f"camera 0: has stopped, {LOST_FRAMES} frames failed one after the other"
    assert err[:2] == [f"codenet: {gone}; waiting for it", "codenet: camera 0: is back"]
    assert "camera 0: delivers float32 [4, 4], expected uint8" in err[2]
    assert status == 130 and err[3:] == ["codenet: interrupted"]


def test_camera_of_an_unknown_format(live, camera):
    class Depth(Capture):
        def isOpened(self):
            return True

        def read(self):
            return True, np.zeros((4, 4), np.uint16)

    camera(Depth)
    status, out, err = live("0", "--json")
    assert (status, out) == (1, [])
    assert err == ["codenet: error: camera 0: delivers uint16 [4, 4], expected uint8 [H, W] or [H, W, 3]"]


def test_camera_that_is_not_there(live, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    status, _, err = live("7")
    assert status == 1 and len(err) == 1 and "camera 7: needs OpenCV" in err[0]


@pytest.fixture
def running(program, photos):
    """The command with a page, in a process of its own; and its address."""
    words = [
        sys.executable,
        "-c",
        "import sys; from codenet.cli import main; sys.exit(main())",
        "live",
        photos,
        "--loop",
    ]
    words += ["--program", program, "--device", "golden", "--serve", "0", "--token", "a-token-of-tests"]
    path = os.pathsep.join([str(ROOT / "sw"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [str(word) for word in words],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    match = re.fullmatch(r"codenet: page at http://127\.0\.0\.1:(\d+)/#a-token-of-tests\n", line)
    assert match, line
    yield process, int(match[1])
    process.kill()
    process.communicate()


def test_page_of_the_command_and_its_end(running):
    process, port = running
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        lines = ["GET /picture?after=0 HTTP/1.0", "Host: localhost", "Authorization: Bearer a-token-of-tests", "", ""]
        client.sendall("\r\n".join(lines).encode())
        answer = b""
        while part := client.recv(65536):
            answer += part
    value, jpeg = unpack(answer.partition(b"\r\n\r\n")[2])
    assert value["about"]["program"] == "tiny" and value["seen"]["file"].endswith((".png", ".jpg"))
    assert jpeg.startswith(b"\xff\xd8")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "codenet: interrupted\n")


def test_reader_of_the_lines_goes_away(program, photos):
    command = f'{sys.executable} -c "import sys; from codenet.cli import main; sys.exit(main())" live {photos} --loop'
    command += f" --program {program} --device golden --json | head -n 2"
    path = os.pathsep.join([str(ROOT / "sw"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        ["bash", "-c", command], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    assert result.stderr == "" and len(result.stdout.splitlines()) == 2


def test_page_comes_with_the_package():
    assert Path(sys.modules["codenet"].__file__).with_name("live").joinpath("page.html").exists()
    assert '"live/page.html"' in (ROOT / "pyproject.toml").read_text()

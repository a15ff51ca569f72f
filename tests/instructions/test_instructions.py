# SPDX-License-Identifier: Apache-2.0
"""What is counted is the host's part of a frame, and the tables of docs/host.md follow from the counts."""

import json
import os
import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from codenet.checkout import ROOT
from codenet.errors import FormatError
from codenet.vision.image import prepare
from tests.board.arm import Missing
from tests.instructions import __main__ as command
from tests.instructions import estimate, frames, userland

COUNTS = {"nothing": 1000, "fit 640x480 256": 6_500_000, "write 256": 1_300_000, "decode 10": 650_000}


def of(instructions):
    return estimate.Counts(instructions, 2_000_000, 500_000, 40_000, 25_000)


def section(name):
    """A generated table of docs/host.md."""
    return re.search(f"<!-- bench: {name} -->\n(.*?)\n<!-- end", command.PAGE.read_text(), re.DOTALL)[1]


def test_a_part_of_a_frame_lies_between_two_marks(monkeypatch):
    """Each part runs, alone, as often as it is named; a frame that is started is finished."""
    deliver = lambda *_: np.zeros((48, 64, 3), np.uint8)  # noqa: E731
    opencv = SimpleNamespace(
        setNumThreads=int, imdecode=deliver, cvtColor=deliver, IMREAD_COLOR=1, COLOR_YUV2BGR_YUYV=1
    )
    monkeypatch.setitem(sys.modules, "cv2", opencv)
    events = []
    parts = frames.parts(str(command.PHOTO), [(64, 48)])
    recorded = ((name, lambda name=name, work=work: events.append((name, work()))) for name, work in parts)
    names = frames.run(recorded, mark=lambda: events.append("mark"))
    assert events[::3] == events[2::3] == ["mark"] * len(names)
    assert [name for name, _ in events[1::3]] == names
    assert [*dict.fromkeys(names)] == [
        *("nothing", "mjpeg 64x48", "yuyv 64x48", "page 64x48", "fit 64x48 256", "fit 64x48 512"),
        *("write 256", "start 256", "finish 256", "write 512", "start 512", "finish 512", "decode 10", "decode 100"),
    ]
    results = dict(events[1::3])
    photo = Image.open(command.PHOTO).convert("RGB").resize((64, 48))
    for side in (256, 512):
        fitted = np.asarray(results[f"fit 64x48 {side}"].image)[..., ::-1]  # Blue comes first until it is written.
        assert np.array_equal(fitted, prepare(photo, side, side).image)
        assert results[f"finish {side}"].peaks_found == frames.InstantDevice.peaks
    assert results["mjpeg 64x48"].shape == results["yuyv 64x48"].shape == (48, 64, 3)
    assert 10 <= len(results["decode 100"]) <= 100 and len(results["decode 10"]) <= 10


def test_counts_of_the_last_run():
    described = json.dumps({"parts": ["nothing", "fit", "fit"]})
    lines = ["counted 9 9 9 9 9", "counted 1 2 3 4 5"] * 2 + ["counted 9 9 9 9 9", "libjpeg says", "counted 6 7 8 9 10"]
    counts = estimate.parse(described, "\n".join(lines))
    assert counts == {"nothing": estimate.Counts(1, 2, 3, 4, 5), "fit": estimate.Counts(6, 7, 8, 9, 10)}
    with pytest.raises(FormatError, match="5 counts: expected 6, two for each of 3 parts"):
        estimate.parse(described, "\n".join(lines[1:]))


def test_milliseconds_of_a_part():
    table = estimate.parts_table({name: of(count) for name, count in COUNTS.items()})
    assert table.splitlines()[2] == "| fit 640x480 256 | 6.50 | 2.00 | 0.50 | 0.80 | 11.0 to 20.0 |"
    assert estimate.read_parts(table) == {name: count for name, count in COUNTS.items() if name != "nothing"}


def test_rates(monkeypatch):
    """650 million cycles a second; the slower of processor and accelerator counts; two cores share fitting only."""
    monkeypatch.setattr(estimate, "ACCELERATOR", {"a": (256, 752_391)})
    monkeypatch.setattr(estimate, "CAMERAS", ("640x480",))
    counts = {
        **COUNTS,
        "start 256": 25_000,
        "finish 256": 25_000,
        "yuyv 640x480": 1_000_000,
        "mjpeg 640x480": 30_000_000,
    }
    memory, yuyv, mjpeg = estimate.rates_table(counts).splitlines()[2:]
    assert memory == "| frames in memory, 640x480 | a | 8.5 | 38 to 70 | 76 to 139 | 166 |"
    assert yuyv == "| camera, YUYV, 640x480 | a | 9.5 | 34 to 62 | 68 to 124 | 166 |"
    assert mjpeg == "| camera, MJPEG, 640x480 | a | 38.5 | 8 to 15 | 10 to 18 | 166 |"
    assert estimate.rates_table({**counts, "fit 640x480 256": 0}).splitlines()[2].endswith("| 162 to 166 | 166 |")


def test_the_page_says_what_its_counts_say():
    counts = estimate.read_parts(section("parts"))
    assert section("rates") == estimate.rates_table(counts)
    for _, million, seconds, cycles in (row.strip("| ").split(" | ") for row in section("published").splitlines()[2:]):
        assert float(cycles) == pytest.approx(float(seconds) * estimate.CLOCK_HZ / float(million) / 1e6, abs=0.01)
        assert estimate.CYCLES[0] < float(cycles) < estimate.CYCLES[1]
    results = (ROOT / "docs" / "results.md").read_text()
    for network, (_, cycles) in estimate.ACCELERATOR.items():
        assert f"| {network} | trained | " in results and f" {cycles:,} |" in results


@pytest.mark.parametrize(
    ("tool", "package"),
    [
        ("qemu-arm", "qemu-user"),
        ("gcc", "gcc"),
        ("apt-get", "apt"),
        ("dpkg-deb", "dpkg"),
        (None, "debian-archive-keyring"),
    ],
)
def test_what_is_missing_is_named_with_its_package(monkeypatch, capsys, tmp_path, tool, package):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else f"/usr/bin/{name}")
    monkeypatch.setattr(userland, "KEYRING", tmp_path / "none")
    assert command.main() == 2
    assert re.search(rf"^instructions: .* is not on this system \(.*apt install {package}\)$", capsys.readouterr().err)


def test_debian_that_cannot_be_reached(monkeypatch, tmp_path):
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho E: no network\nexit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(userland, "BUILD", tmp_path / "build")
    monkeypatch.setattr(userland, "USERLAND", tmp_path / "build" / "root")
    with pytest.raises(Missing, match=r"apt-get update failed \(E: no network\); see .*apt.log"):
        userland.make_userland()

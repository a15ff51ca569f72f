# SPDX-License-Identifier: Apache-2.0
"""From photos with boxes to a live detector by the commands of ``docs/live.md``, word for word but for paths, lengths
and the camera.
"""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from codenet.checkout import ROOT

QUICK = ["--iterations", "1", "--batch", "2", "--workers", "1", "--device", "cpu"]
MORE = {
    "models.train": [*QUICK, "--size", "64", "--warmup", "1", "--no-tensorboard", "--no-mixed"],
    "models.qat": QUICK,
    "codenet live": ["--device", "golden", "--json", "--threshold", "0.01"],
}
"""What makes a command quick."""


def commands():
    text = (ROOT / "docs/live.md").read_text()
    section = re.search(r"^## Your own classes\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)[1]
    return [shlex.split(line) for line in section.splitlines() if line.startswith("    ")]


@pytest.mark.slow
def test_photos_become_a_live_detector(coco_folder, tmp_path):
    folders = {"build/": f"{tmp_path}/build/", "models/zoo/": f"{ROOT}/models/zoo/"}
    camera = str(coco_folder / "images" / "one.png")
    names = []
    for words in commands():
        if words[0] == "codenet":
            words = ["python", "-m", *words]
        words = [{"FOLDER": str(coco_folder), "0": camera, "8000": "0"}.get(word, word) for word in words]
        for folder, place in folders.items():
            words = [place + word.removeprefix(folder) if word.startswith(folder) else word for word in words]
        names.append(" ".join(words[2:4]) if words[2] == "codenet" else words[2])
        command = [sys.executable, *words[1:], *MORE.get(names[-1], ())]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'sw'}", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr)
    assert names == ["models.train", "models.qat", "models.export", "codenet compile", "codenet live"]
    assert json.loads(done.stdout.splitlines()[0])["width"] == 64
    assert {found["label"] for found in json.loads(done.stdout.splitlines()[0])["detections"]} <= {"cat", "dog"}

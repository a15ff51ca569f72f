# SPDX-License-Identifier: Apache-2.0
"""The benchmark times what a frame really does, and says what of it was not measured."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from codenet import Detector
from codenet.cli import benchmark as host_benchmark
from codenet.cli import command as cli
from codenet.cli.benchmark import InstantDevice, cameras, measure, peak_list
from codenet.compiler import compile as compile_graph
from codenet.config import AcceleratorConfig
from codenet.devices.golden import GoldenDevice
from codenet.program import array_cycles
from codenet.vision.image import Prepared
from tests.networks import network

SMALL = AcceleratorConfig.small()


@pytest.fixture(scope="module")
def program():
    return compile_graph(network(32, equal_heads=True, name="tiny"), SMALL)


def test_instant_device_computes_once_for_each_memory(program, monkeypatch):
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    with Detector(program, GoldenDevice(SMALL), threshold=0.05) as detector:
        expected = detector(photo)
    assert expected
    runs = []
    execute = GoldenDevice._run
    monkeypatch.setattr(GoldenDevice, "_run", lambda device: runs.append(1) or execute(device))
    with Detector(program, InstantDevice(SMALL), threshold=0.05) as detector:
        results = list(detector.stream([photo] * 6))
    assert [result.detections for result in results] == [expected] * 6
    assert len(runs) == 2


def test_golden_device_has_no_measured_frame(program):
    result = measure(program, GoldenDevice(SMALL), cameras()[:2], frames=3, clock_hz=1e6)
    assert [photo.name for photo in result.photos] == ["camera 320x240", "camera 640x480"]
    for photo in result.photos:
        assert photo.write_ms > 0 and photo.stretch_ms > 0
        assert set(photo.frame_ms) == {0, 1, 2} and min(photo.frame_ms.values()) > 0
    assert not result.measured and result.device_frame_ms is None
    assert result.cycles == sum(array_cycles(step) for step in program.descriptors)
    assert result.accelerator_ms == pytest.approx(result.cycles / 1000)
    assert list(result.decode_ms) == [1, 10, 100, program.peak_step.peak_capacity]
    text = str(result)
    assert "at least: if the array never waits" in text and "stream on device" not in text
    assert "program tiny, 32x32" in text


def test_times_are_those_of_the_parts(program, monkeypatch):
    """Each part is made slower by as much as it must then take."""
    delays = {"stretch": 0.012, "write": 0.006, "decode": 0.009}
    real = host_benchmark.decode
    monkeypatch.setattr(host_benchmark, "decode", lambda *a, **k: time.sleep(delays["decode"]) or real(*a, **k))
    prepare = host_benchmark.prepare
    monkeypatch.setattr(host_benchmark, "prepare", lambda *a: time.sleep(delays["stretch"]) or prepare(*a))
    write = Prepared.write
    monkeypatch.setattr(Prepared, "write", lambda self, pixels: time.sleep(delays["write"]) or write(self, pixels))
    result = measure(program, GoldenDevice(SMALL), cameras()[:1], frames=3)
    (photo,) = result.photos
    for found, part in ((photo.stretch_ms, "stretch"), (photo.write_ms, "write"), (result.decode_ms[1], "decode")):
        assert 1e3 * delays[part] <= found < 1e3 * delays[part] + 200, part
    assert photo.frame_ms[0] >= 1e3 * delays["write"]


def test_device_with_a_clock_is_measured(program):
    device = GoldenDevice(SMALL)
    device.clock_hz = 2e6
    device._values["FRAME_CYCLES"] = 4321
    result = measure(program, device, cameras()[:1], frames=2, clock_hz=1e9)
    assert (result.cycles, result.clock_hz, result.measured) == (4321, 2e6, True)
    assert result.accelerator_ms == pytest.approx(2.1605)
    assert result.device_frame_ms is not None and result.device_frame_ms > 0
    assert "counted by device golden" in str(result) and "stream on device golden: " in str(result)


@pytest.mark.parametrize(("host", "bound", "rate"), [(8.0, "host", 125.0), (2.0, "accelerator", 250.0)])
def test_the_slower_bounds_the_rate(host, bound, rate):
    photo = host_benchmark.PhotoTimes("street.jpg", 1.0, 0.1, {0: host, 1: host + 1, 2: host + 2})
    result = host_benchmark.Benchmark("m", "v", "p", "d", [photo], {1: 0.1}, 0.1, 400_000, 1e8, True, None)
    assert (
        f"street.jpg: at most {rate} frames a second, the {bound} is slower (host {host:.2f} ms with 0 workers)"
        in str(result)
    )


def test_peak_lists_are_possible_ones(program):
    outputs = peak_list(program, 50)
    heatmap = program.outputs["heatmap"]
    assert len(outputs.peaks) == 50 and set(outputs.peaks["channel"]) <= set(heatmap.index.tolist())
    assert outputs.peaks["x"].max() < heatmap.width and outputs.peaks["y"].max() < heatmap.height


def test_command(program, tmp_path, capsys):
    program.save(tmp_path / "tiny.cdn")
    Image.new("RGB", (40, 30)).save(tmp_path / "street.png")
    command = ["benchmark", "--program", str(tmp_path / "tiny.cdn"), "--device", "golden", "--frames", "2"]
    assert cli.main([*command, str(tmp_path / "street.png"), "--json", str(tmp_path / "b.json")]) == 0
    assert "street.png: at most" in capsys.readouterr().out
    figures = json.loads((tmp_path / "b.json").read_text())
    assert figures["photos"][0]["name"] == "street.png" and not figures["measured"]
    assert figures["accelerator_ms"] == pytest.approx(1e3 * figures["cycles"] / 150e6)
    for option in ("--frames", "--clock"):
        assert cli.main([*command, option, "0"]) == 2
        assert f"{option} 0" in capsys.readouterr().err
    assert cli.main([*command, str(tmp_path / "missing.jpg")]) == 2
    assert "missing.jpg" in capsys.readouterr().err

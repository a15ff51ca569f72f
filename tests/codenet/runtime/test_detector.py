# SPDX-License-Identifier: Apache-2.0
"""From a photo to detections through driver and decoding, with outputs written by hand."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import codenet
from codenet import Detection, Detector
from codenet.errors import ConfigError, DeviceError, FormatError, GraphError
from codenet.runtime.accelerator import Accelerator
from codenet.runtime.detector import _real
from tests.codenet.fakes import HEIGHT, WIDTH, FakeDevice, detector_program, write_outputs

PHOTO = np.zeros((6, 20, 3), np.uint8)
"""Two pixels a row and four a column of the output."""


@pytest.fixture
def program():
    return detector_program()


@pytest.fixture
def device(program):
    # Lanes: heatmap classes 0, 1, 2 in 2, 0, 5; width 1, height 0; offset x 4, y 6; values grow by 1 with x.
    frame = [(1, 0, 2, 0), (3, 2, 5, 256)]
    return FakeDevice(program.config, write_outputs(frame, lane_0=256, lane_1=512, lane_4=128, lane_6=64))


def test_boxes_by_hand(program, device):
    with Detector(program, device, threshold=0.01) as detector:
        best, second = detector(PHOTO)
    # Peak (3, 2): width 515, height 259, offset 131 and 67 of 256 output pixels.
    assert (best.label, best.class_index) == ("cow", 2)
    assert best.score == pytest.approx(1 / (1 + np.exp(-1)))
    x, y, w, h = 3 + 131 / 256, 2 + 67 / 256, 515 / 256, 259 / 256
    assert best.box == (4 * (x - w / 2), 2 * (y - h / 2), 4 * (x + w / 2), 2 * (y + h / 2))
    assert second == Detection("cat", 0, 0.5, second.box)
    assert second.box[:2] == (4 * (1 + 129 / 256 - 513 / 512), 0)


def test_threshold_goes_to_the_device(program, device):
    seen = []
    frame = device.compute
    device.compute = lambda memory: (
        seen.append(int(memory[: len(program.image)].view("<i2")[2 * 13 + 1])) or frame(memory)
    )
    with Detector(program, device, threshold=0.5) as detector:
        detector(PHOTO)
        detector(PHOTO, threshold=0.75)
    assert seen == [0, 282]


def test_top_k(program, device):
    with Detector(program, device) as detector:
        assert [d.label for d in detector(PHOTO, top_k=1)] == ["cow"]


def test_integers_are_real_values_from_the_zero_point_on(program):
    tensor = replace(program.outputs["size"], scale=0.5, zero_point=-3)
    assert _real(np.array([-3, 1, 32767], np.int16), tensor).tolist() == [0.0, 2.0, 16385.0]


def test_highest_point_of_the_heatmap(program, device):
    with Detector(program, device) as detector:
        detector(PHOTO)
        heatmap = detector.accelerator.tensor("hm")
        label, score = detector.closest()
    y, x, best = np.unravel_index(heatmap.argmax(), heatmap.shape)
    assert label == program.classes[best] and score == pytest.approx(1 / (1 + np.exp(-heatmap[y, x, best] / 256)))


def test_boxes_of_one_object(program):
    # Two peaks in a row, two output pixels apart, with boxes of more than nine pixels, cut off by the photo.
    frame = [(n, 2, 2, 10 - n) for n in (1, 3)]
    device = FakeDevice(program.config, write_outputs(frame, lane_0=9 * 256, lane_1=9 * 256, lane_4=0, lane_6=0))
    with Detector(program, device, threshold=0.01, iou_threshold=0.3) as detector:
        assert len(detector(PHOTO)) == 1
    with Detector(program, device, threshold=0.01, iou_threshold=1) as detector:
        assert len(detector(PHOTO)) == 2


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_iou_threshold_out_of_range(program, device, threshold):
    with pytest.raises(ConfigError, match="iou_threshold .*: expected 0 to 1"):
        Detector(program, device, iou_threshold=threshold)


def test_draws(program, device):
    with Detector(program, device) as detector:
        image = detector.draw(PHOTO, detector(PHOTO))
    assert image.size == (20, 6)
    assert np.asarray(image).any()


def test_path_image_and_array_give_the_same(tmp_path, program, device):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    with Detector(program, device) as detector:
        expected = detector(PHOTO)
        assert detector(tmp_path / "photo.png") == detector(str(tmp_path / "photo.png")) == expected
        assert detector(Image.fromarray(PHOTO)) == expected


def test_input_is_the_stretched_photo(program, device):
    photo = np.random.default_rng(2).integers(0, 256, (4 * HEIGHT, 4 * WIDTH, 3), dtype=np.uint8)
    layout = program.input

    def compute(memory):
        rows = memory[layout.offset :][: layout.size].reshape(-1, layout.row_bytes)
        assert np.array_equal(rows[1:, 4:-4].reshape(layout.height, layout.width, 4)[..., :3] ^ 0x80, photo)
        return 0

    device.compute = compute
    with Detector(program, device) as detector:
        assert detector(photo) == []


def test_bad_photo_leaves_the_detector_usable(program, device):
    with Detector(program, device) as detector:
        with pytest.raises(FormatError, match="float64"):
            detector(np.zeros((3, 3)))
        assert len(detector(PHOTO)) == 2


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 30, float("nan")])
def test_threshold_out_of_range(program, device, threshold):
    with pytest.raises(GraphError, match=str(threshold)):
        Detector(program, device, threshold=threshold)
    assert not device.writes


@pytest.mark.parametrize(
    ("peak", "message"),
    [((1, 1, 1, 0), "channel"), ((1, 1, 60000, 0), "channel"), ((WIDTH, 1, 0, 0), "3x5"), ((0, HEIGHT, 0, 0), "3x5")],
)
def test_device_that_writes_nonsense(program, device, peak, message):
    device.compute = write_outputs([(0, 0, 0, 0), peak])
    with Detector(program, device) as detector, pytest.raises(DeviceError, match=rf"peak record 1 is .*{message}"):
        detector(PHOTO)


def test_too_many_peaks_are_told(program, device, caplog):
    device.compute = write_outputs([(n % WIDTH, 0, 0, 0) for n in range(7)])
    with Detector(program, device) as detector:
        assert len(detector(PHOTO)) == 4
    assert "7 peaks found, room for 4" in caplog.text


def test_program_that_is_no_detector(program, device):
    outputs = dict(program.outputs)
    missing = detector_program(outputs={role: outputs[role] for role in ("heatmap", "size")})
    with pytest.raises(FormatError, match="no output 'offset'"):
        Detector(missing, device)
    swapped = detector_program(outputs=outputs | {"size": outputs["heatmap"]})
    with pytest.raises(FormatError, match="'size' has 3 channels, expected 2"):
        Detector(swapped, device)
    with pytest.raises(FormatError, match="'heatmap' has 3 channels, expected 1"):
        Detector(detector_program(classes=("cat",)), device)


def test_a_device_given_is_not_closed(program, device):
    detector = Detector(program, device)
    detector.close()
    detector.close()
    assert device.closed == 0
    assert device.buffers[0].closed == 1


@pytest.mark.parametrize("broken", [False, True])
def test_a_device_opened_is_closed(program, device, monkeypatch, broken):
    monkeypatch.setattr("codenet.runtime.detector.open_device", lambda name, config: device)
    if broken:
        device.registers["IDENTITY"] = 0
        with pytest.raises(DeviceError):
            Detector(program, "board")
    else:
        Detector(program, "board").close()
    assert device.closed == 1


def test_unknown_name():
    with pytest.raises(AttributeError, match="Detektor"):
        codenet.Detektor  # noqa: B018
    assert "Detector" in dir(codenet)
    assert codenet.Accelerator is Accelerator


def test_import_is_quick():
    code = (
        "import codenet, sys; print(*(name for name in ('numpy', 'PIL', 'torch', 'amaranth') if name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
    code = "from codenet import Detector; import sys; print('torch' in sys.modules, 'amaranth' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]

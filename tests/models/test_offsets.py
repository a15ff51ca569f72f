# SPDX-License-Identifier: Apache-2.0
"""Where networks sample: by hand, in PyTorch and on integers alike, in pictures, by the command."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from codenet.errors import CodenetError
from models import offsets
from models.data import load_data
from models.network import float_identity
from models.network.config import normalize
from models.network.detector import CoDeNet
from models.offsets import (
    LayerSampling,
    OffsetSource,
    dilation_places,
    graph_offsets,
    histograms,
    network_offsets,
    samples_at,
)
from models.quantization.convert import calibrate, quantize
from models.quantization.graph import to_graph
from models.quantization.untrained import untrained
from models.studies.figures import Samples, histogram_picture, sampling_picture
from models.training import TrainConfig, Trainer
from tests.models.common import TINY
from tests.models.exact import prepared

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))


def test_places_of_dilations():
    places = dilation_places(np.array([[0, 3]]))
    assert places.shape == (9, 2, 1, 2)
    assert places[:, :, 0, 0].tolist() == [[0, 0]] * 9
    # Row-major taps: the first is up and left, the last down and right.
    assert places[[0, 1, 5, 8], :, 0, 1].tolist() == [[-3, -3], [-3, 0], [0, 3], [3, 3]]


def test_samples_by_hand():
    """A layer of 2 x 4 pixels with dilation 1; the place (0.9, 0.1) is in its first row and last column."""
    layers = {"layer": LayerSampling(dilation_places(np.ones((2, 4), int)), np.ones((2, 4), int))}
    (sample,) = samples_at(layers, 0.9, 0.1)
    assert sample.centre == (3.5 / 4, 0.5 / 2)
    assert sample.places[0].tolist() == [2.5 / 4, -0.5 / 2] and sample.places[8].tolist() == [4.5 / 4, 1.5 / 2]
    # The second tap lies in the row above.
    assert sample.places[1].tolist() == [3.5 / 4, -0.5 / 2]
    (corner,) = samples_at(layers, 1.0, 1.0)
    assert corner.centre == (3.5 / 4, 1.5 / 2)


def test_histograms_by_hand():
    layers = [np.array([[0.4, 0.5], [7.0, 7.0]]), np.array([[1.0, 1.49], [1.5, 3.0]])]
    photos = iter(layers)
    source = OffsetSource(range(8), lambda photo: ({"a": LayerSampling(np.zeros((9, 2, 2, 2)), next(photos))}, []))
    # 0.5 rounds to 1, as the accelerator rounds.
    assert histograms(source, [PHOTO, PHOTO])["a"].tolist() == [1, 3, 1, 1, 0, 0, 0, 2]


def test_float_and_integer_networks_agree():
    """8-bit weights would not round alike: the snapped network's own dilations are the golden model's."""
    network, photos = prepared(TINY)
    graph, snapped = to_graph(quantize(network, calibrate(network, [normalize(photos)])), "test")
    photo = Image.fromarray(photos[0])
    layers, _ = graph_offsets(graph).sample(photo)
    values = {}
    for name, module in snapped.named_modules():
        if name.endswith("deform.dilation"):
            module.register_forward_hook(lambda _m, _i, value, name=name: values.update({name: value}))
    with torch.no_grad():
        snapped(normalize(photos[:1]).double())
    assert layers.keys() == values.keys()
    for name, value in values.items():
        assert np.array_equal(layers[name].distance, torch.floor(value[0, 0] + 0.5).clamp(0, 7).numpy())


@pytest.mark.parametrize("sampling", ["rounded", "square", "original", "bounded"])
def test_every_sampling_has_places(sampling):
    network = CoDeNet(TINY.replace(sampling=sampling), ("a",)).eval()
    layers, _ = network_offsets(network).sample(PHOTO)
    assert len(layers) == 3
    for layer in layers.values():
        # Before training all taps lie where those of an ordinary convolution do.
        regular = dilation_places(np.ones(layer.places.shape[2:], int))
        assert layer.places == pytest.approx(regular)
        assert (layer.distance is None) == (sampling in ("original", "bounded"))


def test_square_distances_may_be_negative():
    network = CoDeNet(TINY.replace(sampling="square"), ("a",)).eval()
    with torch.no_grad():
        network.decoder[0].deform.dilation.bias.fill_(-20.0)
    totals = histograms(network_offsets(network), [PHOTO])
    assert totals["decoder.0.deform.dilation"].tolist() == [4] + [0] * 15
    assert totals["decoder.1.deform.dilation"].tolist() == [0] * 8 + [16] + [0] * 7


def test_networks_without_one_distance_a_pixel():
    with pytest.raises(CodenetError, match="sampling is 'regular', expected one with offsets"):
        network_offsets(CoDeNet(TINY.replace(sampling="regular"), ("a",)))
    with pytest.raises(CodenetError, match="deform.offsets: each tap has offsets of its own"):
        histograms(network_offsets(CoDeNet(TINY.replace(sampling="original"), ("a",)).eval()), [PHOTO])


def test_bars_are_as_high_as_their_share():
    picture = np.asarray(histogram_picture({"layer": np.array([30, 10])}, 0, conflicts=[1]))
    heights = [int((picture == colour).all(axis=2).any(axis=1).sum()) for colour in ((59, 111, 182), (209, 73, 91))]
    assert heights == [pytest.approx(0.75 * 180, abs=2), pytest.approx(0.25 * 180, abs=2)]


def test_dots_lie_at_their_places():
    photo = Image.new("RGB", (600, 500), "black")
    places = np.array([[0.25, 0.5], [1.1, 0.5], *[[0.5, 0.5]] * 7])
    picture = np.asarray(sampling_picture(photo, [Samples("layer", (0.5, 0.5), places)]))
    # A tenth of the width beyond the photo, and 8 pixels: the margin at both sides.
    left, top = (picture.shape[1] - 600) // 2, 8
    assert left == pytest.approx(0.1 * 600 + 8, abs=1)
    for x, y in ((0.25, 0.5), (1.1, 0.5)):
        assert picture[round(top + y * 500), round(left + x * 600)].tolist() == [230, 60, 50]
    assert picture[top + 100, left + 100].tolist() == [0, 0, 0]


def test_command(coco_folder, tmp_path, capsys):
    graph = untrained(TINY, ("cat", "dog"))
    graph.save(tmp_path / "tiny.cdg")
    network = CoDeNet(TINY, ("cat", "dog"))
    Trainer(network, TrainConfig(), float_identity(network)).save(tmp_path / "tiny.pt")
    for name in ("tiny.cdg", "tiny.pt"):
        output = tmp_path / f"{name}-offsets"
        assert offsets.main([str(tmp_path / name), "--data", str(coco_folder), "-o", str(output), "--draw", "1"]) == 0
        content = json.loads((output / "offsets.json").read_text())
        assert content["images"] == 2 and content["source"] == name
        # Two images, of 2, 4 and 8 pixels squared.
        assert [sum(counts) for counts in content["dilations"].values()] == [8, 32, 128]
        assert set(content["dilations"]) == {f"decoder.{n}.deform.dilation" for n in range(3)}
        pictures = sorted(path.name for path in output.glob("*.png"))
        assert pictures == ["histogram.png", "samples-one.png"]
    photo = coco_folder / "images" / "two.png"
    words = [tmp_path / "tiny.cdg", "--data", coco_folder, "-o", tmp_path / "photos", "--photos", photo]
    assert offsets.main([str(word) for word in words]) == 0
    assert [path.name for path in (tmp_path / "photos").glob("samples-*")] == ["samples-two.png"]
    data = load_data(coco_folder, "val", ("cat", "dog"))
    source = graph_offsets(graph)
    expected = sum(source.sample(Image.open(r.path))[0]["decoder.2.deform.dilation"].distance == 3 for r in data).sum()
    stored = json.loads((tmp_path / "tiny.cdg-offsets" / "offsets.json").read_text())
    assert stored["dilations"]["decoder.2.deform.dilation"][3] == expected
    assert "nine cycles" in capsys.readouterr().out


def test_command_says_what_is_wrong(tmp_path, coco_folder, capsys):
    (tmp_path / "x.onnx").touch()
    assert offsets.main([str(tmp_path / "x.onnx"), "--data", str(coco_folder), "-o", str(tmp_path)]) == 2
    assert "suffix is '.onnx', expected .cdg or .pt" in capsys.readouterr().err

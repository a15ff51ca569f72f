# SPDX-License-Identifier: Apache-2.0
"""The mean of checkpoints: arithmetic, what fits together, and that the commands take it."""

import pytest
import torch

from codenet.errors import CodenetError
from models import soup, train
from models.network.checkpoints import load_checkpoint, load_network
from models.network.config import CONFIGS
from models.network.detector import CoDeNet
from models.quantization import load_precision, load_quantized, quantized_identity
from models.quantization.convert import calibrate, quantize
from models.quantization.precision import Precision
from models.zoo.shelve import save_compact
from tests.models.common import TINY


def write(path, seed=0, config=TINY, classes=("cat", "dog")):
    torch.manual_seed(seed)
    save_compact(CoDeNet(config, classes), path)
    return path


def write_quantized(path, scale=1.0, precision=None):
    """A quantized checkpoint whose learned parameters are ``scale`` times those of the same network."""
    torch.manual_seed(0)
    precision = precision or Precision()
    network = CoDeNet(TINY, ("cat", "dog"))
    images = torch.rand(2, 3, TINY.size, TINY.size)
    network = quantize(network, calibrate(network, [images]), precision)
    state = {key: value * scale if value.is_floating_point() else value for key, value in network.state_dict().items()}
    torch.save({**quantized_identity(network, precision), "network": state, "average": state}, path)
    return path


def test_mean_of_three(tmp_path):
    paths = [write(tmp_path / f"{n}.pt", seed=n) for n in range(3)]
    output = tmp_path / "new" / "soup.pt"
    assert soup.main([*map(str, paths), "-o", str(output)]) == 0
    states, found = [load_checkpoint(path)["average"] for path in paths], load_network(output).state_dict()
    for key, value in found.items():
        if value.is_floating_point():
            expected = sum(state[key].double() for state in states) / 3
            torch.testing.assert_close(value.double(), expected, rtol=2e-3, atol=1e-4)  # Weights travel as float16.
    assert not torch.equal(found["decoder.0.deform.weight"], states[0]["decoder.0.deform.weight"].float())


def test_counters_are_not_averaged():
    states = [{"n": torch.tensor(count), "w": torch.tensor([float(count)])} for count in (3, 6)]
    assert soup.mean_state(states) == {"n": torch.tensor(3), "w": torch.tensor([4.5])}


def test_sum_of_many_is_exact_before_it_is_rounded():
    """In float16 the running sum of 3000 ones would end at 2048."""
    states = [{"w": torch.ones(1, dtype=torch.float16)}] * 3000
    assert soup.mean_state(states)["w"].item() == 1


def test_quantized_networks(tmp_path):
    paths = [write_quantized(tmp_path / f"{scale}.pt", scale) for scale in (1.0, 1.5)]
    output = tmp_path / "soup.pt"
    assert soup.main([*map(str, paths), "-o", str(output)]) == 0
    first, found = load_quantized(paths[0]).state_dict(), load_quantized(output).state_dict()
    assert load_precision(output) == Precision()
    for key, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, first[key] * 1.25)


def test_training_starts_from_it_and_does_not_resume(tmp_path, coco_folder, capsys, monkeypatch):
    monkeypatch.setitem(CONFIGS, "a", TINY)
    output = tmp_path / "run" / "checkpoint.pt"
    assert soup.main([*(str(write(tmp_path / f"{n}.pt", n)) for n in range(2)), "-o", str(output)]) == 0
    words = [*"--batch 2 --iterations 1 --workers 1 --no-tensorboard --config a --data".split(), str(coco_folder)]
    assert train.main([*words, "--output", str(tmp_path / "started"), "--start", str(output)]) == 0
    assert load_checkpoint(tmp_path / "started" / "checkpoint.pt")["step"] == 1
    assert train.main([*words, "--output", str(output.parent), "--resume"]) == 2
    assert "has weights alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda path: write(path, config=TINY.replace(size=TINY.size * 2)), "config is"),
        (lambda path: write(path, classes=("cat", "cow")), r"classes is \['cat', 'cow'\], expected \['cat', 'dog'\]"),
        (write_quantized, "kind is 'quantized', expected 'float'"),
        (lambda path: path.write_bytes(b"no"), "no PyTorch file"),
    ],
)
def test_others_do_not_fit(other, message, tmp_path):
    first, second = write(tmp_path / "first.pt"), tmp_path / "second.pt"
    other(second)
    with pytest.raises(CodenetError, match=f"second.pt: {message}"):
        soup.soup([first, second])


def test_precisions_do_not_mix(tmp_path):
    paths = [tmp_path / "w4a8.pt", tmp_path / "w4a4.pt"]
    write_quantized(paths[0])
    write_quantized(paths[1], precision=Precision(activations=4))
    with pytest.raises(CodenetError, match=r"w4a4\.pt: precision is"):
        soup.soup(paths)


def test_state_of_another_shape(tmp_path):
    first, second = write(tmp_path / "first.pt"), write(tmp_path / "second.pt")
    state = load_checkpoint(second)
    del state["average"]["heads.size.out.bias"]
    torch.save(state, second)
    with pytest.raises(CodenetError, match=r"second\.pt: heads\.size\.out\.bias: only in some"):
        soup.soup([first, second])
    state["average"]["heads.size.out.bias"] = torch.zeros(3)
    torch.save(state, second)
    with pytest.raises(CodenetError, match=r"second\.pt: heads\.size\.out\.bias: shape is \[3\], expected \[2\]"):
        soup.soup([first, second])


def test_one_is_no_soup_and_files_are_kept(tmp_path, capsys):
    path = write(tmp_path / "first.pt")
    assert soup.main([str(path), "-o", str(tmp_path / "soup.pt")]) == 2
    assert "1 checkpoints, expected at least 2" in capsys.readouterr().err
    content = path.read_bytes()
    assert soup.main([str(path), str(path), "-o", str(path)]) == 2
    assert "exists, expected a new file" in capsys.readouterr().err
    assert path.read_bytes() == content

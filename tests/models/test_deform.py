"""The deformable convolution against a slow reference."""

import numpy as np
import pytest
import torch

from models.deform import DeformDepthwise, deform_depthwise, dilation_masks, round_dilation


def reference(x, weight, d):
    """Loops straight from the definition; x [C, H, W], weight [C, 3, 3], d [H, W], integers."""
    channels, height, width = x.shape
    out = np.zeros_like(x)
    for y in range(height):
        for column in range(width):
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    row, col = y + i * d[y, column], column + j * d[y, column]
                    if 0 <= row < height and 0 <= col < width:
                        out[:, y, column] += weight[:, i + 1, j + 1] * x[:, row, col]
    return out


def compare(x, weight, d):
    out = deform_depthwise(
        torch.from_numpy(x)[None].double(),
        torch.from_numpy(weight)[:, None].double(),
        torch.from_numpy(d)[None, None].double(),
    )
    assert (out[0].numpy() == reference(x, weight, d)).all()


@pytest.mark.parametrize(("height", "width"), [(9, 13), (16, 5), (1, 1), (1, 7), (3, 3)])
def test_random_integers(height, width):
    rng = np.random.default_rng(height * 100 + width)
    x = rng.integers(-128, 128, (4, height, width))
    weight = rng.integers(-7, 8, (4, 3, 3))
    compare(x, weight, rng.integers(0, 8, (height, width)))


@pytest.mark.parametrize("d", range(8))
def test_each_dilation(d):
    rng = np.random.default_rng(d)
    x = rng.integers(-128, 128, (2, 17, 16))
    compare(x, rng.integers(-7, 8, (2, 3, 3)), np.full((17, 16), d))


def test_dilation_one_is_an_ordinary_convolution():
    x, weight = torch.randn(2, 5, 8, 8), torch.randn(5, 1, 3, 3)
    expected = torch.nn.functional.conv2d(x, weight, padding=1, groups=5)
    assert torch.equal(deform_depthwise(x, weight, torch.ones(2, 1, 8, 8)), expected)


@pytest.mark.parametrize(
    ("s", "d"),
    [(-3.0, 0), (-0.5, 0), (0.49, 0), (0.5, 1), (1.5, 2), (2.5, 3), (6.49, 6), (6.5, 7), (7.0, 7), (100.0, 7)],
)
def test_rounding_is_half_up_and_bounded(s, d):
    assert round_dilation(torch.tensor(s)).item() == d
    for grad in (False, True):
        masks = dilation_masks(torch.full((1, 1, 1, 1), s, requires_grad=grad))
        assert torch.allclose(masks.flatten(), torch.eye(8)[d])


@pytest.mark.parametrize(("s", "low"), [(1.0, 1), (1.3, 1), (1.7, 1), (0.0, 0), (6.9, 6), (7.0, 6)])
def test_gradient_to_the_dilation_is_that_of_interpolation(s, low):
    x, weight = torch.randn(1, 1, 20, 20).double(), torch.randn(1, 1, 3, 3).double()
    dilation = torch.full((1, 1, 20, 20), s, dtype=torch.float64, requires_grad=True)
    deform_depthwise(x, weight, dilation).sum().backward()
    at = [deform_depthwise(x, weight, torch.full((1, 1, 20, 20), float(d)).double()) for d in (low, low + 1)]
    assert torch.allclose(dilation.grad, at[1] - at[0])


def test_no_gradient_beyond_the_bounds():
    s = torch.tensor([[[[-1.0, 8.0]]]], requires_grad=True)
    deform_depthwise(torch.randn(1, 1, 1, 2), torch.randn(1, 1, 3, 3), s).sum().backward()
    assert s.grad.abs().sum() == 0


def test_gradients_to_input_and_weight_are_exact():
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    s = torch.randint(0, 8, (1, 1, 6, 6)).double()
    assert torch.autograd.gradcheck(lambda a, b: deform_depthwise(a, b, s), (x, weight))


def test_layer_starts_at_dilation_one_and_learns_it():
    layer = DeformDepthwise(3)
    x = torch.randn(1, 3, 8, 8)
    assert (round_dilation(layer.dilation(x)) == 1).all()
    layer(x).square().sum().backward()
    assert layer.dilation.weight.grad.abs().sum() > 0 and layer.dilation.bias.grad.abs().sum() > 0

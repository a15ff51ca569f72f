# SPDX-License-Identifier: Apache-2.0
"""The deformable convolution against a slow reference."""

import numpy as np
import pytest
import torch

from models.network.config import ALL_DILATIONS, CONFLICT_FREE_OR_ZERO, SAMPLINGS
from models.network.deform import (
    DeformConv,
    dilation_masks,
    gathered_conv,
    offset_places,
    round_dilation,
    rounded_conv,
    sampled_conv,
    square_places,
)
from tests.models.common import TINY


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
    out = rounded_conv(
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
    assert torch.equal(rounded_conv(x, weight, torch.ones(2, 1, 8, 8)), expected)


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
    rounded_conv(x, weight, dilation).sum().backward()
    at = [rounded_conv(x, weight, torch.full((1, 1, 20, 20), float(d)).double()) for d in (low, low + 1)]
    assert torch.allclose(dilation.grad, at[1] - at[0])


def test_no_gradient_beyond_the_bounds():
    s = torch.tensor([[[[-1.0, 8.0]]]], requires_grad=True)
    rounded_conv(torch.randn(1, 1, 1, 2), torch.randn(1, 1, 3, 3), s).sum().backward()
    assert s.grad.abs().sum() == 0


def test_gradients_to_input_and_weight_are_exact():
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    s = torch.randint(0, 8, (1, 1, 6, 6)).double()
    assert torch.autograd.gradcheck(lambda a, b: rounded_conv(a, b, s), (x, weight))


def test_layer_starts_at_dilation_one_and_learns_it():
    layer = DeformConv(TINY, 3)
    x = torch.randn(1, 3, 8, 8)
    assert (round_dilation(layer.dilation(x)) == 1).all()
    layer(x).square().sum().backward()
    assert layer.dilation.weight.grad.abs().sum() > 0 and layer.dilation.bias.grad.abs().sum() > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_full_convolution_with_dilations(channels):
    rng = np.random.default_rng(channels)
    x, d = rng.integers(-128, 128, (channels, 9, 11)), rng.integers(0, 8, (9, 11))
    weight = rng.integers(-7, 8, (2, channels, 3, 3))
    out = rounded_conv(*(torch.from_numpy(v).double() for v in (x[None], weight, d[None, None])))[0].numpy()
    for o in range(2):
        assert (out[o] == reference(x, weight[o], d).sum(axis=0)).all()


@pytest.mark.parametrize("dilations", [CONFLICT_FREE_OR_ZERO, (0, 7), (3,), (1, 2, 3), ALL_DILATIONS], ids=str)
def test_rounding_to_a_set(dilations):
    s = torch.arange(-2, 10, 0.25)
    expected = [min(dilations, key=lambda member: (abs(member - v), -member)) for v in s.tolist()]
    assert round_dilation(s, dilations).tolist() == expected
    for grad in (False, True):
        masks = dilation_masks(s.clone().view(1, 1, 1, -1).requires_grad_(grad), dilations)
        assert torch.allclose(
            (masks.flatten(1).T * torch.tensor(dilations).float()).sum(dim=1), torch.tensor(expected).float()
        )
        assert torch.allclose(masks.sum(dim=0), torch.ones(()))


def test_gradient_of_a_set_is_that_of_interpolation_between_its_members():
    x, weight = torch.randn(1, 1, 20, 20).double(), torch.randn(1, 1, 3, 3).double()
    s = torch.full((1, 1, 20, 20), 2.6, dtype=torch.float64, requires_grad=True)
    rounded_conv(x, weight, s, CONFLICT_FREE_OR_ZERO).sum().backward()
    at = [rounded_conv(x, weight, torch.full_like(s, float(d)).detach()) for d in (2, 4)]
    assert torch.allclose(s.grad, (at[1] - at[0]) / 2)


def bilinear(image, row, column):
    """Image [H, W] at a fractional place, zero outside."""
    total = 0.0
    for r in (np.floor(row), np.floor(row) + 1):
        for c in (np.floor(column), np.floor(column) + 1):
            if 0 <= r < image.shape[0] and 0 <= c < image.shape[1]:
                total += (1 - abs(row - r)) * (1 - abs(column - c)) * image[int(r), int(c)]
    return total


def slow_sampled(x, weight, places):
    """Loops; x [C, H, W], weight [O, C or 1, 3, 3], places [9, 2, H, W]."""
    channels, height, width = x.shape
    out = np.zeros((len(weight), height, width))
    for o, y, column in np.ndindex(*out.shape):
        for tap in range(9):
            i, j = y + places[tap, 0, y, column], column + places[tap, 1, y, column]
            for k in range(weight.shape[1]):
                sample = bilinear(x[o if weight.shape[1] == 1 else k], i, j)
                out[o, y, column] += weight[o, k, tap // 3, tap % 3] * sample
    return out


@pytest.mark.parametrize(("inputs", "shape"), [(3, (3, 1)), (3, (2, 3)), (1, (1, 1))], ids=["depthwise", "full", "one"])
@pytest.mark.parametrize(("height", "width"), [(5, 4), (1, 3), (1, 1)])
def test_bilinear_sampling_against_loops(inputs, shape, height, width):
    rng = np.random.default_rng(height)
    x, weight = rng.normal(size=(inputs, height, width)), rng.normal(size=(*shape, 3, 3))
    places = rng.normal(size=(9, 2, height, width)) * 2
    places[0] = -1  # whole numbers too
    out = sampled_conv(*(torch.from_numpy(v) for v in (x[None], weight, places[None])))
    assert np.allclose(out[0].numpy(), slow_sampled(x, weight, places))


def test_offsets_are_two_a_tap_from_the_regular_places():
    offsets = torch.zeros(1, 18, 1, 1)
    offsets[0, 0], offsets[0, 17], offsets[0, 8] = 0.5, 20, -9
    places = offset_places(offsets, bounded=False)[0, :, :, 0, 0]
    assert places[0].tolist() == [-0.5, -1] and places[8].tolist() == [1, 21] and places[4].tolist() == [-9, 0]
    assert places[3].tolist() == [0, -1]
    bounded = offset_places(offsets, bounded=True)[0, :, :, 0, 0]
    assert bounded[8].tolist() == [1, 7] and bounded[4].tolist() == [-7, 0] and bounded[0].tolist() == [-0.5, -1]


@pytest.mark.parametrize(("s", "distance"), [(1.5, 1.5), (-2.25, -2.25), (-30, -7), (30, 8)])
def test_square_places(s, distance):
    places = square_places(torch.full((1, 1, 1, 1), s))[0, :, :, 0, 0]
    assert places.tolist() == [[i * distance, j * distance] for i in (-1, 0, 1) for j in (-1, 0, 1)]


@pytest.mark.parametrize("d", [1, 3])
def test_square_at_whole_numbers_is_rounded(d):
    x, weight = torch.randn(2, 3, 9, 7).double(), torch.randn(4, 3, 3, 3).double()
    s = torch.full((2, 1, 9, 7), float(d)).double()
    assert torch.allclose(sampled_conv(x, weight, square_places(s)), rounded_conv(x, weight, s))


@pytest.mark.parametrize("outputs", [None, 5], ids=["depthwise", "full"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_every_layer_starts_as_an_ordinary_convolution_and_learns(sampling, outputs):
    layer = DeformConv(TINY.replace(sampling=sampling), 4, outputs, norm=True, relu=True)
    x = torch.randn(2, 4, 6, 7)
    out = layer(x)
    plain = torch.nn.functional.conv2d(x, layer.weight, padding=1, groups=4 if outputs is None else 1)
    expected = torch.relu(torch.nn.functional.batch_norm(plain, None, None, training=True))
    assert torch.allclose(out, expected, atol=1e-5)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


@pytest.mark.parametrize("kernel", [5, 7, 9])
def test_larger_regular_kernels(kernel):
    layer = DeformConv(TINY.replace(sampling="regular", kernel=kernel), 4)
    x = torch.randn(1, 4, 6, 6)
    assert layer.weight.shape == (4, 1, kernel, kernel)
    expected = torch.nn.functional.conv2d(x, layer.weight, padding=kernel // 2, groups=4)
    assert torch.equal(layer(x), expected)


def test_weight_gradient_in_mixed_precision_is_finite():
    """oneDNN's own, of a dilated depthwise convolution in bfloat16, is 1e30 at times."""
    layer = DeformConv(TINY, 128)
    torch.nn.init.constant_(layer.dilation.bias, 3.0)
    x = torch.randn(8, 128, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x.bfloat16()).sum().backward()
    found = layer.weight.grad.clone()
    layer.zero_grad()
    layer(x).sum().backward()
    exact = layer.weight.grad
    assert torch.allclose(found, exact, atol=2.0, rtol=0.05)


@pytest.mark.parametrize("members", [ALL_DILATIONS, CONFLICT_FREE_OR_ZERO, (1, 2, 4, 5, 7), (3,)])
def test_reading_samples_is_the_same_function_with_the_same_gradients(members):
    """What a GPU computes, `gathered_conv`: also for pixels whose ``s`` lies outside of the members."""
    generator = torch.Generator().manual_seed(len(members))
    x = torch.randn(2, 5, 9, 12, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(5, 1, 3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    s = (torch.rand(2, 1, 9, 12, generator=generator, dtype=torch.float64) * 12 - 2).requires_grad_()
    grad = torch.randn(2, 5, 9, 12, generator=generator, dtype=torch.float64)
    expected, found = (conv(x, weight, s, members) for conv in (rounded_conv, gathered_conv))
    torch.testing.assert_close(found, expected)
    wanted, given = (torch.autograd.grad(out, (x, weight, s), grad, allow_unused=True) for out in (expected, found))
    for one, other in zip(wanted, given, strict=True):
        torch.testing.assert_close(other, torch.zeros_like(other) if one is None else one)

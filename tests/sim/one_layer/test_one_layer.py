# SPDX-License-Identifier: Apache-2.0
"""The one-layer study on the small array: results against NumPy, under calm and nervous memory; the full size is
slow.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from codenet.config import AcceleratorConfig
from codenet.errors import ConfigError
from codenet.golden import operators as golden
from sim.one_layer import study as one_layer
from sim.one_layer.offsets import GRID, Distribution, Range, dilations, inside, random_dilations, random_offsets, sample
from sim.one_layer.program import Kind, Layer, Memory, build
from sim.one_layer.study import run, table
from sim.timing import DramTiming

SMALL = AcceleratorConfig.small()
NERVOUS = DramTiming(
    latency=5, outstanding=3, bytes_per_cycle=12, refresh_interval=211, refresh_cycles=17, jitter=70, stall=0.3, seed=5
)

RANGES = {
    "ordinary": dict(range=Range.ORDINARY),
    "planes": dict(range=Range.UNBOUNDED, memory=Memory.PLANES),
    "pixels": dict(range=Range.UNBOUNDED, memory=Memory.PIXELS),
    "pixels, near": dict(range=Range.UNBOUNDED, memory=Memory.PIXELS, distribution=Distribution.NEAR),
    "bounded": dict(range=Range.BOUNDED),
    "bounded, near": dict(range=Range.BOUNDED, distribution=Distribution.NEAR),
    "square": dict(range=Range.SQUARE),
}

SIZES = {
    "8x8": dict(height=8, width=8, channels=16, outputs=16),
    "odd": dict(height=7, width=5, channels=32, outputs=48),
    "rows wrap": dict(height=33, width=4, channels=16, outputs=16),
    "one pixel": dict(height=1, width=1, channels=16, outputs=16),
}


@pytest.mark.parametrize("timing", [DramTiming(), NERVOUS], ids=["calm", "nervous"])
@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("samples", RANGES)
def test_equals_numpy(samples, size, kind, timing):
    row = run(Layer(kind, **RANGES[samples], **SIZES[size]), SMALL, timing)
    assert row.mismatches == 0
    assert row.cycles == sum(row.counters[name] for name in list(row.counters)[:6])


@pytest.mark.parametrize("samples", ["planes", "pixels", "bounded"])
def test_offsets_of_the_next_step_wait_for_their_turn(samples):
    """Several steps: the parameters of the next come through the port that the offsets come through."""
    layer = Layer(Kind.FULL, **RANGES[samples], height=6, width=7, channels=32, outputs=256)
    row = run(layer, SMALL, NERVOUS)
    assert (row.steps, row.mismatches) == (6, 0)


def test_reads_a_sample_for_each_tap_inside():
    layer = Layer(Kind.DEPTHWISE, Range.UNBOUNDED, Memory.PLANES, Distribution.NEAR, 8, 8, 32)
    row = run(layer, SMALL)
    offsets = random_offsets(layer.range, layer.distribution, 8, 8, _after_input(layer))
    samples = int(inside(offsets).sum())
    assert 0 < samples < 9 * 64
    descriptor, parameters, records = 128, 8 * (2 + 2 + 25 * 2), 24 * 64
    assert row.read_bytes == descriptor + parameters + records + 32 * samples
    assert row.write_bytes == 32 * 64


def test_bounded_takes_the_turns_of_the_fullest_bank():
    """All samples of a pixel from one bank (a turn each), and from nine (one turn), where nothing else takes as long as
    the turns.
    """
    layer = Layer(Kind.DEPTHWISE, Range.BOUNDED, height=15, width=15, channels=80)
    cycles = {}
    for distance in (2, 3):
        offsets = np.broadcast_to((distance - 1) * GRID, (15, 15, 9, 2)).astype(np.int8)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sim.one_layer.program.random_offsets", lambda *_, offsets=offsets: offsets)
            row = run(layer, SMALL)
        assert row.mismatches == 0
        cycles[distance] = row.cycles
    # Taps outside the image take no turn: rows (and columns) have 12, 15 and 12 of them inside.
    turns = layer.planes * (12 + 15 + 12) ** 2
    # Rows are loaded before and meanwhile: two beats a vector.
    loading = 2 * layer.planes * 15 * 15
    assert cycles[2] < turns < cycles[3] < turns + loading


def test_samples_are_those_of_the_golden_window():
    rng = np.random.default_rng(3)
    x = rng.integers(-128, 128, (9, 12, 16), dtype=np.int8)
    ordinary = random_offsets(Range.ORDINARY, Distribution.UNIFORM, 9, 12, rng)
    assert np.array_equal(sample(x, ordinary, -5), golden.window(x, 1, 1, -5))
    square = random_offsets(Range.SQUARE, Distribution.UNIFORM, 9, 12, rng)
    assert set(np.unique(dilations(square))) == set(range(8))
    assert np.array_equal(sample(x, square, 7), golden.window(x, dilations(square), 1, 7))


def test_a_sample_by_hand():
    x = np.arange(6, dtype=np.int8).reshape(2, 3, 1)
    offsets = np.zeros((2, 3, 9, 2), np.int8)
    offsets[0, 1, 0] = (2, 1)  # tap (-1, -1) of pixel (0, 1): pixel (1, 1)
    offsets[0, 1, 4] = (0, 2)  # its centre: column 3, outside
    assert sample(x, offsets, 99)[0, 1, :, 0].tolist() == [4, 99, 99, 0, 99, 2, 3, 4, 5]


@pytest.mark.parametrize("distribution", [Distribution.UNIFORM, Distribution.NEAR])
def test_ranges(distribution):
    rng = np.random.default_rng(1)
    unbounded = random_offsets(Range.UNBOUNDED, distribution, 64, 64, rng)
    assert bool(inside(unbounded).all()) == (distribution == Distribution.UNIFORM)
    from_centre = random_offsets(Range.BOUNDED, distribution, 64, 64, rng) + GRID
    assert np.abs(from_centre).max() <= 7
    values = random_dilations(distribution, 64, 64, rng)
    assert 0 <= values.min() and values.max() <= 7
    assert set(np.unique(random_dilations(Distribution.CONFLICT_FREE, 64, 64, rng))) == {1, 2, 4, 5, 7}


def test_results_are_no_constants():
    for kind in Kind:
        expected = build(Layer(kind, height=8, width=8, channels=16, outputs=16), SMALL).expected
        assert len(np.unique(expected)) > 100, kind


def test_data_depend_on_the_seed_alone():
    layers = [
        Layer(Kind.SEPARABLE, Range.BOUNDED, height=5, width=5, channels=16, outputs=16, seed=n) for n in (1, 1, 2)
    ]
    first, same, other = (build(layer, SMALL).expected for layer in layers)
    assert np.array_equal(first, same) and not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (dict(kind=Kind.FULL, channels=20), "channels = 20: expected a multiple of 16"),
        (dict(kind=Kind.FULL, range=Range.SQUARE, memory=Memory.PLANES), "square samples from planes"),
        (dict(kind=Kind.FULL, range=Range.UNBOUNDED), "unbounded samples from the window"),
        (dict(kind=Kind.FULL, range=Range.SQUARE), "to fit window_depth = 128"),
        (
            dict(kind=Kind.DEPTHWISE, distribution=Distribution.CONFLICT_FREE),
            "distribution conflict-free of ordinary offsets",
        ),
        (
            dict(kind=Kind.DEPTHWISE, range=Range.UNBOUNDED, memory=Memory.PLANES, height=300, width=4),
            "image of 300x4: offsets in",
        ),
    ],
)
def test_refusals(layer, message):
    with pytest.raises(ConfigError, match=message):
        build(Layer(**layer), SMALL)


def test_report(tmp_path, monkeypatch, capsys):
    layers = [Layer(Kind.DEPTHWISE, **fields, **SIZES["8x8"]) for fields in RANGES.values()]
    monkeypatch.setattr(one_layer, "study", lambda kinds: ((layer, SMALL) for layer in layers))
    assert one_layer.main(["--kind", "depthwise", "-o", str(tmp_path / "rows.json")]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    cycles = {(row["range"], row["memory"], row["distribution"]): row["cycles"] for row in rows}
    square = cycles["square", "window", "uniform"]
    faster = ", ".join(f"{cycles['unbounded', memory, 'uniform'] / square:.2f}" for memory in ("planes", "pixels"))
    assert f"| {faster} | 0 | 2.1 | 9.76 |" in printed


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_full_size(kind):
    rows = list(one_layer.rows([kind]))
    assert all(row.mismatches == 0 for row in rows), table(rows)


def _after_input(layer: Layer) -> np.random.Generator:
    """The generator as it is when the layer's offsets are drawn."""
    rng = np.random.default_rng(layer.seed)
    rng.integers(-128, 128, (layer.height, layer.width, layer.channels), dtype=np.int8)
    return rng

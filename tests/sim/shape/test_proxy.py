# SPDX-License-Identifier: Apache-2.0
"""The estimate of accuracy."""

import json

import pytest

from codenet import compiler
from codenet.errors import CodenetError, FormatError
from models.network import get_config
from models.quantization.outline import outline
from sim.shape.proxy import PRECISIONS, Detector, Proxy, carried_out, macs, paper, shipped
from sim.shape.shapes import SPACE, Shape
from tests.models.common import TINY


@pytest.mark.parametrize("config", [TINY, TINY.replace(skips=True), get_config("f")], ids=["tiny", "skips", "f"])
def test_multiplications_are_those_of_the_program(config):
    graph = outline(config)
    program = compiler.compile(graph)
    assert sum(carried_out(graph).values()) == sum(program.step_macs) < program.graph_macs
    assert set(carried_out(graph)) == {"backbone", "decoder", "heads"}


def detectors(score):
    shapes = {name: Shape(get_config(name)) for name in "abcde"}
    return [Detector(name, source, shape, score(source, shape)) for source in ("paper", "shipped")
            for name, shape in shapes.items()]  # fmt: skip


def test_a_line_through_the_detectors_is_found():
    """Twice the pixels at the same multiplications a pixel: four times them for twice the sides."""

    def score(source, shape):
        doubled = 2 * (shape.config.size == 512)
        return (50 if source == "paper" else 40) + 3.5 * doubled + 2 * (shape.config.stem == "s2max")

    proxy = Proxy(detectors(score))
    a = Shape(get_config("a"))
    assert proxy(a, macs(a)) == pytest.approx(40)
    larger = a.replace({"size": 384})
    counts = {name: count * 9 // 4 for name, count in macs(a).items()}
    assert macs(larger) == counts
    assert proxy(larger, counts) == pytest.approx(40 + 3.5 * 2 * 0.585, abs=0.01)
    assert max(map(abs, proxy.errors.values())) < 1e-6


def test_a_part_that_grows_alone_gains_less():
    proxy = Proxy(detectors(lambda source, shape: sum(macs(shape).values()) / 1e8))
    a = Shape(get_config("a"))
    counts = macs(a)
    extra = sum(counts.values()) // 2

    def gain(changes):
        return proxy(a, {name: count + changes.get(name, 0) for name, count in counts.items()}) - proxy(a, counts)

    even = gain({name: count // 2 for name, count in counts.items()})
    assert 0 < gain({"heads": extra}) < even and 0 < gain({"decoder": extra}) < even


def test_precisions_that_are_searched_are_known():
    assert {str(precision) for precision in SPACE["precision"]} <= set(PRECISIONS)


def test_errors_are_of_fits_without_the_detector():
    """One that lies off the line of all others is missed by as much."""
    found = detectors(lambda source, shape: 40.0)
    proxy = Proxy([*found[:-1], Detector("e", "shipped", found[-1].shape, 45.0)])
    assert proxy.errors["shipped e"] == pytest.approx(-5, abs=1e-6)
    assert abs(proxy.errors["shipped a"]) < 5
    assert "missed by" in str(proxy)


def test_shipped_detectors_are_read_from_their_records(tmp_path):
    assert {detector.name for detector in shipped()} >= {"a", "b", "c"}
    record = {"config": TINY.to_dict(), "scores": {"golden": {"ap50": 0.25}}, "cycles": None}
    (tmp_path / "codenet-t.json").write_text(json.dumps(record))
    (found,) = shipped(tmp_path)
    assert (found.ap50, found.cycles, found.shape.config.size) == (25.0, None, TINY.size)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"config": {"size": 1}}'])
def test_what_is_no_record_is_named(tmp_path, text):
    (tmp_path / "codenet-x.json").write_text(text)
    with pytest.raises(FormatError, match="codenet-x.json: expected a record"):
        shipped(tmp_path)


def test_nothing_shipped_teaches_nothing():
    with pytest.raises(CodenetError, match="no record of a shipped detector"):
        Proxy(paper())

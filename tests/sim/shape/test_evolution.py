# SPDX-License-Identifier: Apache-2.0
"""The search, on costs and accuracies that are known."""

import pytest

from codenet.errors import CodenetError
from models.network import get_config
from sim.shape import search as module
from sim.shape.cost import Cost
from sim.shape.search import Candidate, Search, front
from sim.shape.shapes import Shape

SPACE = {"units.0": tuple(range(1, 9)), "units.1": tuple(range(1, 9)), "head": (32, 64)}


class Costs(dict):
    """A thousand cycles a unit of stage 1, three thousand one of stage 2; heads of 32 channels are refused."""

    def __missing__(self, shape):
        units = shape.config.units
        return Cost(None, "no heads") if shape.config.head == 32 else Cost(1000 * units[0] + 3000 * units[1])


@pytest.fixture
def search(monkeypatch):
    """At 1 MHz; units of stage 2 are worth twice as much as those of stage 1."""
    start = Shape(get_config("a").replace(units=(1, 1, 1)))
    monkeypatch.setattr(module, "starts", lambda sizes: [start])
    monkeypatch.setattr(module, "macs", lambda shape: {"backbone": 1})
    proxy = lambda shape, _: shape.config.units[0] + 2.0 * shape.config.units[1]  # noqa: E731
    return Search(Costs(), proxy, 1.0, {"size": (256,), **SPACE})


def test_the_best_is_found(search):
    """Of 20,000 cycles: eight units of stage 1, four of stage 2."""
    search.run(50, 128)
    best, *others = search.best(50, 5)
    assert best.shape.config.units[:2] == (8, 4) and best.fps == 50
    assert all(other.fps >= 50 and other.ap50 <= best.ap50 for other in others) and len(others) == 4
    assert search.refused and all(shape.config.head == 32 for shape in search.refused)


def test_equal_searches_find_the_same(search):
    other = Search(Costs(), search.proxy, 1.0, search.space)
    search.run(100, 40)
    other.run(100, 40)
    assert list(other.found) == list(search.found) and search.seen == 40


def test_it_ends_where_there_is_nothing_new(search):
    search.run(50, 100_000)
    assert 60 < search.seen <= 8 * 8 * 2


def test_a_second_rate_looks_at_others(search):
    search.run(50, 30)
    search.run(100, 30)
    assert search.seen == 60


def test_what_nothing_reaches_names_the_fastest(search):
    search.run(1000, 60)
    with pytest.raises(CodenetError, match=r"1000 frames a second: none of 60 .*at most 250.0, .*256x256 s4.*1-1-1"):
        search.best(1000, 5)


def test_all_refused(search):
    search.costs = dict.fromkeys(module.starts(()), Cost(None, "too large"))
    search.run(1, 10)
    with pytest.raises(CodenetError, match="1 shapes, all refused by the compiler: too large"):
        search.best(1, 5)


def test_front_by_hand():
    shape = Shape(get_config("a"))
    points = [(100, 50), (50, 60), (75, 55), (60, 54), (100, 49), (40, 60)]
    found = front([Candidate(shape, 1, fps, 1, ap50) for fps, ap50 in points])
    assert [(candidate.fps, candidate.ap50) for candidate in found] == [(100, 50), (75, 55), (50, 60)]

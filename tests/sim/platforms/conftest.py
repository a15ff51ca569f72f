# SPDX-License-Identifier: Apache-2.0
"""A simulated board whose clock runs, and the processing system around it."""

from functools import partial

import pytest

from codenet.devices import selftest
from codenet.devices.linux.interrupt import UioInterrupt
from sim.platforms.live_board import LiveBoard
from sim.platforms.processing_system import ProcessingSystem, SimulatedTime
from sim.timing import DramTiming
from tests.board.networks import SMALL


@pytest.fixture
def timing():
    return DramTiming()


@pytest.fixture
def live(timing):
    board = LiveBoard(SMALL, timing)
    yield board
    board.close()


@pytest.fixture
def held(live, monkeypatch):
    """To be called: the clock stands until somebody waits for an interrupt, so that it cannot come before."""
    wait = UioInterrupt.wait

    def waiting(interrupt, seconds):
        live.running.set()
        return wait(interrupt, seconds)

    monkeypatch.setattr(UioInterrupt, "wait", waiting)
    return live.running.clear


@pytest.fixture
def system():
    return ProcessingSystem(narrow_ports=(0, 1))


@pytest.fixture
def simulated_time(monkeypatch, live, system):
    """The self-test measures the simulated clock, which it need not do for long; the machine may be busy with other
    things.
    """
    monkeypatch.setattr(selftest, "SECONDS", 60.0)
    monkeypatch.setattr(selftest, "time", SimulatedTime(live, system))
    monkeypatch.setattr(selftest, "measure_clock", partial(selftest.measure_clock, seconds=0.0001))

# SPDX-License-Identifier: Apache-2.0
"""The examples run as they stand in the repository, and decide as they say."""

import importlib.util
import socket

import pytest

from codenet import Detection
from codenet.checkout import ROOT
from tests.codenet.live.stage import seen

PHOTOS = ROOT / "docs" / "photos"


def example(name):
    """The module of an example, which is no package's."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "sw" / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_boxes(number, *boxes, label="person"):
    detections = [Detection(label, 0, 0.5, box) for box in boxes]
    return seen(number, detections=detections, photo_size=(100, 200))


def test_people_are_counted_where_they_stand():
    said = []
    counter = example("count_people").Counter("person", (0.5, 0.5, 1.0, 1.0), said.append)
    inside, left, above = (120, 10, 160, 80), (20, 10, 60, 80), (120, 10, 160, 40)
    for number, boxes in enumerate([(), (inside,), (inside, left), (inside, inside, above), (left,)], 1):
        counter.seen(with_boxes(number, *boxes))
    counter.seen(with_boxes(6, inside, label="cat"))
    assert said == ["frame 1: 0 x person", "frame 2: 1 x person", "frame 4: 2 x person", "frame 5: 0 x person"]


def test_counting_runs(capsys):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [str(PHOTOS), "--label", "cat", "--threshold", "0.4", "--serve", str(port)]
    example("count_people").main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"page at http://127.0.0.1:{port}/", "frame 1: 0 x cat", "frame 2: 1 x cat", "frame 3: 0 x cat"]


@pytest.fixture
def relay(tmp_path):
    """A relay, and what its switch says."""
    switch = tmp_path / "value"
    return example("relay").Relay(switch, "cat", frames=2, hold=3.0), switch.read_text


def test_relay_wants_to_be_sure_and_holds(relay, capsys):
    relay, switch = relay
    cat, nothing = [(0, 0, 9, 9)], []
    told = []
    for number, boxes in enumerate([cat, nothing, cat, cat, nothing, nothing, cat, nothing, nothing, nothing], 1):
        relay.seen(with_boxes(number, *boxes, label="cat"))  # A frame a second.
        told.append(switch())
    assert "".join(told) == "0001111110"
    assert capsys.readouterr().out == "cat: on\ncat: off\n"


def test_relay_is_off_for_others_without_a_camera_and_at_the_end(relay):
    relay, switch = relay
    box = (0, 0, 9, 9)
    for number in (1, 2, 3):
        relay.seen(with_boxes(number, box, label="dog"))
    assert switch() == "0"
    for end in (lambda: relay.lost("gone"), relay.close):
        relay.seen(with_boxes(4, box, label="cat"))
        relay.seen(with_boxes(5, box, label="cat"))
        assert switch() == "1"
        end()
        assert switch() == "0"


def test_relay_runs(tmp_path, capsys):
    switch = tmp_path / "value"
    example("relay").main([str(PHOTOS / "chelsea.jpg"), "--switch", str(switch), "--frames", "1"])
    assert capsys.readouterr().out == "cat: on\ncat: off\n" and switch.read_text() == "0"

# SPDX-License-Identifier: Apache-2.0
"""Traces and charts: what viewers read must add up to what was counted."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from codenet.registers import ProfileCounter
from codenet.svg import HEIGHT, WIDTH, Axis, Chart
from sim.benchmark.plots import StepBar, causes, pareto_front, roofline, utilization
from sim.benchmark.trace import TracedStep, trace
from sim.cycles.model import CAUSES
from sim.performance.roofline import Roof
from tests.sim.performance.test_search import candidate

SVG = "{http://www.w3.org/2000/svg}"
# Active, parameters, input, window, output, drain; read and written beats.
STEPS = [
    TracedStep("first", (60, 10, 20, 5, 0, 5, 90, 30), 70),
    TracedStep("second & last", (150, 1, 0, 0, 40, 9, 100, 50), 100),
]
BARS = [
    StepBar("first", dict(zip(CAUSES, STEPS[0].counters, strict=False)), useful_macs=5000, moved_bytes=1000),
    StepBar("second <last>", dict(zip(CAUSES, STEPS[1].counters, strict=False)), useful_macs=90_000, moved_bytes=900),
    StepBar("peaks", dict(zip(CAUSES, STEPS[1].counters, strict=False)), useful_macs=0, moved_bytes=900),
]


def test_trace_follows_the_format():
    """Complete events need name, ts, dur, pid and tid; counters numbers; metadata names."""
    document = json.loads(json.dumps(trace("frame", STEPS, 150e6)))
    assert document["displayTimeUnit"] in ("ms", "ns")
    for event in document["traceEvents"]:
        assert event["ph"] in "MXC" and event["pid"] == 1 and event["name"]
        if event["ph"] == "X":
            assert event["ts"] >= 0 and event["dur"] > 0 and event["tid"] >= 1
        if event["ph"] == "C":
            assert event["args"] and all(isinstance(value, float) for value in event["args"].values())
        if event["ph"] == "M":
            assert event["args"]["name"]


def test_steps_begin_where_the_one_before_ends():
    events = trace("frame", STEPS, 100e6)["traceEvents"]
    steps = [event for event in events if event["ph"] == "X" and event["tid"] == 1]
    # 100 cycles and 200 cycles of 10 ns.
    assert [(event["name"], event["ts"], event["dur"]) for event in steps] == [
        ("first", 0, pytest.approx(1.0)),
        ("second & last", pytest.approx(1.0), pytest.approx(2.0)),
    ]
    assert [event["args"]["start_cycle"] for event in steps] == [0, 100]


def test_causes_of_a_step_sum_to_it():
    events = trace("frame", STEPS, 1e6)["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    for step in STEPS:
        slices = [event for event in events if event["ph"] == "X" and event["name"] == step.name and event["tid"] > 1]
        assert sum(event["dur"] for event in slices) == step.cycles
        by_name = {names[event["tid"]].split(",")[0]: event["dur"] for event in slices}
        assert by_name["active"] == step.counters[ProfileCounter.ACTIVE]
    # A cause without cycles has no slice.
    assert not any(
        event["name"] == "first" and names[event["tid"]].startswith("wait_output")
        for event in events
        if event["ph"] == "X"
    )


def test_ports():
    counters = [event for event in trace("frame", STEPS, 1e6)["traceEvents"] if event["ph"] == "C"]
    assert [event["args"] for event in counters] == [
        {"port 0 read": 0.7, "port 1 read": 0.2, "port 0 write": 0.3},
        {"port 0 read": 0.5, "port 1 read": 0.0, "port 0 write": 0.25},
        {"port 0 read": 0.0, "port 1 read": 0.0, "port 0 write": 0.0},
    ]


def elements(text: str, kind: str) -> list[ElementTree.Element]:
    """Data elements of a chart: those with a tip."""
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    return [element for element in root.iter(f"{SVG}{kind}") if element.find(f"{SVG}title") is not None]


def test_utilization_bars_are_as_wide_as_their_steps():
    bars = elements(utilization("title", BARS, 512), "rect")
    widths, heights = ([float(bar.get(name)) for bar in bars] for name in ("width", "height"))
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    # 5000 of 51200 and 90000 of 102400 multiply-accumulates.
    assert heights[1] / heights[0] == pytest.approx((90_000 / 102_400) / (5_000 / 51_200), rel=0.02)
    assert "first: 100 cycles, 10 %" in bars[0].find(f"{SVG}title").text


def test_causes_stack_to_the_step():
    bars = elements(causes("title", BARS), "rect")
    assert len(bars) == len(BARS) * len(CAUSES)
    heights = [sum(float(bar.get("height")) for bar in bars[n : n + 6]) for n in (0, 6)]
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.01)


def test_roofline_leaves_out_steps_without_multiplications():
    dots = elements(roofline("title", BARS, Roof(512, 9.66)), "circle")
    assert len(dots) == 2
    first, second = ((float(dot.get("cx")), float(dot.get("cy"))) for dot in dots)
    assert second[0] > first[0] and second[1] < first[1]


def test_pareto_chart_marks_the_chosen_shape():
    shapes = [candidate(10, 5), candidate(20, 9, ("bram36",))]
    text = pareto_front("title", shapes, "bram36", shapes[0])
    assert len(elements(text, "circle")) == 3
    assert shapes[0].name in text


def test_everything_lies_inside_the_picture():
    for text in (utilization("t", BARS, 512), causes("t", BARS), roofline("t", BARS, Roof(512, 9.66))):
        for element in elements(text, "rect"):
            assert 0 <= float(element.get("x")) <= WIDTH and 0 <= float(element.get("y")) <= HEIGHT
        for element in elements(text, "circle"):
            assert 0 <= float(element.get("cx")) <= WIDTH and 0 <= float(element.get("cy")) <= HEIGHT


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis("x", 0, 100), [0, 20, 40, 60, 80, 100]),
        (Axis("x", 0, 8), [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (Axis("x", 0.5, 2000, log=True), [1, 10, 100, 1000]),
        (Axis("x", 0, 0.35), [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35]),
    ],
)
def test_ticks(axis, ticks):
    assert axis.ticks() == pytest.approx(ticks)


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (0, 5, True), (3, 2, False)])
def test_impossible_axis(low, high, log):
    with pytest.raises(ValueError, match="expected a range"):
        Axis("x", low, high, log)


def test_text_is_escaped():
    chart = Chart('a < b & "c"', Axis("x", 0, 1), Axis("y", 0, 1))
    chart.point(0.5, 0.5, "#000", "<tip>")
    root = ElementTree.fromstring(chart.text())
    assert root.get("aria-label") == 'a < b & "c"'

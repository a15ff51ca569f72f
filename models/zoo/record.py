# SPDX-License-Identifier: Apache-2.0
"""What is known of a trained detector, as JSON, and its card, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codenet.fit import LETTERBOX, STRETCH
from models.network.config import NetworkConfig
from models.quantization.precision import Precision

#: Scores of a record, and what the card calls them.
SCORES = {
    "float": "floating point",
    "golden": "{precision}, the integers of the hardware (golden model)",
}

#: Texts that only people know; the card says so where one is missing.
ABOUT = ("data", "started_from", "commands", "limits")

_FITTED = {STRETCH: "stretched to", LETTERBOX: "letterboxed into"}
_STEMS = {"s4": "a stem of stride 4", "s2max": "a stem of stride 2 and a maximum"}


def _describe(config: NetworkConfig, precision: Precision) -> str:
    width = "1x" if config.channels[1] == 116 else f"stages of {', '.join(map(str, config.channels[1:4]))} channels"
    dilations = ", ".join(map(str, config.dilations))
    rows, columns = config.input_size
    return (
        f"Configuration {config.name}: ShuffleNetV2 {width} with {_STEMS[config.stem]}, {rows}x{columns} pixels, "
        f"deformable decoder (variant {config.deform}, dilations {dilations}). Precision {precision}: "
        f"{precision.weights}-bit weights ({precision.stem}-bit stem), {precision.activations}-bit activations."
    )


def _accuracy(record: Mapping[str, Any]) -> list[str]:
    """The table of scores: one line each, the rules of VOC and the classes beside."""
    classes = record["classes"]
    header = ["", "AP50", "AP", "VOC 11-point", "VOC all-point", *classes]
    lines = [header, ["---"] * len(header)]
    for key, title in SCORES.items():
        score = record["scores"][key]
        by_class = [score["ap50_by_class"][name] for name in classes]
        values = [score["ap50"], score["ap"], score["eleven_point"], score["all_point"], *by_class]
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        lines.append([title.format(precision=record["precision"]), *cells])
    return [f"| {' | '.join(line)} |" for line in lines]


def card(name: str, record: Mapping[str, Any]) -> str:
    """The card of detector ``name``: Markdown."""
    config, precision = NetworkConfig.from_dict(record["config"]), Precision.from_dict(record["bits"])
    about, golden = record["about"], record["scores"]["golden"]
    cycles = record["cycles"]
    frame = f"not simulated yet: `make sim CONFIG={name}`"
    if cycles is not None:
        frame = f"{cycles:,}, RTL simulation (`make sim CONFIG={name}`); no board has been measured"
    rows, columns = config.input_size
    graph, floats = f"codenet-{name}.cdg", f"codenet-{name}.pt"
    command = f"python -m models.train --start-from models/zoo/{floats}"
    facts = {
        "classes": ", ".join(record["classes"]),
        "graph": f"[{graph}]({graph}); compiled for the default accelerator: `sw/codenet/zoo/codenet-{name}.cdn`",
        "floating point": f"[{floats}]({floats}), to fine-tune from: `{command}`",
        "data": about.get("data", "not recorded"),
        "started from": about.get("started_from", "not recorded"),
        "evaluated on": f"{golden['images']} images, split `{record['split']}` of `{record['data']}`",
        "input": f"RGB, {_FITTED[config.fit]} {rows}x{columns}; one resolution, no flip averaging",
        "cycles a frame": frame,
    }
    commands = about.get("commands", ["not recorded"])
    lines = [
        f"# codenet-{name}",
        f"<!-- Made by python -m models.zoo card {name} from codenet-{name}.json. -->",
        "",
        _describe(config, precision),
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in facts.items()),
        "",
        "## Accuracy",
        "",
        "AP50 and AP by COCO's evaluation, AP50 by the two rules of VOC; by class AP50 by COCO's.",
        "",
        *_accuracy(record),
        "",
        "## Commands",
        "",
        *(f"    {command}" for command in commands),
        "",
        "## Limits",
        "",
        about.get("limits", "Not recorded."),
    ]
    return "\n".join(lines) + "\n"

# SPDX-License-Identifier: Apache-2.0
"""Average precision of a program, graph or checkpoint: ``python -m models.evaluate PROGRAM --data FOLDER --split val``.

Each photo is stretched to the network's one resolution and seen once: no flip averaging, no scales. Prints COCO's AP50
and AP (pycocotools) and the two rules of VOC (`models.evaluation.voc_metric`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from codenet import command, files
from codenet.vision.boxes import IOU_THRESHOLD
from models.command import check_outputs, number
from models.data import load_data
from models.evaluation import evaluate_file, read_classes


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command.Parser(prog="python -m models.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="compiled program (.cdn), graph (.cdg) or checkpoint (.pt)")
    parser.add_argument("--data", type=Path, required=True, help="folder in COCO JSON, VOC XML or YOLO format")
    parser.add_argument("--split", default="val")
    parser.add_argument(
        "--device",
        default="golden",
        help="what runs a .cdn program: golden, rtl (slow: with --limit), a board's (golden)",
    )
    parser.add_argument(
        "--iou-threshold",
        "--overlap",
        type=number(float, 0, 1),
        default=IOU_THRESHOLD,
        help=f"of boxes that count as one object; 1: suppress none ({IOU_THRESHOLD})",
    )
    parser.add_argument("--limit", type=number(int, 1), help="evaluate only the first images")
    parser.add_argument("--exact", action="store_true", help="snap a quantized checkpoint's scales, as export does")
    parser.add_argument("--workers", type=number(int, 1), default=1, help="processes that share the images (1)")
    parser.add_argument("--json", type=Path, help="write the scores to this file, too")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    if options.json is not None:
        check_outputs([options.json], [options.program])
    data = load_data(options.data, options.split, read_classes(options.program), limit=options.limit)
    score = evaluate_file(options.program, data, options.device, options.exact, options.workers, options.iou_threshold)
    print(score.table())
    if options.json is not None:
        what = {"program": options.program.name, "data": options.data.name, "split": options.split}
        settings = {"device": options.device, "iou_threshold": options.iou_threshold}
        files.write_json(options.json, {**what, **settings, **score.to_dict()})


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for anything that cannot be evaluated."""
    return command.run("models.evaluate", lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""The paper's ablation of the deformable convolution: ``python -m models.ablation --data FOLDER --output FOLDER``.

Trains and evaluates one network a row and seed, everything else being equal, and writes the table (``OUTPUT/table.md``)
after each. Stopped, it goes on where it was when started again with the same arguments; seeds and rows may be added
later.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codenet import command, files
from codenet.config import CONFLICT_FREE
from codenet.errors import CodenetError
from models.command import number
from models.data import ANIMALS, load_data
from models.network.config import CONFIGS, CONFLICT_FREE_OR_ZERO, NetworkConfig, get_config
from models.quantization import Precision, add_arguments, from_arguments
from models.studies import (
    Job,
    Schedule,
    Store,
    float_result,
    quantized_result,
    run_jobs,
    seconds_per_step,
    spread,
)
from models.training import has_fast_bfloat16
from models.training.command import input_size

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A network of the ablation: what differs from the accelerator's, and AP and AP50 that the paper reports, in
    percent, for VOC and COCO.
    """

    key: str
    title: str
    changes: dict[str, Any] = field(default_factory=dict)
    voc: tuple[float, float] | None = None
    coco: tuple[float, float] | None = None

    def config(self, base: NetworkConfig) -> NetworkConfig:
        """This row's network; its name is the row's key."""
        return base.replace(name=self.key, **self.changes)


def _regular(kernel: int, **more: Any) -> dict[str, Any]:
    return {"sampling": "regular", "kernel": kernel, **more}


#: The rows of the paper's table 3, in its order, then ours: rounding, the set without bank conflicts, and full
#: convolutions.
ROWS = (
    Row("3x3", "3x3", _regular(3, depthwise=False), (39.2, 60.8), (21.4, 36.5)),
    Row("3x3-depthwise", "3x3 depthwise", _regular(3), (39.1, 60.9), (19.8, 34.3)),
    Row("5x5-depthwise", "5x5 depthwise", _regular(5), (40.6, 62.4), (21.3, 36.4)),
    Row("7x7-depthwise", "7x7 depthwise", _regular(7), (41.9, 63.8), (21.7, 37.2)),
    Row("9x9-depthwise", "9x9 depthwise", _regular(9), (42.3, 64.8), (22.2, 37.8)),
    Row("original", "deformable, depthwise", {"sampling": "original"}, (42.9, 64.4), (23.0, 38.4)),
    Row("bounded", "+ bound 7", {"sampling": "bounded"}, (41.0, 63.0), (21.3, 36.4)),
    Row("square", "+ bound, square", {"sampling": "square"}, (41.1, 63.1), (21.5, 36.8)),
    Row(
        "square-fpn",
        "square, also in the backbone, with FPN",
        {"sampling": "square", "deform_backbone": True, "fpn": True},
        (43.4, 65.7),
        (24.2, 39.8),
    ),
    Row("rounded", "+ bound, square, rounded to integers"),
    Row("conflict-free-or-zero", "the same, rounded to {0, 1, 2, 4, 5, 7}", {"dilations": CONFLICT_FREE_OR_ZERO}),
    Row("one-cycle", "the same, rounded to {1, 2, 4, 5, 7}", {"dilations": CONFLICT_FREE}),
    Row("rounded-backbone", "rounded, also in the backbone", {"deform_backbone": True}),
    Row("original-full", "deformable, full", {"sampling": "original", "depthwise": False}),
    Row("bounded-full", "full, + bound 7", {"sampling": "bounded", "depthwise": False}),
    Row("square-full", "full, + bound, square", {"sampling": "square", "depthwise": False}),
    Row("rounded-full", "full, + bound, square, rounded to integers", {"depthwise": False}),
)


def choose_rows(keys: Sequence[str]) -> tuple[Row, ...]:
    """Rows by key, in the table's order; `CodenetError` for a key that is none."""
    known = {row.key for row in ROWS}
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise CodenetError(f"row {unknown[0]!r}: expected one of {', '.join(row.key for row in ROWS)}")
    return tuple(row for row in ROWS if row.key in keys)


def run_name(row: Row, seed: int) -> str:
    """Name of a floating-point run."""
    return f"{row.key}-seed{seed}"


def quantized_name(row: Row, seed: int, precision: Precision) -> str:
    """Name of a quantized run."""
    return f"{run_name(row, seed)}-{precision}".replace(" ", "-").replace("=", "-")


def _runs_on_accelerator(config: NetworkConfig) -> bool:
    try:
        config.check_accelerator()
    except CodenetError:
        return False
    return True


def make_jobs(
    rows: Sequence[Row], seeds: Sequence[int], base: NetworkConfig, schedule: Schedule, store: Store
) -> list[Job]:
    """The floating-point runs, seed by seed: after a part of the time there is a whole table."""
    return [
        Job(
            run_name(row, seed),
            float_result,
            (row.config(base), schedule, seed, store.run_folder(run_name(row, seed))),
        )
        for seed in seeds
        for row in rows
    ]


def make_quantized_jobs(
    rows: Sequence[Row],
    seeds: Sequence[int],
    base: NetworkConfig,
    schedule: Schedule,
    store: Store,
    precision: Precision,
    iterations: int,
) -> list[Job]:
    """Fine-tuning of the floating-point runs' networks, of those that the accelerator runs."""
    return [
        Job(
            quantized_name(row, seed, precision),
            quantized_result,
            (
                store.run_folder(run_name(row, seed)) / "checkpoint.pt",
                schedule,
                precision,
                iterations,
                seed,
                store.run_folder(quantized_name(row, seed, precision)),
            ),
        )
        for seed in seeds
        for row in rows
        if _runs_on_accelerator(row.config(base))
    ]


def _cells(store: Store, names: Sequence[str]) -> tuple[str, str, int]:
    """AP, AP50 and the number of results among runs ``names``."""
    results = [result for name in names if (result := store.result(name)) is not None]
    if not results:
        return "", "", 0
    return spread([r["ap"] for r in results]), spread([r["ap50"] for r in results]), len(results)


def make_table(store: Store, rows: Sequence[Row], seeds: Sequence[int], precision: Precision | None) -> str:
    """The table, Markdown; the paper's figures have columns of their own. Rows without a result have empty cells."""
    quantized = [] if precision is None else [f"{precision} AP", f"{precision} AP50"]
    header = ["operation", "AP", "AP50", *quantized, "seeds", "paper, VOC: AP", "AP50", "paper, COCO: AP", "AP50"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        ap, ap50, count = _cells(store, [run_name(row, seed) for seed in seeds])
        cells = [row.title, ap, ap50]
        if precision is not None:
            cells += _cells(store, [quantized_name(row, seed, precision) for seed in seeds])[:2]
        paper = [
            f"{value:.1f}" if value is not None else "" for pair in (row.voc, row.coco) for value in pair or (None,) * 2
        ]
        lines.append([*cells, str(count), *paper])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def estimate(rows: Sequence[Row], base: NetworkConfig, schedule: Schedule, seeds: int, cache: Path) -> str:
    """Measure a few steps of each row: seconds a step, and hours for all, one process at a time."""
    lines, total = [], 0.0
    for row in rows:
        seconds = seconds_per_step(row.config(base), schedule, cache)
        hours = seconds * schedule.iterations * seeds / 3600
        total += hours
        lines.append(f"{row.key:18} {seconds:6.2f} s a step {hours:6.2f} hours")
    return "\n".join([*lines, f"{'all':18} {total:23.2f} hours of one process, without evaluation"])


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command.Parser(prog="python -m models.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True, metavar="FOLDER[:SPLIT]", help="to train on (split train)")
    parser.add_argument(
        "--val-data",
        nargs="+",
        metavar="FOLDER[:SPLIT]",
        help="to evaluate on (default: split val of the first folder)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for results, checkpoints and table")
    parser.add_argument(
        "--rows", nargs="+", default=[row.key for row in ROWS], help=f"of {', '.join(r.key for r in ROWS)}"
    )
    parser.add_argument("--seeds", nargs="+", type=number(int, 0), default=[1])
    parser.add_argument("--config", choices=list(CONFIGS), default="b", help="the other parts of the network (b)")
    parser.add_argument(
        "--size",
        type=input_size,
        default=256,
        metavar="SIDE|HEIGHTxWIDTH",
        help="of the input in pixels (256; the paper's: 512)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--iterations", type=number(int, 1), default=600)
    length.add_argument(
        "--epochs", type=number(float, 1e-6), help="instead of iterations: how often each image is seen"
    )
    parser.add_argument("--batch", type=number(int, 1), default=16)
    parser.add_argument("--rate", type=number(float, 0), default=1e-3)
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--backbone", "--trunk", type=Path, metavar="FILE", help="backbone weights to start from")
    start.add_argument(
        "--start-from",
        "--start",
        type=Path,
        metavar="CHECKPOINT",
        help="a trained detector: all rows start from its backbone and heads, decoders from random weights",
    )
    parser.add_argument(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        default=has_fast_bfloat16(),
        help="train with convolutions in bfloat16 (default: where the processor has it)",
    )
    parser.add_argument("--classes", nargs="+", default=list(ANIMALS))
    parser.add_argument("--limit", type=number(int, 1), help="evaluate on the first images only")
    parser.add_argument("--jobs", type=number(int, 1), default=1, help="runs at a time, one thread each")
    parser.add_argument(
        "--quantize",
        type=number(int, 1),
        metavar="ITERATIONS",
        help="fine-tune the rows that the accelerator runs, too",
    )
    parser.add_argument(
        "--estimate", action="store_true", help="measure some steps of each row and say how long all takes"
    )
    parser.add_argument("--table", action="store_true", help="print the table of what there is, train nothing")
    add_arguments(parser)
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    rows, precision = choose_rows(options.rows), from_arguments(options)
    base = get_config(options.config).replace(size=options.size)
    classes, iterations = tuple(options.classes), options.iterations
    if options.epochs is not None:
        images = len(load_data(options.data, "train", classes))
        iterations = math.ceil(options.epochs * images / options.batch)
    schedule = Schedule(
        tuple(options.data),
        classes,
        iterations,
        options.batch,
        options.rate,
        options.bfloat16,
        options.backbone,
        options.start_from,
        None if options.val_data is None else tuple(options.val_data),
        limit=options.limit,
    )
    if options.estimate:
        print(estimate(rows, base, schedule, len(options.seeds), options.output / "runs" / "cache"))
        return
    store = Store(options.output, {**schedule.to_dict(), "base": base.to_dict(), "quantize": options.quantize})
    shown = precision if options.quantize is not None else None

    def table() -> str:
        text = make_table(store, rows, options.seeds, shown)
        files.write(options.output / "table.md", text)
        return text

    if not options.table:
        run_jobs(
            make_jobs(rows, options.seeds, base, schedule, store),
            store,
            options.jobs,
            lambda: logger.info("\n%s", table()),
        )
    if not options.table and shown is not None:
        jobs = make_quantized_jobs(rows, options.seeds, base, schedule, store, shown, options.quantize)
        run_jobs(jobs, store, options.jobs, lambda: logger.info("\n%s", table()))
    print(table(), end="")


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for arguments or data that do not fit."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return command.run("models.ablation", lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())

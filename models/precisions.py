# SPDX-License-Identifier: Apache-2.0
"""One network at several precisions: ``python -m models.precisions CHECKPOINT --data FOLDER --output FOLDER``.

Fine-tunes a floating-point checkpoint at each precision and writes a table (``OUTPUT/table.md``). What the accelerator
runs is evaluated on the golden model's integers, the rest in PyTorch.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codenet import command, files
from models.command import number
from models.evaluation import Score, evaluate, network_source
from models.network import load_checkpoint, load_network
from models.quantization import Exemption, Precision
from models.studies import Job, Schedule, Store, quantized_result, run_jobs
from models.training.fine_tune import DEFAULTS

logger = logging.getLogger(__name__)

#: Name on the command line, and precision.
PRECISIONS = {
    "w4a8": Precision(),
    "w4a4": Precision(activations=4),
    "w8a8": Precision(weights=8, depthwise=8),
    "w8a8-depthwise4": Precision(weights=8),
    "mixed": Precision(mixed=(Exemption("decoder", 8), Exemption("heads", 8))),
}


def float_scores(checkpoint: Path, schedule: Schedule) -> dict[str, Any]:
    """Scores of the network to start from."""
    network = load_network(checkpoint)
    convolutions = sum(parameter.numel() for parameter in network.parameters() if parameter.ndim == 4)
    score: Score = evaluate(network_source(network), schedule.validation())
    return {**score.to_dict(), "precision": "W32A32", "device": "pytorch", "weight_bytes": 4 * convolutions}


def make_table(store: Store, names: Sequence[str]) -> str:
    """The table, Markdown, of the runs ``names`` that have a result, the floating-point network first."""
    lines = [["precision", "AP50", "against floating point", "AP", "weights, MB", "evaluated on"], ["---"] * 6]
    start = store.result("float")
    for name in ("float", *names):
        result = store.result(name)
        if result is None or start is None:
            continue
        lines.append(
            [
                result["precision"],
                f"{100 * result['ap50']:.1f}",
                f"{100 * (result['ap50'] - start['ap50']):+.1f}" if name != "float" else "",
                f"{100 * result['ap']:.1f}",
                f"{result['weight_bytes'] / 1e6:.2f}",
                "golden model" if result["device"] == "golden" else "PyTorch",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command.Parser(prog="python -m models.precisions", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint of python -m models.train")
    parser.add_argument("--data", nargs="+", required=True, metavar="FOLDER[:SPLIT]", help="to train on (split train)")
    parser.add_argument(
        "--val-data",
        nargs="+",
        metavar="FOLDER[:SPLIT]",
        help="to evaluate on (default: split val of the first folder)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for results, checkpoints and table")
    parser.add_argument("--precisions", nargs="+", choices=list(PRECISIONS), default=list(PRECISIONS))
    parser.add_argument("--iterations", type=number(int, 1), default=DEFAULTS.iterations)
    parser.add_argument("--batch", type=number(int, 1), default=DEFAULTS.batch)
    parser.add_argument("--seed", type=number(int, 0), default=DEFAULTS.seed)
    parser.add_argument("--limit", type=number(int, 1), help="evaluate on the first images only")
    parser.add_argument("--jobs", type=number(int, 1), default=1, help="runs at a time, one thread each")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    classes = tuple(load_checkpoint(options.checkpoint)["classes"])
    schedule = Schedule(
        tuple(options.data),
        classes,
        options.iterations,
        options.batch,
        DEFAULTS.rate,
        mixed=False,
        val=None if options.val_data is None else tuple(options.val_data),
        limit=options.limit,
    )
    schedule.training()  # What is wrong with the data comes up before an hour of work, not after it.
    store = Store(options.output, {**schedule.to_dict(), "seed": options.seed})
    if store.result("float") is None:
        store.add("float", float_scores(options.checkpoint, schedule))
    jobs = [
        Job(
            name,
            quantized_result,
            (options.checkpoint, schedule, PRECISIONS[name], options.iterations, options.seed, store.run_folder(name)),
        )
        for name in options.precisions
    ]

    def table() -> str:
        text = make_table(store, list(PRECISIONS))
        files.write(options.output / "table.md", text)
        return text

    run_jobs(jobs, store, options.jobs, lambda: logger.info("\n%s", table()))
    print(table(), end="")


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for a checkpoint or data that do not fit."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return command.run("models.precisions", lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())

"""One network at several precisions: ``python -m models.precisions CHECKPOINT --data FOLDER --output FOLDER``.

Fine-tunes a floating-point checkpoint at each precision and writes a table (``OUTPUT/table.md``). What the accelerator runs is evaluated on the
golden model's integers, the rest in PyTorch.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brevitas.nn import QuantConv2d

from models import qat
from models.command import exit_status
from models.evaluate import Score, evaluate, graph_source, network_source
from models.network.detector import CoDeNet
from models.quantization.precision import Exemption, Precision
from models.quantization.quantize import to_graph
from models.studies.study import Job, Schedule, Store, run_jobs
from models.train import load_checkpoint, load_network

logger = logging.getLogger(__name__)

#: Name on the command line, and precision.
PRECISIONS = {
    "w4a8": Precision(),
    "w4a4": Precision(activations=4),
    "w8a8": Precision(weights=8, depthwise=8),
    "w8a8-depthwise4": Precision(weights=8),
    "mixed": Precision(mixed=(Exemption("decoder", 8), Exemption("heads", 8))),
}


def weight_bytes(network: CoDeNet) -> int:
    """Bytes of all weights of a quantized network, biases and scales not among them."""
    convolutions = [module for module in network.modules() if isinstance(module, QuantConv2d)]
    return sum(conv.weight.numel() * int(conv.weight_quant.bit_width()) for conv in convolutions) // 8


def quantized_result(
    checkpoint: Path, schedule: Schedule, precision: Precision, iterations: int, seed: int, folder: Path
) -> dict[str, Any]:
    """Fine-tune a floating-point checkpoint by `models.qat`, or go on where a stopped run left off, and evaluate: scores and sizes.

    ``device`` is ``golden`` where the accelerator runs the network: the graph of integers, in ``folder`` too; otherwise ``pytorch``.
    """
    words = [checkpoint, "--data", *schedule.data, "--output", folder, "--iterations", iterations]
    words += ["--batch", schedule.batch, "--seed", seed, "--workers", 1, *precision.to_arguments()]
    if (folder / "checkpoint.pt").is_file():
        words.append("--resume")
    qat.fine_tune(qat.make_parser().parse_args(list(map(str, words))), 0)
    network = qat.load_quantized(folder / "checkpoint.pt")
    runs = precision.depthwise == 4
    if runs:
        to_graph(network, f"codenet-{network.config.name}")[0].save(folder / "graph.cdg")
    source = graph_source(folder / "graph.cdg") if runs else network_source(network)
    score = evaluate(source, schedule.validation())
    device = "golden" if runs else "pytorch"
    sizes = {"precision": str(precision), "device": device, "weight_bytes": weight_bytes(network)}
    return {**score.to_dict(), **sizes, "seed": seed, "iterations": iterations}


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
    parser.add_argument("--iterations", type=int, default=qat.DEFAULTS.iterations)
    parser.add_argument("--batch", type=int, default=qat.DEFAULTS.batch)
    parser.add_argument("--seed", type=int, default=qat.DEFAULTS.seed)
    parser.add_argument("--limit", type=int, help="evaluate on the first images only")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    classes = tuple(load_checkpoint(options.checkpoint)["classes"])
    schedule = Schedule(
        tuple(options.data),
        classes,
        options.iterations,
        options.batch,
        qat.DEFAULTS.rate,
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
        (options.output / "table.md").write_text(text)
        return text

    run_jobs(jobs, store, options.jobs, lambda: logger.info("\n%s", table()))
    print(table(), end="")


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for a checkpoint or data that do not fit."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    return exit_status(lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())

"""Quantization-aware fine-tuning: ``python -m models.qat FLOAT_CHECKPOINT --data FOLDER --output FOLDER``."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from pathlib import Path
from typing import Any

import torch

from codenet.errors import CodenetError
from models.command import exit_status
from models.data import cached_images, load_data
from models.network.config import NetworkConfig
from models.network.detector import CoDeNet
from models.quantization.precision import W4A8, Precision, add_arguments, from_arguments
from models.quantization.quantize import calibrate, quantize
from models.train import (
    Batches,
    TrainConfig,
    Trainer,
    add_common_arguments,
    check_output,
    load_checkpoint,
    load_network,
    setup_logging,
    start_workers,
)
from models.training.distill import FloatDistillation
from models.training.distributed import first_of_machine, from_first, pick_device

logger = logging.getLogger(__name__)

#: Batches that activation ranges are calibrated on.
CALIBRATION_BATCHES = 8

DEFAULTS = TrainConfig(
    iterations=800,
    rate=2e-4,
    decay=0.0,
    warmup=50,
    slope=0.0,
    ema=0.99,
    rates=(),
)


def quantized_identity(network: CoDeNet, precision: Precision = W4A8) -> dict[str, Any]:
    """What a checkpoint must have in common with the network that resumes from it, and its precision.

    The default precision is left out, as in checkpoints from before there was a choice: `load_precision`.
    """
    identity = {"kind": "quantized", "config": network.config.to_dict(), "classes": list(network.classes)}
    return identity if precision == W4A8 else {**identity, "precision": precision.to_dict()}


def load_precision(path: Path) -> Precision:
    """Precision of a quantized checkpoint; `CodenetError` if it is none."""
    state = load_checkpoint(path)
    if state["kind"] != "quantized":
        raise CodenetError(f"checkpoint {path}: kind is {state['kind']!r}, expected 'quantized'")
    return Precision.from_dict(state["precision"]) if "precision" in state else W4A8


def load_quantized(path: Path) -> CoDeNet:
    """The averaged quantized network of a checkpoint, in evaluation mode."""
    precision, state = load_precision(path), load_checkpoint(path)
    network = CoDeNet(NetworkConfig.from_dict(state["config"]), tuple(state["classes"]))
    # Any ranges will do: the state has the learned ones.
    empty = torch.zeros(1, 3, network.config.size, network.config.size)
    network = quantize(network, calibrate(network, [empty]), precision)
    network.load_state_dict(state["average"])
    return network.eval()


def _check_resumed(path: Path, precision: Precision) -> None:
    """`CodenetError` unless the checkpoint has this precision, which no shape of its arrays tells."""
    found = load_precision(path)
    if found != precision:
        raise CodenetError(f"checkpoint {path}: precision is {found}, expected {precision}")


def fine_tune(arguments: argparse.Namespace, worker: int) -> None:
    """One worker of a quantization-aware run."""
    setup_logging(arguments.output)
    torch.manual_seed(arguments.seed)
    device = pick_device(arguments.device)
    network = load_network(arguments.checkpoint)
    config = dataclasses.replace(
        DEFAULTS,
        iterations=arguments.iterations,
        batch=arguments.batch,
        rate=arguments.rate,
        seed=arguments.seed,
        cache_size=max(DEFAULTS.cache_size, network.config.size),
    )
    precision = from_arguments(arguments)
    data = from_first(load_data(arguments.data, "train", network.classes, trainable=True) if worker == 0 else None)
    with first_of_machine():
        images = cached_images(data, config.cache_size, arguments.output.parent / "cache")
    # All workers calibrate on the same images, so that they start equal.
    whole = Batches(data, images, config, network.config)
    ranges = calibrate(network, (whole[step].images for step in range(CALIBRATION_BATCHES)))
    quantized = quantize(network, ranges, precision).to(device, memory_format=torch.channels_last)
    distillation = FloatDistillation(quantized, network) if arguments.distill else None
    trainer = Trainer(quantized, config, quantized_identity(quantized, precision), distillation)
    path = arguments.output / "checkpoint.pt"
    if arguments.resume:
        _check_resumed(path, precision)
        trainer.resume(path, arguments.extend)
    if worker == 0:
        logger.info("network %s, %s, %s, %d images", network.config, precision, config, len(data))
    batches = Batches(data, images, config, network.config, worker, arguments.workers)
    trainer.run(batches, path, arguments.save_every, logger.info)


def make_parser() -> argparse.ArgumentParser:
    """The command line, whose arguments `fine_tune` takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of python -m models.train")
    add_common_arguments(parser, DEFAULTS)
    parser.add_argument(
        "--distill",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="learn features and outputs of the floating-point network too (default: yes)",
    )
    add_arguments(parser)
    return parser


def _run(arguments: argparse.Namespace) -> None:
    check_output(arguments)
    start_workers(arguments, fine_tune)


def main(words: list[str] | None = None) -> int:
    """Command line; status 2 for a checkpoint or data that do not fit."""
    return exit_status(lambda: _run(make_parser().parse_args(words)))


if __name__ == "__main__":
    sys.exit(main())

"""Quantization-aware fine-tuning: ``python -m models.qat FLOAT_CHECKPOINT --data FOLDER --output FOLDER``."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import Any

import torch

from codenet.errors import CodenetError
from models.configs import NetworkConfig
from models.data import cached_images, load_data
from models.detector import CoDeNet
from models.distill import FloatDistillation
from models.quantize import calibrate, quantize
from models.train import (
    Batches,
    TrainConfig,
    Trainer,
    add_common_arguments,
    load_checkpoint,
    load_network,
    setup_logging,
    start_workers,
)

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


def quantized_identity(network: CoDeNet) -> dict[str, Any]:
    """What a checkpoint must have in common with the network that resumes from it."""
    return {"kind": "quantized", "config": network.config.to_dict(), "classes": list(network.classes)}


def load_quantized(path: Path) -> CoDeNet:
    """The averaged quantized network of a checkpoint, in evaluation mode."""
    state = load_checkpoint(path)
    if state["kind"] != "quantized":
        raise CodenetError(f"checkpoint {path}: kind is {state['kind']!r}, expected 'quantized'")
    network = CoDeNet(NetworkConfig.from_dict(state["config"]), tuple(state["classes"]))
    # Any ranges will do: the state has the learned ones.
    empty = torch.zeros(1, 3, network.config.size, network.config.size)
    network = quantize(network, calibrate(network, [empty]))
    network.load_state_dict(state["average"])
    return network.eval()


def fine_tune(arguments: argparse.Namespace, worker: int) -> None:
    """One worker of a quantization-aware run."""
    setup_logging(arguments.output)
    torch.manual_seed(arguments.seed)
    network = load_network(arguments.checkpoint)
    config = dataclasses.replace(
        DEFAULTS,
        iterations=arguments.iterations,
        batch=arguments.batch,
        rate=arguments.rate,
        seed=arguments.seed,
        cache_size=max(DEFAULTS.cache_size, network.config.size),
    )
    data = load_data(arguments.data, "train", network.classes)
    images = cached_images(data, config.cache_size, arguments.output.parent / "cache")
    # All workers calibrate on the same images, so that they start equal.
    whole = Batches(data, images, config, network.config)
    ranges = calibrate(network, (whole[step].images for step in range(CALIBRATION_BATCHES)))
    quantized = quantize(network, ranges).to(memory_format=torch.channels_last)
    distillation = FloatDistillation(quantized, network) if arguments.distill else None
    trainer = Trainer(quantized, config, quantized_identity(quantized), distillation)
    path = arguments.output / "checkpoint.pt"
    if arguments.resume:
        trainer.resume(path)
    if worker == 0:
        logger.info("network %s quantized, %s, %d images", network.config, config, len(data))
    batches = Batches(data, images, config, network.config, worker, arguments.workers)
    trainer.run(batches, path, report=logger.info)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of python -m models.train")
    add_common_arguments(parser, DEFAULTS)
    parser.add_argument(
        "--distill",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="learn features and outputs of the floating-point network too (default: yes)",
    )
    start_workers(parser.parse_args(), fine_tune)


if __name__ == "__main__":
    main()

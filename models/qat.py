"""Quantization-aware fine-tuning: ``python -m models.qat FLOAT_CHECKPOINT --data FOLDER --output FOLDER``."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path
from typing import Any

import torch

from codenet.errors import CodenetError
from models.augment import Augmentation
from models.configs import NetworkConfig
from models.data import cached_images, load_data
from models.detector import CoDeNet
from models.quantize import calibrate, quantize
from models.train import (
    Batches,
    TrainConfig,
    Trainer,
    add_common_arguments,
    load_checkpoint,
    load_network,
    setup_logging,
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
    augmentation=Augmentation(scale=(0.7, 1.15), jitter=0.2),
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


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of python -m models.train")
    add_common_arguments(parser, DEFAULTS)
    arguments = parser.parse_args()
    setup_logging(arguments.output)
    torch.set_num_threads(arguments.threads)
    config = dataclasses.replace(
        DEFAULTS,
        iterations=arguments.iterations,
        batch=arguments.batch,
        rate=arguments.rate,
        seed=arguments.seed,
    )
    network = load_network(arguments.checkpoint)
    data = load_data(arguments.data, "train", network.classes)
    images = cached_images(data, config.cache_size, arguments.output.parent / "cache")
    batches = Batches(data, images, config, network.config)
    ranges = calibrate(network, (batches[step].images for step in range(CALIBRATION_BATCHES)))
    quantized = quantize(network, ranges).to(memory_format=torch.channels_last)
    trainer = Trainer(quantized, config, quantized_identity(quantized))
    path = arguments.output / "checkpoint.pt"
    if arguments.resume:
        trainer.resume(path)
    logger.info("network %s quantized, %s, %d images", network.config, config, len(data))
    trainer.run(batches, path, report=logger.info)


if __name__ == "__main__":
    main()

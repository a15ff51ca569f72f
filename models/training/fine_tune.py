# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware fine-tuning of a network that was trained in floating point."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch

from codenet.errors import CodenetError
from models.data import cached_images
from models.network import load_network
from models.quantization import W4A8, Precision, calibrate, load_precision, quantize, quantized_identity
from models.training.batches import Batches
from models.training.config import TrainConfig
from models.training.distill import FloatDistillation
from models.training.distributed import first_of_machine, from_first, pick_device
from models.training.run import Run, introduce, setup_logging, training_data
from models.training.trainer import Trainer

logger = logging.getLogger(__name__)

#: Batches that activation ranges are calibrated on.
CALIBRATION_BATCHES = 8

#: Settings of fine-tuning.
DEFAULTS = TrainConfig(
    iterations=800,
    rate=2e-4,
    decay=0.0,
    warmup=50,
    slope=0.0,
    ema=0.99,
    rates=(),
)


def _check_resumed(path: Path, precision: Precision) -> None:
    """`CodenetError` unless the checkpoint has this precision, which no shape of its arrays tells."""
    found = load_precision(path)
    if found != precision:
        raise CodenetError(f"checkpoint {path}: precision is {found}, expected {precision}")


def fine_tune(
    checkpoint: Path,
    run: Run,
    config: TrainConfig = DEFAULTS,
    precision: Precision = W4A8,
    distill: bool = True,
    worker: int = 0,
    workers: int = 1,
) -> None:
    """One process of a quantization-aware run from a floating-point ``checkpoint``; ``workers`` share each batch.

    With ``distill`` the quantized network learns the features and outputs of the floating-point one, too.
    `CodenetError` for a checkpoint, data or settings that do not fit; data need boxes of each of the network's classes.
    """
    setup_logging(run.output)
    torch.manual_seed(config.seed)
    device = pick_device(run.device)
    network = load_network(checkpoint)
    config = dataclasses.replace(config, cache_size=max(config.cache_size, *network.config.input_size))
    data = from_first(training_data(run.data, network.classes) if worker == 0 else None)
    with first_of_machine():
        images = cached_images(data, config.cache_size, run.cache)
    # All workers calibrate on the same images, so that they start equal.
    whole = Batches(data, images, config, network.config)
    if worker == 0:
        photos = CALIBRATION_BATCHES * config.batch
        logger.info("calibrating activation ranges on %d photos, then quantizing to %s", photos, precision)
    ranges = calibrate(network, (whole[step].images for step in range(CALIBRATION_BATCHES)))
    quantized = quantize(network, ranges, precision).to(device, memory_format=torch.channels_last)
    distillation = FloatDistillation(quantized, network) if distill else None
    trainer = Trainer(quantized, config, quantized_identity(quantized, precision), distillation)
    if run.resume and run.checkpoint.exists():
        _check_resumed(run.checkpoint, precision)
    if run.resume:
        trainer.resume(run.checkpoint, run.extend)
    if worker == 0:
        introduce(run, trainer, network.config, data)
    batches = Batches(data, images, config, network.config, worker, workers)
    trainer.run(batches, run.checkpoint, run.save_every, logger.info)

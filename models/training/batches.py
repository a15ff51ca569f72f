# SPDX-License-Identifier: Apache-2.0
"""Batches of augmented images with their targets, each a function of seed and step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from codenet.errors import CodenetError
from models.command import sheltered
from models.data import DetectionData
from models.data.augment import Sample
from models.network.config import NetworkConfig, normalize
from models.training.config import TrainConfig
from models.training.losses import Batch
from models.training.targets import make_targets


class Batches(Dataset[Batch]):
    """Augmented batches of a data set; batch ``step`` is a function of the seed and ``step`` alone.

    That makes a resumed run equal to an uninterrupted one without any random state in the checkpoint. Of several
    ``workers`` each gets its part of the same batch.
    """

    def __init__(
        self,
        data: DetectionData,
        images: np.ndarray,
        config: TrainConfig,
        network: NetworkConfig,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        if not len(data):
            raise CodenetError("training: the data set has no images, expected at least one")
        if config.batch < workers:
            raise CodenetError(f"training: batch is {config.batch} for {workers} processes, expected an image for each")
        self.data, self.images, self.config, self.network = data, images, config, network
        self.slots = range(worker, config.batch, workers)
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def _sample(self, position: int) -> int:
        """Index of the image at ``position`` of an endless sequence of shuffled epochs."""
        epoch, index = divmod(position, len(self.data))
        if epoch != self._epoch:
            self._epoch, rng = epoch, np.random.default_rng([self.config.seed, 0, epoch])
            self._order = rng.permutation(len(self.data))
        return int(self._order[index])

    def _load(self, index: int) -> Sample:
        record = self.data.records[index]
        unit = np.array([record.width, record.height] * 2, np.float64)
        return self.images[index], record.boxes[~record.crowd] / unit, record.labels[~record.crowd]

    def _frame(self, index: int) -> tuple[float, float]:
        """The network's input in units of a photo's sides, x and y."""
        record = self.data.records[index]
        return self.network.place((record.height, record.width)).frame

    def _augmented(self, step: int, slot: int) -> Sample:
        rng = np.random.default_rng([self.config.seed, 1, step, slot])
        first, size = self._sample(step * self.config.batch + slot), self.network.input_size
        mosaic = self.config.mosaic(step)
        if mosaic and rng.random() < mosaic:
            four = [first, *map(int, rng.integers(len(self.data), size=3))]
            frames = [self._frame(index) for index in four]
            return self.config.augmentation.combine([self._load(index) for index in four], size, rng, frames)
        return self.config.augmentation(*self._load(first), size, rng, self._frame(first))

    def __getitem__(self, step: int) -> Batch:
        images, targets = [], []
        for slot in self.slots:
            image, boxes, labels = self._augmented(step, slot)
            images.append(image)
            targets.append(make_targets(boxes, labels, len(self.data.classes), self.network.output_size))
        owner = np.concatenate([np.full(len(t.index), n, np.int64) for n, t in enumerate(targets)])
        return Batch(
            normalize(np.stack(images)),
            torch.from_numpy(np.stack([t.heatmap for t in targets])),
            torch.from_numpy(owner),
            torch.from_numpy(np.concatenate([t.index for t in targets])),
            torch.from_numpy(np.concatenate([t.box for t in targets])),
            torch.from_numpy(np.concatenate([t.weight for t in targets])),
        )


def feed(batches: Batches, first: int, last: int, loaders: int = 0) -> Iterator[Batch]:
    """Batches ``first`` to ``last - 1``, in order; prepared ahead of time by ``loaders`` processes if there are any."""
    if not loaders:
        yield from (batches[step] for step in range(first, last))
        return
    steps = range(first, last)
    pin = torch.cuda.is_available()
    loader = DataLoader(batches, batch_size=None, sampler=steps, num_workers=loaders, pin_memory=pin)
    with sheltered():
        prepared = iter(loader)
    yield from prepared

"""Loading of ShuffleNetV2 trunk weights trained elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from codenet.errors import CodenetError
from models.backbone import Backbone
from models.blocks import ConvNorm
from models.configs import PIXEL_OFFSET, PIXEL_SCALE

#: ImageNet statistics in pixel values, the input normalization of torchvision-style trunks.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

#: Positions of (convolution, batch norm) pairs inside the branches of torchvision's ShuffleNetV2.
_PAIRS = {"branch1": ((0, 1), (2, 3)), "branch2": ((0, 1), (3, 4), (5, 6))}


def _copy(block: ConvNorm, arrays: dict[str, np.ndarray], conv: str, norm: str) -> None:
    pairs = {f"{conv}.weight": block.conv.weight}
    pairs |= {f"{norm}.{name}": getattr(block.norm, name) for name in ("weight", "bias", "running_mean", "running_var")}
    for key, target in pairs.items():
        if key not in arrays:
            raise CodenetError(f"trunk weights: {key} is missing")
        if arrays[key].shape != tuple(target.shape):
            raise CodenetError(f"trunk weights: {key} is {arrays[key].shape}, expected {tuple(target.shape)}")
        target.data.copy_(torch.from_numpy(arrays[key]))


def _fold_normalization(stem: ConvNorm) -> None:
    """Turn a stem trained on (p - mean) / std into the same function of (p - 114) / 64 (but for the border)."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    weight = stem.conv.weight.data
    shift = (weight * (PIXEL_OFFSET - mean) / std).sum(dim=(1, 2, 3))
    stem.norm.running_mean -= shift  # type: ignore[operator]
    weight.mul_(PIXEL_SCALE / std)


def load_trunk(backbone: Backbone, path: Path) -> None:
    """Load stem and stages from a NumPy archive with torchvision's key names.

    The archive's network must take RGB with ImageNet normalization. The last 1x1 convolution stays as it is.
    Raises `CodenetError` naming the key for missing or misshapen arrays, and for a file that cannot be read.
    """
    try:
        with np.load(path) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, AttributeError) as error:
        raise CodenetError(f"trunk weights {path}: cannot be read: {error}") from error
    _copy(backbone.stem, arrays, "conv1.0", "conv1.1")
    for number, stage in enumerate(backbone.stages, start=2):
        for index, unit in enumerate(stage):  # type: ignore[arg-type]
            for branch, pairs in _PAIRS.items():
                blocks = getattr(unit, branch, None)
                if blocks is None:
                    continue
                for block, (conv, norm) in zip(blocks, pairs, strict=True):
                    prefix = f"stage{number}.{index}.{branch}"
                    _copy(block, arrays, f"{prefix}.{conv}", f"{prefix}.{norm}")
    _fold_normalization(backbone.stem)

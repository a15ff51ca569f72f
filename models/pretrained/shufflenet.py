# SPDX-License-Identifier: Apache-2.0
"""Loading of ShuffleNetV2 backbone weights trained elsewhere: torchvision's layout, and that of the original
checkpoints.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codenet import files
from codenet.errors import CodenetError
from models.network.backbone import Backbone
from models.network.blocks import ConvNorm
from models.network.checkpoints import read_torch
from models.network.config import PIXEL_OFFSET, PIXEL_SCALE
from models.pretrained.megvii import to_torchvision

#: ImageNet statistics in pixel values, the input normalization of torchvision-style backbones.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

#: Positions of (convolution, batch norm) pairs inside the branches of torchvision's ShuffleNetV2.
PAIRS = {"branch1": ((0, 1), (2, 3)), "branch2": ((0, 1), (3, 4), (5, 6))}

#: What a batch norm keeps.
NORM = ("weight", "bias", "running_mean", "running_var")

Arrays = dict[str, np.ndarray]


def read_arrays(path: Path) -> Arrays:
    """Arrays by name of a NumPy archive or a PyTorch file; `CodenetError` for a file that is neither.

    A PyTorch file may be a state dict, or a checkpoint with one under ``state_dict`` or ``model``; the prefix
    ``module.`` that training on several GPUs leaves is taken off.
    """
    try:
        if _is_numpy(path):
            return files.arrays(path.read_bytes())
    except OSError as error:
        raise CodenetError(f"weights {path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile) as error:
        raise CodenetError(f"weights {path}: no NumPy archive of plain arrays, or a damaged one") from error
    content = read_torch(path, "weights")
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    arrays = {
        str(key).removeprefix("module."): value.detach().numpy()
        for key, value in (content.items() if isinstance(content, dict) else ())
        if isinstance(value, torch.Tensor)
    }
    if not arrays:
        raise CodenetError(f"weights {path}: no arrays by name, expected a state dict")
    return arrays


def _is_numpy(path: Path) -> bool:
    """Whether a file is a NumPy archive, whatever its suffix."""
    if path.suffix == ".npz" or not zipfile.is_zipfile(path):
        return path.suffix == ".npz"
    with zipfile.ZipFile(path) as archive:
        return all(name.endswith(".npy") for name in archive.namelist())


def copy_array(target: torch.Tensor, arrays: Arrays, key: str) -> None:
    """Copy ``arrays[key]`` into a tensor; `CodenetError` naming the key if it is missing or of another shape."""
    if key not in arrays:
        raise CodenetError(f"weights: {key} is missing")
    if arrays[key].shape != tuple(target.shape):
        raise CodenetError(f"weights: {key} is {arrays[key].shape}, expected {tuple(target.shape)}")
    target.data.copy_(torch.from_numpy(np.ascontiguousarray(arrays[key])))


def copy_norm(norm: torch.nn.Module, arrays: Arrays, prefix: str) -> None:
    """Copy a batch norm's four arrays."""
    for name in NORM:
        copy_array(getattr(norm, name), arrays, f"{prefix}.{name}")


def copy_block(block: ConvNorm, arrays: Arrays, conv: str, norm: str) -> None:
    """Copy a convolution and its batch norm from the arrays with these prefixes."""
    copy_array(block.conv.weight, arrays, f"{conv}.weight")
    copy_norm(block.norm, arrays, norm)


def copy_stages(backbone: Backbone, arrays: Arrays, name: Callable[[int, int, str], str]) -> None:
    """Copy all units; ``name(stage, unit, branch)`` is the prefix of a branch's arrays, whose positions are
    torchvision's (`PAIRS`).
    """
    for number, stage in enumerate(backbone.stages):
        for index, unit in enumerate(stage):  # type: ignore[arg-type]
            for branch, pairs in PAIRS.items():
                blocks = getattr(unit, branch, None)
                prefix = name(number, index, branch)
                for block, (conv, norm) in zip(blocks or (), pairs if blocks is not None else (), strict=True):
                    copy_block(block, arrays, f"{prefix}.{conv}", f"{prefix}.{norm}")


def fold_normalization(stem: ConvNorm, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Turn a stem trained on (p - mean) / std, RGB in pixel values, into the same function of (p - 114) / 64, but for
    the border.

    Padding is zero in either: the border continues with the mean colour there, with grey 114 here.
    """
    means, stds = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (mean, std))
    weight = stem.conv.weight.data.double()
    shift = (weight * (PIXEL_OFFSET - means) / stds).sum(dim=(1, 2, 3))
    stem.norm.running_mean.data.copy_(stem.norm.running_mean - shift)  # type: ignore[operator, union-attr]
    stem.conv.weight.data.copy_(weight * PIXEL_SCALE / stds)


def _check_widths(backbone: Backbone, arrays: Arrays, path: Path) -> None:
    """`CodenetError` if the file is of a network with other widths."""
    found = tuple(2 * len(arrays[key]) for n in (2, 3, 4) if (key := f"stage{n}.1.branch2.5.weight") in arrays)
    expected = tuple(2 * stage[1].half for stage in backbone.stages)  # type: ignore[index, union-attr]
    if len(found) == len(expected) and found != expected:
        raise CodenetError(
            f"weights {path}: stages have {found} channels, expected {expected}: weights of a 1.0x network (116, 232, "
            "464) fit "
            f"configurations a, b and c, those of a 2.0x network (244, 488, 976) d and e"
        )


def load_backbone_weights(backbone: Backbone, path: Path) -> None:
    """Load stem and stages; the layout is recognized by its keys. The last 1x1 convolution stays as it is.

    - torchvision's (``conv1.0.weight``, ``stage2.0.branch1...``): RGB with ImageNet normalization.
    - the original ShuffleNetV2 checkpoints' (``first_conv.0.weight``, ``features.0.branch_main...``): BGR, 0 to 255;
      see `models.pretrained.megvii` for what of them fits.

    NumPy archives or PyTorch files (`read_arrays`). `CodenetError` naming the key for missing or misshapen arrays, for
    a network of another width, an unknown layout, a file that cannot be read.
    """
    arrays = read_arrays(path)
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if "first_conv.0.weight" in arrays:
        widths = tuple(2 * stage[1].half for stage in backbone.stages)  # type: ignore[index, union-attr]
        units = tuple(len(stage) for stage in backbone.stages)  # type: ignore[arg-type]
        arrays = to_torchvision(arrays, widths, units, path)
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    elif "layer0.0.weight" in arrays:
        raise CodenetError(f"weights {path}: of a whole detector in the authors' layout, give it as --start-authors")
    elif not any(key.startswith(("conv1.", "stage2.")) for key in arrays):
        keys: Any = sorted(arrays)[:5]
        raise CodenetError(
            f"weights {path}: layout is unknown, keys {keys}...; expected torchvision's (conv1.0.weight) or the "
            "original "
            f"ShuffleNetV2's (first_conv.0.weight)"
        )
    _check_widths(backbone, arrays, path)
    copy_block(backbone.stem, arrays, "conv1.0", "conv1.1")
    copy_stages(backbone, arrays, lambda stage, unit, branch: f"stage{stage + 2}.{unit}.{branch}")
    fold_normalization(backbone.stem, mean, std)

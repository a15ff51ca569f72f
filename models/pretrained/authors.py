# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the code released with the CoDeNet paper, and their way to integer offsets.

Their detector (variant i, depthwise) is ours with ``square`` sampling: one signed, fractional distance a pixel. The
file is a dictionary with ``state_dict``, keys perhaps with the prefix ``module.``; released files of quantized networks
have other keys and are refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from codenet.errors import CodenetError
from models.data.classes import COCO
from models.network.config import NetworkConfig, normalize
from models.network.deform import DeformConv
from models.network.detector import CoDeNet
from models.pretrained.shufflenet import (
    Arrays,
    copy_array,
    copy_block,
    copy_norm,
    copy_stages,
    fold_normalization,
    read_arrays,
)

#: Mean and deviation of their inputs in parts of 255, for blue, green, red as OpenCV reads: the data sets' own in
#: CenterNet, which their
#: code builds on. For Pascal these are ImageNet's of red, green, blue, and applied in that order to blue, green, red.
NORMALIZATIONS = {
    "coco": ((0.40789654, 0.44719302, 0.47026115), (0.28863828, 0.27408164, 0.27809835)),
    "voc": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}

#: Their heads by our names.
_HEADS = {"heatmap": "hm", "size": "wh", "offset": "reg"}

#: Arrays that a network does not need.
_UNUSED = "num_batches_tracked"


def load_authors(
    path: Path, config: NetworkConfig, classes: tuple[str, ...], normalization: str | None = None
) -> CoDeNet:
    """The detector of a floating-point checkpoint in the authors' layout, in evaluation mode, with ``square`` sampling.

    Parameters
    ----------
    path: the checkpoint; config: shape of its network (its sampling does not matter); classes: names for its heatmap's
    channels. normalization: key of `NORMALIZATIONS` that it was trained with; None is ``coco`` for 80 classes, else
    ``voc``.

    The result equals theirs but for the border: padding has the mean colour there, grey 114 here. `CodenetError` naming
    the key for arrays that are missing, misshapen or unknown, and for a file that cannot be read.
    """
    arrays = read_arrays(path)
    _check_keys(arrays, path)
    channels = len(arrays["hm.6.weight"])
    if channels != len(classes):
        raise CodenetError(
            f"weights {path}: heatmap has {channels} classes, expected {len(classes)}: {', '.join(classes)}"
        )
    network = CoDeNet(config.replace(sampling="square", deform="i", depthwise=True, kernel=3), classes)
    backbone = network.backbone
    copy_block(backbone.stem, arrays, "layer0.0", "layer0.1")
    copy_stages(backbone, arrays, lambda stage, unit, branch: f"layer{stage + 1}.{unit}.b{branch[-1]}")
    copy_block(backbone.last, arrays, "layer4.0", "layer4.1")
    for number, stage in enumerate(network.decoder):
        prefix = f"deconv_layers.{4 * number}"
        for name in ("weight", "bias"):
            copy_array(getattr(stage.deform.dilation, name), arrays, f"{prefix}.conv_scale.{name}")  # type: ignore[union-attr]
        copy_array(stage.deform.weight, arrays, f"{prefix}.conv.weight")  # type: ignore[union-attr, arg-type]
        copy_array(stage.point.conv.weight, arrays, f"{prefix}.conv_channel.weight")  # type: ignore[union-attr, arg-type]
        copy_norm(stage.point.norm, arrays, f"deconv_layers.{4 * number + 1}")  # type: ignore[union-attr, arg-type]
    for ours, theirs in _HEADS.items():
        head = network.heads[ours]
        copy_block(head.point, arrays, f"{theirs}.0", f"{theirs}.1")  # type: ignore[arg-type]
        copy_block(head.depth, arrays, f"{theirs}.3", f"{theirs}.4")  # type: ignore[arg-type]
        for name in ("weight", "bias"):
            copy_array(getattr(head.out, name), arrays, f"{theirs}.6.{name}")
    mean, std = NORMALIZATIONS[normalization or ("coco" if channels == len(COCO) else "voc")]
    stem = backbone.stem
    stem.conv.weight.data.copy_(stem.conv.weight.data.flip(1))  # to RGB
    fold_normalization(stem, *(tuple(255 * value for value in reversed(values)) for values in (mean, std)))
    return network.eval()


def _check_keys(arrays: Arrays, path: Path) -> None:
    """`CodenetError` if this is no floating-point checkpoint of the layout."""
    if any(key.endswith(("x_min", "x_max")) for key in arrays):
        raise CodenetError(
            f"weights {path}: of a quantized network (it has activation ranges), expected a floating-point one"
        )
    missing = [
        key for key in ("layer0.0.weight", "deconv_layers.0.conv_scale.weight", "hm.6.weight") if key not in arrays
    ]
    if missing:
        raise CodenetError(f"weights {path}: {missing[0]} is missing, expected the layout of the authors' detector")
    places = ("layer", "deconv_layers.", *(f"{head}." for head in _HEADS.values()))
    unknown = [key for key in arrays if not key.startswith(places) and not key.endswith(_UNUSED)]
    if unknown:
        raise CodenetError(f"weights {path}: {unknown[0]} is not in the layout of the authors' detector")


def distances(network: CoDeNet, images: np.ndarray) -> list[torch.Tensor]:
    """The distances, before rounding, that each deformable stage of the decoder gives for images uint8
    ``[N, H, W, 3]``: flat tensors.
    """
    found: list[torch.Tensor] = []
    hooks = [
        stage.deform.dilation.register_forward_hook(lambda _m, _i, output: found.append(output.flatten()))  # type: ignore[union-attr]
        for stage in network.decoder
    ]
    try:
        with torch.no_grad():
            network.eval()(normalize(images))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def to_rounded(network: CoDeNet, images: np.ndarray) -> CoDeNet:
    """The same weights with ``rounded`` sampling, to be fine-tuned: distances become the nearest integers in 0 to 7.

    A negative distance is a positive one with the kernel turned by 180 degrees. So a stage whose distances on
    ``images`` (uint8 ``[N, H, W, 3]``, any size) are mostly negative gets both turned, which changes nothing; negative
    distances that remain become 0, and fractions are rounded, which does.
    """
    rounded = CoDeNet(network.config.replace(sampling="rounded"), network.classes)
    rounded.load_state_dict(network.state_dict())
    for stage, found in zip(
        rounded.decoder, distances(network, _resized(images, network.config.input_size)), strict=True
    ):
        if (found < 0).float().mean() > 0.5:
            turn(stage.deform)  # type: ignore[arg-type]
    return rounded.eval()


def turn(deform: DeformConv) -> None:
    """Negate the distances of a square deformable convolution and turn its kernel by 180 degrees: the same function."""
    for parameter in deform.dilation.parameters():
        parameter.data.neg_()
    deform.weight.data.copy_(deform.weight.data.flip(2, 3))


def _resized(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    from codenet.vision.image import resize

    return np.stack([resize(Image.fromarray(np.ascontiguousarray(image)), *size) for image in images])

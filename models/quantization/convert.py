# SPDX-License-Identifier: Apache-2.0
"""From a trained floating-point network to a Brevitas network of some `Precision`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import torch
from brevitas.nn import QuantIdentity
from torch import nn

from codenet.errors import CodenetError
from models.network.blocks import ConvNorm
from models.network.deform import DeformDepthwise
from models.network.detector import CoDeNet
from models.quantization.modules import (
    HeadQuant,
    QuantBlock,
    QuantDeformBlock,
    QuantDeformConv2d,
    activation,
    quant_conv,
)
from models.quantization.precision import W4A8, Precision

#: Part of the activations inside of the calibrated range; the rest saturates.
CALIBRATION_QUANTILE = 0.9995

#: Calibration looks at no more than this many values of a tensor, evenly spaced.
_CALIBRATION_VALUES = 1 << 18


def quantized_outputs(network: CoDeNet) -> Iterator[tuple[str, nn.Module]]:
    """Modules of a floating-point network whose outputs become int8 tensors, by name."""
    for name, module in network.named_modules():
        variant_ii_point = isinstance(module, nn.Conv2d) and name.startswith("decoder.") and name.endswith(".point")
        if isinstance(module, ConvNorm | DeformDepthwise) or variant_ii_point:
            yield name, module


def calibrate(network: CoDeNet, images: Iterable[torch.Tensor]) -> dict[str, float]:
    """Range of every tensor that will be quantized: module name to the largest `CALIBRATION_QUANTILE` of magnitudes.

    ``images``: batches of network inputs ``[N, 3, S, S]``, at least one.
    """
    ranges: dict[str, float] = {}

    def record(name: str, output: torch.Tensor) -> None:
        values = output.detach().abs().flatten()
        values = values[:: max(1, len(values) // _CALIBRATION_VALUES)]
        rank = min(len(values), int(CALIBRATION_QUANTILE * len(values)) + 1)
        ranges[name] = max(ranges.get(name, 1e-3), float(values.kthvalue(rank).values))

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: record(name, output))
        for name, module in quantized_outputs(network)
    ]
    network.eval()
    with torch.no_grad():
        for batch in images:
            network(batch)
    for hook in hooks:
        hook.remove()
    if not ranges:
        raise CodenetError("quantization: no calibration images, expected at least one batch")
    return ranges


def _share_ranges(network: CoDeNet, ranges: dict[str, float], precision: Precision) -> dict[str, nn.Module]:
    """One activation quantizer per tensor, but a single one for all tensors that a backbone stage concatenates, and
    that a deformable stage concatenates with these.
    """
    quantizers: dict[str, nn.Module] = {}
    for number, stage in enumerate(network.backbone.stages):
        branches = [
            f"backbone.stages.{number}.{index}.{branch}.{len(getattr(unit, branch)) - 1}"
            for index, unit in enumerate(stage)  # type: ignore[arg-type]
            for branch in ("branch1", "branch2")
            if hasattr(unit, branch)
        ]
        joined = f"backbone.stages.{number}"
        if network.config.skips and number < 2:
            before = 1 - number
            branches.append(f"decoder.{before}.{network.decoder[before].order[-1]}")
            joined += f" and decoder.{before}"
        bits = {precision.activation_bits(name) for name in branches}
        if len(bits) > 1:
            raise CodenetError(
                f"precision {precision}: activations of {sorted(bits)} bits in {joined}, "
                f"expected one width, because a stage concatenates its tensors"
            )
        shared = activation(max(ranges[name] for name in branches), True, bits.pop())
        quantizers |= dict.fromkeys(branches, shared)
    for name, module in quantized_outputs(network):
        if name not in quantizers:
            relu = isinstance(module, ConvNorm | DeformDepthwise) and module.relu is not None
            quantizers[name] = activation(ranges[name], relu, precision.activation_bits(name))
    return quantizers


def _quantize_module(name: str, module: nn.Module, act: nn.Module, precision: Precision) -> nn.Module:
    if isinstance(module, DeformDepthwise):
        conv = nn.Conv2d(len(module.weight), len(module.weight), 3, padding=1, groups=len(module.weight), bias=False)
        conv.weight.data.copy_(module.weight.data)
        deform = quant_conv(conv, precision.weight_bits(name, depthwise=True), QuantDeformConv2d)
        deform.dilations = module.dilations
        dilation = quant_conv(module.dilation, precision.weight_bits(f"{name}.dilation"))
        return QuantDeformBlock(dilation, deform, module.norm, act)
    if isinstance(module, ConvNorm):
        bits = precision.weight_bits(name, depthwise=module.conv.groups > 1)
        return QuantBlock(quant_conv(module.conv, bits), module.norm, act)
    assert isinstance(module, nn.Conv2d)
    return QuantBlock(quant_conv(module, precision.weight_bits(name)), None, act)


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put ``module`` in the place of the submodule called ``name``."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


def quantize(network: CoDeNet, ranges: dict[str, float], precision: Precision = W4A8) -> CoDeNet:
    """The Brevitas network for a floating-point ``network`` and the ``ranges`` that `calibrate` found for it.

    The structure stays; every convolution becomes a quantized one, with an activation quantizer after its batch norm.
    All tensors that a stage concatenates share one. Batch norms stay for training: `to_graph` folds them,
    which needs no rounding, since weight scales are per channel. ``network`` itself is unchanged.

    `CodenetError` for a network with another convolution than the accelerator's, a ``precision`` with an exception for
    no module, or with two widths of activations in one stage.
    """
    network.config.check_accelerator()
    precision.check_modules({name for name, _ in network.named_modules()})
    result = copy.deepcopy(network).eval()
    for name, act in _share_ranges(result, ranges, precision).items():
        replace(result, name, _quantize_module(name, result.get_submodule(name), act, precision))
    for name, head in result.heads.items():
        bits = precision.weight_bits(f"heads.{name}.out")
        head.out = QuantBlock(quant_conv(head.out, bits), None, QuantIdentity(act_quant=HeadQuant))
    return result


def is_quantized(network: CoDeNet) -> bool:
    """Whether ``network`` came from `quantize`."""
    return isinstance(network.backbone.stem, QuantBlock)

# SPDX-License-Identifier: Apache-2.0
"""Modules of the quantized network: convolutions with learned scales, activation quantizers, and the blocks of both."""

from __future__ import annotations

import torch
from brevitas import config as brevitas_config
from brevitas.inject.enum import RestrictValueType, ScalingImplType
from brevitas.nn import QuantConv2d, QuantIdentity, QuantReLU
from brevitas.quant.base import IntQuant, NarrowIntQuant, UintQuant
from brevitas.quant.solver.act import ActQuantSolver
from brevitas.quant.solver.weight import WeightQuantSolver
from torch import nn

from models.network.config import ALL_DILATIONS
from models.network.deform import deform_depthwise, on_first
from models.network.graph_builder import GraphBuilder, Grid

# Otherwise loading a state puts new parameters in the place of the learned scales, and an optimizer that knows the old
# ones trains nothing.
brevitas_config.REINIT_ON_STATE_DICT_LOAD = False

#: Head outputs are int16 with this scale.
HEAD_BITS = 16
HEAD_SCALE = 2.0**-8

#: Gain of a batch norm below which a channel counts as switched off.
_SMALLEST_GAIN = 1e-9


class WeightQuant(NarrowIntQuant, WeightQuantSolver):
    """Signed, symmetric, narrow range ([-7, 7] for 4 bits), one learned scale per output channel."""

    scaling_impl_type = ScalingImplType.PARAMETER
    restrict_scaling_type = RestrictValueType.LOG_FP
    scaling_per_output_channel = True


class SignedQuant(IntQuant, ActQuantSolver):
    """Signed activation, one learned scale: zero point 0."""

    scaling_impl_type = ScalingImplType.PARAMETER
    restrict_scaling_type = RestrictValueType.LOG_FP
    scaling_per_output_channel = False


class UnsignedQuant(UintQuant, ActQuantSolver):
    """Unsigned activation, one learned scale: as int8 its zero point is -128."""

    scaling_impl_type = ScalingImplType.PARAMETER
    restrict_scaling_type = RestrictValueType.LOG_FP
    scaling_per_output_channel = False


class HeadQuant(IntQuant, ActQuantSolver):
    """Signed 16-bit head output with the constant scale `HEAD_SCALE`."""

    scaling_impl_type = ScalingImplType.CONST
    restrict_scaling_type = RestrictValueType.FP
    scaling_per_output_channel = False
    bit_width = HEAD_BITS
    scaling_init = HEAD_SCALE * 2 ** (HEAD_BITS - 1)


def grid(act: nn.Module) -> Grid:
    """What the integers behind an activation quantizer stand for; float64 only if the module is."""
    scale, bits = float(act.act_quant.scale()), int(act.act_quant.bit_width())  # type: ignore[union-attr, operator]
    if act.act_quant.is_signed:  # type: ignore[union-attr]
        return Grid(scale, 0, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    # Fewer bits are the lowest codes of an int8: 0 stays the smallest value that the type has.
    return Grid(scale, -128, -128, (1 << bits) - 129)


class QuantDeformConv2d(QuantConv2d):  # type: ignore[misc]
    """Depthwise 3x3 with quantized weights and one of ``dilations`` per pixel: see
    `models.network.deform.deform_depthwise`.
    """

    dilations: tuple[int, ...] = ALL_DILATIONS

    def forward(self, x: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        out = deform_depthwise(x, self.quant_weight().value, s, self.dilations)
        return out if self.bias is None else out + self.bias.view(1, -1, 1, 1)


class QuantBlock(nn.Module):
    """Quantized convolution, batch norm or None, then an activation quantizer (which several blocks may share)."""

    def __init__(self, conv: QuantConv2d, norm: nn.BatchNorm2d | None, act: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.act(x if self.norm is None else self.norm(x))

    def shift(self, builder: GraphBuilder, x: str) -> int:
        """The requantizer's shift for input ``x`` of a graph."""
        return builder.shift(self.conv, x, grid(self.act))

    def describe(self, builder: GraphBuilder, x: str, shift: int | None = None) -> str:
        """Snap this block and add it to a graph; ``x`` and the result are tensor names."""
        return builder.convolution(builder.names[self], self.conv, x, grid(self.act), shift)


class QuantDeformBlock(nn.Module):
    """Quantized `models.network.deform.DeformDepthwise`: 1x1 convolution for the dilation, deformable depthwise, norm,
    quantizer.
    """

    def __init__(
        self, dilation: QuantConv2d, conv: QuantDeformConv2d, norm: nn.BatchNorm2d | None, act: nn.Module
    ) -> None:
        super().__init__()
        self.dilation = dilation
        self.conv = conv
        self.norm = norm
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x, on_first(self.dilation, x))
        return self.act(x if self.norm is None else self.norm(x))

    def describe(self, builder: GraphBuilder, x: str, where: str | None = None) -> str:
        """Snap this block and add it to a graph; ``x`` and the result are tensor names, ``where`` what the dilation is
        of, ``x`` if None.
        """
        name = builder.names[self]
        dilation = builder.dilation(
            f"{name}.dilation", self.dilation, x if where is None else where, self.conv.dilations
        )
        return builder.deform(name, self.conv, x, dilation, grid(self.act))


def best_scale(weight: torch.Tensor, limit: int, steps: int = 64) -> torch.Tensor:
    """Per-channel scale with the least squared error of rounding ``weight`` ``[O, ...]`` to [-limit, limit]: ``[O]``.

    Tries ``steps`` scales between 0.3 and 1 of the largest magnitude over ``limit``. Channels of zeros get a tiny one.
    """
    flat = weight.detach().flatten(1)
    top = flat.abs().amax(dim=1).clamp(min=1e-8) / limit
    best, error = top.clone(), torch.full_like(top, torch.inf)
    for ratio in torch.linspace(0.3, 1.0, steps):
        scale = (top * ratio)[:, None]
        candidate = ((flat / scale).round().clamp(-limit, limit) * scale - flat).square().sum(dim=1)
        better = candidate < error
        best, error = torch.where(better, scale[:, 0], best), torch.where(better, candidate, error)
    return best


def fold_norm(block: QuantBlock | QuantDeformBlock) -> None:
    """Fold a block's batch norm, if any, into its convolution, in place, without touching what evaluation computes.

    The magnitude of the norm's gain goes into the weight scale of each channel, its sign into the integer weights, the
    rest becomes the bias, which every convolution has afterwards.
    """
    conv, norm = block.conv, block.norm
    if norm is None:
        if conv.bias is None:
            conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))
        return
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    # A channel that training has switched off keeps a scale, because the logarithm of zero is none.
    size = gain.abs().clamp(min=_SMALLEST_GAIN).view(-1, 1, 1, 1)
    sign = torch.where(gain < 0, -1.0, 1.0).to(gain.dtype).view(-1, 1, 1, 1)
    with torch.no_grad():
        conv.weight.mul_(sign * size)
        conv.weight_quant.tensor_quant.scaling_impl.value.add_(torch.log2(size))
        conv.bias = nn.Parameter(norm.bias.detach() - norm.running_mean * gain)
    block.norm = None


def quant_conv(conv: nn.Conv2d, bits: int, kind: type[QuantConv2d] = QuantConv2d) -> QuantConv2d:
    """Quantized convolution with the weights and bias of ``conv``."""
    limit = 2 ** (bits - 1) - 1
    quantized = kind(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        groups=conv.groups,
        bias=conv.bias is not None,
        weight_quant=WeightQuant,
        weight_bit_width=bits,
        weight_scaling_init=(best_scale(conv.weight, limit) * limit).view(-1, 1, 1, 1),
    )
    quantized.weight.data.copy_(conv.weight.data)
    if conv.bias is not None:
        quantized.bias.data.copy_(conv.bias.data)
    return quantized


def activation(threshold: float, relu: bool, bits: int) -> nn.Module:
    """Activation quantizer that saturates at ``threshold``."""
    if relu:
        return QuantReLU(act_quant=UnsignedQuant, scaling_init=threshold, bit_width=bits)
    return QuantIdentity(act_quant=SignedQuant, scaling_init=threshold, bit_width=bits)

# SPDX-License-Identifier: Apache-2.0
"""Graphs of CoDeNet's shape with random weights, for every test that needs a network and not a trained one.

Requantize parameters are derived from the weights (not from a run), so that activations neither vanish nor saturate
everywhere, dilations cover 0 to 7, and a heatmap has some peaks.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from codenet.graph import (
    INPUT_ZERO_POINT,
    Concat,
    Convolution,
    Depthwise,
    Graph,
    Input,
    MaxPool,
    Operation,
    Requantize,
    Shuffle,
    Slice,
    Upsample,
)

CHANNELS_1X = (24, 116, 232, 464, 1024)
CHANNELS_2X = (24, 244, 488, 976, 2153)
CHANNELS_FULL = (32, 128, 256, 512, 512)
SHAPED: dict[str, Any] = {"units": (4, 9, 5), "decoder": (160, 80, 64), "skips": True}
CONFIGURATIONS: dict[str, tuple[int, str, tuple[int, int, int, int, int], dict[str, Any]]] = {
    "a": (256, "s4", CHANNELS_1X, {}),
    "b": (256, "s2max", CHANNELS_1X, {}),
    "c": (512, "s4", CHANNELS_1X, {}),
    "d": (512, "s4", CHANNELS_2X, {}),
    "e": (512, "s2max", CHANNELS_2X, {}),
    "f": (256, "s4", CHANNELS_FULL, SHAPED),
    "g": (512, "s4", CHANNELS_FULL, SHAPED),
}
"""Input size, stem and channels of the configurations, and what else differs from the paper's."""

HEAD_SCALE = 2.0**-8

_RELU_RMS, _LINEAR_RMS, _INPUT_RMS = 56.0, 36.0, 48.0


class Builder:
    """Appends operations with random weights; methods return the name of the new tensor."""

    def __init__(self, height: int, width: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.operations: list[Operation] = [Input(name="image", height=height, width=width)]
        self.channels = {"image": 3}
        self.zero_points = {"image": INPUT_ZERO_POINT}

    def graph(self, name: str, outputs: dict[str, str], classes: int = 0) -> Graph:
        labels = tuple(f"class{n}" for n in range(classes))
        return Graph(name, tuple(self.operations), outputs, labels, {"untrained": True})

    def _add(self, operation: Operation, channels: int, zero_point: int) -> str:
        self.operations.append(operation)
        self.channels[operation.name] = channels
        self.zero_points[operation.name] = zero_point
        return operation.name

    def _requantize(
        self, weights: np.ndarray, x: str, target: float, centre: np.ndarray, lo: int, hi: int
    ) -> Requantize:
        """Spread ``target`` around ``centre``, for inputs of a typical spread around their zero point."""
        flat = weights.reshape(len(weights), -1).astype(np.int64)
        source = _INPUT_RMS if x == "image" else 28.0
        gain = target / (source * np.maximum(np.sqrt((flat**2).sum(axis=1)), 1.0))
        s = int(np.floor(np.log2((2**15 - 1) / gain.max())))
        m = np.round(gain * 2.0**s).astype(np.int64)
        b = np.round(centre * 2.0**s).astype(np.int64) + 2 ** (s - 1) - m * self.zero_points[x] * flat.sum(axis=1)
        return Requantize(m.astype(np.int16), b, s, lo, hi)

    def _weights(self, shape: tuple[int, ...], bits: int = 4) -> np.ndarray:
        limit = 2 ** (bits - 1) - 1
        return np.clip(np.round(self.rng.normal(0, limit / 2.5, shape)), -limit, limit).astype(np.int8)

    def convolution(
        self, name: str, x: str, outputs: int, *, kernel: int = 1, stride: int = 1, relu: bool = True, bits: int = 4
    ) -> str:
        weights = self._weights((outputs, kernel, kernel, self.channels[x]), bits)
        zero_point = -128 if relu else 0
        centre = zero_point + self.rng.normal(0, 12, outputs)
        requantize = self._requantize(weights, x, _RELU_RMS if relu else _LINEAR_RMS, centre, -128, 127)
        operation = Convolution(
            name=name,
            inputs=(x,),
            weights=weights,
            weight_bits=bits,
            stride=stride,
            requantize=requantize,
            scale=1 / 32,
            zero_point=zero_point,
        )
        return self._add(operation, outputs, zero_point)

    def depthwise(self, name: str, x: str, *, stride: int = 1, relu: bool = False, dilation: str | None = None) -> str:
        channels = self.channels[x]
        weights = self._weights((channels, 3, 3))
        zero_point = -128 if relu else 0
        centre = zero_point + self.rng.normal(0, 12, channels)
        requantize = self._requantize(weights, x, _RELU_RMS if relu else _LINEAR_RMS, centre, -128, 127)
        inputs = (x,) if dilation is None else (x, dilation)
        operation = Depthwise(
            name=name,
            inputs=inputs,
            weights=weights,
            stride=stride,
            requantize=requantize,
            scale=1 / 32,
            zero_point=zero_point,
        )
        return self._add(operation, channels, zero_point)

    def dilation(self, name: str, x: str, outputs: int = 1) -> str:
        """1x1 convolution to numbers in [0, 7], normally one a pixel."""
        weights = self._weights((outputs, 1, 1, self.channels[x]))
        requantize = self._requantize(weights, x, 5.0, np.full(outputs, 2.5), 0, 7)
        operation = Convolution(name=name, inputs=(x,), weights=weights, requantize=requantize, scale=1.0, zero_point=0)
        return self._add(operation, outputs, 0)

    def wide(
        self, name: str, x: str, outputs: int, centre: float = 0.0, target: float = 400.0, s: int | None = None
    ) -> str:
        """Head output: 1x1 convolution to int16."""
        weights = self._weights((outputs, 1, 1, self.channels[x]))
        requantize = self._requantize(weights, x, target, np.full(outputs, centre), -32768, 32767)
        if s is not None:
            requantize = _shifted(requantize, s)
        operation = Convolution(
            name=name,
            inputs=(x,),
            weights=weights,
            requantize=requantize,
            scale=HEAD_SCALE,
            zero_point=0,
            wide=True,
        )
        return self._add(operation, outputs, 0)

    def max_pool(self, name: str, x: str, stride: int = 2) -> str:
        return self._add(MaxPool(name=name, inputs=(x,), stride=stride), self.channels[x], self.zero_points[x])

    def upsample(self, name: str, x: str) -> str:
        return self._add(Upsample(name=name, inputs=(x,)), self.channels[x], self.zero_points[x])

    def concat(self, name: str, *inputs: str) -> str:
        channels = sum(self.channels[x] for x in inputs)
        return self._add(Concat(name=name, inputs=inputs), channels, self.zero_points[inputs[0]])

    def slice(self, name: str, x: str, start: int, stop: int) -> str:
        return self._add(Slice(name=name, inputs=(x,), start=start, stop=stop), stop - start, self.zero_points[x])

    def shuffle(self, name: str, x: str, groups: int = 2) -> str:
        return self._add(Shuffle(name=name, inputs=(x,), groups=groups), self.channels[x], self.zero_points[x])


def _shifted(r: Requantize, s: int) -> Requantize:
    """The same function with shift ``s``, ``m`` and ``b`` rounded to it."""
    factor = 2.0 ** (s - r.s)
    return Requantize(
        np.round(r.m * factor).astype(np.int16),
        np.round(r.b.astype(np.float64) * factor).astype(np.int64),
        s,
        r.lo,
        r.hi,
    )


def with_shift(operation: Operation, s: int) -> Operation:
    """The same convolution with another shift of its requantizer."""
    return dataclasses.replace(operation, requantize=_shifted(operation.requantize, s))  # type: ignore[attr-defined, call-arg]


def down_unit(net: Builder, name: str, x: str, outputs: int) -> str:
    """ShuffleNetV2 unit of stride 2."""
    half = outputs // 2
    left = net.convolution(f"{name}.b1.pw", net.depthwise(f"{name}.b1.dw", x, stride=2), half)
    right = net.convolution(f"{name}.b2.pw1", x, half)
    right = net.convolution(f"{name}.b2.pw2", net.depthwise(f"{name}.b2.dw", right, stride=2), half)
    return net.shuffle(f"{name}.shuffle", net.concat(f"{name}.concat", left, right))


def unit(net: Builder, name: str, x: str) -> str:
    """ShuffleNetV2 unit of stride 1."""
    channels = net.channels[x]
    half = channels // 2
    left = net.slice(f"{name}.left", x, 0, half)
    right = net.slice(f"{name}.right", x, half, channels)
    right = net.convolution(f"{name}.pw1", right, half)
    right = net.convolution(f"{name}.pw2", net.depthwise(f"{name}.dw", right), half)
    return net.shuffle(f"{name}.shuffle", net.concat(f"{name}.concat", left, right))


def deform_stage(net: Builder, name: str, x: str, outputs: int, variant: str, skip: str | None = None) -> str:
    """Deformable stage, variant ``i`` (depthwise, 1x1) or ``ii`` (1x1, depthwise), and upsampling. ``skip``: what it
    reads besides, dilations aside.
    """
    joined = x if skip is None else net.concat(f"{name}.concat", x, skip)
    if variant == "i":
        x = net.depthwise(f"{name}.dw", joined, dilation=net.dilation(f"{name}.dilation", x))
        x = net.convolution(f"{name}.pw", x, outputs)
    else:
        x = net.convolution(f"{name}.pw", joined, outputs, relu=False)
        x = net.depthwise(f"{name}.dw", x, dilation=net.dilation(f"{name}.dilation", x), relu=True)
    return net.upsample(f"{name}.upsample", x)


def network(
    size: int | tuple[int, int] = 64,
    *,
    stem: str = "s4",
    channels: tuple[int, int, int, int, int] = (8, 16, 24, 32, 40),
    units: tuple[int, int, int] = (2, 3, 2),
    decoder: tuple[int, int, int] = (32, 16, 16),
    head: int = 16,
    deform: str = "i",
    classes: int = 3,
    equal_heads: bool = False,
    skips: bool = False,
    seed: int = 0,
    name: str = "network",
) -> Graph:
    """A whole detector. The defaults fit ``AcceleratorConfig.small()``.

    ``units`` counts those of each stage, the stride-2 one included. With ``equal_heads`` corresponding convolutions of
    the heads share the shift of their requantizers, so that the compiler may merge them. With ``skips`` stages of the
    decoder read what the last unit of the same resolution computed.
    """
    height, width = (size, size) if isinstance(size, int) else size
    net = Builder(height, width, seed)
    x = net.convolution("stem", "image", channels[0], kernel=3, stride=4 if stem == "s4" else 2, bits=8)
    if stem == "s2max":
        x = net.max_pool("pool", x)
    for stage, (count, outputs) in enumerate(zip(units, channels[1:4], strict=True), start=1):
        x = down_unit(net, f"stage{stage}.0", x, outputs)
        for number in range(1, count):
            x = unit(net, f"stage{stage}.{number}", x)
    x = net.convolution("last", x, channels[4])
    for number, outputs in enumerate(decoder):
        stage = len(decoder) - number
        skip = f"stage{stage}.{units[stage - 1] - 1}" if skips and number else None
        if skip is not None:
            skip = f"{skip}.pw2" if units[stage - 1] > 1 else f"{skip}.b2.pw2"
        x = deform_stage(net, f"decoder{number}", x, outputs, deform, skip)
    for role, outputs, centre in (("heatmap", classes, -800.0), ("size", 2, 1500.0), ("offset", 2, 128.0)):
        y = net.convolution(f"{role}.pw", x, head)
        y = net.depthwise(f"{role}.dw", y, relu=True)
        net.wide(role, y, outputs, centre)
    graph = net.graph(name, {role: role for role in ("heatmap", "size", "offset")}, classes)
    return _equalize(graph) if equal_heads else graph


def _equalize(graph: Graph) -> Graph:
    """Give corresponding convolutions of the heads one shift: the smallest, so that no multiplier grows."""
    operations = {operation.name: operation for operation in graph.operations}
    for suffix in (".pw", ".dw", ""):
        names = [role + suffix for role in graph.outputs]
        s = min(operations[name].requantize.s for name in names)  # type: ignore[attr-defined]
        operations |= {name: with_shift(operations[name], s) for name in names}
    return Graph(graph.name, tuple(operations.values()), graph.outputs, graph.classes, graph.metadata)


def codenet(
    configuration: str,
    size: int | tuple[int, int] | None = None,
    *,
    deform: str = "i",
    classes: int = 20,
    seed: int = 0,
    equal_heads: bool = False,
) -> Graph:
    """Configuration ``a`` to ``g`` with its real channel counts, at another input ``size`` if given."""
    default, stem, channels, others = CONFIGURATIONS[configuration]
    return network(
        size or default,
        stem=stem,
        channels=channels,
        **{"units": (4, 8, 4), "decoder": (256, 128, 64), **others},
        head=64,
        deform=deform,
        classes=classes,
        equal_heads=equal_heads,
        seed=seed,
        name=f"codenet-{configuration}",
    )


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """int8 ``[height, width, 3]``: smooth blobs with some noise, over the whole range."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 60, (-(-height // 8) + 1, -(-width // 8) + 1, 3))
    smooth = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return np.clip(np.round(smooth + rng.normal(0, 12, (height, width, 3))), -128, 127).astype(np.int8)

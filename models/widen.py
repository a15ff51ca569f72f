# SPDX-License-Identifier: Apache-2.0
"""A larger network that computes what a trained one does: ``python -m models.widen CHECKPOINT --config d -o FILE``.

Net2WiderNet (Chen, Goodfellow and Shlens, *Net2Net: accelerating learning via knowledge transfer*, ICLR 2016):
added channels are copies of those that are there, and whatever reads a channel reads its copies with weights that add
up to the original one. Unequal shares let the copies learn different things. A unit of ShuffleNetV2 passes half of its
channels on unchanged, so copies of a channel have to meet the same halves: see `_Places`.

Added units, the last ones of a stage, start as the identity (Net2DeeperNet). What a deformable stage newly reads of the
backbone has weights of zero. The last 1x1 convolution, decoder and heads may become narrower if asked for, which
changes the function: the channels that matter most to their readers stay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from codenet import command
from codenet.errors import CodenetError
from models.command import check_outputs, number
from models.network import (
    CONFIGS,
    CoDeNet,
    ConvNorm,
    DeformConv,
    NetworkConfig,
    float_identity,
    get_config,
    load_network,
    write_checkpoint,
)

#: Fields of a configuration that do not change the function of the weights, or that may grow.
_FREE = {"name", "size", "channels", "units", "decoder", "head", "skips", "fit"}


@dataclass(frozen=True)
class Copies:
    """Which of ``count`` narrow channels each wide one copies, int64 ``[C]``; -1 copies none and is not read.

    ``pruned``: some of the narrow channels have no copy, and their readers do without.
    """

    index: np.ndarray
    count: int
    pruned: bool = False

    @property
    def source(self) -> np.ndarray:
        """The same, with any channel in the place of none: what makes a channel that is not read."""
        own = np.arange(len(self.index)) % self.count
        return np.where(self.index < 0, own, self.index)

    def shares(self, rng: np.random.Generator) -> np.ndarray:
        """Part of the original's weight with which each copy is read: float64 ``[C]``, adding up to 1 for a channel.

        `CodenetError` if a channel has no copy, unless some were pruned.
        """
        share = np.where(self.index < 0, 0.0, rng.uniform(0.5, 1.5, len(self.index)))
        total = np.zeros(self.count)
        np.add.at(total, self.source, share)
        if not (self.pruned or total.all()):
            raise CodenetError(f"widening: {self.count} channels cannot be spread over {len(self.index)}")
        return share / np.where(total > 0, total, 1.0)[self.source]

    def joined(self, skip: np.ndarray, count: int) -> Copies:
        """These channels, and behind them copies ``skip`` of ``count`` others."""
        index = np.concatenate([self.index, np.where(skip < 0, -1, skip + self.count)])
        return Copies(index, self.count + count, self.pruned)


def _spread(narrow: int, wide: int) -> Copies:
    """The channels, then copies of them in turn."""
    return Copies(np.arange(wide) % narrow, narrow)


def _chosen(importance: torch.Tensor, wide: int) -> Copies:
    """`_spread`, but the channels of most ``importance`` ``[C]`` where there is no room for all."""
    narrow = len(importance)
    if wide >= narrow:
        return _spread(narrow, wide)
    return Copies(importance.argsort(descending=True, stable=True)[:wide].sort().values.numpy(), narrow, pruned=True)


def _moments(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of each channel after a batch norm and ReLU, if it was normally distributed: float64 ``[C]``
    each.
    """
    deviation, mean = norm.weight.detach().double().abs().clamp(min=1e-12), norm.bias.detach().double()
    normal = torch.distributions.Normal(0.0, 1.0)
    above, density = normal.cdf(mean / deviation), normal.log_prob(mean / deviation).exp()
    first = mean * above + deviation * density
    second = (mean.square() + deviation.square()) * above + mean * deviation * density
    return first, (second - first.square()).clamp(min=0.0)


def _strength(norm: nn.BatchNorm2d, *readers: torch.Tensor) -> torch.Tensor:
    """How much channels matter to what reads them: their root mean square (`_moments`) times the norm of the weights of
    each of ``readers``, ``[C, ...]``, that they pass through: float64 ``[C]``.
    """
    mean, variance = _moments(norm)
    strength = (variance + mean.square()).sqrt()
    for weight in readers:
        strength = strength * weight.detach().double().flatten(1).norm(dim=1)
    return strength


#: Units that pass on channel 0, which each leaves where it is: more than any network has.
_ALWAYS = 64


def _passes(channels: int) -> np.ndarray:
    """How many units pass each channel on before one computes with it: int64 ``[channels]``, at most `_ALWAYS`.

    A unit computes with the upper half and moves channel ``c`` of the lower half to ``2 c``.
    """
    place, passes = np.arange(channels), np.zeros(channels, np.int64)
    for _ in range(_ALWAYS):
        lower = place < channels // 2
        passes += lower
        place = np.where(lower, 2 * place, place)
    return passes


class _Places:
    """Where the channels of a stage are, unit by unit, in the narrow and the wide network of these widths.

    A channel that comes out of a branch is copied by outputs of the same branch that as many units will pass on; those
    that have no original of that kind are not read.
    """

    def __init__(self, narrow: int, wide: int) -> None:
        self.narrow, self.wide = narrow, wide
        self._passes = _passes(narrow), _passes(wide)

    def branch(self, first: int) -> np.ndarray:
        """Originals of a branch's outputs, which become channels ``first``, ``first + 2`` ...: int64 ``[wide / 2]``."""
        kinds = [passes[first::2] for passes in self._passes]
        index = np.full(self.wide // 2, -1)
        for kind in np.unique(kinds[0]):
            originals, copies = np.flatnonzero(kinds[0] == kind), np.flatnonzero(kinds[1] == kind)
            index[copies] = originals[np.arange(len(copies)) % len(originals)]
        return index

    def after_down(self) -> Copies:
        """Channels after a stage's first unit, both halves of which are computed."""
        return self._shuffled(self.branch(0), self.branch(1))

    def halves(self, channels: Copies) -> tuple[np.ndarray, Copies]:
        """The lower half as places in the narrow lower half, -1 for others, and the upper half as its copies."""
        half, middle = self.narrow // 2, self.wide // 2
        lower, upper = channels.index[:middle], channels.index[middle:]
        return np.where(lower < half, lower, -1), Copies(np.where(upper >= half, upper - half, -1), half)

    def after_unit(self, lower: np.ndarray) -> Copies:
        """Channels after a unit that passes on ``lower`` and computes the others."""
        return self._shuffled(lower, self.branch(1))

    def _shuffled(self, even: np.ndarray, odd: np.ndarray) -> Copies:
        index = np.empty(self.wide, np.int64)
        index[0::2] = np.where(even < 0, -1, 2 * even)
        index[1::2] = np.where(odd < 0, -1, 2 * odd + 1)
        return Copies(index, self.narrow)


def _stage_moments(units: Sequence[nn.Module]) -> torch.Tensor:
    """`_moments` of the channels that the first units of a stage make: float64 ``[2, C]``."""
    down, *others = units

    def made(branch: nn.Module) -> torch.Tensor:
        return torch.stack(_moments(branch[-1].norm))  # type: ignore[index]

    even, odd = made(down.branch1), made(down.branch2)
    for unit in others:
        values = torch.stack([even, odd], dim=2).flatten(1)
        even, odd = values[:, : unit.half], made(unit.branch2)
    return torch.stack([even, odd], dim=2).flatten(1)


def _centre(weight: torch.Tensor) -> None:
    """Make a depthwise kernel ``[C, 1, 3, 3]`` the identity."""
    weight.data.zero_()
    weight.data[:, :, 1, 1] = 1.0


class _Widening:
    """Fills the modules of a wide network from the narrow one's, each with the copies that it reads and makes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def weight(self, target: torch.Tensor, source: torch.Tensor, inputs: Copies | None, outputs: Copies) -> None:
        """A kernel ``[O, I, K, K]``; ``inputs`` None for a depthwise one or one that reads the image."""
        value = source.detach().double()[torch.from_numpy(outputs.source)]
        if inputs is not None:
            shares = torch.from_numpy(inputs.shares(self.rng))
            value = value[:, torch.from_numpy(inputs.source)] * shares.view(1, -1, 1, 1)
        target.data.copy_(value)

    def rows(self, target: nn.Module, source: nn.Module, outputs: Copies) -> None:
        """A batch norm, or what else has a number a channel."""
        index = torch.from_numpy(outputs.source)
        state = {key: v[index] if v.ndim else v for key, v in source.state_dict().items()}
        target.load_state_dict(state)

    def conv(self, target: nn.Conv2d, source: nn.Conv2d, inputs: Copies | None, outputs: Copies) -> None:
        """A convolution with or without bias."""
        self.weight(target.weight, source.weight, inputs, outputs)
        if source.bias is not None:
            assert target.bias is not None
            target.bias.data.copy_(source.bias.detach()[torch.from_numpy(outputs.source)])

    def block(self, target: ConvNorm, source: ConvNorm, inputs: Copies | None, outputs: Copies) -> None:
        """Convolution and batch norm."""
        self.conv(target.conv, source.conv, inputs, outputs)
        self.rows(target.norm, source.norm, outputs)

    def deform(
        self, target: DeformConv, source: DeformConv, inputs: Copies, outputs: Copies, where: Copies | None = None
    ) -> None:
        """A deformable convolution, full or depthwise, with the one for where it samples, which reads ``where``."""
        for name in ("dilation", "offsets"):
            if (conv := getattr(source, name, None)) is not None:
                channels = inputs if where is None else where
                self.conv(getattr(target, name), conv, channels, _spread(conv.out_channels, conv.out_channels))
        self.weight(target.weight, source.weight, None if source.weight.shape[1] == 1 else inputs, outputs)
        if source.norm is not None:
            assert target.norm is not None
            self.rows(target.norm, source.norm, outputs)

    def branch(self, target: nn.Module, source: nn.Module, inputs: Copies, outputs: Copies) -> None:
        """1x1 convolution, depthwise or deformable one, 1x1 convolution."""
        middle = _spread(source[0].conv.out_channels, target[0].conv.out_channels)  # type: ignore[index, union-attr]
        self.block(target[0], source[0], inputs, middle)  # type: ignore[index, arg-type]
        if isinstance(source[1], DeformConv):  # type: ignore[index]
            self.deform(target[1], source[1], middle, middle)  # type: ignore[index, arg-type]
        else:
            self.block(target[1], source[1], None, middle)  # type: ignore[index, arg-type]
        self.block(target[2], source[2], middle, outputs)  # type: ignore[index, arg-type]

    def identity(self, unit: nn.Module, moments: torch.Tensor) -> None:
        """A unit that leaves its channels, of `_stage_moments` ``moments``, as they are; in training as nearly as they
        are so.
        """
        point, depth, last = unit.branch2
        for block in (point, last):
            block.conv.weight.data.copy_(torch.eye(unit.half).view(unit.half, unit.half, 1, 1))
        if isinstance(depth, DeformConv):
            _centre(depth.weight)
        else:
            _centre(depth.conv.weight)
        mean, variance = moments[:, unit.half :]
        for block in (point, depth, last):
            values = {"running_mean": mean, "running_var": variance, "bias": mean}
            for name, value in {**values, "weight": (variance + block.norm.eps).sqrt()}.items():
                getattr(block.norm, name).data.copy_(value)

    def stage(self, target: nn.Module, source: nn.Module, inputs: Copies, places: _Places) -> Copies:
        """A stage of the backbone; the copies that it makes."""
        down, *units = zip(target, source, strict=False)  # type: ignore[call-overload]
        self.block(down[0].branch1[0], down[1].branch1[0], None, inputs)
        self.block(down[0].branch1[1], down[1].branch1[1], inputs, Copies(places.branch(0), places.narrow // 2))
        made = Copies(places.branch(1), places.narrow // 2)
        self.branch(down[0].branch2, down[1].branch2, inputs, made)
        channels = places.after_down()
        for wide, narrow in units:
            lower, upper = places.halves(channels)
            self.branch(wide.branch2, narrow.branch2, upper, made)
            channels = places.after_unit(lower)
        for added in range(len(source), len(target)):  # type: ignore[arg-type]
            self.identity(target[added], _stage_moments(target[:added]))  # type: ignore[index]
            channels = Copies(channels.index.reshape(2, -1).T.reshape(-1), channels.count)
        return channels

    def detector(self, target: CoDeNet, source: CoDeNet) -> None:
        """The whole network."""
        small, large = source.config, target.config
        channels = _spread(small.channels[0], large.channels[0])
        self.block(target.backbone.stem, source.backbone.stem, None, channels)
        levels = [channels]
        for number_, (wide, narrow) in enumerate(zip(target.backbone.stages, source.backbone.stages, strict=True)):
            places = _Places(small.channels[number_ + 1], large.channels[number_ + 1])
            levels.append(self.stage(wide, narrow, levels[-1], places))
        channels = _chosen(_strength(source.backbone.last.norm, *_readers(source, 0)), large.channels[4])
        self.block(target.backbone.last, source.backbone.last, levels[-1], channels)
        for number_, (wide, narrow) in enumerate(zip(target.decoder, source.decoder, strict=True)):
            norm = getattr(narrow, narrow.order[-1]).norm
            outputs = _chosen(_strength(norm, *_readers(source, number_ + 1)), large.decoder[number_])
            where, skipped = channels, large.skip_channels[number_]
            if skipped:
                # Odd channels are those that the last unit computed.
                copied = levels[3 - number_].index[1::2] if small.skips else np.full(skipped, -1)
                channels = channels.joined(np.where(copied % 2 == 1, copied // 2, -1), small.skip_channels[number_])
            widths = {"deform": channels}
            for name in narrow.order:
                made = outputs if name == narrow.order[-1] or name == "point" else widths["deform"]
                if name == "deform":
                    self.deform(
                        wide.deform, narrow.deform, channels, made, where if name == narrow.order[0] else channels
                    )
                    if skipped and not small.skips and wide.order == ("deform", "point"):
                        _centre(wide.deform.weight[-skipped:])
                elif isinstance(narrow.point, ConvNorm):
                    self.block(wide.point, narrow.point, channels, made)
                else:
                    self.conv(wide.point, narrow.point, channels, made)
                channels = made
            if small.fpn:
                self.block(target.laterals[number_], source.laterals[number_], levels[2 - number_], channels)
        for name, head in source.heads.items():
            wide = target.heads[name]
            inner = _chosen(_strength(head.depth.norm, head.out.weight.transpose(0, 1)), large.head)
            self.block(wide.point, head.point, channels, inner)
            self.block(wide.depth, head.depth, None, inner)
            count = head.out.out_channels
            self.conv(wide.out, head.out, inner, _spread(count, count))


def _readers(network: CoDeNet, stage: int) -> list[torch.Tensor]:
    """Weights ``[C, ...]`` that each channel that deformable stage ``stage`` takes of the decoder passes through in it,
    one after the other; of the heads, behind the last stage.
    """
    if stage == len(network.decoder):
        return [torch.cat([head.point.conv.weight for head in network.heads.values()]).transpose(0, 1)]
    module = network.decoder[stage]
    count = (network.config.channels[4], *network.config.decoder)[stage]
    point = getattr(module, "point", None)
    point = point.conv if isinstance(point, ConvNorm) else point
    weights = [] if point is None else [point.weight.transpose(0, 1)[:count]]
    if module.order[0] == "deform":
        weight = module.deform.weight
        weights.append((weight if weight.shape[1] == 1 else weight.transpose(0, 1))[:count])
    return weights


def _check(small: NetworkConfig, large: NetworkConfig, prune: bool) -> None:
    """`CodenetError` unless ``large`` is ``small`` with other widths, units and skips, none of them fewer; with
    ``prune`` the last 1x1 convolution, decoder and heads may be narrower.
    """
    if small.skips and not large.skips:
        raise CodenetError(f"widening to {large.name}: skips is False, expected True as in {small.name}")
    small.check_like(large, _FREE, f"widening to {large.name}")
    kept = {"channels": 4 if prune else 5, "units": 3, "decoder": 0 if prune else 3}
    for name, count in kept.items():
        if any(wide < narrow for narrow, wide in zip(getattr(small, name)[:count], getattr(large, name), strict=False)):
            raise CodenetError(
                f"widening to {large.name}: {name} are {getattr(large, name)}, expected none below those of "
                f"{small.name}, {getattr(small, name)}"
                + (", or --prune" if name != "units" and count == len(getattr(small, name)) else "")
            )
    if large.head < small.head and not prune:
        raise CodenetError(f"widening to {large.name}: head is {large.head}, expected {small.head} or more")


def widen(network: CoDeNet, config: NetworkConfig, seed: int = 0, prune: bool = False) -> CoDeNet:
    """A network of ``config`` that computes what ``network`` does, up to rounding; in evaluation mode.

    ``config`` may have larger widths, more units, skips, and another input size. ``seed`` draws the copies' shares.
    With ``prune`` the last 1x1 convolution, decoder and heads may be narrower: of their channels those that matter most
    stay, and the function is another. `CodenetError` for any other difference, and for widths of stages so near each
    other that the channels do not fit.
    """
    _check(network.config, config, prune)
    wide = CoDeNet(config, network.classes)
    _Widening(seed).detector(wide, network)
    return wide.eval()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = command.Parser(prog="python -m models.widen", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint of python -m models.train")
    parser.add_argument("--config", choices=list(CONFIGS), required=True, help="larger: d from c, e from b")
    parser.add_argument(
        "--prune", action="store_true", help="last 1x1, decoder and heads may be narrower: f from a, g from c"
    )
    parser.add_argument("--seed", type=number(int, 0), default=0, help="of the shares of the copies (0)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new checkpoint, to start training from")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace) -> None:
    if options.output.exists():
        raise CodenetError(f"{options.output}: exists, expected a new file")
    check_outputs([options.output])
    network = widen(load_network(options.checkpoint), get_config(options.config), options.seed, options.prune)
    state = network.state_dict()
    write_checkpoint({**float_identity(network), "network": state, "average": state}, options.output, keep=False)
    print(f"{options.output}: next: python -m models.train --config {options.config} --start-from {options.output}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; status 2 for a checkpoint that cannot become the configuration."""
    return command.run("models.widen", lambda: _run(_parse(arguments)))


if __name__ == "__main__":
    sys.exit(main())

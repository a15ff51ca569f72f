# SPDX-License-Identifier: Apache-2.0
"""The network configurations: the five of the CoDeNet paper (FPGA 2021, table 4), and two shaped by the accelerator."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from codenet.config import CONFLICT_FREE
from codenet.errors import CodenetError
from codenet.fit import FITS, STRETCH, Placement, place

CHANNELS_1X = (24, 116, 232, 464, 1024)
CHANNELS_2X = (24, 244, 488, 976, 2153)

#: Widths that fill planes of 16 channels and groups of 32, the halves of the stages too.
CHANNELS_FULL = (32, 128, 256, 512, 512)
STEMS = ("s4", "s2max")
DEFORM_VARIANTS = ("i", "ii")

#: Where a deformable convolution samples; `models.network.deform` defines each.
SAMPLINGS = ("regular", "original", "bounded", "square", "rounded")
KERNELS = (3, 5, 7, 9)

#: Input normalization: x = (pixel - PIXEL_OFFSET) / PIXEL_SCALE; padding with zero is a grey of 114.
PIXEL_OFFSET = 114
PIXEL_SCALE = 64

#: Sides of the input are multiples of this: the backbone's stride.
SIDE_UNIT = 32

#: Sides of inputs whose networks the compiler takes for the default accelerator, all configurations.
ACCELERATED_SIDES = range(2 * SIDE_UNIT, 640 + 1, SIDE_UNIT)

#: Output stride of the network: the heads work at a quarter of the input's resolution.
OUTPUT_STRIDE = 4

#: More than the widest and the longest stage of any configuration, and little enough to be held in memory.
MAX_CHANNELS, MAX_UNITS = 4096, 64

#: The largest dilation of the deformable convolution (paper, section 3.2: bound 7).
MAX_DILATION = 7
ALL_DILATIONS = tuple(range(MAX_DILATION + 1))

#: Dilations of one cycle in the accelerator's window, and 0, the square of one point, which takes nine as 3 and 6 do.
CONFLICT_FREE_OR_ZERO = (0, *CONFLICT_FREE)

#: Fields of `NetworkConfig` that came after the first checkpoints, its last ones.
_OPTIONS = 8


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of one network.

    Parameters
    ----------
    name: name of the configuration.
    size: input height and width in pixels, multiples of 32; one number where they are equal.
    stem: ``"s4"`` (3x3 stride 4) or ``"s2max"`` (3x3 stride 2, then 3x3 maximum stride 2).
    channels: channels after the stem, the three stages and the last 1x1 convolution.
    units: units per stage.
    decoder: channels after each deformable stage.
    head: channels inside a head.
    deform: order inside a deformable stage, ``"i"`` (depthwise, then 1x1) or ``"ii"`` (1x1, then depthwise).
    sampling: where its convolution samples: ``"regular"``, ``"original"``, ``"bounded"``, ``"square"`` or
    ``"rounded"``, see `models.network.deform`. kernel: 3, or with regular sampling 5, 7 or 9.
    depthwise: False makes it a full convolution, without the 1x1 convolution beside it; the order is then of no
    account. dilations: what rounded sampling rounds to, a sorted subset of 0 to 7, such as `CONFLICT_FREE_OR_ZERO`.
    deform_backbone: the depthwise convolutions of the backbone's units of stride 1 sample in this way too.
    fpn: the decoder adds 1x1 convolutions of the backbone's tensors after each upsampling (Lin et al., Feature Pyramid
    Networks, 2017).
    skips: deformable stages 1 and 2 read, behind the decoder's tensor, what the last unit of the backbone's stage of
    the same resolution computed: half of that stage's channels. They take their dilation from the decoder's alone.
    fit: how a photo is fitted into the input, one of `codenet.fit.FITS`.

    The last eight have defaults that make the accelerator's network. Raises `CodenetError` for values outside of these.
    """

    name: str
    size: int | tuple[int, int] = 256
    stem: str = "s4"
    channels: tuple[int, int, int, int, int] = CHANNELS_1X
    units: tuple[int, int, int] = (4, 8, 4)
    decoder: tuple[int, int, int] = (256, 128, 64)
    head: int = 64
    deform: str = "i"
    sampling: str = "rounded"
    kernel: int = 3
    depthwise: bool = True
    dilations: tuple[int, ...] = ALL_DILATIONS
    deform_backbone: bool = False
    fpn: bool = False
    skips: bool = False
    fit: str = STRETCH

    def __post_init__(self) -> None:
        sides = (self.size,) * 2 if isinstance(self.size, int) else tuple(self.size)
        if len(sides) != 2 or any(not isinstance(side, int) or side <= 0 or side % SIDE_UNIT for side in sides):
            raise CodenetError(
                f"network {self.name}: input size is {self.size}, expected height and width, positive multiples of "
                f"{SIDE_UNIT}"
            )
        object.__setattr__(self, "size", sides if sides[0] != sides[1] else sides[0])
        self._check_numbers()
        if self.fit not in FITS:
            raise CodenetError(f"network {self.name}: fit is {self.fit!r}, expected one of {FITS}")
        if self.stem not in STEMS:
            raise CodenetError(f"network {self.name}: stem is {self.stem!r}, expected one of {STEMS}")
        if self.deform not in DEFORM_VARIANTS:
            raise CodenetError(f"network {self.name}: deform is {self.deform!r}, expected one of {DEFORM_VARIANTS}")
        odd = [width for width in self.channels[1:4] if width % 2]
        if odd:
            raise CodenetError(
                f"network {self.name}: stage width {odd[0]} is odd, a unit splits its channels in halves"
            )
        self._check_variant()

    def _check_numbers(self) -> None:
        """`CodenetError` unless all parts have as many units and channels as a network can have."""
        for what, numbers, count, most in (
            ("channels", self.channels, 5, MAX_CHANNELS),
            ("units", self.units, 3, MAX_UNITS),
            ("widths of the decoder", self.decoder, 3, MAX_CHANNELS),
            ("widths of a head", (self.head,), 1, MAX_CHANNELS),
        ):
            if len(numbers) != count or any(type(n) is not int or not 1 <= n <= most for n in numbers):
                raise CodenetError(
                    f"network {self.name}: {what} are {numbers!r:.100}, expected {count} numbers from 1 to {most}"
                )

    def _check_variant(self) -> None:
        """`CodenetError` unless the options of the deformable convolution fit together."""
        if self.sampling not in SAMPLINGS:
            raise CodenetError(f"network {self.name}: sampling is {self.sampling!r}, expected one of {SAMPLINGS}")
        kernels = KERNELS if self.sampling == "regular" else KERNELS[:1]
        if self.kernel not in kernels:
            raise CodenetError(
                f"network {self.name}: kernel is {self.kernel} with {self.sampling} sampling, expected one of {kernels}"
            )
        members = self.dilations
        if not members or not set(members) <= set(ALL_DILATIONS) or list(members) != sorted(set(members)):
            raise CodenetError(
                f"network {self.name}: dilations are {members}, expected a sorted subset of 0 to {MAX_DILATION}"
            )
        if members != ALL_DILATIONS and self.sampling != "rounded":
            raise CodenetError(
                f"network {self.name}: sampling is {self.sampling!r} with a set of dilations, expected 'rounded'"
            )
        if self.deform_backbone and self.sampling == "regular":
            raise CodenetError(f"network {self.name}: a deformable backbone with regular sampling, expected any other")

    def check_accelerator(self) -> None:
        """`CodenetError` with the reason if the accelerator has no operation for a part of this network."""
        reasons = {
            f"{self.sampling} sampling, the accelerator's is 'rounded'": self.sampling != "rounded",
            "full deformable convolutions, the accelerator's are depthwise": not self.depthwise,
            "a feature pyramid, whose additions the accelerator does not have": self.fpn,
        }
        for reason, applies in reasons.items():
            if applies:
                raise CodenetError(f"network {self.name}: it has {reason}; such networks run in floating point only")

    @property
    def skip_channels(self) -> tuple[int, int, int]:
        """Channels that each deformable stage reads of the backbone, besides the decoder's."""
        return (0, self.channels[2] // 2, self.channels[1] // 2) if self.skips else (0, 0, 0)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the input, in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the head outputs."""
        height, width = self.input_size
        return height // OUTPUT_STRIDE, width // OUTPUT_STRIDE

    @property
    def input_text(self) -> str:
        """Height, width and fit for people: ``"384x640 (letterbox)"``, the height first."""
        height, width = self.input_size
        return f"{height}x{width} ({self.fit})"

    def place(self, photo_size: tuple[int, int]) -> Placement:
        """Where a photo of this height and width lies in the input."""
        return place(photo_size, self.input_size, self.fit)

    def check_like(self, other: NetworkConfig, free: Collection[str], purpose: str) -> None:
        """`CodenetError`, which begins with ``purpose``, if ``other`` differs in a field that is not in ``free``."""
        for name, value in vars(self).items():
            if name not in free and value != getattr(other, name):
                raise CodenetError(
                    f"{purpose}: {name} is {getattr(other, name)!r}, expected {value!r} as in {self.name}"
                )

    def replace(self, **changes: Any) -> NetworkConfig:
        """The same configuration with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints. Options that have their defaults are left out, as in old checkpoints."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)[-_OPTIONS:]}
        return {key: v for key, v in dataclasses.asdict(self).items() if key not in defaults or v != defaults[key]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Inverse of `to_dict`."""
        plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**plain)


CONFIGS: dict[str, NetworkConfig] = {
    config.name: config
    for config in (
        NetworkConfig("a", 256, "s4", CHANNELS_1X),
        NetworkConfig("b", 256, "s2max", CHANNELS_1X),
        NetworkConfig("c", 512, "s4", CHANNELS_1X),
        NetworkConfig("d", 512, "s4", CHANNELS_2X),
        NetworkConfig("e", 512, "s2max", CHANNELS_2X),
        NetworkConfig("f", 256, "s4", CHANNELS_FULL, (4, 9, 5), (160, 80, 64), skips=True),
        NetworkConfig("g", 512, "s4", CHANNELS_FULL, (4, 9, 5), (160, 80, 64), skips=True),
    )
}


def get_config(name: str) -> NetworkConfig:
    """Configuration ``name`` (a to g); `CodenetError` for any other name."""
    if name not in CONFIGS:
        raise CodenetError(f"network configuration is {name!r}, expected one of {', '.join(CONFIGS)}")
    return CONFIGS[name]


def normalize(images: np.ndarray) -> torch.Tensor:
    """uint8 RGB ``[N, H, W, 3]`` to the network's input, float32 ``[N, 3, H, W]``."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return (pixels.float() - PIXEL_OFFSET) / PIXEL_SCALE

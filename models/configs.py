"""The five network configurations of the CoDeNet paper (FPGA 2021, table 4)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from codenet.errors import CodenetError

CHANNELS_1X = (24, 116, 232, 464, 1024)
CHANNELS_2X = (24, 244, 488, 976, 2153)
STEMS = ("s4", "s2max")
DEFORM_VARIANTS = ("i", "ii")

#: Input normalization: x = (pixel - PIXEL_OFFSET) / PIXEL_SCALE; padding with zero is a grey of 114.
PIXEL_OFFSET = 114
PIXEL_SCALE = 64

#: Output stride of the network: the heads work at a quarter of the input's resolution.
OUTPUT_STRIDE = 4

#: The largest dilation of the deformable convolution (paper, section 3.2: bound 7).
MAX_DILATION = 7


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of one network.

    Parameters
    ----------
    name: name of the configuration.
    size: input height and width in pixels, a multiple of 32.
    stem: ``"s4"`` (3x3 stride 4) or ``"s2max"`` (3x3 stride 2, then 3x3 maximum stride 2).
    channels: channels after the stem, the three stages and the last 1x1 convolution.
    units: units per stage.
    decoder: channels after each deformable stage.
    head: channels inside a head.
    deform: order inside a deformable stage, ``"i"`` (depthwise, then 1x1) or ``"ii"`` (1x1, then depthwise).

    Raises `CodenetError` for values outside of these.
    """

    name: str
    size: int = 256
    stem: str = "s4"
    channels: tuple[int, int, int, int, int] = CHANNELS_1X
    units: tuple[int, int, int] = (4, 8, 4)
    decoder: tuple[int, int, int] = (256, 128, 64)
    head: int = 64
    deform: str = "i"

    def __post_init__(self) -> None:
        if self.size <= 0 or self.size % 32:
            raise CodenetError(f"network {self.name}: input size is {self.size}, expected a positive multiple of 32")
        if self.stem not in STEMS:
            raise CodenetError(f"network {self.name}: stem is {self.stem!r}, expected one of {STEMS}")
        if self.deform not in DEFORM_VARIANTS:
            raise CodenetError(f"network {self.name}: deform is {self.deform!r}, expected one of {DEFORM_VARIANTS}")
        odd = [width for width in self.channels[1:4] if width % 2]
        if odd:
            raise CodenetError(
                f"network {self.name}: stage width {odd[0]} is odd, a unit splits its channels in halves"
            )

    @property
    def output_size(self) -> int:
        """Height and width of the head outputs."""
        return self.size // OUTPUT_STRIDE

    def replace(self, **changes: Any) -> NetworkConfig:
        """The same configuration with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return dataclasses.asdict(self)

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
    )
}


def get_config(name: str) -> NetworkConfig:
    """Configuration ``name`` (a to e); `CodenetError` for any other name."""
    if name not in CONFIGS:
        raise CodenetError(f"network configuration is {name!r}, expected one of {', '.join(CONFIGS)}")
    return CONFIGS[name]


def normalize(images: np.ndarray) -> torch.Tensor:
    """uint8 RGB ``[N, S, S, 3]`` to the network's input, float32 ``[N, 3, S, S]``."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return (pixels.float() - PIXEL_OFFSET) / PIXEL_SCALE

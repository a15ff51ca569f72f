# SPDX-License-Identifier: Apache-2.0
"""The network: its configuration, blocks, backbone, deformable stages and heads, and checkpoints of it."""

from models.network.backbone import Backbone, load_plain
from models.network.blocks import ConvNorm, set_slope
from models.network.checkpoints import (
    compact,
    float_identity,
    load_checkpoint,
    load_network,
    load_newest,
    previous,
    start_from,
    write_checkpoint,
)
from models.network.config import (
    ACCELERATED_SIDES,
    ALL_DILATIONS,
    CONFIGS,
    CONFLICT_FREE_OR_ZERO,
    MAX_DILATION,
    PIXEL_OFFSET,
    PIXEL_SCALE,
    SIDE_UNIT,
    NetworkConfig,
    get_config,
    normalize,
)
from models.network.deform import DeformConv, offset_places, round_dilation, square_places
from models.network.detector import CoDeNet
from models.network.graph_builder import GraphBuilder, Grid
from models.network.peaks import find_peaks

__all__ = [
    "ACCELERATED_SIDES",
    "ALL_DILATIONS",
    "Backbone",
    "CONFIGS",
    "CONFLICT_FREE_OR_ZERO",
    "CoDeNet",
    "ConvNorm",
    "DeformConv",
    "GraphBuilder",
    "Grid",
    "MAX_DILATION",
    "NetworkConfig",
    "PIXEL_OFFSET",
    "PIXEL_SCALE",
    "SIDE_UNIT",
    "compact",
    "find_peaks",
    "float_identity",
    "get_config",
    "load_checkpoint",
    "load_network",
    "load_newest",
    "load_plain",
    "normalize",
    "offset_places",
    "previous",
    "round_dilation",
    "set_slope",
    "square_places",
    "start_from",
    "write_checkpoint",
]

# SPDX-License-Identifier: Apache-2.0
"""Weights that were trained elsewhere: ShuffleNetV2 backbones, and the checkpoints of the paper's authors."""

from models.pretrained.authors import NORMALIZATIONS, load_authors, to_rounded
from models.pretrained.shufflenet import load_backbone_weights

__all__ = ["NORMALIZATIONS", "load_authors", "load_backbone_weights", "to_rounded"]

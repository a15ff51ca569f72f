"""Weights that were trained elsewhere: ShuffleNetV2 backbones, and the checkpoints of the paper's authors."""

from models.pretrained.authors import NORMALIZATIONS, load_authors, to_rounded
from models.pretrained.shufflenet import load_trunk

__all__ = ["NORMALIZATIONS", "load_authors", "load_trunk", "to_rounded"]

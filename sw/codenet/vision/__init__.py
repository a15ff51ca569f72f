"""Photos and frames in, boxes and pictures out."""

from codenet.vision.boxes import OVERLAP, TOP_K, Detection, Peaks, decode
from codenet.vision.draw import COLOURS, caption
from codenet.vision.image import Source, Stretched, load, resize, stretch, to_activation

__all__ = [
    "COLOURS",
    "Detection",
    "OVERLAP",
    "Peaks",
    "Source",
    "Stretched",
    "TOP_K",
    "caption",
    "decode",
    "load",
    "resize",
    "stretch",
    "to_activation",
]

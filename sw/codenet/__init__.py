# SPDX-License-Identifier: Apache-2.0
"""CoDeNet: object detection on a small FPGA, from camera pixels to boxes.

::

    from codenet import Detector

    detector = Detector("codenet-a.cdn")
    for detection in detector("street.jpg"):
        print(detection.label, detection.score, detection.box)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codenet.config import AcceleratorConfig
    from codenet.errors import CodenetError
    from codenet.graph import Graph
    from codenet.program import Program
    from codenet.runtime.accelerator import Accelerator
    from codenet.runtime.detector import Detector
    from codenet.vision.boxes import Detection

__version__ = "0.2.0"

__all__ = ["Accelerator", "AcceleratorConfig", "CodenetError", "Detection", "Detector", "Graph", "Program"]

# Loaded at first use, so that `import codenet` costs milliseconds, NumPy and Pillow included, on a slow board too.
_HOMES = {
    "Accelerator": "codenet.runtime.accelerator",
    "AcceleratorConfig": "codenet.config",
    "CodenetError": "codenet.errors",
    "Detection": "codenet.vision.boxes",
    "Detector": "codenet.runtime.detector",
    "Graph": "codenet.graph",
    "Program": "codenet.program",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'codenet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

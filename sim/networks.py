# SPDX-License-Identifier: Apache-2.0
"""The graphs of configurations a to g: trained ones where they are shipped, otherwise of random weights."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

from codenet.checkout import BUILD, PHOTOS, ROOT, digest, sources
from codenet.graph import Graph
from codenet.vision.image import load, resize

ZOO = ROOT / "models" / "zoo"
GRAPHS = BUILD / "graphs"
PHOTO = PHOTOS / "chelsea.jpg"
CONFIGURATIONS = "abcdefg"


def letters(text: str) -> str:
    """Type of an argument: letters of configurations, ``ac`` for example."""
    if not text or set(text) - set(CONFIGURATIONS):
        raise ArgumentTypeError(f"{text!r}: expected letters of {CONFIGURATIONS}")
    return text


def load_graph(configuration: str, photo: Path = PHOTO) -> Graph:
    """The trained graph of a configuration; random weights, calibrated on the photo, where there is none."""
    path = _trained(configuration)
    return Graph.load(path) if path.exists() else _untrained(configuration, photo)


def load_kept(configuration: str) -> Graph:
    """`load_graph` of one photo, made once: an untrained graph is kept in ``build/graphs`` until what it is made by
    changes.
    """
    path = _trained(configuration)
    if not path.exists():
        key = digest([PHOTO, *sources("models.quantization.untrained")])
        path = GRAPHS / f"codenet-{configuration}-untrained-{key}.cdg"
        if not path.exists():
            graph = _untrained(configuration, PHOTO)
            GRAPHS.mkdir(parents=True, exist_ok=True)
            graph.save(path)
    return Graph.load(path)


def _trained(configuration: str) -> Path:
    return ZOO / f"codenet-{configuration}.cdg"


def _untrained(configuration: str, photo: Path) -> Graph:
    from models.network.config import get_config
    from models.quantization.untrained import untrained

    config = get_config(configuration)
    return untrained(configuration, photo=resize(load(photo), *config.input_size, config.fit))

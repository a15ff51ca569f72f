"""The graphs of configurations a to e: trained ones where they are shipped, otherwise of random weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from codenet.graph import Graph
from codenet.image import load, resize

ROOT = Path(__file__).resolve().parent.parent
ZOO = ROOT / "models" / "zoo"
GRAPHS = ROOT / "build" / "graphs"
PHOTO = ROOT / "docs" / "photos" / "chelsea.jpg"
CONFIGURATIONS = "abcde"


def load_graph(configuration: str, photo: Path = PHOTO) -> Graph:
    """The trained graph of a configuration; random weights, calibrated on the photo, where there is none."""
    path = _trained(configuration)
    return Graph.load(path) if path.exists() else _untrained(configuration, photo)


def load_kept(configuration: str) -> Graph:
    """`load_graph` of one photo, made once: an untrained graph is kept in ``build/graphs`` until what it is made by changes."""
    path = _trained(configuration)
    if not path.exists():
        sources = [*sorted((ROOT / "models").glob("*.py")), ROOT / "sw" / "codenet" / "graph.py"]
        digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
        path = GRAPHS / f"codenet-{configuration}-untrained-{digest}.cdg"
        if not path.exists():
            graph = _untrained(configuration, PHOTO)
            GRAPHS.mkdir(parents=True, exist_ok=True)
            graph.save(path)
    return Graph.load(path)


def _trained(configuration: str) -> Path:
    return ZOO / f"codenet-{configuration}.cdg"


def _untrained(configuration: str, photo: Path) -> Graph:
    from models.configs import get_config
    from models.untrained import untrained

    size = get_config(configuration).size
    return untrained(configuration, photo=resize(load(photo), size, size))

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
    path = ZOO / f"codenet-{configuration}.cdg"
    if path.exists():
        return Graph.load(path)
    from models.configs import get_config
    from models.untrained import untrained

    size = get_config(configuration).size
    return untrained(configuration, photo=resize(load(photo), size, size))


def load_kept(configuration: str) -> Graph:
    """`load_graph` of one photo, made once: an untrained graph is kept in ``build/graphs`` until what it is made by changes."""
    if (ZOO / f"codenet-{configuration}.cdg").exists():
        return load_graph(configuration)
    sources = [*sorted((ROOT / "models").glob("*.py")), ROOT / "sw" / "codenet" / "graph.py"]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    kept = GRAPHS / f"codenet-{configuration}-untrained-{digest}.cdg"
    if not kept.exists():
        graph = load_graph(configuration)
        GRAPHS.mkdir(parents=True, exist_ok=True)
        graph.save(kept)
    return Graph.load(kept)

"""Compiler: a :class:`codenet.graph.Graph` to a :class:`codenet.program.Program` (docs/compiler.md).

Passes, each a module: ``lower`` (graph to nodes and views), ``merge`` (heads), ``bounds`` (proof of widths), ``fuse`` (1x1 and
depthwise), ``layout`` (channels to planes), ``tile`` (nodes to steps), ``memory`` (addresses), ``emit`` (descriptors and parameter blocks).
"""

from __future__ import annotations

from codenet.compiler.bounds import prove
from codenet.compiler.emit import emit
from codenet.compiler.fuse import fuse_expansions
from codenet.compiler.lower import lower
from codenet.compiler.merge import merge_heads
from codenet.compiler.tile import tile
from codenet.config import AcceleratorConfig
from codenet.errors import CompileError
from codenet.graph import Graph
from codenet.program import Program

DEFAULT_PEAKS = 1024
"""Peak records that a program makes room for."""

DEFAULT_SCORE = 0.1
"""Score from which on a peak is recorded, until the driver asks for another."""


def compile(
    graph: Graph,
    config: AcceleratorConfig | None = None,
    *,
    peak_capacity: int = DEFAULT_PEAKS,
    score: float = DEFAULT_SCORE,
) -> Program:
    """Compile ``graph`` for accelerators of ``config`` (by default, the default configuration).

    Parameters
    ----------
    peak_capacity:
        Peak records that are kept of a frame, 1 to 65535.
    score:
        Initial threshold of the peaks, within (0, 1).

    Raises
    ------
    CompileError
        The graph is valid but does not fit; names the operation, its shape and the limit that it breaks.
    """
    config = config or AcceleratorConfig()
    if not 1 <= peak_capacity < 2**16:
        raise CompileError(f"peak_capacity {peak_capacity}: expected 1 to {2**16 - 1}")
    if not 0 < score < 1:
        raise CompileError(f"score {score}: expected more than 0 and less than 1")
    lowered = merge_heads(lower(graph), config)
    prove(lowered.nodes, lowered.tensors)
    lowered = fuse_expansions(lowered, graph.outputs.values(), config)
    return emit(graph, lowered, tile(lowered, config), config, peak_capacity, score)

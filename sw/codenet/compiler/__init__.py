# SPDX-License-Identifier: Apache-2.0
"""Compiler: a :class:`codenet.graph.Graph` to a :class:`codenet.program.Program` (docs/compiler.md).

Passes, each a module: ``lower`` (graph to nodes and views), ``merge`` (heads), ``bounds`` (proof of widths), ``fuse``
(1x1 and depthwise), ``layout`` (channels to planes), ``tile`` (nodes to steps; with ``limits`` of one step, and
``weights`` in lanes), ``memory`` (addresses), ``emit`` (descriptors and parameter blocks), ``check`` (of the result).
"""

from __future__ import annotations

from codenet.compiler.bounds import prove
from codenet.compiler.check import check
from codenet.compiler.emit import emit
from codenet.compiler.fuse import fuse_expansions
from codenet.compiler.lower import lower
from codenet.compiler.merge import merge_heads
from codenet.compiler.tile import tile
from codenet.config import AcceleratorConfig
from codenet.errors import CompileError
from codenet.graph import Graph
from codenet.program import Program

LEAST_PEAKS = 1024
"""Peak records that a program makes room for, unless its heatmap is large or it is asked for fewer."""

MOST_PEAKS = 2**16 - 1
"""What the descriptor's field holds."""

DEFAULT_SCORE = 0.1
"""Score from which on a peak is recorded, until the driver asks for another."""


def compile(
    graph: Graph,
    config: AcceleratorConfig | None = None,
    *,
    peak_capacity: int | None = None,
    score: float = DEFAULT_SCORE,
) -> Program:
    """Compile ``graph`` for accelerators of ``config`` (by default, the default configuration).

    Parameters
    ----------
    peak_capacity:
        Peak records that are kept of a frame, 1 to 65535. By default a quarter of the heatmap's pixels, as many as one
        class can have where all differ, and at least 1024.
    score:
        Initial threshold of the peaks, within (0, 1).

    Raises
    ------
    CompileError
        The graph is valid but does not fit; names the operation, its shape and the limit that it breaks.
    """
    config = config or AcceleratorConfig()
    if peak_capacity is None:
        peak_capacity = _room_for_peaks(graph)
    if not 1 <= peak_capacity <= MOST_PEAKS:
        raise CompileError(f"peak_capacity {peak_capacity}: expected 1 to {MOST_PEAKS}")
    if not 0 < score < 1:
        raise CompileError(f"score {score}: expected more than 0 and less than 1")
    lowered = merge_heads(lower(graph), config)
    prove(lowered.nodes, lowered.tensors)
    lowered = fuse_expansions(lowered, graph.outputs.values(), config)
    program = emit(graph, lowered, tile(lowered, config), config, peak_capacity, score)
    check(program)
    return program


def _room_for_peaks(graph: Graph) -> int:
    heatmap = graph.outputs.get("heatmap")
    if heatmap is None:
        return LEAST_PEAKS
    height, width, _ = graph.tensors[heatmap].shape
    return min(max(LEAST_PEAKS, height * width // 4), MOST_PEAKS)

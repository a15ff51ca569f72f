# SPDX-License-Identifier: Apache-2.0
"""What a step has to do, worked out from its descriptor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codenet.config import BEAT_BYTES, CHUNK, VECTOR_BYTES, AcceleratorConfig
from codenet.isa import DepthwiseOp, Descriptor
from sim.cycles.bandwidth import BURST_BEATS
from sim.cycles.dilation import TAPS, window_beats
from sim.cycles.latency import (
    BLOCK_PAUSE,
    BUFFER_MARGIN,
    EXPANDED,
    LOAD_QUEUE,
    PIXEL_PAUSE,
    RESULT_QUEUE,
    RESULTS,
    RESULTS_BYPASS,
    RESULTS_PEAKS,
    ROW_COMPLETE,
    ROW_PAUSE,
    ROW_TO_ARRAY,
)

BEATS_PER_VECTOR = VECTOR_BYTES // BEAT_BYTES


@dataclass(frozen=True)
class Work:
    """Amounts of one step. Rows of input are those that arrive (stored ones, twice with ``repeat``), rows of output are
    pixels' rows.

    Attributes
    ----------
    step:
        The descriptor.
    row_beats, rows, rows_each:
        Beats that an arriving row has in all planes, how many arrive, and how many rows of the window each of them
        makes.
    run_beats:
        Beats of one plane's row, or piece of a row to expand, which is one request.
    take_rate:
        Beats a cycle at which the window, or the expansion, takes rows that are there.
    load_queue:
        Beats that may be asked for ahead of that.
    piece_beats:
        Beats that must be there before an expansion begins.
    expand_delay:
        Cycles from the end of a row's expansion to the first vector of it at the array; 0 without an expansion.
    expand_share:
        Part of the array that the expansion occupies for each beat a cycle that it takes.
    expand_active:
        Cycles in which the array multiplies for the expansion of one arriving row.
    window_cycles:
        Cycles a row at which the window delivers, if nothing stops it, up to places in the output: ``(place, cycles)``,
        places in rows, the end of each row among them. Within a row the cycles change with the dilation.
    array_cycles, active_cycles:
        Cycles in which the array processes a row of vectors that are there, and those of them in which it multiplies.
    window_lead:
        Rows of output that the window may be ahead of the array.
    output_beats:
        Results of a row.
    block_beats, last_block_beats:
        Results that the storer gathers before it writes them, and those of the last block.
    result_delay:
        Cycles from the last operation of a block to its first beat at the memory.
    """

    step: Descriptor
    row_beats: int
    rows: int
    rows_each: int
    run_beats: int
    take_rate: float
    load_queue: int
    piece_beats: int
    expand_delay: int
    expand_share: float
    expand_active: int
    window_cycles: tuple[tuple[float, float], ...]
    array_cycles: float
    active_cycles: int
    window_lead: float
    output_beats: int
    block_beats: int
    last_block_beats: int
    result_delay: int

    @property
    def is_peaks(self) -> bool:
        """Whether the step looks for peaks."""
        return self.step.depthwise_op == DepthwiseOp.PEAKS

    @property
    def output_rows(self) -> int:
        """Rows of the output."""
        return self.step.output_height

    @property
    def load_beats(self) -> int:
        """Beats of activations that the step reads."""
        return self.row_beats * self.rows

    @property
    def store_beats(self) -> int:
        """Beats that the step writes (peak records, whose number depends on data, aside)."""
        return self.output_beats * self.output_rows

    @property
    def store_run_beats(self) -> int:
        """Beats of a plane's part of a block, which is one request."""
        return BEATS_PER_VECTOR * min(self.step.output_pixels, 1 << self.step.block_log2)

    @property
    def store_limit(self) -> int:
        """Beats of results that may wait: two blocks and the queues around them."""
        return 2 * self.block_beats + RESULT_QUEUE

    def rows_needed(self, row: int) -> int:
        """Rows of input that must be there before output row ``row``."""
        return min(row * (1 + self.step.stride2) + self.step.reach + 1, self.step.input_height)

    def rows_allowed(self, row: int) -> int:
        """Rows of input that the window has room for while it delivers output row ``row``."""
        return self.step.window_rows + max(0, row * (1 + self.step.stride2) - self.step.reach)


def work_of(step: Descriptor, config: AcceleratorConfig, dilations: np.ndarray | None = None) -> Work:
    """Amounts of ``step``. ``dilations``: as in :func:`sim.cycles.dilation.window_beats`, for deformable steps."""
    pairs = step.upsample and not step.repeat
    width = step.input_width >> step.upsample
    run_beats = width + 1 if step.packed else BEATS_PER_VECTOR * (step.expand_columns if step.expand else width)
    planes = step.expand_planes if step.expand else step.input_planes + step.dilated
    row_beats = planes * (width + 1 if step.packed else BEATS_PER_VECTOR * width)
    expand_cycles = _expand_cycles(step, config)
    active, cycles = _array_cycles(step, config)
    vectors = max(step.vectors, step.input_planes) * step.output_width
    output_beats = 0 if step.depthwise_op == DepthwiseOp.PEAKS else 2 * step.output_planes * step.output_width
    stored = output_beats * step.output_height
    block = min((BEATS_PER_VECTOR * step.output_planes) << step.block_log2, stored)
    return Work(
        step=step,
        row_beats=row_beats,
        rows=step.input_height >> (1 if pairs else 0),
        rows_each=2 if pairs else 1,
        run_beats=run_beats,
        take_rate=row_beats / (max(row_beats, expand_cycles) + ROW_PAUSE + (1 if pairs else 0) + step.packed),
        load_queue=LOAD_QUEUE + (BEATS_PER_VECTOR * config.expand_depth if step.expand else 0),
        piece_beats=run_beats * planes if step.expand else 0,
        expand_delay=EXPANDED + config.chunks_per_group + ROW_COMPLETE + ROW_TO_ARRAY if step.expand else 0,
        expand_share=expand_cycles / row_beats,
        expand_active=width * step.expand_words,
        window_cycles=_window_cycles(step, dilations),
        # The storer takes a beat a cycle.
        array_cycles=max(cycles, output_beats * (1 + (BLOCK_PAUSE / block if block else 0))),
        active_cycles=active,
        window_lead=_window_lead(config, min(1.0, vectors / cycles)) / vectors,
        output_beats=output_beats,
        block_beats=block,
        last_block_beats=(stored % block or block) if block else 0,
        result_delay=_result_delay(step, config),
    )


def _expand_cycles(step: Descriptor, config: AcceleratorConfig) -> int:
    """Cycles of the array for the expansion of an arriving row: as of :func:`_array_cycles`, and one for each piece, in
    which it is not its turn.
    """
    if not step.expand:
        return 0
    width, full = step.input_width >> step.upsample, config.outputs // CHUNK
    groups = [full] * (step.expand_groups - 1) + [step.expand_chunks - full * (step.expand_groups - 1)]
    cycles = sum(max(step.expand_planes, chunks) for chunks in groups)
    return width * cycles + width // step.expand_columns


def _array_cycles(step: Descriptor, config: AcceleratorConfig) -> tuple[int, int]:
    """Operations of a row of output, and cycles that they take: a group of outputs lasts as long as its results take to
    leave.
    """
    width = step.output_width
    if step.depthwise_op == DepthwiseOp.PEAKS:
        return step.input_planes * width, step.input_planes * width
    if not step.pointwise:
        return 2 * step.vectors * width, 2 * step.vectors * width
    operations = step.vectors * (1 + step.wide_weights)
    full = config.outputs // CHUNK
    groups = [full] * (step.groups - 1) + [step.chunks - full * (step.groups - 1)]
    cycles = sum(max(operations, chunks << step.wide_output) for chunks in groups)
    return step.groups * operations * width, cycles * width


def _window_lead(config: AcceleratorConfig, rate: float) -> float:
    """Vectors that wait for the array in a full buffer: its places, but for those of the vectors on their way at
    ``rate`` a cycle.
    """
    return max(config.vector_depth - BUFFER_MARGIN - rate * ROW_TO_ARRAY, config.vector_depth / 4)


def _result_delay(step: Descriptor, config: AcceleratorConfig) -> int:
    """Latency of the results, the beats of a group that leave one by one, and a burst, which is written when it is
    complete.
    """
    if step.depthwise_op == DepthwiseOp.PEAKS:
        return RESULTS_PEAKS
    burst = min(BURST_BEATS, BEATS_PER_VECTOR * min(step.output_pixels, 1 << step.block_log2))
    if not step.pointwise:
        return RESULTS_BYPASS + burst
    last_group = (step.chunks - (step.groups - 1) * (config.outputs // CHUNK)) << step.wide_output
    return RESULTS + last_group + burst


def _window_cycles(step: Descriptor, dilations: np.ndarray | None) -> tuple[tuple[float, float], ...]:
    # The pause comes between rows.
    shortest = [step.output_width + PIXEL_PAUSE] * (step.output_height - 1) + [step.output_width]
    cycles = step.input_planes * step.output_width * (TAPS if step.full else 1)
    beats = window_beats(dilations) if step.dilated else np.ones((1, 1))
    pieces: list[tuple[float, float]] = []
    for row, least in enumerate(shortest):
        stored = beats[row >> step.upsample if len(beats) > 1 else 0]
        ends = np.append(np.flatnonzero(np.diff(stored)) + 1, len(stored))
        longer = max(1.0, least / float(cycles * stored.mean()))
        pieces += [(row + end / len(stored), float(cycles * stored[end - 1] * longer)) for end in ends.tolist()]
    return tuple(pieces)

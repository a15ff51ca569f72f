# SPDX-License-Identifier: Apache-2.0
"""Fixed delays of the RTL, in cycles: where re-calibration changes a number. Memory latency is not in them."""

LOAD = 14
"""From the start of a step to its first burst at the memory: start (5), plane table (3), queue (2), splitter (3),
address register (1).
"""

ROW_COMPLETE = 5
"""From the last beat of a row at the memory to the row in the banks: queue (2), vector (1), entrance (1), writer
(1).
"""

EXPANDED = 36
"""From the last operation of an expanded row to its results at the window writer, without the beats of a group: row
buffer (1), weights (3), array (14), sums (3), requantizer (11), vector (1), queue (2), entrance (1)."""

ROW_TO_ARRAY = 37
"""From a complete row to its first vector at the array: pixels (9), their queue (3), beats (5), banks and padding (4),
depthwise (15), buffer (1).
"""

ROW_RELEASE = 16
"""Lost to a loader that waits for room, each time: release of a row (8), and from a complete row to the first read of
its banks again (8).
"""

ROW_PAUSE = 1
"""Cycles that the window loses between rows: it takes no vector in two, but one of them would have brought none, as a
vector is two beats (not if packed). One more if rows come in pairs."""

PIXEL_PAUSE = 5
"""Cycles between output rows in which no pixel is started; hidden unless a pixel is as short as a cycle."""

BUFFER_MARGIN = 6
"""Places of the vector buffer that are never used."""

RESULTS = 40
"""From an operation of the array to its result at the memory, without the beats of group, block and burst that have to
be complete first: weights (3), array (14), sums (3), requantizer (11), queue (2), way to the storer (1), block (3),
burst (3)."""

RESULTS_BYPASS = 12
"""The same in steps without pointwise: their vectors go around array and requantizer."""

RESULTS_PEAKS = 13
"""From a vector at the comparators to its record at the memory."""

BLOCK_PAUSE = 2
"""Cycles between blocks in which the storer takes no result, if results come a beat a cycle."""

WRITE_RESPONSE = 8
"""From the last beat of a step at the memory to its end, without memory latency: address (1), response (1), storer (4),
sequencer (2).
"""

FETCH_DESCRIPTOR = 7
"""From the start of a fetch to the descriptor's first burst at the memory."""

FETCH_PARAMETERS = 15
"""From the descriptor's last beat to the first burst of parameters: queue (1), checks (9), splitter (3), address
register (2).
"""

FETCH_SETTLE = 13
"""From the last beat of parameters to the start of the step: queue (1), numbering (1), memories (8), sequencer (3)."""

STEP_CHANGE = 2
"""Between the end of a step and the start of the next whose parameters are there."""

LOAD_QUEUE = 256
"""Beats that the loader asks for ahead of the window."""

RESULT_QUEUE = 64
"""Beats of results on their way to the memory besides the two blocks."""

BURSTS_IN_FLIGHT = 8
"""Bursts that a bus master has outstanding."""

BURST_ROUND_TRIP = 8
"""From the last beat of a burst to the first of the burst that takes its place, without memory latency."""

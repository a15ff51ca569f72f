# SPDX-License-Identifier: Apache-2.0
"""Signatures and layouts that components share."""

from amaranth import Module, Value, signed, unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from codenet.config import LANES
from codenet.isa import DESCRIPTOR_WORDS, FIELDS, Section
from hw.lib import delay

VECTOR = data.ArrayLayout(signed(8), LANES)
"""One pixel of one plane: 16 int8 channels (128 bits)."""

STEP = data.StructLayout({field.name: (signed if field.signed else unsigned)(field.width) for field in FIELDS})
"""Fields of a descriptor, unpacked."""


def unpack_descriptor(words):
    """``STEP`` value (an expression, for ``comb``) from a 1024-bit descriptor as fetched, word 0 in the low bits."""
    from amaranth import Cat

    assert len(words) == 32 * DESCRIPTOR_WORDS
    return Cat(words[32 * f.word + f.shift : 32 * f.word + f.shift + f.width] for f in FIELDS)


class ParameterSection(enum.Enum, shape=unsigned(3)):
    """Hardware twin of :class:`codenet.isa.Section`."""

    INPUT_TABLE = int(Section.INPUT_TABLE)
    OUTPUT_TABLE = int(Section.OUTPUT_TABLE)
    DEPTHWISE = int(Section.DEPTHWISE)
    CHUNKS = int(Section.CHUNKS)
    WEIGHTS = int(Section.WEIGHTS)


PARAMETER = data.StructLayout(
    {"section": ParameterSection, "half": unsigned(1), "index": unsigned(13), "beat": unsigned(7), "data": unsigned(64)}
)
"""One beat of a parameter block on its way to the memory that keeps it: entry ``index`` of ``section`` (table entry,
plane, chunk, weight word), beat ``beat`` of that entry, for half ``half`` of the memory."""


class StepControl(wiring.Signature):
    """From the sequencer to every component of the datapath.

    Members
    -------
    step:
        The running step, valid from ``start`` until the next one.
    start:
        One cycle: a step begins.
    half:
        Which half of its parameter memories the step uses; stable as ``step``. Only for components that have any.
    """

    def __init__(self, half: bool = False):
        super().__init__({"step": Out(STEP), "start": Out(1)} | ({"half": Out(1)} if half else {}))


TO_COMPONENTS = 2
"""Registers between the sequencer and each component: one to cross the chip, one to spread from."""

TO_MEMORIES = 8
"""Cycles from a parameter beat on the bus to its place in the farthest memory, at most: a step that uses it must not
begin before.
"""

RESET_CYCLES = 16
"""Least cycles of a reset: longer than it takes to reach every component, and than any takes to raise a bus request
that was already decided.
"""


def begin_after(m: Module, start: Value, stages: int) -> Value:
    """``start``, once ``stages`` registers behind ``step`` have followed it.

    What is worked out from the step alone goes through registers, so that it is on no path of a beat. It may take its
    time, but for the beginning of a step: what uses it begins when the last of the registers has the new step's value.
    """
    return delay(m, start, stages, "begin", reset=True)


class VectorWalk(wiring.Signature):
    """Read pointer of a buffer of vectors, seen from the buffer.

    Members
    -------
    ready:
        The vector at the read pointer is there.
    take:
        Only while ``ready``: go on to the next vector of the pixel.
    last:
        With ``take``: this was the pixel's last vector; return to its first, or, with ``free``, go on to the next
        pixel.
    free:
        With ``take``: the vector is not needed again, its place becomes free.
    """

    def __init__(self):
        super().__init__({"ready": Out(1), "take": In(1), "last": In(1), "free": In(1)})


class VectorReader(wiring.Signature):
    """:class:`VectorWalk`, with what is read.

    Members
    -------
    payload:
        The vector that the read pointer pointed at some cycles ago: the buffer's ``latency``.
    """

    def __init__(self):
        super().__init__({**VectorWalk().members, "payload": Out(VECTOR)})


class ParameterBus(wiring.Signature):
    """Broadcast of parameter beats from the fetcher to the memories. Cannot stall; at most one beat a cycle."""

    def __init__(self):
        super().__init__({"valid": Out(1), "payload": Out(PARAMETER)})


SAMPLES = data.StructLayout(
    {
        "samples": data.ArrayLayout(VECTOR, 9),
        "row_tap": data.ArrayLayout(unsigned(2), 3),
        "column_tap": data.ArrayLayout(unsigned(2), 3),
        "inside": unsigned(9),
        "plane": unsigned(8),
        "first": unsigned(1),
        "last": unsigned(1),
        "x": unsigned(12),
        "y": unsigned(12),
    }
)
"""What the window gives for one plane of one pixel.

Bank order: ``samples[3*rho + kappa]`` comes from bank (row mod 3 == rho, column mod 3 == kappa), already replaced by
``pad`` where it lies outside the image (``inside`` bit 0). It is tap (i, j) = (``row_tap[rho]``,
``column_tap[kappa]``), each 0 to 2; 3 means: this bank has no part in this beat. The depthwise unit brings the weights
to the banks instead of the samples to the taps. If several beats are needed for a plane (dilations 0, 3, 6, whose taps
share banks), ``first`` and ``last`` mark them, and each has exactly one bank with a part, except in the modes without
depthwise (``full`` and centre), where ``first`` and ``last`` are set in every beat, each beat is one vector and it is
``samples[0]``."""


TAP_LEAD = 4
"""Cycles by which the window gives :data:`BEAT_TAPS` before the samples, so that their weights can be fetched
meanwhile.
"""

BEAT_TAPS = data.StructLayout(
    {
        "plane": unsigned(8),
        "row_tap": data.ArrayLayout(unsigned(2), 3),
        "column_tap": data.ArrayLayout(unsigned(2), 3),
    }
)
"""Plane and taps of a beat, as in :data:`SAMPLES`."""

STORE_ITEM = data.StructLayout({"data": unsigned(64), "end": unsigned(1)})
"""To the storer: a beat of results; or, after the last peak record of a peak step, a marker ``end`` without data."""

# SPDX-License-Identifier: Apache-2.0
"""AXI-Lite register map: the one source for gateware decoder, driver and documentation (docs/registers.md).

32-bit registers at byte offsets from the accelerator's base.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from codenet.config import LANES, AcceleratorConfig
from codenet.isa import ISA_VERSION

IDENTITY = 0x434F4445
"""ASCII "CODE"."""


@dataclass(frozen=True)
class BitField:
    """``width`` bits from bit ``shift``."""

    name: str
    shift: int
    width: int
    description: str


@dataclass(frozen=True)
class Register:
    """One register.

    ``access``: ``ro``, ``rw``, ``wo`` (reads as 0) or ``w1c`` (write 1 to clear). ``writable``: bits that a read-write
    register keeps; the others read as 0.
    """

    name: str
    offset: int
    access: str
    description: str
    fields: tuple[BitField, ...] = ()
    writable: int = 0xFFFFFFFF

    def field(self, name: str) -> BitField:
        """The bit field of this name; ``KeyError`` if there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"register {self.name} has no field {name!r}")

    def extract(self, value: int, name: str) -> int:
        """Field ``name`` of a register value."""
        field = self.field(name)
        return (value >> field.shift) & ((1 << field.width) - 1)


REGISTERS: tuple[Register, ...] = (
    Register("IDENTITY", 0x00, "ro", f"{IDENTITY:#010x}, ASCII CODE"),
    Register("VERSION", 0x04, "ro", "Version of descriptors and registers (codenet.isa.ISA_VERSION)"),
    Register(
        "CONFIG0",
        0x08,
        "ro",
        "Array and plane sizes",
        (
            BitField("outputs", 0, 8, "output channels of the pointwise array"),
            BitField("lanes", 8, 8, "channels of a plane (16)"),
            BitField("plane_depth_log2", 16, 8, "log2 of planes a step can address"),
            BitField("depthwise_depth_log2", 24, 8, "log2 of planes a step can filter"),
        ),
    ),
    Register(
        "CONFIG1",
        0x0C,
        "ro",
        "Memory sizes, log2",
        (
            BitField("window_depth_log2", 0, 8, "vectors in a window bank"),
            BitField("weight_depth_log2", 8, 8, "words of the weight memory"),
            BitField("vector_depth_log2", 16, 8, "vectors between depthwise and pointwise"),
            BitField("store_depth_log2", 24, 8, "beats of the storer's memory"),
        ),
    ),
    Register(
        "CONFIG2",
        0x10,
        "ro",
        "Memory sizes, log2",
        (
            BitField("chunk_depth_log2", 0, 8, "chunks of 8 output channels a step can produce"),
            BitField("dilation_depth_log2", 8, 8, "pixels of the dilation ring"),
            BitField("profile_depth_log2", 16, 8, "steps whose counters are kept"),
            BitField("expand_depth_log2", 24, 8, "vectors before the expansion"),
        ),
    ),
    Register(
        "CONTROL",
        0x20,
        "wo",
        "Commands",
        (
            BitField("start", 0, 1, "run the program once; ignored while busy"),
            BitField("reset", 1, 1, "stop everything and return to idle once outstanding bus transfers have ended"),
        ),
    ),
    Register(
        "STATUS",
        0x24,
        "ro",
        "State",
        (
            BitField("busy", 0, 1, "a program runs, or a reset is in progress"),
            BitField("done", 1, 1, "the last program ran to its end (cleared by start and reset)"),
            BitField("error", 2, 1, "the last program stopped with an error (cleared by reset)"),
            BitField("cause", 8, 8, "codenet.isa.ErrorCause"),
            BitField("step", 16, 16, "step that runs, or that stopped"),
        ),
    ),
    Register("IRQ_ENABLE", 0x28, "rw", "Bit 0: interrupt when a program ends (done or error)", writable=1),
    Register("IRQ_STATUS", 0x2C, "w1c", "Bit 0: a program has ended"),
    Register(
        "BASE_ADDRESS",
        0x30,
        "rw",
        "Physical address that all program offsets are relative to; multiple of 128",
        writable=0xFFFFFF80,
    ),
    Register("PROGRAM_OFFSET", 0x34, "rw", "Offset of the first descriptor; multiple of 128", writable=0xFFFFFF80),
    Register(
        "WATCHDOG", 0x38, "rw", "Cycles without a finished step after which the program stops with an error; 0: never"
    ),
    Register(
        "PEAK_COUNT", 0x3C, "ro", "Peaks found by the last peak step (more than its capacity: the rest was dropped)"
    ),
    Register("FRAME_CYCLES", 0x40, "ro", "Cycles from start to the end of the last program"),
    Register("FRAME_STEPS", 0x44, "ro", "Steps that the last program finished"),
    Register("PROFILE_INDEX", 0x50, "rw", "Word of the profile memory that PROFILE_DATA reads: step * 8 + counter"),
    Register("PROFILE_DATA", 0x54, "ro", "Profile word at PROFILE_INDEX, which then advances by one"),
    Register("SCRATCH", 0x5C, "rw", "Keeps what is written; for bus tests"),
)
"""All registers, by offset."""

BY_NAME: dict[str, Register] = {register.name: register for register in REGISTERS}

ADDRESS_BITS = 12
"""Size of the register block: 4 KiB."""


class ProfileCounter(IntEnum):
    """Words of a step's profile. The first six sum to the cycles from the end of the step before to the end of this
    one.
    """

    ACTIVE = 0
    """The pointwise array (or, with pointwise off, its bypass; or the peak comparators) took a vector."""
    WAIT_PARAMETERS = 1
    """The step had not started: descriptor or parameters not yet there."""
    WAIT_INPUT = 2
    """No vector: the window waits for rows."""
    WAIT_WINDOW = 3
    """No vector: the window and depthwise pipeline are busy making one."""
    WAIT_OUTPUT = 4
    """A vector waits: no room for the results."""
    DRAIN = 5
    """All vectors taken; results are being written."""
    READ_BEATS = 6
    """Beats read: activations of this step, and whatever parameters were fetched meanwhile."""
    WRITE_BEATS = 7


PROFILE_WORDS = len(ProfileCounter)


def config_registers(config: AcceleratorConfig) -> dict[str, int]:
    """Values of VERSION and CONFIG0 to CONFIG2 for an accelerator of ``config``."""
    values = {"lanes": LANES, "outputs": config.outputs}
    for name, size in config.to_dict().items():
        values[f"{name}_log2"] = size.bit_length() - 1
    words = {"VERSION": ISA_VERSION}
    for name in ("CONFIG0", "CONFIG1", "CONFIG2"):
        words[name] = sum(values[field.name] << field.shift for field in BY_NAME[name].fields)
    return words


def config_from_registers(words: dict[str, int]) -> AcceleratorConfig:
    """Inverse of :func:`config_registers`, for a driver that has read them."""
    values: dict[str, int] = {}
    for name in ("CONFIG0", "CONFIG1", "CONFIG2"):
        register = BY_NAME[name]
        for field in register.fields:
            value = register.extract(words[name], field.name)
            if field.name.endswith("_log2"):
                values[field.name.removesuffix("_log2")] = 1 << value
            elif field.name != "lanes":
                values[field.name] = value
    return AcceleratorConfig.from_dict(values)

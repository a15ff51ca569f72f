# SPDX-License-Identifier: Apache-2.0
"""Kinds of faults: each draws one, lets a frame suffer it, and returns how that ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import repeat

import numpy as np

from codenet.config import VECTOR_BYTES
from codenet.golden.executor import Counts, execute
from codenet.isa import DESCRIPTOR_BYTES, Descriptor, ErrorCause
from codenet.isa.rules import StepError
from codenet.runtime.frame import Outputs
from sim.verilator.board import (
    ADDRESS,
    CHANNELS,
    DATA,
    DECODE_ERROR,
    FOREVER,
    PORT0_READ,
    PORT0_WRITE,
    PORT1_READ,
    RESPONSE,
    SLAVE_ERROR,
    handshake,
)
from tests.faults.bench import (
    CONFIG,
    GOLDEN,
    RIGHT,
    UNDEFINED,
    Bench,
    Failure,
    because,
    hasty_resets,
    image,
    program,
)

TYPICAL_CYCLES = 16_000
"""Cycles of a frame; with the slowest memory it takes about twice as many."""

NAMES = {PORT0_READ: "port 0 read", PORT1_READ: "port 1 read", PORT0_WRITE: "port 0 write"}
CAUSES = {
    PORT0_READ: ErrorCause.INPUT_READ,
    PORT1_READ: ErrorCause.PARAMETER_READ,
    PORT0_WRITE: ErrorCause.OUTPUT_WRITE,
}
HANDSHAKES = {
    f"{NAMES[channel]} {('address', 'data', 'response')[which]}": handshake(channel, which)
    for channel in CHANNELS
    for which in (ADDRESS, DATA, RESPONSE)
    if which != RESPONSE or channel == PORT0_WRITE
}

Kind = Callable[[Bench], str]


def bus_error(bench: Bench) -> str:
    """SLVERR or DECERR at one beat that is read, or at one write response."""
    channel = int(bench.rng.choice(CHANNELS))
    response = int(bench.rng.choice([SLAVE_ERROR, DECODE_ERROR]))
    total = transfers()[channel]
    number = int(bench.rng.integers(total))
    bench.text = f"response {response} at transfer {number} of {total} of {NAMES[channel]}"
    bench.device.board.respond(channel, number, response)
    outcome = bench.check(bench.frame())
    if outcome != because(CAUSES[channel]):
        raise Failure(f"{outcome}, expected {because(CAUSES[channel])}")
    return outcome


_transfers: dict[int, int] = {}


def transfers() -> dict[int, int]:
    """Beats and responses of a whole frame by channel, whatever the timing."""
    if not _transfers:
        bench = Bench(np.random.default_rng(0))
        bench.check(bench.frame())
        _transfers.update({channel: bench.device.board.transfers(channel) for channel in CHANNELS})
        bench.close()
    return _transfers


def stall(bench: Bench) -> str:
    """A ready or valid of the memory stays low for long, perhaps for ever."""
    name = str(bench.rng.choice(list(HANDSHAKES)))
    after = int(bench.rng.integers(TYPICAL_CYCLES))
    cycles = FOREVER if bench.rng.random() < 0.125 else int(10 ** bench.rng.uniform(1, 5))
    bench.text = f"{name} held up {'for ever' if cycles == FOREVER else f'for {cycles} cycles'} from cycle {after} on"
    board = bench.device.board
    board.stall(HANDSHAKES[name], cycles, after)
    with hasty_resets():
        outputs = bench.frame()
    board.stall(0, 0)
    return bench.check(outputs)


def reset(bench: Bench) -> str:
    """The host resets the accelerator, or stops the frame, at any cycle."""
    cycles = int(bench.rng.integers(2 * TYPICAL_CYCLES))
    action = str(bench.rng.choice(["reset", "stop"]))
    bench.text = f"{action} after {cycles} cycles"
    bench.start(cycles)
    getattr(bench.accelerator, action)()
    return "idle again"


def abandoned(bench: Bench) -> str:
    """The host's program dies at any cycle, and another one opens the device."""
    cycles = int(bench.rng.integers(2 * TYPICAL_CYCLES))
    bench.text = f"another program takes over after {cycles} cycles"
    bench.start(cycles)
    first = bench.accelerator
    bench.device.turns = type(bench.device.turns)()  # Nothing in a new process knows of the frame that runs.
    bench.accelerator = bench.open()
    first.close()
    return "taken over"


def cut_program(bench: Bench) -> str:
    """A step in the middle says, with the right CRC, that it is the last."""
    step = int(bench.rng.integers(len(program().descriptors) - 1))
    bench.text = f"step {step} is marked last"
    return flip(bench, *other_fields(step, last=1))


def other_fields(step: int, **fields: int) -> tuple[int, np.ndarray]:
    """Offset of a descriptor, and the bits to flip there so that it has other fields and their CRC."""
    descriptor = program().descriptors[step]
    both = (descriptor.encode(), dataclasses.replace(descriptor, **fields).encode())
    mask: np.ndarray = np.bitwise_xor(*(np.frombuffer(data, np.uint8) for data in both))
    return program().program_offset + step * DESCRIPTOR_BYTES, mask


def descriptor_bit(bench: Bench) -> str:
    """A bit of a descriptor is another."""
    size = DESCRIPTOR_BYTES * len(program().descriptors)
    return flip_any(bench, "descriptors", program().program_offset, size)


def parameter_bit(bench: Bench) -> str:
    """A bit of a parameter block is another: of tables, weights or requantizers."""
    step = program().descriptors[bench.rng.integers(len(program().descriptors))]
    return flip_any(bench, "parameters", step.parameter_address, 8 * step.parameter_beats)


def input_bit(bench: Bench) -> str:
    """A bit of the photo is another when the frame begins."""
    return flip_any(bench, "input", program().input.offset, program().input.size)


def tensor_bit(bench: Bench) -> str:
    """A bit of a tensor is another, from the end of a step on."""
    tensor = program().tensors[bench.rng.integers(len(program().tensors))]
    steps = len(program().descriptors)
    step = int(bench.rng.integers(tensor.step, min(tensor.live_until, steps - 1) + 1))
    plane = int(bench.rng.choice(tensor.planes))
    size = (tensor.height >> tensor.upsample) * (tensor.width >> tensor.upsample) * VECTOR_BYTES
    return flip_any(bench, f"tensor {tensor.name} after step {step}", plane, size, step)


def flip_any(bench: Bench, what: str, offset: int, size: int, step: int | None = None) -> str:
    """Flip one of so many bytes' bits: at the end of ``step``, or before the start."""
    place, bit = offset + int(bench.rng.integers(size)), int(bench.rng.integers(8))
    bench.text = f"bit {bit} of byte {place} ({what})"
    return flip(bench, place, np.array([1 << bit], np.uint8), step)


def flip(bench: Bench, offset: int, mask: np.ndarray, step: int | None = None) -> str:
    """Flip the bits that ``mask`` has (uint8 ``[N]``) from ``offset`` on, run, and compare all of the memory with what
    golden makes of the same.
    """
    accelerator = bench.accelerator
    program().input.write(accelerator.memory, image(1))
    memory = accelerator.memory.copy()
    flipped, golden_bytes = (whole[offset : offset + mask.size] for whole in (accelerator.memory, memory))
    hook = golden_hook = None
    if step is None:
        flipped ^= mask
        golden_bytes ^= mask
    else:

        def hook(index: int) -> None:
            if index == step:
                flipped[:] = flipped ^ mask

        def golden_hook(index: int, descriptor: Descriptor, counts: Counts) -> None:
            if index == step:
                golden_bytes[:] = golden_bytes ^ mask

    error, found = None, None
    try:
        counts = execute(memory, program().program_offset, CONFIG, golden_hook)
        found = next((c.peaks for c in reversed(counts) if c.peaks is not None), None)
    except StepError as stopped:
        error = stopped
    bench.may_stray = error is not None
    outputs = bench.named(lambda: _run(bench, hook))
    outcome = _compare(bench, outputs, error, memory, found)
    # What the host writes once, when it opens a program: the input's border too.
    accelerator.memory[: len(program().image)] = np.frombuffer(program().image, np.uint8)
    program().input.write(accelerator.memory, image(1))
    if outcome == UNDEFINED:  # What has no rule may leave anything behind it; opening a program begins with a reset.
        accelerator.reset()
    return outcome


def _run(bench: Bench, on_step: Callable[[int], None] | None) -> Outputs:
    bench.accelerator.start(on_step=on_step)
    return bench.accelerator.finish()


def _compare(
    bench: Bench, outputs: Outputs | str, error: StepError | None, memory: np.ndarray, found: int | None
) -> str:
    if error is None:
        if isinstance(outputs, str):
            raise Failure(f"{outputs}, but golden computes the flipped memory")
        if np.any(outputs.memory != memory):
            where = int(np.flatnonzero(outputs.memory != memory)[0])
            raise Failure(
                f"byte {where} is {outputs.memory[where]}, and {memory[where]} by golden of the flipped memory"
            )
        if found is not None and found != outputs.peaks_found:
            raise Failure(f"{outputs.peaks_found} peaks, and {found} by golden of the flipped memory")
        return GOLDEN if found is None else _same(bench, outputs)
    if error.cause in (ErrorCause.BAD_DESCRIPTOR, ErrorCause.DAMAGED, ErrorCause.PARAMETER_READ):
        if outputs != because(error.cause):
            raise Failure(f"{outputs}, but golden says {error.cause.name}: {error}")
        return outputs
    return UNDEFINED if isinstance(outputs, Outputs) else outputs


def _same(bench: Bench, outputs: Outputs) -> str:
    try:
        return bench.check(outputs)
    except Failure:
        return GOLDEN


def interrupt_lost(bench: Bench) -> str:
    """No interrupt arrives at the host."""
    bench.text = "no interrupt arrives"
    bench.device.interrupts = repeat(False)
    return _must_be_right(bench)


def interrupt_doubled(bench: Bench) -> str:
    """Interrupts arrive that nobody has sent, at any time of the frame, and some that were sent do not."""
    answers = (bench.rng.random(60) < bench.rng.uniform(0.1, 1)).tolist()
    bench.text = f"{sum(answers)} interrupts too many"
    bench.device.interrupts = iter(answers)
    return _must_be_right(bench)


def _must_be_right(bench: Bench) -> str:
    outcome = bench.check(bench.frame())
    if outcome != RIGHT:
        raise Failure(f"{outcome}, expected {RIGHT}")
    return outcome


def cable(bench: Bench) -> str:
    """The cable is pulled before any access to a register: from then on reads are ones and writes are lost."""
    access = int(bench.rng.integers(1, ACCESSES))
    reopen = bool(bench.rng.integers(2))
    bench.text = f"cable pulled at access {access}{', the device being opened' if reopen else ''}"
    bench.device.pull_at = bench.device.accesses + access
    first = bench.accelerator

    def use() -> Outputs:
        if reopen:
            first.close()
            bench.accelerator = bench.open()
        return bench.accelerator.run(image(1))

    with hasty_resets():
        outputs = bench.named(use)
    bench.device.plug()
    if reopen and bench.accelerator is first:
        bench.accelerator = bench.open()
    return bench.check(outputs)


ACCESSES = 24
"""Of registers, while a device is opened and a frame runs."""


def power(bench: Bench) -> str:
    """Power fails at any cycle of a frame; when it is back, registers are as after switching on."""
    cycles = int(bench.rng.integers(TYPICAL_CYCLES // 2))
    bench.text = f"power fails after {cycles} cycles"
    bench.start(cycles)
    bench.device.pulled = True
    with hasty_resets():
        outputs = bench.named(bench.accelerator.finish)
    bench.device.board.restart()
    bench.device.plug()
    if not isinstance(outputs, str):
        raise Failure("outputs although the power had failed")
    return outputs


KINDS: dict[str, Kind] = {
    "error response": bus_error,
    "ready or valid stuck": stall,
    "reset": reset,
    "program died": abandoned,
    "program cut short": cut_program,
    "bit of a descriptor": descriptor_bit,
    "bit of parameters": parameter_bit,
    "bit of the input": input_bit,
    "bit of a tensor": tensor_bit,
    "interrupt lost": interrupt_lost,
    "interrupts made up": interrupt_doubled,
    "cable pulled": cable,
    "power failed": power,
}

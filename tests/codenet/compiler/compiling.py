# SPDX-License-Identifier: Apache-2.0
"""Compile a graph, execute the program on the functional model, and compare every tensor with the interpreter's."""

from __future__ import annotations

import numpy as np

from codenet.compiler import compile
from codenet.compiler.ir import IMAGE, Branch, Kind, Node, View
from codenet.config import AcceleratorConfig
from codenet.golden import executor, interpreter
from codenet.graph import Depthwise, Graph, Requantize
from codenet.isa import PEAK_DTYPE
from codenet.program import PlacedTensor, Program
from tests import networks


def node(kind: Kind) -> Node:
    """A node of 12 x 12 pixels and 16 channels that are filtered first, if there is anything to filter."""
    requantize = Requantize(np.ones(16, np.int16), np.zeros(16, np.int64), 0, -128, 127)
    filtered = Depthwise(
        name="dw", weights=np.ones((16, 3, 3), np.int8), requantize=requantize, scale=1.0, zero_point=0
    )
    branch = Branch(View.of_node(IMAGE, 16), depthwise=filtered if kind in (Kind.DEPTHWISE, Kind.POINTWISE) else None)
    return Node(0, kind, (branch,), (12, 12), (12, 12))


def load(program: Program, image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Memory before the first step: noise wherever the host writes nothing."""
    memory = np.random.default_rng(seed).integers(0, 256, program.memory_bytes, dtype=np.uint8)
    memory[: len(program.image)] = np.frombuffer(program.image, dtype=np.uint8)
    program.input.write(memory, image)
    return memory


def at_step(program: Program, step: int) -> list[PlacedTensor]:
    """Tensors that must be whole at the end of ``step``: those that it completes, and older ones still alive."""
    return [tensor for tensor in program.tensors if tensor.step <= step <= tensor.live_until]


def check(graph: Graph, config: AcceleratorConfig, seed: int = 0, *, every_step: bool = False) -> Program:
    """Compile and compare; with ``every_step`` each tensor not only when it is complete, but for as long as it
    lives.
    """
    program = compile(graph, config)
    image = networks.random_image(*graph.input.shape[:2], seed)
    expected = interpreter.run(graph, image, keep=list(graph.tensors))
    memory = load(program, image, seed)
    compared = set()

    def on_step(step: int, *_: object) -> None:
        for tensor in at_step(program, step):
            if every_step or tensor.step == step:
                compared.add(tensor.name)
                message = f"step {step} {program.step_names[step]!r}, tensor {tensor.name!r}"
                np.testing.assert_array_equal(tensor.read(memory), expected[tensor.name], message)

    counts = executor.execute(memory, program.program_offset, config, on_step)
    assert len(counts) == len(program.descriptors)
    assert compared == {tensor.name for tensor in program.tensors}
    assert {tensor.name for tensor in program.outputs.values()} <= compared
    for role, tensor in program.outputs.items():
        np.testing.assert_array_equal(tensor.read(memory), expected[graph.outputs[role]], role)
    if program.peak_step is not None:
        check_peaks(graph, program, memory, expected, counts[-1].peaks)
    return program


def check_peaks(
    graph: Graph, program: Program, memory: np.ndarray, expected: dict[str, np.ndarray], count: int | None
) -> None:
    step = program.peak_step
    assert step is not None
    wanted = interpreter.peaks(graph, expected, step.peak_threshold)
    assert count == len(wanted)
    kept = min(len(wanted), step.peak_capacity)
    records = memory[step.peak_address : step.peak_address + 8 * kept].view(PEAK_DTYPE)
    np.testing.assert_array_equal(records, wanted[:kept])

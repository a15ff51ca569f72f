# SPDX-License-Identifier: Apache-2.0
"""Steps to the program: descriptors, parameter blocks, and where each tensor lies."""

from __future__ import annotations

import numpy as np

from codenet.compiler import cost, memory
from codenet.compiler.ir import Lowered, Placement, Plane, Step
from codenet.compiler.tile import Tiled
from codenet.config import BEAT_BYTES, CHUNK, LANES, VECTOR_BYTES, AcceleratorConfig
from codenet.errors import CompileError, FormatError
from codenet.graph import Convolution, Graph, Tensor
from codenet.isa import DESCRIPTOR_BYTES, PEAK_BYTES, DepthwiseOp, Descriptor
from codenet.isa.parameters import block_fields, pack_depthwise, pack_parameters, pack_requantize, pack_weights
from codenet.program import InputLayout, PlacedTensor, Program, peak_threshold

MEMORY_LIMIT = 2**32
"""Offsets have 32 bits."""


def emit(
    graph: Graph, lowered: Lowered, tiled: Tiled, config: AcceleratorConfig, peak_capacity: int, score: float
) -> Program:
    """Plan the memory and write everything down."""
    steps = tiled.steps
    kept = [plane for name in graph.outputs.values() for plane in _placement(name, lowered, tiled).planes]
    memory.find_lifetimes(steps, kept)
    sections = [_sections(step, config) for step in steps]
    parameters = memory.align(DESCRIPTOR_BYTES * len(steps))
    addresses = []
    for step, packed in zip(steps, sections, strict=True):
        addresses.append(parameters)
        beats = len(_table(step)) + len(step.outputs) + sum(map(len, packed))
        parameters = memory.align(parameters + BEAT_BYTES * beats)
    height, width, _ = graph.input.shape
    layout = InputLayout(parameters, -(-4 * (width + 2) // 8) * 8, height, width, graph.fit)
    peak_address = memory.plan(steps, memory.align(layout.offset + layout.size))
    peaks = {}
    if "heatmap" in graph.outputs:
        threshold = _threshold(graph, score)
        peaks = {"peak_address": peak_address, "peak_capacity": peak_capacity, "peak_threshold": threshold}
    total = memory.align(peak_address + (PEAK_BYTES * peak_capacity if peaks else 0))
    if total > MEMORY_LIMIT:
        raise CompileError(f"graph {graph.name!r} needs {total} bytes of memory: expected at most {MEMORY_LIMIT}")
    image = bytearray(layout.offset)
    descriptors = []
    for number, (step, address) in enumerate(zip(steps, addresses, strict=True)):
        inputs, outputs = (
            np.array([_offset(plane, layout) for plane in table]) for table in (_table(step), step.outputs)
        )
        block = pack_parameters(inputs, outputs, *sections[number])
        image[address : address + len(block)] = block
        last = number == len(steps) - 1
        extra = peaks if step.depthwise_op == DepthwiseOp.PEAKS else {}
        descriptors.append(_descriptor(step, config, layout, last, block_fields(address, block) | extra))
        image[DESCRIPTOR_BYTES * number : DESCRIPTOR_BYTES * (number + 1)] = descriptors[-1].encode()
    tensors = _tensors(lowered, tiled)
    by_name = {tensor.name: tensor for tensor in tensors}
    return Program(
        name=graph.name,
        config=config,
        descriptors=tuple(descriptors),
        step_names=tuple(step.name for step in steps),
        image=bytes(image),
        memory_bytes=total,
        program_offset=0,
        input=layout,
        tensors=tensors,
        outputs={role: by_name[name] for role, name in graph.outputs.items()},
        classes=tuple(graph.classes),
        graph_macs=sum(graph.macs().values()),
        step_macs=tuple(step.macs for step in steps),
        metadata=dict(graph.metadata),
    )


def _threshold(graph: Graph, score: float) -> int:
    name = graph.outputs["heatmap"]
    heatmap, operation = graph.tensors[name], graph[name]
    assert isinstance(operation, Convolution)
    return peak_threshold(score, heatmap.scale, heatmap.zero_point, operation.requantize.lo + 1)


# -- parameter blocks


def _offset(plane: Plane, layout: InputLayout) -> int:
    return layout.offset + plane.image_row * layout.row_bytes if plane.image_row >= 0 else plane.offset


def _table(step: Step) -> list[Plane]:
    """Planes that a step reads, in the order of its input table."""
    return [*step.inputs, *([step.dilation] if step.dilation is not None else [])]


def _sections(step: Step, config: AcceleratorConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sections of the parameter block that hold no addresses, as uint64 beats: depthwise, chunks and weights."""
    none = np.zeros(0, dtype=np.uint64)
    depthwise = chunks = weights = expand_chunks = expand_weights = none
    if step.expansion is not None:
        expand_chunks = pack_requantize(step.expansion.requantize.m, step.expansion.requantize.b)
        expand_weights = pack_weights(step.expansion.weights, config.outputs)
    if step.depthwise is not None:
        depthwise = pack_depthwise(step.depthwise_weights, step.depthwise.m, step.depthwise.b)
    if step.weights is not None and step.requantize is not None:
        chunks = pack_requantize(step.requantize.m, step.requantize.b)
        weights = pack_weights(step.weights, config.outputs, step.wide_weights)
    return depthwise, np.append(expand_chunks, chunks), np.append(expand_weights, weights)


# -- descriptors


def _descriptor(
    step: Step,
    config: AcceleratorConfig,
    layout: InputLayout,
    last: bool,
    places: dict[str, int],
) -> Descriptor:
    """``places``: fields that tell where parameters and peak records lie."""
    height, width = step.source
    chunks = 0 if step.weights is None else len(step.weights) // CHUNK
    stem = step.inputs[0].image_row >= 0
    stride = layout.height // height
    pad = step.pad & 0xFF
    try:
        return Descriptor(
            last=int(last),
            depthwise_op=int(step.depthwise_op),
            full=int(step.full),
            pointwise=int(step.weights is not None),
            wide_weights=int(step.wide_weights),
            wide_output=int(step.wide_output),
            upsample=step.upsample,
            repeat=int(step.repeat),
            dilated=int(step.dilation is not None),
            packed=int(step.packed),
            stride2=int(step.stride2),
            reach=step.reach,
            window_rows=step.window_rows,
            input_planes=step.input_planes,
            input_height=height,
            input_width=width,
            output_height=step.output[0],
            output_width=step.output[1],
            row_pitch=stride * layout.row_bytes if stem else (width >> step.upsample) * VECTOR_BYTES,
            window_row_stride=cost.window_row_stride(width, step.input_planes),
            pad=pad | pad << 8,
            vectors=0 if step.depthwise_op == DepthwiseOp.PEAKS else step.vectors,
            groups=-(-CHUNK * chunks // config.outputs),
            chunks=chunks,
            output_planes=len(step.outputs),
            block_log2=_block_log2(len(step.outputs), config),
            **_settings(step),
            **_expansion(step, config),
            output_pixels=step.output[0] * step.output[1],
            **places,
        )
    except FormatError as error:
        shape = f"{height} x {width} x {LANES * len(step.inputs)}"
        raise CompileError(f"step {step.name!r} on {shape}: {error}") from error


def _settings(step: Step) -> dict[str, int]:
    """Shared requantize settings of both halves of the datapath."""
    values: dict[str, int] = {}
    if step.depthwise is not None:
        lanes = step.depthwise
        values |= {"depthwise_s": lanes.s, "depthwise_lo": lanes.lo, "depthwise_hi": lanes.hi}
    if step.requantize is not None:
        lanes = step.requantize
        values |= {"pointwise_s": lanes.s, "pointwise_lo": lanes.lo, "pointwise_hi": lanes.hi}
    return values


def _expansion(step: Step, config: AcceleratorConfig) -> dict[str, int]:
    if step.expansion is None:
        return {}
    lanes, groups = step.expansion.requantize, cost.groups(config, step.expansion.planes, False)
    return {
        "expand": 1,
        "expand_planes": len(step.inputs),
        "expand_groups": groups,
        "expand_chunks": 2 * step.expansion.planes,
        "expand_words": groups * len(step.inputs),
        "expand_columns": step.expansion.columns,
        "expand_s": lanes.s,
        "expand_lo": lanes.lo,
        "expand_hi": lanes.hi,
    }


def _block_log2(planes: int, config: AcceleratorConfig) -> int:
    """Pixels, as a power of two, whose results the storer collects: the most that half its memory holds."""
    return max((log2 for log2 in range(5) if 2 * planes << log2 <= config.store_depth // 2), default=0)


# -- tensors


def _placement(name: str, lowered: Lowered, tiled: Tiled) -> Placement:
    """Planes that carry a tensor of the graph, each once, and where in them its channels are."""
    if name in tiled.intermediates:
        return tiled.intermediates[name]
    view = lowered.views[name]
    keys = [
        (producer, int(tiled.placements[producer].plane[channel]))
        for producer, channel in zip(view.producer.tolist(), view.channel.tolist(), strict=True)
    ]
    order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    lane = [
        int(tiled.placements[producer].lane[channel])
        for producer, channel in zip(view.producer.tolist(), view.channel.tolist(), strict=True)
    ]
    planes = [tiled.placements[producer].planes[plane] for producer, plane in order]
    return Placement(planes, np.array([order[key] for key in keys]), np.array(lane))


def _tensors(lowered: Lowered, tiled: Tiled) -> tuple[PlacedTensor, ...]:
    """All tensors that exist whole at the end of some step."""
    placed = []
    for name, tensor in lowered.tensors.items():
        if name in tiled.intermediates:
            placed.append(_placed(tensor, _placement(name, lowered, tiled), 0))
        elif name in lowered.views and tiled.placements.keys() >= set(lowered.views[name].producer.tolist()):
            placed.append(_placed(tensor, _placement(name, lowered, tiled), lowered.views[name].level))
    return tuple(sorted((item for item in placed if item.step <= item.live_until), key=lambda item: item.step))


def _placed(tensor: Tensor, placement: Placement, upsample: int) -> PlacedTensor:
    lanes = LANES if tensor.dtype == "int8" else CHUNK
    return PlacedTensor(
        name=tensor.name,
        height=tensor.height,
        width=tensor.width,
        channels=tensor.channels,
        dtype=tensor.dtype,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        step=max(plane.written for plane in placement.planes),
        planes=tuple(plane.offset for plane in placement.planes),
        index=(placement.plane * lanes + placement.lane).astype(np.int32),
        upsample=upsample,
        live_until=min(plane.last for plane in placement.planes),
    )

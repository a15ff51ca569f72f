# SPDX-License-Identifier: Apache-2.0
"""The steps of a program as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codenet.config import LANES
from codenet.isa import DepthwiseOp, Descriptor

if TYPE_CHECKING:
    from codenet.program.program import Program


def _operation_text(step: Descriptor) -> str:
    parts = ["pw"] if step.expand else []
    if step.depthwise_op != DepthwiseOp.OFF:
        name = {DepthwiseOp.MAC: "dw", DepthwiseOp.MAX: "max", DepthwiseOp.PEAKS: "peaks"}[
            DepthwiseOp(step.depthwise_op)
        ]
        parts.append(name + ("-deform" if step.dilated else ""))
    if step.pointwise:
        parts.append(("3x3" if step.full else "pw") + ("8" if step.wide_weights else ""))
    if not parts:
        parts.append("copy")
    return "+".join(parts) + (" s2" if step.stride2 else "") + (" up" if step.upsample else "")


def table(program: Program) -> str:
    """Shapes, planes, multiply-accumulates and cycles of each step, and their sums."""
    header = ("step", "operation", "input", "output", "planes", "groups", "rows", "MMAC", "kcycles", "name")
    rows = [header]
    for number, (step, name, macs) in enumerate(
        zip(program.descriptors, program.step_names, program.step_macs, strict=True)
    ):
        rows.append(
            (
                str(number),
                _operation_text(step),
                f"{step.input_height}x{step.input_width}",
                f"{step.output_height}x{step.output_width}",
                (f"{step.expand_planes}>" if step.expand else "")
                + f"{step.input_planes + step.dilated}>{step.output_planes}"
                + ("w" if step.wide_output else ""),
                (f"{step.expand_groups}+" if step.expand else "") + str(step.groups),
                str(step.window_rows),
                f"{macs / 1e6:.2f}",
                f"{array_cycles(step) / 1e3:.1f}",
                name,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    cycles = sum(array_cycles(step) for step in program.descriptors)
    utilization = sum(program.step_macs) / (cycles * program.config.macs_per_cycle)
    untrained = " (untrained)" if program.metadata.get("untrained") else ""
    return "\n".join(
        [
            f"{program.name}{untrained}: {program.input.text}, {len(program.classes)} classes",
            f"accelerator: {LANES} x {program.config.outputs} multipliers",
            "",
            *lines,
            "",
            f"{len(rows) - 1} steps, {len(program.tensors)} tensors in memory",
            f"{program.graph_macs / 1e6:.1f} MMAC in the graph, {sum(program.step_macs) / 1e6:.1f} MMAC computed",
            f"{cycles / 1e3:.1f} kcycles if the array never waits ({100 * utilization:.0f} % of its multipliers at "
            f"work)",
            f"memory: {program.memory_bytes / 2**20:.2f} MiB, of it {len(program.image) / 2**20:.2f} MiB program and "
            f"weights",
        ]
    )


def array_cycles(step: Descriptor) -> int:
    """Cycles that the array (or the bypass, or the peak comparators) works in ``step`` if it never waits."""
    if step.depthwise_op == DepthwiseOp.PEAKS:
        return step.output_pixels * step.input_planes
    groups = step.groups * (1 + step.wide_weights) if step.pointwise else 1
    loaded_pixels = (step.input_height * step.input_width) >> (2 * step.upsample - step.repeat)
    return loaded_pixels * step.expand_words + step.output_pixels * step.vectors * groups

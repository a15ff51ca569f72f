# SPDX-License-Identifier: Apache-2.0
"""Components that are synthesized one by one, and their RTL."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.back import rtlil
from amaranth.lib import wiring

from codenet.config import AcceleratorConfig
from hw.accelerator import Accelerator
from hw.chips import XC7Z020
from hw.control import Profiler, Registers, Sequencer
from hw.depthwise import Depthwise, Peaks
from hw.dma import Loader, ParameterFetcher, Storer
from hw.lib import flat_ports
from hw.lib.cells import Series7
from hw.pointwise import Pointwise, RowBuffer, VectorBuffer
from hw.window import Window

COMPONENTS: dict[str, Callable[[AcceleratorConfig], wiring.Component]] = {
    "registers": Registers,
    "sequencer": lambda config: Sequencer(),
    "profiler": Profiler,
    "parameters": ParameterFetcher,
    "loader": Loader,
    "window": Window,
    "depthwise": Depthwise,
    "row_buffer": RowBuffer,
    "vector_buffer": VectorBuffer,
    "pointwise": Pointwise,
    "peaks": Peaks,
    "storer": Storer,
}
"""What :class:`hw.accelerator.Accelerator` is made of."""

TOTAL = "total"
"""Name of the whole, synthesized at once."""


def component(name: str, config: AcceleratorConfig, array_slices: int = XC7Z020.array_slices) -> wiring.Component:
    """The component called ``name`` (of :data:`COMPONENTS`, or :data:`TOTAL`); ``array_slices`` as for the
    accelerator.
    """
    if name in (TOTAL, "pointwise"):
        return (Accelerator if name == TOTAL else Pointwise)(config, array_slices)
    return COMPONENTS[name](config)


def to_rtlil(component: wiring.Component, platform: Series7 | None = None) -> str:
    """RTLIL of a component, module ``top``; members of its ports joined by underscores, ``clk`` and ``rst``.

    With cells of the chip for a ``platform`` that has them.
    """
    return rtlil.convert(component, name="top", platform=platform, ports=flat_ports(component), emit_src=False)

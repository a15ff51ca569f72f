# SPDX-License-Identifier: Apache-2.0
"""The ports of a component by the names that they get in Verilog and RTLIL."""

from amaranth.hdl import Const, Value, ValueCastable
from amaranth.hdl._ir import PortDirection  # without directions, unused inputs would become outputs
from amaranth.lib import wiring


def flat_ports(component: wiring.Component) -> dict[str, tuple[Value, PortDirection]]:
    """Value and direction of each port, members of members joined by underscores: ``ports`` of `amaranth.back`.

    Not of what is constant: ``ready`` of streams that are always ready.
    """
    ports: dict[str, tuple[Value, PortDirection]] = {}
    for path, member, value in component.signature.flatten(component):
        if isinstance(value, ValueCastable):
            value = value.as_value()
        if isinstance(value, Const):
            continue
        direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
        ports["_".join(str(part) for part in path)] = (value, direction)
    return ports

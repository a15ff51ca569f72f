# SPDX-License-Identifier: Apache-2.0
"""Hard blocks of a chip as instances, and the AXI ports that they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth import Instance, Signal

Ports = Mapping[str, tuple[str, int]]
"""Ports by name: "i" or "o" as seen from the block, and bits."""


class HardCell:
    """A hard block with a signal for each port in use; ``cell["NAME"]`` is the signal. Inputs that nobody drives are 0.

    Parameters
    ----------
    kind:
        Name of the primitive.
    ports:
        Ports in use.
    """

    def __init__(self, kind: str, ports: Ports) -> None:
        self.kind = kind
        self.ports = ports
        self._signals = {
            name: Signal(width, name=f"{kind.lower()}_{name.lower()}") for name, (_, width) in ports.items()
        }

    def __getitem__(self, name: str) -> Signal:
        return self._signals[name]

    def instance(self) -> Instance:
        """The instance, once. Tools must keep it: without the processor's block the chip's memory ports are not
        configured.
        """
        connections = {f"{self.ports[name][0]}_{name}": signal for name, signal in self._signals.items()}
        return Instance(self.kind, a_keep="true", a_DONT_TOUCH="true", **connections)


@dataclass(frozen=True)
class AxiWidths:
    """Bits of an AXI port's fields; ``write_id`` is 0 for AXI4, which has none."""

    address: int
    data: int
    ident: int
    length: int
    size: int
    lock: int
    write_id: int


def axi_ports(prefix: str, widths: AxiWidths, block_is_master: bool) -> dict[str, tuple[str, int]]:
    """Ports of a block's AXI interface; names as in ``MAXIGP0ARADDR``."""
    forward, backward = ("o", "i") if block_is_master else ("i", "o")
    w = widths
    ports: dict[str, tuple[str, int]] = {}
    request = {"ADDR": w.address, "ID": w.ident, "LEN": w.length, "SIZE": w.size, "BURST": 2, "LOCK": w.lock}
    request |= {"CACHE": 4, "PROT": 3, "QOS": 4, "VALID": 1}
    for channel in ("AR", "AW"):
        ports |= {f"{prefix}{channel}{field}": (forward, width) for field, width in request.items()}
        ports[f"{prefix}{channel}READY"] = (backward, 1)
    data = {"DATA": w.data, "STRB": w.data // 8, "LAST": 1, "VALID": 1}
    if w.write_id:
        data["ID"] = w.write_id
    ports |= {f"{prefix}W{field}": (forward, width) for field, width in data.items()}
    answers = {"B": {"ID": w.ident, "RESP": 2}, "R": {"ID": w.ident, "RESP": 2, "DATA": w.data, "LAST": 1}}
    for channel, fields in answers.items():
        ports |= {f"{prefix}{channel}{field}": (backward, width) for field, width in {**fields, "VALID": 1}.items()}
        ports[f"{prefix}{channel}READY"] = (forward, 1)
    ports[f"{prefix}WREADY"] = (backward, 1)
    return ports

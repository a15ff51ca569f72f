# SPDX-License-Identifier: Apache-2.0
"""Row cursor: a row's place in the ring of window rows, kept by counting."""

from amaranth import Mux, Signal, Value


class RowCursor:
    """Place in the ring of row ``r``: slots left to its end, bank row ``r mod 3`` (:attr:`phase`) and address
    ``(slot // 3) * window_row_stride`` (:attr:`base`) of row ``r``.

    Not a component: registers of the module that uses it, with the statements that change them.
    """

    def __init__(self, name: str, address_width: int):
        # Slots behind this one, and whether there are none.
        self.left = Signal(12, name=f"{name}_left")
        self.at_last = Signal(name=f"{name}_at_last")
        self.phase = Signal(2, name=f"{name}_phase")
        self.base = Signal(address_width, name=f"{name}_base")

    def restart(self, last_row: Value) -> list:
        """Statements for ``sync``: to row 0 of slots 0 to ``last_row`` (window_rows - 1, not 0)."""
        return [self.left.eq(last_row), self.at_last.eq(0), self.phase.eq(0), self.base.eq(0)]

    def advance(self, last_row: Value, row_stride: Value) -> list:
        """Statements for ``sync``: to the next row, behind slot ``last_row`` to slot 0."""
        last_phase = self.phase == 2
        return [
            self.left.eq(Mux(self.at_last, last_row, self.left - 1)),
            self.at_last.eq(~self.at_last & (self.left == 1)),
            self.phase.eq(Mux(last_phase, 0, self.phase + 1)),
            self.base.eq(Mux(self.at_last, 0, Mux(last_phase, self.base + row_stride, self.base))),
        ]

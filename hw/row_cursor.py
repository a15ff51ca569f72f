"""Row cursor: a row's place in the ring of window rows, kept by counting."""

from amaranth import Mux, Signal, Value


class RowCursor:
    """Slot ``r mod window_rows``, bank row ``r mod 3`` (:attr:`phase`) and address ``(slot // 3) * window_row_stride`` (:attr:`base`) of row ``r``.

    Not a component: registers of the module that uses it, with the statements that change them.
    """

    def __init__(self, name: str, address_width: int):
        self.slot = Signal(12, name=f"{name}_slot")
        self.phase = Signal(2, name=f"{name}_phase")
        self.base = Signal(address_width, name=f"{name}_base")

    def restart(self) -> list:
        """Statements for ``sync``: to row 0."""
        return [self.slot.eq(0), self.phase.eq(0), self.base.eq(0)]

    def advance(self, last_row: Value, row_stride: Value) -> list:
        """Statements for ``sync``: to the next row, behind slot ``last_row`` (window_rows - 1) to slot 0."""
        last_slot = self.slot == last_row
        last_phase = self.phase == 2
        return [
            self.slot.eq(Mux(last_slot, 0, self.slot + 1)),
            self.phase.eq(Mux(last_phase, 0, self.phase + 1)),
            self.base.eq(Mux(last_slot, 0, Mux(last_phase, self.base + row_stride, self.base))),
        ]

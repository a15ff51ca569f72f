# SPDX-License-Identifier: Apache-2.0
"""Cells of the 7-series chips, for components that instantiate one where its own registers and cascade matter.

A component does so when it is elaborated for the platform :class:`Series7`; everywhere else, in simulation above all,
it has a portable body.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, ClockSignal, Const, Instance, Signal, Value


class Series7:
    """Platform for ``elaborate``: cells of the 7-series may be instantiated."""


def _tied(names: dict[str, int], value: int = 0) -> dict[str, Value]:
    fill = {0: 0, 1: -1}[value]
    return {f"i_{name}": Const(fill, width) for name, width in names.items()}


def dsp_multiply_add(
    a: Value, b: Value, total: Value, above: Value, *, c: Value | None = None, cascade: Value | None = None
) -> Instance:
    """DSP48E1 (UG479) with ``total = a * b + c``: operands, product and sum in registers of the slice, ``c`` not.

    Parameters
    ----------
    a, b:
        At most 25 and 18 bits, signed.
    total, above:
        48 bits, to the fabric and to the slice above (``PCOUT``).
    c, cascade:
        Of one of them: what is added, from the fabric, or the ``PCOUT`` of the slice below.
    """
    signals = {
        "i_A": Cat(a, a[-1].replicate(30 - len(a))),
        "i_B": Cat(b, b[-1].replicate(18 - len(b))),
        "i_C": Const(0, 48) if c is None else Cat(c, c[-1].replicate(48 - len(c))),
        "i_PCIN": Const(0, 48) if cascade is None else cascade,
        "i_OPMODE": Const(0b0110101 if cascade is None else 0b0010101, 7),
        "i_CLK": ClockSignal(),
        "o_P": total,
        "o_PCOUT": above,
    }
    signals |= _tied({"CEA2": 1, "CEB2": 1, "CEM": 1, "CEP": 1}, 1)
    signals |= _tied({"ALUMODE": 4, "INMODE": 5, "CARRYINSEL": 3, "CARRYIN": 1, "D": 25, "ACIN": 30, "BCIN": 18})
    signals |= _tied(
        {f"RST{name}": 1 for name in ("A", "B", "C", "D", "M", "P", "ALLCARRYIN", "ALUMODE", "CTRL", "INMODE")}
    )
    signals |= _tied({f"CE{name}": 1 for name in ("A1", "B1", "C", "D", "AD", "ALUMODE", "CTRL", "CARRYIN", "INMODE")})
    registers = {"AREG": 1, "ACASCREG": 1, "BREG": 1, "BCASCREG": 1, "MREG": 1, "PREG": 1}
    registers |= dict.fromkeys(
        ("CREG", "DREG", "ADREG", "ALUMODEREG", "OPMODEREG", "INMODEREG", "CARRYINREG", "CARRYINSELREG"), 0
    )
    modes = {
        "USE_MULT": "MULTIPLY",
        "USE_DPORT": "FALSE",
        "USE_SIMD": "ONE48",
        "A_INPUT": "DIRECT",
        "B_INPUT": "DIRECT",
    }
    return Instance("DSP48E1", **signals, **{f"p_{name}": value for name, value in (registers | modes).items()})


def block_ram(
    *, deep: bool, write: Value, write_address: Value, write_data: Value, read_address: Value, read_data: Value
) -> Instance:
    """RAMB36E1 (UG473) with its output register: 1,024 words of 32 bits, if ``deep``, otherwise 512 of 64, without
    parity bits.

    One port writes, the other one reads. Data may be narrower than a word, addresses than the memory's.
    """
    width, shift = (36, 5) if deep else (72, 6)

    def address(value: Value) -> Value:
        return Cat(Const(0, shift), value, Const(0, 15 - shift - len(value)), Const(1, 1))

    data = Cat(write_data, Const(0, 64 - len(write_data)))
    unused = Signal(64 - len(read_data))
    read = Cat(read_data, unused)
    signals: dict[str, Any] = {
        "i_CLKARDCLK": ClockSignal(),
        "i_CLKBWRCLK": ClockSignal(),
        "i_DIADI": data[:32],
        "i_DIBDI": data[32:],
    }
    signals |= _tied({"ENARDEN": 1, "ENBWREN": 1, "REGCEAREGCE": 1, "REGCEB": 1}, 1)
    signals |= _tied({f"RST{name}": 1 for name in ("RAMARSTRAM", "RAMB", "REGARSTREG", "REGB")})
    signals |= _tied({"DIPADIP": 4, "DIPBDIP": 4})
    if deep:  # true dual port: A writes, B reads
        signals |= {"i_ADDRARDADDR": address(write_address), "i_ADDRBWRADDR": address(read_address)}
        signals |= {"i_WEA": write.replicate(4), "o_DOBDO": read[:32]} | _tied({"WEBWE": 8})
    else:  # simple dual port: A reads, B writes, with the data pins of both
        signals |= {"i_ADDRARDADDR": address(read_address), "i_ADDRBWRADDR": address(write_address)}
        signals |= {"i_WEBWE": write.replicate(8), "o_DOADO": read[:32], "o_DOBDO": read[32:]} | _tied({"WEA": 4})
    widths = {"WRITE_WIDTH_A": width if deep else 0, "READ_WIDTH_B": width if deep else 0}
    widths |= {"READ_WIDTH_A": 0 if deep else width, "WRITE_WIDTH_B": 0 if deep else width}
    modes = {"RAM_MODE": "TDP" if deep else "SDP", "WRITE_MODE_A": "READ_FIRST", "WRITE_MODE_B": "READ_FIRST"}
    parameters = {"DOA_REG": 1, "DOB_REG": 1} | widths | modes
    return Instance("RAMB36E1", **signals, **{f"p_{name}": value for name, value in parameters.items()})

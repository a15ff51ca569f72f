# SPDX-License-Identifier: Apache-2.0
"""The bus monitor: each rule of the standard is broken once and noticed; traffic that keeps them is not.

Traffic is a list of cycles; a cycle is what its channels do, ``ar(...) | r(...)``. What is not said of a channel that
is named is an INCR burst of one beat of 8 bytes at 0x1000, valid, ready, and last; what is not named is not valid.
"""

from __future__ import annotations

import ctypes
import re
import subprocess

import pytest

from sim.verilator import library

RULES = library.RULES

CHANNELS = {
    "ar": ("valid", "ready", "addr", "id", "len", "size", "burst", "lock", "cache", "prot"),
    "r": ("valid", "ready", "data", "id", "resp", "last"),
    "aw": ("valid", "ready", "addr", "id", "len", "size", "burst", "lock", "cache", "prot"),
    "w": ("valid", "ready", "data", "id", "strb", "last"),
    "b": ("valid", "ready", "id", "resp"),
}
WIRES = [f"{channel}.{name}" for channel, names in CHANNELS.items() for name in names]
USUAL = {"valid": 1, "ready": 1, "addr": 0x1000, "size": 3, "burst": 1, "strb": 0xFF, "last": 1}

Cycle = dict[str, int]

SHIM = """
#include "axi_rules.hpp"
extern "C" const char* check(const uint64_t* now, size_t cycles, uint64_t* unanswered) {
    static std::string text;
    axi::Rules rules(8, 16);
    for (size_t n = 0; n < cycles; ++n) {
        axi::Bus bus;
        bus.resetn = *now++;
        FIELDS
        rules.cycle(bus);
    }
    *unanswered = rules.unanswered();
    return (text = rules.broken()).c_str();
}
""".replace("FIELDS", "\n        ".join(f"bus.{wire} = *now++;" for wire in WIRES))


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Text of the first broken rule of some traffic, and how many bursts are not answered after it."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "shim.cpp").write_text(SHIM)
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{RULES.parent}", "shim.cpp"]
    subprocess.run([*command, "-o", "rules.so"], cwd=folder, check=True)
    function = ctypes.CDLL(str(folder / "rules.so")).check
    function.restype = ctypes.c_char_p

    def run(traffic: list[Cycle]) -> tuple[str, int]:
        values = [value for cycle in traffic for value in (cycle.get("resetn", 1), *(cycle.get(w, 0) for w in WIRES))]
        unanswered = ctypes.c_uint64()
        text = function((ctypes.c_uint64 * len(values))(*values), len(traffic), ctypes.byref(unanswered))
        return text.decode(), unanswered.value

    return run


def channel(name: str):
    def cycle(**values: int) -> Cycle:
        assert set(values) <= set(CHANNELS[name])
        return {f"{name}.{field}": values.get(field, USUAL.get(field, 0)) for field in CHANNELS[name]}

    return cycle


ar, r, aw, w, b = map(channel, CHANNELS)
RESET: Cycle = {"resetn": 0}
NOTHING: Cycle = {}
FIXED, INCR, WRAP = range(3)
EXOKAY = EXCLUSIVE = 1


def reads(beats: int, **values: int) -> list[Cycle]:
    """A burst and its data."""
    return [ar(len=beats - 1, **values), *(r(id=values.get("id", 0), last=int(n == beats - 1)) for n in range(beats))]


def writes(beats: int, **values: int) -> list[Cycle]:
    data = [w(last=int(n == beats - 1), id=values.get("id", 0)) for n in range(beats)]
    return [aw(len=beats - 1, **values), *data, b(id=values.get("id", 0))]


KEPT: dict[str, list[Cycle]] = {
    "nothing": [NOTHING],
    "bursts of any length": [cycle for n in range(1, 17) for cycle in (*reads(n), *writes(n))],
    "16 beats to a border of 4 KiB": [*reads(16, addr=0x1F80), *writes(16, addr=0x2000)],
    "fixed at a border": reads(16, addr=0x1FF8, burst=FIXED),
    "wraps below a border": [*reads(4, addr=0x1FF8, burst=WRAP), *writes(2, addr=0x1FF8, burst=WRAP)],
    "what changes while it isn't valid": [ar(valid=0, addr=n) | w(valid=0, data=n) for n in range(4)],
    "what waits": [ar(ready=0), ar(ready=0), ar() | r(valid=0, data=3), r(ready=0), r()],
    "data before their address": [w(last=0), w(), NOTHING, aw(len=1), b()],
    "data with their address": [aw(len=1) | w(last=0), w(), b()],
    "data of two bursts before the first address": [w(last=0), w(), w(), aw(len=1), aw() | b(), b()],
    "other directions side by side": [ar(id=1) | aw(id=2), r(id=1) | w(id=2), b(id=2)],
    "answers of IDs in any order": [
        ar(id=1),
        ar(id=2),
        r(id=2),
        r(id=1),
        *writes(1, id=1)[:2],
        *writes(1, id=2),
        b(id=1),
    ],
    "beats of IDs between each other": [
        ar(id=1, len=1),
        ar(id=2, len=1),
        *(r(id=n, last=0) for n in (1, 2)),
        r(id=1),
        r(id=2),
    ],
    "a bridge asks while it is answered": [ar(), ar() | r(), ar() | r(), r()],
    "strobes of some lanes": [aw(), w(strb=0x81), b(), aw(), w(strb=0), b()],
    "strobes of narrow beats": [
        aw(size=1, len=2, addr=0x1006),
        w(strb=0xC0, last=0),
        w(strb=3, last=0),
        w(strb=0xC),
        b(),
    ],
    "strobes behind an odd address": [aw(size=2, len=1, addr=0x1003), w(strb=8, last=0), w(strb=0xF0), b()],
    "strobes of a fixed burst": [aw(size=0, len=1, addr=0x1003, burst=FIXED), w(strb=8, last=0), w(strb=8), b()],
    "strobes of a wrapping burst": [aw(size=2, len=1, addr=0x1004, burst=WRAP), w(strb=0xF0, last=0), w(strb=15), b()],
    "errors": [ar(), r(resp=2), aw(), w(), b(resp=3)],
    "an exclusive access": [ar(lock=EXCLUSIVE), r(resp=EXOKAY), aw(lock=EXCLUSIVE), w(), b(resp=EXOKAY)],
    "reset in the middle": [ar(ready=0) | aw(len=3), RESET, RESET, NOTHING, *reads(1), *writes(1)],
    "a first cycle of reset": [r(valid=0) | ar(ready=0), RESET | ar() | b(), RESET, NOTHING],
}

BROKEN: dict[str, tuple[list[Cycle], str]] = {
    "a master in reset": ([RESET, RESET | ar()], "valid of a master in reset (A3.1.2)"),
    "a master at the end of reset": ([RESET, w()], "valid of a master in reset (A3.1.2)"),
    "a slave in reset": ([RESET, RESET | r()], "valid of a slave in reset (A3.1.2)"),
    "a response at the end of reset": ([RESET, b()], "valid of a slave in reset (A3.1.2)"),
    "beats of 16 bytes": ([ar(size=4)], "AR: beats of 16 bytes on a bus of 8 (A3.4.1)"),
    "17 beats": ([aw(len=16)], "AW: burst of 17 beats: expected at most 16 (A3.4.1)"),
    "a type of burst that isn't": ([ar(burst=3)], "AR: reserved burst type (A3.4.1)"),
    "a border of 4 KiB": ([ar(addr=0x1FF8, len=1)], "AR: burst of 2 beats at 0x1ff8 crosses a 4 KiB border (A3.4.1)"),
    "a border, narrow": ([aw(addr=0x1FFF, len=1, size=0)], "AW: burst of 2 beats at 0x1fff crosses a 4 KiB border"),
    "3 beats that wrap": ([ar(len=2, burst=WRAP)], "AR: wrapping burst of 3 beats: expected 2, 4, 8 or 16 (A3.4.1)"),
    "an odd wrap": ([ar(len=1, burst=WRAP, addr=0x1004)], "AR: wrapping burst that is not aligned (A3.4.1)"),
    "allocating, not modifiable": ([ar(cache=4)], "AR: reserved memory type 4 (A4.4)"),
    "a lock that isn't": ([aw(lock=3)], "AW: reserved lock type (A7.4)"),
    "3 beats, exclusive": ([ar(lock=EXCLUSIVE, len=2)], "AR: exclusive access of 24 bytes at 0x1000 (A7.2.4)"),
    "an odd exclusive": ([ar(lock=EXCLUSIVE, addr=0x1008, len=1)], "AR: exclusive access of 16 bytes at 0x1008"),
    "data of nothing": ([r()], "R: data of ID 0 that nothing asked for (A3.3.1)"),
    "data at once": ([ar() | r()], "R: data of ID 0 that nothing asked for (A3.3.1)"),
    "data before the address is taken": ([ar(ready=0), ar(ready=0) | r(valid=1)], "R: data of ID 0 that nothing"),
    "data of another ID": ([ar(id=1), r(id=2)], "R: data of ID 2 that nothing asked for (A3.3.1)"),
    "a beat too many": ([*reads(2), r()], "R: data of ID 0 that nothing asked for (A3.3.1)"),
    "data from before a reset": ([ar(), RESET, NOTHING, r()], "R: data of ID 0 that nothing asked for (A3.3.1)"),
    "last of read data too early": ([ar(len=1), r()], "R: last = 1 in beat 1 of 2 (A3.2.2)"),
    "last of read data missing": ([ar(), r(last=0)], "R: last = 0 in beat 1 of 1 (A3.2.2)"),
    "a read that is exclusive by itself": ([ar(), r(resp=EXOKAY)], "R: EXOKAY of a normal access (A7.2.3)"),
    "a response to nothing": ([b()], "B: response of ID 0 to nothing that is written (A3.3.1)"),
    "a response to data alone": ([w(), b()], "B: response of ID 0 to nothing that is written (A3.3.1)"),
    "a response to an address alone": ([aw(), b()], "B: response of ID 0 to nothing that is written (A3.3.1)"),
    "a response before the last beat": ([aw(len=1), w(last=0), b()], "B: response of ID 0 to nothing that is written"),
    "a response with the last beat": ([aw(), w() | b()], "B: response of ID 0 to nothing that is written (A3.3.1)"),
    "a response to data that wait": ([aw(), w(ready=0), w(ready=0) | b()], "B: response of ID 0 to nothing that is"),
    "a response of another ID": ([*writes(1)[:2], b(id=1)], "B: response of ID 1 to nothing that is written (A3.3.1)"),
    "two responses": ([*writes(1), b()], "B: response of ID 0 to nothing that is written (A3.3.1)"),
    "a write that is exclusive by itself": ([aw(), w(), b(resp=EXOKAY)], "B: EXOKAY of a normal access (A7.2.3)"),
    "last of write data too early": ([aw(len=1), w()], "W: last = 1 in beat 1 of 2 (A3.2.2)"),
    "last of write data missing": ([aw(len=1), w(last=0), w(last=0)], "W: last = 0 in beat 2 of 2 (A3.2.2)"),
    "last too early, before the address": ([w(), w(), aw(len=1)], "W: last = 1 in beat 1 of 2 (A3.2.2)"),
    "data of two bursts mixed": (
        [aw(id=1), aw(id=2), w(id=2)],
        "W: data of ID 2, in the order of the addresses that of ID 1 (A5.4)",
    ),
    "a strobe beside a narrow beat": ([aw(size=2), w(strb=0x10)], "W: strobe 0x10 in beat 1 writes more than"),
    "a strobe before the address": ([aw(addr=0x1001), w(strb=1)], "W: strobe 0x1 in beat 1 writes more than"),
    "a strobe of the next beat": (
        [aw(size=2, len=1), w(strb=0xF, last=0), w(strb=0xF)],
        "W: strobe 0xf in beat 2 writes more than is addressed (A3.4.3)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("traffic", KEPT.values(), ids=KEPT)
def test_what_is_allowed(check, traffic):
    assert check(traffic)[0] == ""


@pytest.mark.parametrize(("traffic", "text"), BROKEN.values(), ids=BROKEN)
def test_what_is_not(check, traffic, text):
    assert check(traffic)[0].startswith(text)


ANSWERED = {"ar": [], "r": [ar()], "aw": [], "w": [aw()], "b": [aw(), w()]}
"""What comes before each channel, so that it may be valid."""


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, fields in CHANNELS.items() for field in fields if field != "ready"]
)
def test_what_waits_stays(check, name, field):
    """Every wire of every channel, while its transfer waits for ready."""
    waits = channel(name)(ready=0)
    changed = waits | {f"{name}.{field}": waits[f"{name}.{field}"] ^ 1}
    assert check([*ANSWERED[name], waits, waits])[0] == ""
    what = "valid fell" if field == "valid" else "changed"
    assert check([*ANSWERED[name], waits, changed])[0] == f"{name.upper()}: {what} before ready (A3.2.1)"
    waits[f"{name}.ready"] = 1
    assert "before ready" not in check([*ANSWERED[name], waits, changed])[0], "taken"


def test_the_first_is_told(check):
    assert check([r(), ar(burst=3)])[0].startswith("R: data of ID 0")


@pytest.mark.parametrize(
    ("traffic", "count"),
    [([], 0), ([ar(), aw()], 2), (reads(4), 0), (reads(4)[:-1], 1), (writes(2), 0), (writes(2)[:-1], 1), ([w()], 0)],
)
def test_unanswered(check, traffic, count):
    assert check(traffic) == ("", count)


def test_every_text_is_in_a_table():
    """A rule that is added is to be broken here too."""
    texts = re.findall(r'fail\("([^"]*)"', RULES.read_text())
    known = [text for _, text in BROKEN.values()] + ["AR: valid fell before ready (A3.2.1)", "AR: changed before ready"]
    for text in texts:
        longest = max(re.split(r"%[#\w]*", text), key=len)
        assert any(longest.partition(" (A")[0] in other for other in known), f"{text!r} is not broken"

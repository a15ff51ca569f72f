# SPDX-License-Identifier: Apache-2.0
"""Changes of valid files: of their bytes, and of the values, elements and fields that they are made of."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np

Rng = np.random.Generator

BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x20, 0x22, 0x3C, 0x7B)

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 256, 2**31, 2**32 - 1, 2**63, -(2**63), 2**70, 10**30),
    *(0.5, -0.5, 1e308, math.nan, math.inf, -math.inf),
    *("", "0", "image", "int8", "x" * 5000, "x" * 5000 + "/y.png", "a\0b", "\ud800", "../../etc/passwd", "é"),
    *([], {}, [[]], [0], ["a", None], {"": 0}, [1e400, "1"]),
)
"""What a field of JSON may hold that no writer puts there."""

TEXTS = ("", " ", "0", "-1", "1e999", "nan", "0x", "99999999999999999999", "a" * 5000, "1,5", "é", "../x", "\t")
"""The same for text of XML."""


def damage(rng: Rng, data: bytes, other: bytes = b"") -> bytes:
    """One to three changes of bytes: flips, other values, cuts, repeats, pieces of elsewhere or of another file."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        change = _CHANGES[rng.integers(len(_CHANGES))]
        if changed:
            changed = change(rng, changed, other or data)
    return bytes(changed)


def _flip(rng: Rng, data: bytearray, other: bytes) -> bytearray:
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    return data


def _set(rng: Rng, data: bytearray, other: bytes) -> bytearray:
    data[rng.integers(len(data))] = int(rng.choice(BYTES))
    return data


def _fill(rng: Rng, data: bytearray, other: bytes) -> bytearray:
    start, size = _part(rng, len(data))
    data[start : start + min(size, 8)] = bytes([int(rng.choice(BYTES))]) * min(size, 8)
    return data


def _cut(rng: Rng, data: bytearray, other: bytes) -> bytearray:
    return data[: rng.integers(len(data))]


def _drop(rng: Rng, data: bytearray, other: bytes) -> bytearray:
    start, size = _part(rng, len(data))
    del data[start : start + size]
    return data


def _repeat(rng: Rng, data: bytearray, other: bytes) -> bytearray:
    start, size = _part(rng, len(data))
    data[start:start] = data[start : start + size] * int(rng.integers(1, 4))
    return data


def _splice(rng: Rng, data: bytearray, other: bytes) -> bytearray:
    start, size = _part(rng, len(other))
    place = int(rng.integers(len(data)))
    data[place : place + (size if rng.random() < 0.5 else 0)] = other[start : start + size]
    return data


def _append(rng: Rng, data: bytearray, other: bytes) -> bytearray:
    return data + rng.bytes(int(rng.integers(1, 40)))


_CHANGES: tuple[Callable[[Rng, bytearray, bytes], bytearray], ...] = (
    *(_flip, _flip, _set, _fill, _cut, _drop, _repeat, _splice, _append),
)


def _part(rng: Rng, size: int) -> tuple[int, int]:
    return int(rng.integers(size)), int(min(size, 2 ** rng.uniform(0, 8)))


def change_json(rng: Rng, value: Any) -> Any:
    """A copy of a JSON value with one place that has another value, is missing, or is there twice."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return VALUES[rng.integers(len(VALUES))]
    container, key = places[rng.integers(len(places))]
    action = rng.integers(5)
    if action == 0:
        del container[key]
    elif action == 1 and isinstance(container, list):
        container.insert(int(rng.integers(len(container) + 1)), copy.deepcopy(container[key]))
    elif action == 2:
        other, place = places[rng.integers(len(places))]
        container[key] = copy.deepcopy(other[place])
    elif action == 3 and isinstance(container[key], int):
        container[key] += int(rng.choice([-1, 1, 8, -128, 2**16]))
    else:
        container[key] = VALUES[rng.integers(len(VALUES))]
    return value


def _places(value: Any) -> Any:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from _places(inner)


def change_xml(rng: Rng, text: str) -> bytes:
    """An XML document with one element gone, twice, renamed, or with another text or attribute."""
    root = ElementTree.fromstring(text)
    parents = [(parent, child) for parent in root.iter() for child in parent]
    parent, child = parents[rng.integers(len(parents))]
    action = rng.integers(6)
    if action == 0:
        parent.remove(child)
    elif action == 1:
        parent.insert(int(rng.integers(len(parent) + 1)), copy.deepcopy(child))
    elif action == 2:
        child.tag = str(rng.choice([other.tag for _, other in parents]))
    elif action == 3 and child.attrib:
        child.attrib[str(rng.choice(list(child.attrib)))] = str(rng.choice(TEXTS))
    elif action == 4 and child.attrib:
        del child.attrib[str(rng.choice(list(child.attrib)))]
    else:
        child.text = str(rng.choice(TEXTS))
    return ElementTree.tostring(root, encoding=str(rng.choice(["utf-8", "utf-16", "latin-1"])), xml_declaration=True)

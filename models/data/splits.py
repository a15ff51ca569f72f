# SPDX-License-Identifier: Apache-2.0
"""Splits of data sets: the names that tools have for them, and parts of sets that have none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from models.data.annotations import Annotations

#: Splits of a folder by name, each read when it is called.
Splits = dict[str, Callable[[], Annotations]]

#: Names of one split: any is taken where another is asked for, the same spelling first.
SYNONYMS = (("train", "training"), ("val", "valid", "validation"), ("test", "testing"))

#: Names that a folder or file must have to be taken for a split where it could be anything else.
KNOWN = tuple(name for names in SYNONYMS for name in names)

#: In a folder without splits every so many-th image, by name, is ``val``; the others are ``train``.
VAL_EVERY = 5

#: Splits of such a folder: two disjoint parts, and all.
PARTS = ("train", "val", "trainval")

T = TypeVar("T")


def pick(found: Iterable[str], split: str) -> str | None:
    """The name among ``found`` that means ``split``: itself, in other letters, a synonym, or one with COCO's year."""
    by_letters = {name.casefold(): name for name in sorted(found, key=lambda name: name == split)}
    wanted = split.casefold()
    names = (wanted, *next((names for names in SYNONYMS if wanted in names), ()))
    return next((by_letters[key] for name in names for key in (name, f"{name}2017") if key in by_letters), None)


def part(items: Sequence[T], split: str) -> list[T]:
    """One of the splits `PARTS` of a set that has none; ``items`` are in the order of names."""
    if split == "val":
        return list(items[VAL_EVERY - 1 :: VAL_EVERY])
    return [item for n, item in enumerate(items) if split == "trainval" or n % VAL_EVERY != VAL_EVERY - 1]

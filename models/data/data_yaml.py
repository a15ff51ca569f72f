# SPDX-License-Identifier: Apache-2.0
"""The part of YAML that ``data.yaml`` files of YOLO sets are written in: scalars, lists and mappings of scalars by
name.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from codenet.errors import CodenetError
from models.data.files import read_text

Scalars = dict[str, str]

_KEY = re.compile(r"""(?P<key>"[^"]*"|'[^']*'|[^\s'"#:\[\]{}-][^:#]*?|-?\d+)\s*:(?:\s+(?P<value>.*))?$""")


class _Line:
    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self.text = text.strip()
        self.indent = len(text) - len(text.lstrip())


def _uncommented(text: str) -> str:
    """A line without its comment: from a ``#`` that no quotes enclose, at the start or after a space."""
    quote = ""
    for n, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and (n == 0 or text[n - 1] in " [{,:"):
            quote = letter
        elif letter == "#" and (n == 0 or text[n - 1].isspace()):
            return text[:n].rstrip()
    return text.rstrip()


def _scalar(text: str) -> str:
    """A scalar as text, without its quotes."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return str(ast.literal_eval(text))
    return text


def _items(text: str) -> list[str]:
    """What the commas of a list or mapping in brackets separate; commas in quotes separate nothing."""
    parts = re.findall(r"""(?:"[^"]*"|'(?:[^']|'')*'|[^,"'])+""", text[1:-1])
    return [part.strip() for part in parts if part.strip()]


def _pair(text: str) -> tuple[str, str]:
    found = _KEY.match(text)
    if found is None:
        raise ValueError(f"{text!r}, expected 'key: value'")
    return _scalar(found["key"]), (found["value"] or "").strip()


def _value(lines: list[_Line], first: str) -> str | list[str] | Scalars:
    """The value of a key: what follows it on its line, or the lines below that are its own."""
    text = " ".join([first, *(line.text for line in lines)]).strip()
    if first[:1] in ("[", "{") or (not first and text[:1] in ("[", "{")):
        if text[-1:] != {"[": "]", "{": "}"}[text[0]]:
            raise ValueError(f"{text!r} has no closing bracket")
        items = _items(text)
        if text[0] == "[":
            return [_scalar(item) for item in items]
        return {key: _scalar(value) for key, value in map(_pair, items)}
    if first or not lines:
        return _scalar(text)
    if lines[0].text.startswith("-"):
        return [_scalar(line.text.removeprefix("-")) for line in lines]
    return {key: _scalar(value) for key, value in (_pair(line.text) for line in lines)}


def read_data_yaml(path: Path, keys: tuple[str, ...]) -> dict[str, str | list[str] | Scalars]:
    """Values of ``keys``, as far as they are there, all scalars as text; what other keys have is not looked at.

    `CodenetError` naming file and line for what is no value of these kinds.
    """
    lines = [_Line(n, text) for n, text in enumerate(map(_uncommented, read_text(path).splitlines()), start=1)]
    lines = [line for line in lines if line.text and line.text not in ("---", "...")]
    found: dict[str, str | list[str] | Scalars] = {}
    for start, line in enumerate(lines):
        match = _KEY.match(line.text) if line.indent == 0 else None
        if match is None or _scalar(match["key"]) not in keys:
            continue
        end = start + 1
        # A list may start in the column of its key.
        while end < len(lines) and (lines[end].indent > 0 or lines[end].text[0] in "-]}"):
            end += 1
        try:
            found[_scalar(match["key"])] = _value(lines[start + 1 : end], (match["value"] or "").strip())
        except (ValueError, SyntaxError) as error:
            raise CodenetError(
                f"data: {path}:{line.number}: {match['key']}: {error}; expected a name, or a list"
            ) from error
    return found

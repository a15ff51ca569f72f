# SPDX-License-Identifier: Apache-2.0
"""Messages in pages, and messages in programs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path


def listed(page: str) -> list[str]:
    """Code spans that begin an item of a list."""
    return re.findall(r"^- `([^`]+)`", page, re.MULTILINE)


def parts(message: str) -> list[str]:
    """What stands between a message's angle brackets."""
    return [part for part in re.split(r"<[^>]+>", message) if part.strip(" :,")]


def literals(node: ast.AST) -> str:
    """All text in an expression, one piece after the other."""
    found = [child for child in ast.walk(node) if isinstance(child, ast.Constant) and isinstance(child.value, str)]
    return "\n".join(str(child.value) for child in sorted(found, key=lambda child: (child.lineno, child.col_offset)))


def raised(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each error that a file raises, but for those whose text comes from elsewhere."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            text = literals(node.exc)
            if len(re.findall(r"[a-z]{2,}", text)) > 2:
                yield node.lineno, text

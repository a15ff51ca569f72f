# SPDX-License-Identifier: Apache-2.0
"""docs/messages.md has the messages that the runtime gives, all of them, and no others."""

import ast
import re

import pytest

from codenet.checkout import ROOT
from tests.docs.messages import listed, literals, parts, raised

SOURCES = ROOT / "sw" / "codenet"
PAGE = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
MESSAGES = listed(PAGE)
OF_THE_SYSTEM = {"No space left on device", "Address already in use", "Cannot assign requested address"}

COVERED = ["vision", "runtime", "live", "cli", "zoo", "files.py", "checkout.py", "graph/file.py", "program/file.py"]
COVERED += [
    "devices/__init__.py",
    "devices/control.py",
    "devices/bitstream.py",
    "devices/installation.py",
    "devices/linux/lock.py",
    "devices/machine.py",
    "devices/memory.py",
    "compiler/__init__.py",
    "compiler/check.py",
]
"""Modules all of whose errors are on the page."""

FILES = [
    file
    for name in COVERED
    for file in ((SOURCES / name).rglob("*.py") if (SOURCES / name).is_dir() else [SOURCES / name])
]


@pytest.fixture(scope="module")
def texts():
    """Of each function and class of the runtime, all text in it."""
    return [
        literals(node)
        for file in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


@pytest.mark.parametrize("message", [message for message in MESSAGES if message not in OF_THE_SYSTEM])
def test_message_is_one_that_is_given(texts, message):
    words = [word for part in parts(message) for word in re.split(r"[:;,()]? +(?=[a-z])|[:;,]", part) if len(word) > 3]
    assert words
    assert any(all(word.strip() in text for word in words) for text in texts), f"nothing says {message!r}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCES)))
def test_every_error_is_on_the_page(file):
    missing = []
    for line, text in raised(file):
        flat = text.replace("\n", "")
        if not any(all(part.strip(" :") in flat for part in parts(message)) for message in MESSAGES):
            missing.append(f"{file.name}:{line}: {flat}")
    assert not missing


def test_no_message_twice():
    assert len(MESSAGES) == len(set(MESSAGES)) > 80

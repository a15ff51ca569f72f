# SPDX-License-Identifier: Apache-2.0
"""Commands that the pages show are ones that the programs take."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Modules of `models`, and the function that reads their command line or makes what does.
PARSERS = {
    "ablation": "_parse",
    "evaluate": "_parse",
    "export": "_parse",
    "offsets": "_parse",
    "precisions": "_parse",
    "qat": "make_parser",
    "restem": "make_parser",
    "sprint": "make_parser",
    "teacher": "_parse",
    "train": "make_parser",
    "widen": "_parse",
    "zoo": "__main__._parse",
}


def commands(module):
    """Arguments of the calls of a module in docs/models.md and in the cards."""
    pages = [ROOT / "docs" / "models.md", *sorted((ROOT / "models" / "zoo").glob("*.md"))]
    text = "\n".join(page.read_text().replace("\\\n", " ") for page in pages)
    return [
        shlex.split(re.split(r", | \(", line)[0], comments=True)  # cards have remarks behind a comma or in parentheses
        for line in re.findall(rf"^    python -m models\.{module} (.*)$", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("module", PARSERS)
def test_commands_of_the_pages(module, capsys):
    *path, function = PARSERS[module].split(".")
    parse = getattr(importlib.import_module(".".join(["models", module, *path])), function)
    parse = parse().parse_args if function == "make_parser" else parse
    found = commands(module)
    assert found
    for words in found:
        if "..." in words:
            continue  # Only a part is shown.
        # Numbers are written as words where the reader has to put them in.
        words = ["1" if word == "CYCLES" else word for word in words]
        try:
            parse(words)
        except SystemExit:
            pytest.fail(f"{module} {' '.join(words)}: {capsys.readouterr().err}")

# SPDX-License-Identifier: Apache-2.0
"""Prose of the documentation keeps to 120 columns; tables, commands and generated pages may be wider."""

import subprocess

from codenet.checkout import ROOT

WIDTH = 120
MADE = ("docs/isa.md", "docs/registers.md", "models/zoo/")


def test_prose_is_at_most_120_columns_wide():
    names = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    pages = [ROOT / name for name in names if not name.startswith(MADE)]
    assert len(pages) > 15
    wide = []
    for page in pages:
        fenced = False
        for number, line in enumerate(page.read_text().splitlines(), 1):
            fenced ^= line.lstrip().startswith("```")
            verbatim = fenced or line.startswith(("    ", "|", "<", "!", "#"))
            # A word that is wider cannot be broken.
            if len(line) > WIDTH and not verbatim and max(map(len, line.split())) < WIDTH // 2:
                wide.append(f"{page.relative_to(ROOT)}:{number}: {len(line)} columns")
    assert not wide

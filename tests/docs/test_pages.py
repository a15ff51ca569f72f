# SPDX-License-Identifier: Apache-2.0
"""Pages do not point to what is not there."""

import re

import pytest

from codenet.checkout import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_stands_in_the_contents_of_the_site():
    """A page that is missing there fails ``make site``, after minutes."""
    words = (ROOT / "docs" / "site" / "contents.md").read_text().split()
    listed = {path for word in words if "`" not in word for path in ROOT.glob(f"{word}.md")}
    pages = {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/**/*.md")}
    assert pages - listed == {ROOT / "README.md", ROOT / "docs" / "site" / "contents.md"}

"""Pages do not point to what is not there, and what they show runs."""

import re

import pytest

from codenet.checkout import ROOT
from codenet.cli import command as cli

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_commands_of_the_readme_exist():
    commands = re.findall(
        r"^    (?:\.venv/bin/)?codenet (.*?)(?:\s+#.*)?$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert len(commands) >= 4
    for command in commands:
        cli._parser().parse_args(command.split())


def test_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^    make ([a-z-]+)", text, re.MULTILINE))
    assert {"sim", "test", "lint"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target

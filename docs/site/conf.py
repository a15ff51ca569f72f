"""Sphinx's settings for `make site`."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "sw"), str(ROOT)]

import codenet  # noqa: E402

project = "CoDeNet"
release = codenet.__version__
project_copyright = "Apache License 2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]

include_patterns = [
    "index.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/photos/README.md",
    "models/README.md",
    "models/zoo/*.md",
    "api/*.rst",
]
html_theme = "furo"
html_title = "CoDeNet"
html_show_sphinx = False
html_static_path = [str(Path(__file__).with_name("static"))]
html_css_files = ["pictures.css"]
pygments_style, pygments_dark_style = "friendly", "monokai"

myst_heading_anchors = 4
# Pages are written for people who read them as files, too: a title of level 1, then level 2, a table where it fits.
myst_enable_extensions = ["dollarmath"]

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_mock_imports = ["pynq"]
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Members", "params_style")]

EXEMPT = {"elaborate", "latency", "main"}
"""Names that say the same in every class or command, and so need no text of their own."""

logger = logging.getLogger(__name__)


def index_contents(app: Sphinx, page: str, text: list[str]) -> None:
    """Give the first page, which is the README, the list of pages that Sphinx wants."""
    if page == "index":
        pages = Path(__file__).with_name("contents.md").read_text(encoding="utf-8")
        text[0] = f"{text[0]}\n{pages}"


def warn_undocumented(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Every public module, class, function, method and property has a docstring, its own or an inherited one."""
    if what == "class":
        for member, value in vars(found).items():
            routine = getattr(value, "__func__", value.fget if isinstance(value, property) else value)
            own = inspect.isfunction(routine) and routine.__module__ == found.__module__
            if own and not member.startswith("_") and member not in EXEMPT and not inspect.getdoc(getattr(found, member)):
                logger.warning("undocumented: %s.%s", name, member)
    if what == "module":
        for member, value in vars(found).items():
            own = getattr(value, "__module__", None) == found.__name__ and not member.startswith("_")
            if own and (inspect.isclass(value) or inspect.isfunction(value)) and member not in EXEMPT:
                if not (value.__dict__.get("__doc__") or inspect.isfunction(value) and value.__doc__):
                    logger.warning("undocumented: %s.%s", name, member)
        if not found.__doc__:
            logger.warning("undocumented: %s", name)


def setup(app: Sphinx) -> None:
    app.connect("source-read", index_contents)
    app.connect("autodoc-process-docstring", warn_undocumented)

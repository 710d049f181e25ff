"""Sphinx: Markdown pages, formulas as MathML, and reference pages that show docstrings as `help()` does."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import version as version_of
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

import obverse
from obverse.ground.families import Family

project = "obverse"
author = "the obverse authors"
version = release = version_of("obverse")
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["dollarmath"]
html_theme = "furo"
html_title = "obverse"
html_static_path = html_css_files = ["page.css"]
html_math_renderer = "mathml"  # which browsers draw by themselves: pages need no network
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
nitpicky = False  # docstrings are literal: there is nothing to link


def rooms() -> list[str]:
    """Packages that hand out names, in the order of their folders."""
    found = [f"obverse.{room.name}" for room in pkgutil.iter_modules(obverse.__path__) if room.ispkg]
    return [room for room in found if getattr(importlib.import_module(room), "__all__", ())]


def families(above: type[Family] = Family) -> dict[str, type[Family]]:
    """Every family with members, by name."""
    found = {above.family: above} if "members" in vars(above) and above.members else {}
    for below in above.__subclasses__():
        found |= families(below)
    return found


class Rooms(SphinxDirective):
    """`{rooms}`: one section of reference for each package."""

    def run(self) -> list[Any]:
        lines: list[str] = []
        for room in rooms():
            lines += [room, "=" * len(room), "", f".. automodule:: {room}", "   :members:", "   :imported-members:", ""]
        return self.parse_text_to_nodes("\n".join(["```{eval-rst}", *lines, "```"]), allow_section_headings=True)


class Families(SphinxDirective):
    """`{families}`: a table for each family, one row for each member."""

    def run(self) -> list[Any]:
        lines: list[str] = []
        rooms()  # members exist once their packages are imported
        for name, family in sorted(families().items()):
            lines += [f"## {name}", "", "| name | what it is |", "|---|---|"]
            lines += [f"| `{key}` | {member.summary()} |" for key, member in sorted(family.members.items())]
            lines += [""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def as_written(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Docstrings are written for a terminal: their alignment is their markup."""
    lines[:] = [".. code-block:: text", "", *(f"   {line}" for line in lines), ""] if any(lines) else []


def inline(page: HTML5Translator, formula: nodes.math) -> None:
    page.body.append(convert(formula.astext()))
    raise nodes.SkipNode


def block(page: HTML5Translator, formula: nodes.math_block) -> None:
    page.body.append(convert(formula.astext(), display="block"))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.add_directive("rooms", Rooms)
    app.add_directive("families", Families)
    app.connect("autodoc-process-docstring", as_written)

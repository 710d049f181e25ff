"""Extras: those that code and documents send people to can be installed, and the README names them all."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMED = re.compile(r"obverse\[([a-z]+)\]")


def declared(root: Path) -> set[str]:
    return set(tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def asked(tree: ast.Module) -> Iterator[str]:
    """The extras of all calls of `extras.load` and `extras.folder`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        said = [*node.args[1:2], *(keyword.value for keyword in node.keywords if keyword.arg == "extra")]
        if name in ("load", "folder"):
            yield from (
                value.value for value in said if isinstance(value, ast.Constant) and isinstance(value.value, str)
            )


def test_an_extra_that_code_asks_for_exists(source: Any, root: Path) -> None:
    if source.module != "obverse.ground.extras":  # whose examples are
        assert {*asked(source.tree), *NAMED.findall(source.text)} <= declared(root)


def test_the_code_asks_for_extras(sources: list[Any]) -> None:
    assert {"report", "audio", "video"} <= {extra for source in sources for extra in asked(source.tree)}


def test_an_extra_that_a_document_names_exists_and_the_readme_names_them_all(root: Path) -> None:
    readme = (root / "README.md").read_text()
    pages = [readme, *(page.read_text() for page in (root / "docs").glob("*.md"))]
    assert {name for page in pages for name in NAMED.findall(page)} <= declared(root)
    install = readme.partition("Extras: ")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z]+)`", install)) == declared(root)

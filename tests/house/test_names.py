"""Names: those promised exist, are documented, swallow nothing, and are the house's own."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

FOREIGN = re.compile(r"\b(x_start|alphas_cumprod|t_prev|x_0|x0|lam)\b")  # docs/notation.md has the house's words
ROOMLESS = {"utils", "helpers", "common", "misc", "util", "helper"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_definitions(source: Any) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Functions and classes at the top of a file, and the methods of those classes, that carry no underscore."""
    for node in source.tree.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, Function):
                    yield f"{node.name}.{inner.name}", inner


def test_all_is_true(source: Any) -> None:
    if not source.is_package:
        return
    module = importlib.import_module(source.module)
    promised = getattr(module, "__all__", [])
    assert len(set(promised)) == len(promised)
    assert not [name for name in promised if not hasattr(module, name)]


def test_all_names_everything_that_a_room_hands_out(source: Any) -> None:
    if not source.is_package or not source.room:
        return
    handed = {
        alias.asname or alias.name
        for node in source.tree.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("obverse.")
        for alias in node.names
    }
    promised = set(getattr(importlib.import_module(source.module), "__all__", []))
    assert {name for name in handed if not name.startswith("_")} <= promised


def test_public_functions_and_classes_are_documented(source: Any) -> None:
    if any(part.startswith("_") and part != "__init__" for part in source.module.split(".")):
        return
    bare = [name for name, node in public_definitions(source) if "." not in name and not ast.get_docstring(node)]
    assert not bare


def test_public_methods_are_documented_where_they_are_promised(source: Any) -> None:
    module = importlib.import_module(source.module) if not source.module.endswith("__main__") else None
    bare = []
    for name, node in public_definitions(source):
        if "." not in name or name.split(".")[1].startswith("_") or name.endswith(".forward"):
            continue
        owner = getattr(module, name.split(".")[0])
        if not inspect.getdoc(getattr(owner, node.name)):  # a method that fulfils its base's promise inherits the words
            bare.append(name)
    assert not bare


def test_public_functions_swallow_no_keywords(source: Any) -> None:
    swallowing = [name for name, node in public_definitions(source) if isinstance(node, Function) and node.args.kwarg]
    assert not swallowing, "unknown keywords are mistakes: name every argument; conditions travel in cond"


def test_no_file_is_long(source: Any) -> None:
    assert source.text.count("\n") <= 300


def test_no_room_is_a_drawer(source: Any) -> None:
    assert not ROOMLESS & set(source.module.split("."))


def test_only_interop_speaks_other_notations(source: Any) -> None:
    if source.room == "interop":
        return
    found = {i: match[0] for i, line in enumerate(source.text.splitlines(), 1) if (match := FOREIGN.search(line))}
    assert not found, f"lines {found}: docs/notation.md says what to write instead"

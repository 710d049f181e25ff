"""Imports go down the house; rooms on one floor do not know each other; there are no rings."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

import pytest

FLOORS = {
    1: ["ground"],
    2: ["path", "nets", "data", "metrics"],
    3: ["model"],
    4: ["sampler", "objective", "guidance"],
    5: ["train", "laws", "likelihood", "distill"],
    6: ["recipes", "interop", "sklearn"],
    7: ["explorer", "report"],
    8: ["cli"],
    9: [""],  # obverse itself: it hands out names from every room
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}


def imported(source: Any, modules: set[str]) -> Iterator[str]:
    """Modules of the package that a file names in an import, wherever in the file the import stands."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.partition(".")[0] == "obverse")
            case ast.ImportFrom(module=str(module), level=0, names=names) if module.partition(".")[0] == "obverse":
                for alias in names:
                    deeper = f"{module}.{alias.name}"
                    if deeper != "obverse.__version__":  # a word that every importer has already read
                        yield deeper if deeper in modules else module
            case ast.Call(args=[ast.Constant(value=str(name)), *_], func=ast.Name(id=by) | ast.Attribute(attr=by)):
                if by == "import_module" and name.partition(".")[0] == "obverse":
                    yield name


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_a_floor(sources: list[Any]) -> None:
    assert {source.room for source in sources} <= set(FLOOR_OF)


def test_imports_are_absolute(source: Any) -> None:
    relative = [node.lineno for node in ast.walk(source.tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative, f"lines {relative}: write `from obverse.room.file import name`"


def test_imports_go_down(source: Any, sources: list[Any]) -> None:
    if source.room == "":
        return
    up = [
        name
        for name in imported(source, {s.module for s in sources})
        if room_of(name) != source.room and FLOOR_OF.get(room_of(name), 9) >= FLOOR_OF[source.room]
    ]
    assert not up, f"{source.module} is on floor {FLOOR_OF[source.room]} and imports {up}"


def test_imports_make_no_ring(sources: list[Any]) -> None:
    modules = {source.module for source in sources}
    graph = {source.module: set(imported(source, modules)) for source in sources if source.room}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as ring:
        pytest.fail(" -> ".join(ring.args[1]))


def python(code: str) -> Any:
    """What the code prints, as JSON, from a fresh interpreter."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_import_is_light() -> None:
    code = """
import json, os, sys, time, torch
found = []
for _ in range(7):
    reader, writer = os.pipe()
    if os.fork() == 0:  # a child that has torch and nothing of ours
        start = time.perf_counter()
        import obverse
        seconds = time.perf_counter() - start
        os.write(writer, json.dumps([seconds, [m for m in ("scipy", "matplotlib") if m in sys.modules]]).encode())
        os._exit(0)
    found.append(json.loads(os.read(reader, 999)))
    os.wait()
print(json.dumps(found))
"""
    seconds, heavy = zip(*python(code), strict=True)
    assert not any(heavy)
    assert min(seconds) <= 0.010  # other programs only ever add to it


def test_help_does_not_wait_for_torch() -> None:
    code = """
import contextlib, io, json, sys
sys.argv = ["obverse", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    from obverse.cli import main
    main()
print(json.dumps([len(out.getvalue()), "torch" in sys.modules]))
"""
    length, torch = python(code)
    assert length > 0
    assert not torch

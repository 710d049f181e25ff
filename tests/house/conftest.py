"""Every source file as text and as a tree: tests that ask for `source` run once for each."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "obverse"


@dataclass(frozen=True)
class Source:
    """One file of the package."""

    path: Path

    @property
    def module(self) -> str:
        parts = self.path.relative_to(ROOT / "src").with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def room(self) -> str:
        """The folder below obverse, or "" for the top package's own files."""
        parts = self.path.relative_to(PACKAGE).parts
        return parts[0] if len(parts) > 1 else ""

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))


SOURCES = [Source(path) for path in sorted(PACKAGE.rglob("*.py"))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "source" in metafunc.fixturenames:
        metafunc.parametrize("source", SOURCES, ids=[source.module for source in SOURCES])


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    return SOURCES


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT

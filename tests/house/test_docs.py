"""What is written for readers is true: examples run, commands exist, numbers lead somewhere."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import obverse.data
import obverse.laws  # noqa: F401 - with which every family is there
from obverse.ground.errors import InvalidArgument
from obverse.ground.families import Family

PAGES = ("README.md", "docs/choosing.md", "docs/notation.md", "docs/tables.md")  # whose code runs


class Examples(doctest.DocTestParser):
    """Reads the house's docstrings: an example starts beside its heading and ends at the next."""

    def parse(self, string: str, name: str = "<string>") -> list[str | doctest.Example]:
        string = re.sub(r"^( *)Example:(?= +>>> )", lambda match: f"{match[1]}        ", string, flags=re.M)
        string = re.sub(r"^(?= *(Args|Returns|Raises|Source): )", "\n", string, flags=re.M)
        return super().parse(string, name)


def test_docstring_examples_run(source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if source.module.endswith("__main__"):
        return
    module = importlib.import_module(source.module)
    monkeypatch.chdir(tmp_path)
    printed: list[str] = []
    finder, runner = doctest.DocTestFinder(parser=Examples()), doctest.DocTestRunner()
    for example in finder.find(module, source.module):
        runner.run(example, out=printed.append)
    assert not runner.failures, "".join(printed)


def test_no_line_of_a_page_is_a_comment(root: Path) -> None:
    for page in (root / "docs").glob("*.md"):
        assert not re.findall("^%.*", page.read_text(), re.M), page  # Markdown here takes % for one: it would vanish


def theory_numbers(root: Path) -> list[int]:
    return [int(number) for number in re.findall(r"^### T(\d+) · ", (root / "docs/theory.md").read_text(), re.M)]


def test_theory_is_numbered_without_gaps(root: Path) -> None:
    numbers = theory_numbers(root)
    assert numbers == list(range(1, len(numbers) + 1))
    labels = re.findall(r"^\(t(\d+)\)=$", (root / "docs/theory.md").read_text(), re.M)
    assert labels == [str(number) for number in numbers]


def test_cited_theory_exists(source: Any, root: Path) -> None:
    cited = {
        int(number)
        for group in re.findall(r"\((T\d[^()\n]*)\)", source.text)
        for number in re.findall(r"T(\d+)", group)
    }
    assert cited <= set(theory_numbers(root))


def everything(above: type[Family]) -> list[type[Family]]:
    """Every family."""
    own = [above] if "members" in vars(above) else []
    return own + [family for below in above.__subclasses__() for family in everything(below)]


def makes(kind: type[Family], spec: str) -> bool:
    try:
        return bool(kind.of(spec))
    except InvalidArgument:
        return False


def fences(text: str, *kinds: str) -> list[str]:
    return [body for kind, body in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S) if kind in kinds]


def commands(root: Path) -> list[list[str]]:
    """Every shell line of the pages that calls this project."""
    text = "".join("".join(fences((root / page).read_text(), "sh", "console", "bash", "shell")) for page in PAGES)
    lines = text.replace("\\\n", " ").splitlines()
    words = [line.removeprefix("$ ").split() for line in lines]
    return [line for line in words if line and line[0] in ("obverse", "make")]


@pytest.mark.parametrize("page", PAGES)
def test_python_of_a_page_runs(page: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "page"}
    for snippet in fences((root / page).read_text(), "python"):
        exec(compile(snippet, page, "exec"), namespace)


@pytest.mark.parametrize("page", ["docs/notation.md", "docs/tables.md"])
def test_a_page_shows_what_its_code_prints(
    page: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "page"}
    text = (root / page).read_text()
    shown, out = "".join(fences(text, "text")), io.StringIO()
    with contextlib.redirect_stdout(out):
        for snippet in fences(text, "python"):
            exec(compile(snippet, page, "exec"), namespace)
    assert out.getvalue() == shown


def test_specs_of_pages_can_be_made(root: Path) -> None:
    pages = [root / "README.md", *(root / "docs").glob("*.md")]
    for spec in {spec for page in pages for spec in re.findall(r"`([a-z0-9-]+:[a-z_]+=[^`]*)`", page.read_text())}:
        assert any(makes(kind, spec) for kind in everything(Family)), spec


def test_make_targets_of_pages_exist(root: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.M))
    asked = {word for line in commands(root) if line[0] == "make" for word in line[1:] if "=" not in word}
    assert asked <= targets


def test_commands_of_pages_exist(root: Path) -> None:
    verbs = sorted({line[1] for line in commands(root) if line[0] == "obverse" and len(line) > 1})
    run = "import sys; from obverse.cli import main; sys.exit(main())"
    for verb in verbs:
        arguments = [verb] if verb.startswith("-") else [verb, "--help"]
        result = subprocess.run([sys.executable, "-c", run, *arguments], capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, f"obverse {verb}: {result.stderr}"

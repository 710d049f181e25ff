"""Whom `obverse check` is asked about: members here, and those in other people's files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.laws import check, resolve
from obverse.laws.resolve import FAMILIES
from obverse.objective import Stratified
from obverse.path import VP
from obverse.sampler import SDE, Solver

FILE = """
from __future__ import annotations
from dataclasses import dataclass, field
from neighbour import HALF
from obverse.path import Level, Noise, Prediction
from obverse.sampler import DDIM, SDE

@dataclass(frozen=True)
class Mine(DDIM, name="mine"):
    face: Prediction = field(default_factory=Noise)

class Stranger:
    pass

ready = SDE(eta=HALF)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "ours_to_check.py").write_text(FILE)
    (tmp_path / "neighbour.py").write_text("HALF = 0.5\n")
    (tmp_path / "broken_module.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in ("ours_to_check", "checked_ours_to_check", "neighbour", "broken_module"):
        sys.modules.pop(name, None)


def test_a_name_or_a_spec_of_a_family_is_its_member() -> None:
    assert resolve("schedule/vp") == VP()
    assert resolve("schedule/vp:beta_max=30") == VP(beta_max=30.0)
    assert resolve("time-law/stratified") == Stratified()


@pytest.mark.parametrize("where", ["ours_to_check", "ours_to_check.py", "./ours_to_check.py"])
@pytest.mark.usefixtures("folder")
def test_a_class_of_ones_own_is_made_with_its_defaults(where: str) -> None:
    member = resolve(f"{where}:Mine")
    assert isinstance(member, Solver)
    assert all(verdict.ok for verdict in check(member))


def test_a_file_is_found_from_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert resolve(f"{folder / 'ours_to_check.py'}:Mine").name == "mine"


@pytest.mark.usefixtures("folder")
def test_a_file_is_read_again() -> None:
    first, second = (type(resolve("ours_to_check.py:Mine")) for _ in range(2))
    assert first is not second
    assert Solver.members["mine"] is second


@pytest.mark.usefixtures("folder")
def test_a_ready_made_member_is_taken_as_it_is() -> None:
    assert resolve("ours_to_check:ready") == SDE(0.5)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("solver/dddim", "did you mean 'ddim'"),
        ("solvr/ddim", "did you mean 'solver'"),
        ("ours_to_check:Mien", "did you mean 'Mine'"),
        ("solver/sde:etaa=1", "did you mean 'eta'"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_wrong_name_is_answered_with_the_nearest(target: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        resolve(target)


@pytest.mark.usefixtures("folder")
def test_a_name_that_does_not_exist_is_an_unknown_name() -> None:
    with pytest.raises(UnknownName):
        resolve("ours_to_check:Mien")


@pytest.mark.parametrize("target", ["ddim", "", ":", "module:", ":Class"])
def test_what_cannot_be_read_is_answered_with_how_to_write_it(target: str) -> None:
    with pytest.raises(InvalidArgument, match=r"is written module:Class, file\.py:Class or family/name"):
        resolve(target)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("missing.py:Mine", "There is no file missing.py"),
        ("not_a_module_at_all:Mine", "No module named 'not_a_module_at_all'"),
        ("broken_module:Mine", "ZeroDivisionError"),
        ("ours_to_check:Stranger", "Stranger belongs to no family with laws"),
        ("ours_to_check:field", "belongs to no family"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_module_that_cannot_help_says_why(target: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        resolve(target)


def test_every_family_has_one_word() -> None:
    assert all(name == name.strip() and " " not in name for name in FAMILIES)

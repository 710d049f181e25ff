"""Recipes on the shelf: each says what it is for and what it reached, and is a file that anybody can start from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.recipes import Recipe, named, shelf

SHELF = Path(str(files("obverse.recipes").joinpath("shelf")))


def test_every_file_of_the_shelf_is_a_recipe() -> None:
    assert set(shelf()) == {file.stem for file in SHELF.iterdir()} >= {"digits", "two-moons", "wine"}


@pytest.mark.parametrize("name", sorted(shelf()))
def test_it_carries_a_measured_score_its_hardware_and_its_commit(name: str) -> None:
    recipe, about, reached = shelf()[name]
    assert about.endswith(".") and len(about) > 20
    assert any(digit.isdigit() for digit in reached.score) and " s on " in reached.hardware
    assert int(reached.commit, 16) and len(reached.commit) >= 7
    assert named(name) == recipe


@pytest.mark.parametrize("name", sorted(shelf()))
def test_its_file_is_read_as_any_other(name: str) -> None:
    assert Recipe.read(SHELF / f"{name}.toml") == named(name)


def test_a_name_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="two-moons"):
        named("two-moon")


@pytest.mark.parametrize("file", ["mine.toml", "a/folder/config.json"])
def test_a_file_is_sent_to_the_option_that_reads_files(file: str) -> None:
    with pytest.raises(InvalidArgument, match=f"--config {file}"):
        named(file)

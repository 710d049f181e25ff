"""Recipes with a name: a file each on the shelf, with the score that it reached. Imports no torch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.recipes.recipe import Recipe


class Reached(NamedTuple):
    """What a recipe measured, on what hardware, at which commit."""

    score: str
    hardware: str
    commit: str


class Named(NamedTuple):
    """A recipe, what it is for, and what it reached."""

    recipe: Recipe
    about: str
    reached: Reached


@cache
def shelf() -> Mapping[str, Named]:
    """Every recipe that has a name.

    Example:
        >>> shelf()["digits"].recipe.holdout
        0.5
    """
    found = sorted(files("obverse.recipes").joinpath("shelf").iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): _read(file.name, file.read_text("utf-8")) for file in found}


def named(name: str) -> Recipe:
    """The recipe of a name.

    Raises:   UnknownName with the nearest one; InvalidArgument for a file, which has an option of its own.
    """
    if name.endswith((".toml", ".json")):
        raise InvalidArgument(f"recipe is a name of `obverse list recipe`, got the file {name!r} (--config {name}).")
    if name not in shelf():
        raise UnknownName("recipe", name, shelf())
    return shelf()[name].recipe


def _read(name: str, text: str) -> Named:
    """A file of the shelf is one that `--config` reads, with its purpose in the first line and what it reached."""
    values = tomllib.loads(text)
    reached = Reached(**values.pop("reached"))
    return Named(Recipe.from_json(values, name), text.partition("\n")[0].removeprefix("# "), reached)

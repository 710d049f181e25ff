"""How many numbers a sample has: the one thing about the data that solvers and grids may ask, and how they are told."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from obverse.ground.errors import require
from obverse.ground.families import Family

FEW, MANY = 5, 30  # numbers of a sample up to which they are few, and from which they are many

Member = TypeVar("Member", bound=Family)


def few(size: int | None) -> bool:
    """Whether samples have so few numbers: then modes lie close."""
    return size is not None and size <= FEW


def many(size: int | None) -> bool:
    """Whether samples have so many numbers: then modes are told apart at noise that varies little, and all at once."""
    return size is not None and size >= MANY


def checked(size: int | None, who: str) -> None:
    """Refuse a size that no sample has."""
    require(size is None or size >= 1, f"{who}: size >= 1 number a sample, got {size}.")


def told(member: Member, size: int) -> Member:
    """The same solver or grid, knowing how many numbers a sample has, if it asks and nobody said (size=None).

    Members that it holds are told too.

    Example:
        >>> from obverse.sampler import Scales
        >>> told(Scales(steps=4), size=2).spec
        'scales:steps=4,size=2'
    """
    known: dict[str, Any] = {}
    for name in member.settings():
        value = getattr(member, name)
        found = told(value, size) if isinstance(value, Family) else value
        found = size if name == "size" and value is None else found
        if found is not value:
            known[name] = found
    return dataclasses.replace(member, **known) if known else member  # type: ignore[type-var]

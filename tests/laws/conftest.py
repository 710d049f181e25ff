"""Members made in a test leave no trace, and what a member breaks is one call away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from obverse.ground.families import Family
from obverse.laws import check
from obverse.laws.resolve import FAMILIES


@pytest.fixture(autouse=True)
def _families_stay_as_they_are() -> Iterator[None]:
    before = {name: dict(base.members) for name, base in FAMILIES.items()}
    yield
    for name, base in FAMILIES.items():
        base.members.clear()
        base.members.update(before[name])


@pytest.fixture
def broken() -> Callable[[Family | type[Family]], dict[str, str]]:
    """The laws that a member breaks, and what each of them measured."""
    return lambda member: {verdict.law: verdict.detail for verdict in check(member) if not verdict.ok}

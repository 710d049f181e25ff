"""What `check` answers about anybody's member, and whom it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.families import Family
from obverse.laws import Verdict, check, laws_of
from obverse.objective import Coupling
from obverse.objective.couplings import Batch
from obverse.path import Linear, Schedule
from obverse.sampler import DDIM

Broken = Callable[[Family | type[Family]], dict[str, str]]


def test_a_member_whose_settings_are_lost_in_its_spec_is_rejected(broken: Broken) -> None:
    class Wrong(Schedule, name="wrong"):
        def __init__(self, power: float = 2.0) -> None:
            self.power = power

        def alpha(self, t: Tensor) -> Tensor:
            return 1 - t**self.power

        def sigma(self, t: Tensor) -> Tensor:
            return t

    found = broken(Wrong(3.0))
    assert set(found) == {"its spec makes it again"}
    assert "write it as a frozen dataclass" in found["its spec makes it again"]


def test_a_member_that_borrows_its_name_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(DDIM):
        pass

    assert set(broken(Wrong)) == {"its spec makes it again"}


def test_a_member_that_raises_has_broken_the_law_it_was_asked() -> None:
    @dataclass(frozen=True)
    class Wrong(Coupling, name="wrong"):
        def paired(self, batch: Batch) -> Tensor:
            raise RuntimeError("no pairs today")

    verdicts = check(Wrong)
    assert [verdict.ok for verdict in verdicts] == [True, False, False, False]
    assert verdicts[1].detail == "RuntimeError: no pairs today"
    assert str(verdicts[1]).startswith("BROKEN  it gives each row a source row")


def test_every_law_answers_with_what_it_measured_and_how_long_it_took() -> None:
    verdicts = check(Linear)
    assert [verdict.law for verdict in verdicts] == [law.name for law in laws_of(Linear)]
    assert all(isinstance(verdict, Verdict) and verdict.detail and verdict.seconds >= 0 for verdict in verdicts)


@pytest.mark.parametrize("nobody", [int, 3, "ddim", Family], ids=str)
def test_what_belongs_to_no_family_is_refused_with_the_families(nobody: object) -> None:
    with pytest.raises(InvalidArgument, match="prediction, schedule, solver, strength, time"):
        check(nobody)  # type: ignore[arg-type]


def test_a_class_that_needs_arguments_is_refused() -> None:
    @dataclass(frozen=True)
    class Needy(DDIM, name="needy"):
        needed: float

    with pytest.raises(InvalidArgument, match="give every field one"):
        check(Needy)

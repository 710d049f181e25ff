"""Laws: sentences that are true of every member of a family, and what a member answers when it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, LawBroken
from obverse.ground.families import Family
from obverse.ground.numerics import Number, exact

ANY = "any"  # the family of laws that hold for members of all families
Compared: TypeAlias = tuple[str, Number, Number, Number]  # what, what it is, what it should be, and by which scale
_LAWS: list[Law] = []


class Verdict(NamedTuple):
    """What a law found: its name, whether the member keeps it, the measurement, and the seconds that it took."""

    law: str
    ok: bool
    detail: str
    seconds: float

    def __str__(self) -> str:
        return f"{'holds ' if self.ok else 'BROKEN'}  {self.law}\n        {self.detail}"


@dataclass(frozen=True)
class Law:
    """A sentence that is true of every member of a family.

    Args:     name: the sentence, such as "log-SNR falls in t".
              family: whose members it speaks of.
              holds: called with a member; returns what it measured, raises LawBroken where the member breaks it.
    """

    name: str
    family: str
    holds: Callable[[Any], str]

    def verdict(self, member: Family) -> Verdict:
        """What a member answers; an error inside it is an answer too."""
        began = time.perf_counter()
        try:
            ok, detail = True, self.holds(member)
        except LawBroken as broken:
            ok, detail = False, str(broken)
        except Exception as error:  # the member may be anybody's code
            ok, detail = False, f"{type(error).__name__}: {error}"
        return Verdict(self.name, ok, detail, time.perf_counter() - began)


def law(family: str, name: str) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    """Make a function a law of a family.

    @law("schedule", "alpha falls in t")
    def _falls(schedule): ...               # returns what it measured, or raises LawBroken
    """

    def collect(holds: Callable[[Any], str]) -> Callable[[Any], str]:
        _LAWS.append(Law(name, family, holds))
        return holds

    return collect


def apart(found: Number, want: Number, scale: Number) -> Tensor:
    """Differences by scale; what is equal is not apart, whatever the scale."""
    gap = exact(found) - exact(want)
    return torch.where(gap == 0, 0.0, gap / exact(scale))


def within(
    what: str, found: Number, want: Number, allowed: float, *, scale: Number = 1.0, at: Tensor | None = None
) -> str:
    """How far off something is, in words, if it is no farther than allowed.

    Args:     what: a noun.
              found, want: what it is and what it should be; any shape. NaN is never allowed.
              allowed: the largest |found - want| / scale that passes.
              scale: what differences are measured by.
              at: the time of each, to name the worst.
    Raises:   LawBroken with the worst of them.

    Example:
        >>> within("alpha_dot", torch.tensor([-1.0, -3e-8]), torch.tensor([-1.0, 0.0]), 1e-6)
        'alpha_dot: off by 3e-08'
    """
    off = apart(found, want, scale)
    worst = int(off.abs().flatten().nan_to_num(nan=torch.inf, posinf=torch.inf).argmax())
    columns = (exact(values).expand(off.shape) for values in (off, found, want, 0 if at is None else at))
    by, own, right, t = (float(column.flatten()[worst]) for column in columns)
    if not abs(by) <= allowed:
        place = "" if at is None else f" at t = {t:.6g}"
        raise LawBroken(f"{what} is {own:.9g}, not {right:.9g}{place}: off by {by:.3g}, allowed {allowed:.0e}")
    return f"{what}: off by {abs(by):.0e}"


def all_within(compared: Iterable[Compared], allowed: float) -> str:
    """The farthest off of many, in words, if it is no farther than allowed.

    Args:     compared: as of `within`, one by one.
              allowed: the largest |found - want| / scale that passes.
    Raises:   LawBroken with the first that is larger.
    """
    return max(
        (float(apart(found, want, scale).abs().max()), within(what, found, want, allowed, scale=scale))
        for what, found, want, scale in compared
    )[1]


def demand(ok: bool, broken: str) -> None:
    """Raise LawBroken, with a sentence that holds the measurement, unless all is well."""
    if not ok:
        raise LawBroken(broken)


def not_negative(values: Tensor | float, what: str) -> None:
    """Raise LawBroken unless all values are finite and none is negative."""
    values = exact(values)
    bad = values[~(values.isfinite() & (values >= 0))].flatten()
    demand(not len(bad), f"{what}: {bad[:1].tolist()} among {values.numel()} values")


def is_member(value: object) -> bool:
    """Whether something is a member of a family, or a class of them."""
    return isinstance(value, Family) or (isinstance(value, type) and issubclass(value, Family))


def made(member: Family | type[Family]) -> Family:
    """A member; a class is made with its defaults.

    Raises:   InvalidArgument for what belongs to no family, or a class that cannot be made without arguments.
    """
    if not is_member(member) or not hasattr(member, "family"):
        families = ", ".join(sorted({known.family for known in _LAWS} - {ANY}))
        shown = member.__name__ if isinstance(member, type) else repr(member)
        raise InvalidArgument(f"{shown} belongs to no family with laws; a member subclasses one of: {families}.")
    if isinstance(member, Family):
        return member
    try:
        return member()
    except TypeError as error:
        raise InvalidArgument(
            f"{member.__name__} is checked with its defaults: give every field one ({error})."
        ) from error


def laws_of(member: Family | type[Family]) -> list[Law]:
    """The laws of a member's family, in the order in which they build on each other.

    Example:
        >>> from obverse.laws import laws_of
        >>> from obverse.path import Linear
        >>> laws_of(Linear)[2].name
        'log-SNR falls in t'
    """
    family = made(member).family
    return [known for known in _LAWS if known.family in (ANY, family)]


def check(member: Family | type[Family]) -> list[Verdict]:
    """Put a member through every law of its family, whatever the first ones say.

    Args:     member: a member, or its class, which is then made with its defaults.
    Returns:  one verdict for each law.
    Raises:   InvalidArgument for what is no member.

    Example:
        >>> from obverse.laws import check
        >>> from obverse.path import Cosine
        >>> all(verdict.ok for verdict in check(Cosine))
        True
    """
    member = made(member)
    return [known.verdict(member) for known in laws_of(member)]


@law(ANY, "its spec makes it again")
def _spec(member: Family) -> str:
    kind = type(member)
    name = str(getattr(member, "name", ""))
    demand(bool(name), f"it has no name: write class {kind.__name__}({kind.__mro__[1].__name__}, name=...)")
    known = member.members.get(name)
    demand(known is kind, f"{name!r} is the name of {known}, not of {kind}: every class has its own")
    try:
        spec = member.spec
    except InvalidArgument as python_only:
        return f"it has none: {python_only}"
    again = member.of(spec)
    demand(again == member or not vars(member), f"{spec!r} makes {again}, not {member}: write it as a frozen dataclass")
    return spec

"""A table as the loop runs it: which registers share a place in memory, and what is worked out in one go.

Registers live in a few slots, each handed on when its register has been used for the last time. All states between two
calls are worked out together, by one small product of a matrix of numbers with the slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor


class Register(NamedTuple):
    """A number the loop holds: state e, output o or draw xi, by index."""

    kind: Literal["e", "o", "xi"]
    place: int


Row = Mapping[Register, float]
UNUSED = -1  # where an output goes that nothing needs
ROUNDING = 2.0**-50  # of a coefficient that is 1 in exact arithmetic


class Group(NamedTuple):
    """The states from one call to the next, and the call made at the last of them.

    states: which. draws: slots that draws are put into first. weights: (states, slots). kept: (place in the group,
    slot) put in after. call: which call follows, None at the end. output: the slot of what it says.
    """

    states: range
    draws: tuple[int, ...] = ()
    weights: tuple[Any, ...] = ()
    kept: tuple[tuple[int, int], ...] = ()
    call: int | None = None
    output: int = UNUSED


class Link(NamedTuple):
    """A state made of the one before and of what is new: a x + b output + c draw; c is None where nothing is drawn."""

    a: float
    b: float
    c: float | None


@dataclass(frozen=True)
class Program:
    """A table, ready for the loop.

    slots: what a run holds besides the states being made, `width` of them at most. draws: in the order of their use.
    chain: where the latest state is all there is to keep, the same again without slots, which is how it is run: a link
    for each group but the first.
    """

    slots: int
    width: int
    draws: tuple[int, ...]
    groups: tuple[Group, ...]
    chain: tuple[Link, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The table alone: memory that is written to in one place and read in another comes apart in a pickle."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def held(self) -> int:
        """How many tensors like a state a run keeps at most: of a chain, the last two states and a draw."""
        return self.slots + self.width if self.chain is None else 2 + bool(self.draws)

    @cached_property
    def scales(self) -> Tensor | None:
        """What draws are multiplied by before they enter a chain; float64 (draws,); None where all are 1."""
        scales = [link.c for link in self.chain or () if link.c is not None]
        return torch.tensor(scales, dtype=torch.float64) if {*scales} - {1.0} else None

    def weights(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The weights of each group; (states, slots). Made once for each dtype."""
        if dtype not in self._weights:
            rows = [[row.get(i, 0.0) for i in range(self.slots)] for group in self.groups for row in group.weights]
            numbers = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), self.slots)
            self._weights[dtype] = torch.split(numbers.to(dtype), [len(group.weights) for group in self.groups])
        return self._weights[dtype]

    @cached_property
    def _weights(self) -> dict[torch.dtype, tuple[Tensor, ...]]:
        return {}

    @cached_property
    def left(self) -> dict[tuple[torch.Size, torch.dtype], Any]:
        """The memory that the last run has left for the next: a `Matrix`."""
        return {}


def compiled(rows: Sequence[Row], reads: Sequence[int]) -> Program:
    """The program of a table: liveness, then slots, then numbers."""
    spans = [range(a + 1, b + 1) for a, b in pairwise([-1, *sorted({0, *reads, len(rows) - 1})])]
    needs = [_substituted(rows, states) for states in spans]
    last = {key: g for g, group in enumerate(needs) for row in group for key in row}
    call_of = {state: j for j, state in enumerate(reads)}
    calls = [call_of.get(states[-1]) for states in spans]
    slots, drawn, groups = _Slots(), list[int](), list[Group]()
    for g, (states, need, call) in enumerate(zip(spans, needs, calls, strict=True)):
        fresh = sorted({key for row in need for key in row if key.kind == "xi" and key not in slots.of})
        drawn += [key.place for key in fresh]
        draws = tuple(slots.take(key) for key in fresh)
        weights = tuple({slots.of[key]: number for key, number in row.items()} for row in need)
        slots.free(key for key in list(slots.of) if last.get(key, g) <= g)
        born = ((i, Register("e", n)) for i, n in enumerate(states))
        kept = tuple((i, slots.take(key)) for i, key in born if last.get(key, -1) > g)
        known = call is not None and (key := Register("o", call)) in last
        groups.append(Group(states, draws, weights, kept, call, slots.take(key) if known else UNUSED))
    return Program(slots.count, max(map(len, spans)), tuple(drawn), tuple(groups), _chain(rows, reads))


def _chain(rows: Sequence[Row], reads: Sequence[int]) -> tuple[Link, ...] | None:
    """The links of a table whose states are each made of the one before, its call and at most one draw."""
    draws = [key for row in rows for key in row if key.kind == "xi"]
    if [*reads] != [*range(len(rows) - 1)] or len({*draws}) < len(draws):
        return None
    links = []
    for call, row in enumerate(rows[1:]):
        a, b, *c = (row.get(key) for key in (Register("e", call), Register("o", call), *(row.keys() & {*draws})))
        if a is None or b is None or len(c) > 1 or len(row) > 2 + len(c):
            return None
        links.append(Link(1.0 if abs(a - 1) <= ROUNDING else a, b, c[0] if c else None))
    return tuple(links)


class _Slots:
    """Places in memory, taken, passed on and freed."""

    def __init__(self) -> None:
        self.count = 0
        self.of: dict[Register, int] = {}
        self._free: list[int] = []

    def take(self, key: Register) -> int:
        if not self._free:
            self._free.append(self.count)
            self.count += 1
        self.of[key] = self._free.pop()
        return self.of[key]

    def free(self, keys: Iterable[Register]) -> None:
        self._free.extend(self.of.pop(key) for key in keys)


def _substituted(rows: Sequence[Row], states: range) -> list[Row]:
    """The rows of a group in terms of what was there before it; the start, which is given, has none."""
    own: dict[Register, Row] = {}
    for n in states:
        total: dict[Register, float] = {}
        for key, number in rows[n].items():
            for inner, share in own.get(key, {key: 1.0}).items():
                total[inner] = total.get(inner, 0.0) + number * share
        own[Register("e", n)] = total
    return [row for row in own.values() if row]


def combine(row: Row, held: Mapping[Register, Tensor]) -> Tensor:
    """The linear combination of held registers that a row names."""
    return torch.stack([held[key] * number for key, number in row.items()]).sum(0)

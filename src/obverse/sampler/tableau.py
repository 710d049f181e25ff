"""A sampler is a table of numbers (T36).

Registers: states e_0 (the start), e_1, ...; outputs o_1, ... of the calls; independent standard draws xi_1, ...
*Running form*: every state is a sparse combination of earlier registers; one loop runs it (`run.py`).
*Canonical form*: all states substituted away, on the unit circle, in one face; two samplers are the same algorithm
exactly when their canonical forms agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.numerics import exact
from obverse.path import Level, Prediction, Schedule, V, coefficients
from obverse.sampler import brownian
from obverse.sampler.brownian import Span
from obverse.sampler.format import read, write
from obverse.sampler.program import ROUNDING, Program, Register, Row, compiled

SAME = 1e-11  # canonical entries are of order 1; a thousand steps of float64 stay well below


class Canonical(NamedTuple):
    """What every call reads, and the end, in terms of the start, the outputs before and the draws.

    angles: (calls + 1,); start A: (calls + 1,); outputs B: (calls + 1, calls); draws C: (calls + 1, draws).
    """

    angles: Tensor
    start: Tensor
    outputs: Tensor
    draws: Tensor


@dataclass(frozen=True, eq=False)
class Tableau:
    """A method on a schedule and a grid, computed once in float64; any model of that schedule can run it.

    Args:     levels: where each state lives, the start first, the result last; (states,).
              rows: for each state, the combination of earlier registers it is (the start's is empty).
              reads: which state each call reads, in order.
              face: what the outputs are.
              spans: for each draw, where on the Brownian path it lies.
    """

    levels: Level
    rows: tuple[Row, ...]
    reads: tuple[int, ...]
    face: Prediction
    spans: tuple[Span, ...] = ()

    def __repr__(self) -> str:
        first, *_, last = self.levels.t.tolist()
        return f"Tableau({self.calls} calls of {self.face.label}, {self.draws} draws, t from {first:g} to {last:g})"

    @property
    def calls(self) -> int:
        """Network calls a run makes."""
        return len(self.reads)

    @property
    def draws(self) -> int:
        """Normal draws a run makes, each of the state's shape."""
        return len(self.spans)

    def on_face(self, face: Prediction | str) -> Tableau:
        """The same algorithm fed with another prediction: o_j = u_j o'_j + w_j e_j, substituted (T38).

        Raises:   SingularConversion when the face does not determine this one at a level the table calls at.
        """
        face = Prediction.of(face)
        if face == self.face:
            return self
        if face not in self._faces:
            self._faces[face] = self._changed(face)
        return self._faces[face]

    @cached_property
    def moments(self) -> list[Level]:
        """The level of each state, as plain floats."""
        return self.levels.floats()

    @cached_property
    def called(self) -> Level:
        """The levels of the calls, in order."""
        return self.levels[torch.tensor(self.reads, dtype=torch.long)]

    @cached_property
    def agreed(self) -> list[Schedule]:
        """Schedules that the levels were found to lie on."""
        return []

    @cached_property
    def program(self) -> Program:
        """The table as the loop runs it."""
        return compiled(self.rows, self.reads)

    def held(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> int:
        """Bytes that a run keeps alive besides the network's own: registers, states in the making, the shared path.

        Depends on the face, since what is linear in one prediction may need the state in another: ask
        `table.on_face(model.face)`.

        Args:     shape: of the states; (batch *data).
                  dtype: of the states.
        """
        numbers = math.prod(shape)
        at_work = self.program.held + 2  # the last outputs, or one and a product on its way into a state
        return numbers * at_work * dtype.itemsize + brownian.held(self.spans, numbers) + 8 * self.calls * shape[0]

    @cached_property
    def _faces(self) -> dict[Prediction, Tableau]:
        """What `on_face` has worked out: a table is frozen, so once is enough."""
        return {}

    def _changed(self, face: Prediction) -> Tableau:
        both = (exact(c).expand(self.calls).tolist() for c in coefficients(face, self.face, self.called))
        change = {Register("o", j): pair for j, pair in enumerate(zip(*both, strict=True))}

        def changed(row: Row) -> Row:
            new: dict[Register, list[float]] = {}
            for key, number in row.items():
                on_output, on_state = change.get(key, (1.0, 0.0))
                new.setdefault(key, []).append(number * on_output)
                if on_state:
                    new.setdefault(Register("e", self.reads[key.place]), []).append(number * on_state)
            return {key: sum(parts) for key, parts in new.items() if not _cancel(parts)}

        return replace(self, rows=tuple(map(changed, self.rows)), face=face)

    def canonical(self) -> Canonical:
        """The form in which equal algorithms are equal tables: states on the unit circle, outputs as v there."""
        kept, calls = [*self.reads, len(self.rows) - 1], [*self.reads]
        r = exact(self.levels.r)
        columns = torch.cat([r[:1], r[calls], torch.ones(self.draws)])
        full = self.on_face(V())._unfolded()[kept] / r[kept, None] * columns
        start, outputs, draws = torch.split(full, [1, self.calls, self.draws], dim=1)
        return Canonical(exact(self.levels.theta)[kept], start[:, 0], outputs, draws)

    def _unfolded(self) -> Tensor:
        """Every state in terms of the start, the outputs and the draws; (states, 1 + calls + draws)."""
        first = {"o": 1, "xi": 1 + self.calls}  # column of each kind
        full = torch.zeros(len(self.rows), 1 + self.calls + self.draws, dtype=torch.float64)
        full[0, 0] = 1.0
        for n, row in enumerate(self.rows):
            for (kind, place), number in row.items():
                if kind == "e":
                    full[n] += number * full[place]
                else:
                    full[n, first[kind] + place] += number
        return full

    def difference(self, other: Tableau) -> float:
        """Largest disagreement of the canonical forms, noise compared as a joint law; infinite if calls differ."""
        if self.calls != other.calls:
            return float("inf")
        one, two = self.canonical(), other.canonical()
        pairs = [(one.angles, two.angles), (one.start, two.start), (one.outputs, two.outputs)]
        pairs.append((one.draws @ one.draws.T, two.draws @ two.draws.T))
        return float(torch.cat([(a - b).abs().flatten() for a, b in pairs]).max())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tableau) and self.difference(other) <= SAME

    __hash__ = None  # type: ignore[assignment]

    def weights(self, face: Prediction | str | None = None) -> tuple[Tensor, Tensor]:
        """The share of every prediction and of every draw in the final state (T34); (calls,) and (draws,).

        Args:     face: which prediction; default the table's own.
        """
        table = self if face is None else self.on_face(face)
        _, outputs, draws = torch.split(table._unfolded()[-1], [1, self.calls, self.draws])
        return outputs, draws

    def save(self, path: str | Path) -> None:
        """Write as JSON; numbers keep all their digits."""
        write(path, (self.levels, self.rows, self.reads, self.face, self.spans))

    @staticmethod
    def load(path: str | Path) -> Tableau:
        """Read what `save` wrote.

        Raises:   InvalidArgument when the file is something else, newer or damaged.
        """
        return Tableau(*read(path))


def _cancel(parts: list[float]) -> bool:
    """Whether numbers sum to 0 in exact arithmetic, as far as can be told: a register less to hold."""
    return abs(sum(parts)) <= ROUNDING * sum(map(abs, parts))

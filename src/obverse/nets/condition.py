"""Conditions: what a network is told besides x_t, and how "not given" is written in the data itself.

A label of -1, a vector of NaN, a token of NaN mean "not given". So dropping is done row by row, needs no second
argument, and one batch may hold rows with and rows without a condition: what classifier-free guidance asks for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.shapes import check_rows, mapped, per_row
from obverse.nets.waves import TIME_OCTAVES, positions, waves

Cond: TypeAlias = Tensor | Mapping[str, Tensor] | None

_BUILT_WITH = {"label": "classes", "vector": "vector", "tokens": "tokens"}  # key of cond -> field of Conditions


@dataclass(frozen=True)
class Conditions:
    """Which conditions a network listens to; any of the three together.

    Args:     classes: how many classes a label may name; 0: no labels.
              vector: numbers in a vector; 0: no vectors.
              tokens: numbers in each token of a sequence of any length; 0: no tokens.
    Raises:   InvalidArgument for a negative number.
    Example:
        >>> Conditions(classes=10)
        Conditions(classes=10, vector=0, tokens=0)
    """

    classes: int = 0
    vector: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        for field in _BUILT_WITH.values():
            value = getattr(self, field)
            require(value >= 0, f"Conditions: {field} is 0 (none) or more, got {value}.")


UNCONDITIONAL = Conditions()


def drop(cond: Any, mask: Tensor) -> Any:
    """The same condition, not given in some rows: labels become -1, vectors and tokens NaN.

    Args:     cond: labels (batch), vectors (batch, d), tokens (batch, n, d), a dict or a tuple of these, or None.
              mask: True where the condition is taken away; bool, (batch).
    Returns:  what cond was, of the same structure and shapes; None stays None.
    Raises:   InvalidArgument when mask is not boolean or names another number of rows.
    Example:
        >>> drop(torch.tensor([4, 7]), torch.tensor([False, True]))
        tensor([ 4, -1])

    Source:   Ho & Salimans (2022), algorithm 1.
    """
    if mask.dtype != torch.bool:
        raise InvalidArgument(f"mask says yes or no for each row: expected bool, got {mask.dtype} (write mask > 0).")
    check_rows(cond, len(mask), "mask says yes or no for each row of cond")

    def hidden(part: Tensor) -> Tensor:
        return torch.where(per_row(mask.to(part.device), part), math.nan if part.is_floating_point() else -1, part)

    return mapped(hidden, cond)


class Told(NamedTuple):
    """What every block is told: a vector, and tokens of which some are visible (None in a net without tokens)."""

    vector: Tensor  # (batch, width)
    tokens: Tensor | None  # (batch, 1 + n, width)
    visible: Tensor | None  # bool, (batch, 1 + n)


class Context(nn.Module):
    """Time and conditions, read once a call.

    Time, label and vector meet in one sum before the first nonlinearity, so that the answer to a condition may depend
    on time. Tokens keep their places and follow one learned token, the only one left when none is given.
    """

    def __init__(self, conditions: Conditions, width: int) -> None:
        super().__init__()
        self.conditions = conditions
        self.time = nn.Linear(2 * len(TIME_OCTAVES), width)
        self.out = nn.Linear(width, width)
        if conditions.classes:
            self.label = nn.Embedding(1 + conditions.classes, width)  # row 0: not given
        if conditions.vector:
            self.vector = nn.Linear(conditions.vector, width)
            self.no_vector = nn.Parameter(torch.zeros(width))
        if conditions.tokens:
            self.token = nn.Sequential(nn.Linear(conditions.tokens, width), nn.LayerNorm(width))
            self.no_token = nn.Parameter(torch.randn(width))

    def forward(self, t: Tensor, cond: Cond) -> Told:
        """Told, from t (batch) and cond."""
        given = self._named(cond, t)
        exact = t.to(torch.promote_types(t.dtype, torch.float32))
        total = self.time(waves(exact, TIME_OCTAVES).to(self.time.weight.dtype))
        if self.conditions.classes:
            label = given.get("label")
            total = total + self._label(torch.full_like(t, -1, dtype=torch.int64) if label is None else label)
        if self.conditions.vector:
            total = total + self._vector(given.get("vector"))
        tokens, visible = self._tokens(given.get("tokens"), len(t)) if self.conditions.tokens else (None, None)
        return Told(silu(self.out(silu(total))), tokens, visible)

    def _named(self, cond: Cond, t: Tensor) -> Mapping[str, Tensor]:
        """Cond as a dict, each value of a shape this net can read."""
        given = cond if isinstance(cond, Mapping) else {} if cond is None else {_key(cond): cond}
        for key, value in given.items():
            if key not in _BUILT_WITH:
                raise InvalidArgument(f"cond holds {key!r}; a net knows the keys {', '.join(map(repr, _BUILT_WITH))}.")
            size = getattr(self.conditions, _BUILT_WITH[key])
            if not size:
                raise InvalidArgument(
                    f"cond holds {key!r} but this net was built without: build it with "
                    f"Conditions({_BUILT_WITH[key]}=...), or call it with cond=None."
                )
            wanted = {"label": (len(t),), "vector": (len(t), size), "tokens": (len(t), *value.shape[1:2], size)}[key]
            if value.shape != wanted or value.is_floating_point() != (key != "label"):
                kind = "whole numbers" if key == "label" else "floats"
                raise InvalidArgument(
                    f"cond {key!r} holds {kind} of shape {wanted}, got {value.dtype} {tuple(value.shape)}."
                )
        return given

    def _label(self, label: Tensor) -> Tensor:
        try:
            told: Tensor = self.label(label.long() + 1)
        except IndexError as error:  # asked only then: a look at every call would wait for a GPU
            known, got = f"0 ... {self.conditions.classes - 1}", f"{label.min()} ... {label.max()}"
            raise InvalidArgument(f"cond 'label' is one of {known}, or -1 for none, got {got}.") from error
        return told

    def _vector(self, vector: Tensor | None) -> Tensor:
        if vector is None:
            return self.no_vector
        missing = vector.isnan().all(-1, keepdim=True)
        known: Tensor = self.vector(torch.where(missing, 0.0, vector).to(self.no_vector.dtype))
        return torch.where(missing, self.no_vector, known)

    def _tokens(self, tokens: Tensor | None, batch: int) -> tuple[Tensor, Tensor]:
        first = self.no_token.expand(batch, 1, -1)
        if tokens is None:
            return first, torch.ones(batch, 1, dtype=torch.bool, device=first.device)
        visible = ~tokens.isnan().all(-1)
        known = self.token(torch.where(visible[..., None], tokens, 0.0).to(first.dtype))
        known = known + positions(known.shape[1:2], known.shape[2], known)
        return torch.cat([first, known], 1), nn.functional.pad(visible, (1, 0), value=True)


def _key(cond: Any) -> str:
    """What a bare tensor is: whole numbers (batch) are labels, floats (batch, d) a vector, (batch, n, d) tokens."""
    if not isinstance(cond, Tensor):
        known = ", ".join(map(repr, _BUILT_WITH))
        raise InvalidArgument(f"cond is a tensor or a dict of {known} for this net, got {type(cond).__name__}.")
    key = {(False, 1): "label", (True, 2): "vector", (True, 3): "tokens"}.get((cond.is_floating_point(), cond.ndim))
    if key is None:
        raise InvalidArgument(
            "cond is whole numbers (batch,), floats (batch, d) or floats (batch, n, d), or a dict of these; got "
            f"{cond.dtype} of shape {tuple(cond.shape)}."
        )
    return key

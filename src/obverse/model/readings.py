"""A network read in every combination of words, on data: what is left of the error of a linear denoiser."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, ObverseError, require
from obverse.ground.families import Family
from obverse.ground.numerics import exact
from obverse.model.examples import LEVELS, Examples, Noised
from obverse.model.inputs import Precondition, TimeInput
from obverse.model.model import Model
from obverse.model.network import Network
from obverse.path import DDPM, Data, Prediction, Reversed, Schedule, coefficients

KEPT = 7  # of the levels, the best: where data or noise are all but known already, a face magnifies what is off
LEARNT = 0.95  # of a linear denoiser's error: a network that says 0, or repeats its input, can reach 1
SLACK = 1.1  # right words leave 1.05 even to a network that is wrong by a fifth, wrong ones 1.2 and more
ROUNDING = 1e-12  # what is left of an error that is none
SCALES = (1000,)  # of time, besides 1: SD3, Wan

Words = dict[str, Any]
FAMILIES: dict[str, Any] = {
    "schedule": Schedule,
    "predicts": Prediction,
    "time": TimeInput,
    "precondition": Precondition,
}


@dataclass(frozen=True)
class Fit:
    """How well a network denoises in some words.

    Args:     words: the keyword arguments of `Network`; none for a model taken as it is.
              curve: at every log-SNR, the squared error of the data estimate over that of a linear denoiser.
              slack: the same mean of its error over what the best mixture of answer and input leaves at each level;
                  1 for a network as training leaves it, read in the right words.
              failed: why there are no numbers, where there are none.
    """

    words: Words
    curve: tuple[float, ...] = ()
    slack: float = math.inf
    failed: str = ""

    @property
    def score(self) -> float:
        """The geometric mean of the curve without its two highest points; infinite where there is no curve."""
        return _mean(exact(self.curve)) if self.curve else math.inf

    @property
    def fits(self) -> bool:
        """Whether the network denoises, beyond what multiples of its input can do, and does so in these words."""
        return self.score < LEARNT and self.slack < SLACK

    def __str__(self) -> str:
        return phrase({name: word for name, word in self.words.items() if word != "none"})

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        words = {name: word if isinstance(word, str) else repr(word) for name, word in self.words.items()}
        found = {"score": self.score, "slack": self.slack, "curve": list(self.curve)}
        return {"words": words, **({"failed": self.failed} if self.failed else found)}


def as_it_is(model: Model, examples: Examples) -> Fit:
    """A model in its own words."""
    noised = examples.on(model.schedule)
    sums = _sums(model, "data", noised, examples)
    return _fit({}, exact(1.0).expand(LEVELS), exact(0.0).expand(LEVELS), noised, sums)


def read(model: Network, paths: Sequence[Schedule], examples: Examples) -> Iterator[Fit]:
    """Every combination of words, the model's own among them; each input is made once, and all predictions read of it.

    Args:     model: whose network, and whose way to take a condition.
              paths: its schedules.
              examples: to read it on.
    """
    spreads = (1.0, float(f"{examples.variance**0.5:.2g}"))
    plain = [face for face in _variants("predicts", sigma_data=spreads) if not isinstance(face, Reversed)]
    faces = [*plain, *map(Reversed, plain)]
    preconditions = _variants("precondition", model.precondition, sigma_data=spreads)
    for path in paths:
        noised, discrete = examples.on(path), isinstance(path, DDPM)
        counts = (path.indices,) if isinstance(path, DDPM) else ()
        times = _variants("time", model.time, scale=SCALES, count=counts)
        times.sort(key=lambda time: ("count" in time.settings()) != discrete)  # of equals the first is named
        for time, precondition in product(times, preconditions):
            words = {"schedule": path, "time": time, "precondition": precondition}
            try:
                network = Network(model.net, **words, predicts=Data(), cond=model.cond)
            except InvalidArgument:  # an index of another count
                continue
            try:
                sums = _sums(network, "output", noised, examples)
            except Exception as error:  # whatever a network raises when it is told what it was not made for
                yield Fit(_specs(words), failed=f"{type(error).__name__}: {error}".partition("\n")[0])
                continue
            for said in dict.fromkeys([*faces, time.face(model.face)]):  # a sign turned twice is no other
                yield from _read(_specs({**words, "predicts": said}), time.face(said), noised, sums)


def is_own(fit: Fit, model: Network) -> bool:
    """Whether these are the words of a model."""
    own = {"schedule": model.schedule, "time": model.time, "precondition": model.precondition}
    said = {name: FAMILIES[name].of(word) for name, word in fit.words.items()}
    face = said.pop("predicts", None)
    return said == own and (face is None or model.time.face(face) == model.face)


def phrase(words: Words) -> str:
    """Words as they are written in a call."""
    return ", ".join(f"{name}={word!r}" for name, word in words.items())


def _sums(model: Model, answer: str, noised: Noised, examples: Examples) -> Tensor:
    """At each level the mean products of answer, state and data, of which every error is made; (levels, 3, 3)."""
    made = []
    for x_t, level in zip(noised.states, noised.levels, strict=True):
        answers = getattr(model(x_t, level, examples.cond), answer)
        known = torch.stack([part.flatten().cpu().double() for part in (answers, x_t, examples.x)])
        require(bool(known.isfinite().all()), f"the answers are not finite at {level}")
        made.append(known @ known.T / known.shape[1])
    return torch.stack(made)


def _read(words: Words, face: Prediction, noised: Noised, sums: Tensor) -> Iterator[Fit]:
    try:
        FAMILIES["precondition"].of(words["precondition"]).check(face)
        on_answer, on_state = (exact(part).expand(LEVELS) for part in coefficients(face, Data(), noised.levels))
    except ObverseError:  # another sigma_data; a prediction that does not determine the data
        return
    yield _fit(words, on_answer, on_state, noised, sums)


def _fit(words: Words, on_answer: Tensor, on_state: Tensor, noised: Noised, sums: Tensor) -> Fit:
    row = torch.stack([on_answer, on_state, -torch.ones_like(on_answer)], 1)
    errors = torch.einsum("li,lij,lj->l", row, sums, row) / noised.least
    inputs, on_data = sums[:, :2, :2], sums[:, :2, 2:]
    best = sums[:, 2, 2] - (on_data.mT @ torch.linalg.pinv(inputs, hermitian=True) @ on_data)[:, 0, 0]  # least squares
    errors, best = (part.clamp(min=ROUNDING) for part in (errors, best / noised.least))
    return Fit(words, tuple(errors.tolist()), _mean(errors / best))


def _mean(values: Tensor) -> float:
    return float(values.sort().values[:KEPT].log().mean().exp())


def _variants(name: str, *more: Family, **numbers: tuple[float, ...]) -> list[Any]:
    """All members of a family, each with the usual numbers in the fields that have them too."""
    made: list[Family] = []
    for member in FAMILIES[name].members.values():
        own = [{field: number} for field in numbers if field in member.settings() for number in numbers[field]]
        with suppress(TypeError):  # a field without default: nothing to try it with
            made += [member(**setting) for setting in [{}, *own]]
    return list(dict.fromkeys([*made, *more]))


def _specs(words: Words) -> Words:
    return {name: _spec(name, words[name]) for name in FAMILIES if name in words}


@lru_cache(maxsize=512)
def _spec(name: str, member: Family) -> Any:
    """A member as text, where that says all."""
    try:
        return member.spec if FAMILIES[name].of(member.spec) == member else member
    except InvalidArgument:
        return member

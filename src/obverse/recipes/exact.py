"""The exact model of a recipe, where the law of its data is known, and what is left of the loss to it: the floor."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from obverse.data import Batch
from obverse.data.generated import law
from obverse.ground.numerics import exact
from obverse.model import Call, Cond, Model
from obverse.objective import Independent, Loss, Objective
from obverse.objective.distances import Square
from obverse.path import Level, Prediction, Schedule
from obverse.recipes import build
from obverse.recipes.recipe import Recipe


@dataclass(frozen=True)
class Exact(Model):
    """The law that data is drawn from as a model: that of the class it is told, or of all where it is told none.

    Gaussians of one diagonal covariance c, told apart by their means m only: with s = alpha² c + sigma² and E m the
    mean of m given x_t,

        E x = E m + alpha c (x_t - alpha E m) / s,        E eps = sigma (x_t - alpha E m) / s

    which is `model.Mixture` for a fraction of the operations: a floor is asked for at every step.

    Args:     means: (Gaussians, d). variance: c; (d,). weights: of sum 1; (Gaussians,).
              members: which Gaussians are of each class, and of all, last: there label -1 finds it, a hidden class;
                bool, (classes + 1, Gaussians).
              schedule, face: where it is asked, and in what it answers.
    Example:
        >>> from obverse.recipes import Recipe
        >>> recipe = Recipe(data="8-gaussians")
        >>> facts = build.Facts.of(build.datasets(recipe)[0])
        >>> Exact.of(recipe, facts)(torch.zeros(1, 2), 0.5).data.round(decimals=2).abs()
        tensor([[0., 0.]])
        >>> Exact.of(Recipe(data="wine"), facts)  # nobody knows what wines are drawn from
    """

    means: Tensor
    variance: Tensor
    weights: Tensor
    members: Tensor
    schedule: Schedule
    face: Prediction

    @classmethod
    def of(cls, recipe: Recipe, facts: build.Facts) -> Self | None:
        """The exact model of a recipe's data in its units, convention and path; None where its law is not known.

        Args:     facts: of the data, whose scaling the network's units come from.
        """
        known = law(recipe.data)
        if known is None:
            return None
        shift, scale = facts.scaling.against(known.means)
        classes = [] if known.labels is None else [known.labels == label for label in range(len(facts.classes))]
        asked = build.model(replace(recipe, recall=0.0), torch.nn.Module())  # for its schedule and face
        return cls(
            means=(known.means - shift) / scale,
            variance=(known.deviation / scale) ** 2,
            weights=known.weights,
            members=torch.stack([*classes, torch.ones(len(known.means), dtype=torch.bool)]),
            schedule=asked.schedule,
            face=asked.face,
        )

    def at(self, level: Level, like: Tensor) -> Call:
        alpha, sigma = (exact(value).cpu().reshape(-1, 1) for value in (level.alpha, level.sigma))
        spread = alpha**2 * self.variance + sigma**2
        a, b = (exact(value).cpu().reshape(-1, 1) for value in self.face.row(level))
        apart = (-0.5 * alpha**2 / spread) @ self.means.T**2 + self.weights.log()

        def call(x_t: Tensor, cond: Cond = None) -> Tensor:
            x = x_t.cpu().double()
            odds = apart + (alpha * x / spread) @ self.means.T
            if cond is not None:
                odds = odds.masked_fill(~self.members[cond.cpu()], -math.inf)
            mean = odds.softmax(1) @ self.means
            away = (x - alpha * mean) / spread
            return (a * (mean + alpha * self.variance * away) + b * (sigma * away)).to(x_t)

        return call


class Floor:
    """The loss of the exact model on the draws of a step, as `train` wants it.

    Args:     recipe, known: whose loss, and the exact model.
              objective: what is minimised; a time law that learns is asked for the levels of its step.
    """

    def __init__(self, recipe: Recipe, known: Exact, objective: Objective) -> None:
        self.recipe, self.known = recipe, known
        self.objective = copy(objective)  # the same draws and times, of which it has been warned already
        self.objective.recall = 0.0  # the exact model has nothing to be reminded of

    @classmethod
    def of(cls, recipe: Recipe, facts: build.Facts, objective: Objective) -> Self | None:
        """The floor of a recipe's loss.

        None where no law is known, where noise is paired with data, which changes what the best estimate is, where
        errors are not squared, and where the weighting is learnt: the exact model has no such part.
        """
        plain = isinstance(objective.coupling, Independent) and isinstance(objective.error, Square)
        if not plain or objective.weighting.beside() is not None:
            return None
        known = Exact.of(recipe, facts)
        return None if known is None else cls(recipe, known, objective)

    def __call__(self, batch: Batch, step: int) -> Loss:
        """The loss of the exact model."""
        cond, seed = self.recipe.told(batch.label), self.recipe.training.seed
        return self.objective(self.known, batch.x, cond, seed=seed, step=step, samples=batch.rows)

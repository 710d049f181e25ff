"""From a recipe to the things it names: data, network, objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from obverse.data import Dataset, Scaling, load
from obverse.ground.errors import InvalidArgument
from obverse.model import Network
from obverse.nets import Architecture, Conditions
from obverse.objective import Objective
from obverse.recipes.recipe import Recipe


@dataclass(frozen=True)
class Facts:
    """What must be known of the data to use a model of it: kept in the run, so that sampling needs no data.

    Args:     name, kind, shape: of the data set and of one sample.
              classes: their names, empty for none.
              share: how often each class occurs.
              columns: of a table.
              scaling: from network units back to the data's own.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    share: tuple[float, ...]
    columns: tuple[str, ...]
    scaling: Scaling

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """The facts of a data set."""
        share: tuple[float, ...] = ()
        if data.labels is not None:
            counts = torch.bincount(data.labels, minlength=len(data.classes)).double()
            share = tuple((counts / counts.sum()).tolist())
        return cls(data.name, data.kind, data.shape, data.classes, share, data.columns, data.scaling)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        lists = {name: list(getattr(self, name)) for name in ("shape", "classes", "share", "columns")}
        return {"name": self.name, "kind": self.kind, **lists, "scaling": self.scaling.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The facts that were written down."""
        lists = {name: tuple(values[name]) for name in ("shape", "classes", "share", "columns")}
        return cls(values["name"], values["kind"], **lists, scaling=Scaling.from_json(values["scaling"]))


def datasets(recipe: Recipe, progress: Callable[[int, int], None] | None = None) -> tuple[Dataset, Dataset | None]:
    """The data to learn from and the data held out, split by the recipe's seed."""
    data = load(
        recipe.data, damaged=recipe.damaged, image_size=recipe.image_size, label=recipe.label, progress=progress
    )
    if recipe.holdout == 0 or len(data) < 10:  # too few to judge by: learn from all
        return data, None
    return data.split(recipe.holdout, recipe.training.seed)


def network(recipe: Recipe, facts: Facts) -> nn.Module:
    """The network, its weights a function of the recipe's seed."""
    spec = recipe.net
    if spec == "auto":
        spec = "unet" if 2 <= len(facts.shape) <= 4 else "mlp"
    conditions = Conditions(classes=len(facts.classes) if recipe.conditional else 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        return Architecture.of(spec).build(facts.shape, conditions)


def model(recipe: Recipe, net: nn.Module) -> Network:
    """The network as a model, in the recipe's convention."""
    return Network(net, recipe.schedule, predicts=recipe.predicts, time=recipe.time, precondition=recipe.precondition)


def objective(recipe: Recipe) -> Objective:
    """What the recipe minimises."""
    return Objective(recipe.times, recipe.weighting, recipe.coupling, recipe.drop)


def labels_for(facts: Facts, count: int, wanted: str | None = None) -> Tensor | None:
    """One label for each sample: all of one class, or the classes in turn; None without classes.

    Args:     wanted: a class's name or number.
    Raises:   InvalidArgument for a class that does not exist.
    """
    if not facts.classes:
        if wanted is not None:
            raise InvalidArgument(f"{facts.name} has no classes; leave class {wanted!r} out.")
        return None
    if wanted is None:
        return torch.arange(count) % len(facts.classes)
    if wanted in facts.classes:
        return torch.full((count,), facts.classes.index(wanted))
    if wanted.isdecimal() and int(wanted) < len(facts.classes):
        return torch.full((count,), int(wanted))
    raise InvalidArgument(f"No class {wanted!r}; {facts.name} has: {', '.join(facts.classes)}.")

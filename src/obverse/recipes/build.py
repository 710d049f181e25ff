"""From a recipe to the things it names: data, network, objective."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from obverse.data import Autoencoder, Dataset, Scaling, Schema, clouds, encoded, load
from obverse.ground.errors import InvalidArgument
from obverse.model import Network, SelfConditioned
from obverse.nets import Architecture, Conditions, Seeing
from obverse.objective import Objective
from obverse.recipes.recipe import Recipe

_DECODED = 16  # latents that are decoded together


@dataclass(frozen=True)
class Facts:
    """What must be known of the data to use a model of it: kept in the run, so that sampling needs no data.

    Args:     name, kind, shape: of the data set and of one sample.
              classes: their names, empty for none.
              share: how often each class occurs.
              columns: of a table.
              scaling: from network units back to the data's own.
              schema: of a mixed table, from its columns of numbers back to its cells.
              rate: of sounds, samples a second; 0 for all else. Runs are the same without it, as older ones are.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    share: tuple[float, ...]
    columns: tuple[str, ...]
    scaling: Scaling
    schema: Schema | None = None
    rate: int = field(default=0, compare=False)

    @property
    def size(self) -> int:
        """Numbers of one sample."""
        return math.prod(self.shape)

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """The facts of a data set."""
        share: tuple[float, ...] = ()
        if data.labels is not None:
            counts = torch.bincount(data.labels, minlength=len(data.classes)).double()
            share = tuple((counts / counts.sum()).tolist())
        scaling, schema = data.scaling, data.schema
        return cls(data.name, data.kind, data.shape, data.classes, share, data.columns, scaling, schema, data.rate)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        lists = {name: list(getattr(self, name)) for name in ("shape", "classes", "share", "columns")}
        schema = {} if self.schema is None else {"schema": self.schema.to_json()}
        sound = {"rate": self.rate} if self.rate else {}
        return {"name": self.name, "kind": self.kind, **lists, "scaling": self.scaling.to_json(), **schema, **sound}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The facts that were written down."""
        lists = {name: tuple(values[name]) for name in ("shape", "classes", "share", "columns")}
        schema = Schema.from_json(values["schema"]) if "schema" in values else None
        scaling, rate = Scaling.from_json(values["scaling"]), int(values.get("rate", 0))
        return cls(values["name"], values["kind"], **lists, scaling=scaling, schema=schema, rate=rate)

    def settled(self, x: Tensor) -> Tensor:
        """Samples as what they come back as, in network units: those of a mixed table the cells nearest to them.

        Example:
            >>> from obverse.data import from_columns
            >>> facts = Facts.of(from_columns({"sex": ["f", "m"], "age": [3.0, None]}))
            >>> facts.settled(torch.tensor([[0.2, -0.3, 0.7, 0.4]]))
            tensor([[ 1., -1.,  0.,  1.]])
        """
        if self.schema is None:
            return x
        cells = self.schema.decode(self.scaling.undo(x).numpy())
        return self.scaling.apply(torch.from_numpy(self.schema.encode(cells, self.scaling.shift)))

    def table(self, x: Tensor, labels: Tensor | None = None, label: str | None = None) -> list[list[str]]:
        """Samples of a table as lines of cells, the first with the names of the columns; numbers are exact.

        Args:     x: network units.
                  labels, label: classes, and what their column is called, the last one.
        """
        raw = self.scaling.undo(x).numpy()
        cells: dict[str, list[Any]]
        cells = dict(zip(self.columns, raw.T.tolist(), strict=True)) if self.schema is None else self.schema.decode(raw)
        if labels is not None:
            cells[label or "class"] = [self.classes[number] for number in labels.tolist()]
        return [list(cells), *(list(map(_written, line)) for line in zip(*cells.values(), strict=True))]


def _written(cell: Any) -> str:
    if isinstance(cell, float):
        return repr(cell).removesuffix(".0")
    return "" if cell is None else str(cell)


def datasets(recipe: Recipe, progress: Callable[[int, int], None] | None = None) -> tuple[Dataset, Dataset | None]:
    """The data to learn from and the data held out, split by the recipe's seed."""
    words = ("damaged", "image_size", "label", "columns", "length", "points")
    data = load(recipe.data, **{word: getattr(recipe, word) for word in words}, progress=progress)
    if recipe.encoder is not None:
        data = encoded(data, Autoencoder.open(recipe.encoder), _latents(recipe), progress=progress)
    if recipe.holdout == 0 or len(data) < 10:  # too few to judge by: learn from all
        return data, None
    return data.split(recipe.holdout, recipe.training.seed)


def _latents(recipe: Recipe) -> Path:
    """Where the latents of a recipe's data are kept, for all runs."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "obverse" / "latents"
    places = [str(Path(place).resolve()) for place in (recipe.data, recipe.encoder or "")]
    words = [*places, recipe.damaged, recipe.image_size, recipe.label, recipe.length]
    return root / f"{hashlib.sha256(repr(words).encode()).hexdigest()[:24]}.npy"


def shown(recipe: Recipe, facts: Facts, x: Tensor) -> tuple[Facts, Tensor]:
    """Samples as their owner knows them, in network units: latents decoded to images, everything else as it is.

    Returns:  the facts and the samples.
    """
    if recipe.encoder is None:
        return facts, x
    decoder, raw = Autoencoder.open(recipe.encoder), facts.scaling.undo(x).float()
    images = torch.cat([decoder.decode(raw[start : start + _DECODED]) for start in range(0, len(raw), _DECODED)])
    return replace(facts, kind="images", shape=tuple(images.shape[1:]), scaling=Scaling.of_range(0, 255)), images


def unordered(recipe: Recipe, facts: Facts) -> bool:
    """Whether samples are clouds of points in no order, (2 or 3, points): named ones, or files read as such."""
    cloud = recipe.points is not None or facts.kind == "clouds"
    return cloud and len(facts.shape) == 2 and facts.shape[0] in (2, 3)


def pictured(recipe: Recipe, facts: Facts, frames: Sequence[Tensor]) -> list[Tensor]:
    """What a picture of samples, or a film of them, is made of: images of point clouds, all else as it is.

    Args:     frames: network units, as `shown`; each (N *data).
    """
    if not unordered(recipe, facts):
        return list(frames)
    return clouds([facts.scaling.undo(x) for x in frames])


def network(recipe: Recipe, facts: Facts) -> nn.Module:
    """The network, its weights a function of the recipe's seed, with what its objective learns beside it."""
    spec = recipe.net
    if spec == "auto":
        spec = "unet" if 2 <= len(facts.shape) <= 4 else "mlp"
    make = partial(Seeing.build, spec) if recipe.recall else Architecture.of(spec).build
    conditions = Conditions(classes=len(recipe.told(facts.classes) or ()))
    return objective(recipe).prepare(make(facts.shape, conditions, seed=recipe.training.seed))


def model(recipe: Recipe, net: nn.Module) -> Network | SelfConditioned:
    """The network as a model, in the recipe's convention."""
    made = Network(net, recipe.schedule, predicts=recipe.predicts, time=recipe.time, precondition=recipe.precondition)
    return SelfConditioned(made) if recipe.recall else made


def objective(recipe: Recipe) -> Objective:
    """What the recipe minimises."""
    return Objective(recipe.times, recipe.weighting, recipe.coupling, recipe.drop, recipe.error, recipe.recall)


def labels_for(recipe: Recipe, facts: Facts, count: int, wanted: str | None = None) -> Tensor | None:
    """One label for each sample: all of one class, or the classes in turn; None for a model that is told none.

    Args:     wanted: a class's name or number.
    Raises:   InvalidArgument for a class that does not exist.
    """
    if not recipe.told(facts.classes):
        if wanted is not None:
            raise InvalidArgument(f"This model of {facts.name} is told no class; leave class {wanted!r} out.")
        return None
    if wanted is None:
        return torch.arange(count) % len(facts.classes)
    if wanted in facts.classes:
        return torch.full((count,), facts.classes.index(wanted))
    if wanted.isdecimal() and int(wanted) < len(facts.classes):
        return torch.full((count,), int(wanted))
    raise InvalidArgument(f"No class {wanted!r}; {facts.name} has: {', '.join(facts.classes)}.")

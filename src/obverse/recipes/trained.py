"""A run folder as a model: everything that using it takes, and no data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import CheckpointError, InvalidArgument, SingularConversion
from obverse.guidance import Guided
from obverse.model import Model, Network
from obverse.path import V, coefficients
from obverse.recipes import build
from obverse.recipes.recipe import Recipe
from obverse.recipes.sampling import Sampling
from obverse.sampler import Angle, Grid, Solver, Step, Tableau, sample
from obverse.train import Run


class Trained(NamedTuple):
    """A trained model out of its run folder: averaged weights, recipe, facts of the data."""

    run: Run
    recipe: Recipe
    facts: build.Facts
    model: Network
    step: int

    @classmethod
    def open(cls, folder: str | Path, device: str | None = None) -> Trained:
        """The newest valid checkpoint of a run.

        Args:     device: where the network goes; default a GPU where there is one.

        Raises:   DataError when the folder is no run; CheckpointError when it holds no valid checkpoint.
        """
        run = Run.open(Path(folder))
        newest = run.newest()
        if newest is None:
            raise CheckpointError(
                f"{folder} holds no valid checkpoint yet (obverse train ... --out {folder} --resume)."
            )
        config: Any = run.config
        recipe = Recipe.from_json(config["recipe"], f"{folder}/config.json")
        facts = build.Facts.from_json(config["data"])
        net = build.network(recipe, facts)
        net.load_state_dict(newest.tensors["ema"])
        net.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(run, recipe, facts, build.model(recipe, net.eval().requires_grad_(False)), newest.step)

    def on(self, sampling: Sampling) -> Model:
        """The model as it will be sampled: guided, and on the schedule asked for."""
        model: Model = self.model
        if sampling.guidance != 1:
            if not (self.facts.classes and self.recipe.conditional):
                raise InvalidArgument("guidance needs a class-conditional model; this one knows no classes.")
            model = Guided(model, sampling.guidance)
        return model if sampling.schedule is None else model.on(sampling.schedule)

    def tableau(self, sampling: Sampling) -> Tableau:
        """The table that would be run."""
        return Solver.of(sampling.solver).tableau(self.on(sampling).schedule, self.grid(sampling))

    def calls(self, sampling: Sampling) -> int:
        """Network calls for each sample, guidance's second one counted."""
        return self.tableau(sampling).calls * (1 if sampling.guidance == 1 else 2)

    def grid(self, sampling: Sampling) -> Grid:
        """The grid that would be visited."""
        if sampling.grid != "auto":
            return Grid.of(sampling.grid).resized(sampling.steps)
        model, grid = self.on(sampling), Angle(steps=sampling.steps)
        try:
            coefficients(model.face, V(), grid.levels(model.schedule)[0])
        except SingularConversion:  # a noise prediction where alpha = 0
            return Angle(steps=sampling.steps, start=0.999)
        return grid

    def sample(
        self,
        count: int,
        sampling: Sampling,
        *,
        labels: Tensor | None = None,
        samples: Sequence[int] | None = None,
        watch: Callable[[Step], object] | None = None,
    ) -> Tensor:
        """Samples in network units, on the CPU; (count *data). `facts.scaling.undo` brings them to the data's own.

        Args:     labels: (count,); default the classes in turn.
        """
        labels = build.labels_for(self.facts, count) if labels is None else labels
        return sample(
            self.on(sampling),
            (count, *self.facts.shape),
            solver=sampling.solver,
            grid=self.grid(sampling),
            eta=sampling.eta,
            cond=labels if self.recipe.conditional else None,
            seed=sampling.seed,
            samples=samples,
            microbatch=sampling.microbatch or None,
            watch=watch,
        ).cpu()

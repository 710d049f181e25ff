"""A run folder as a model: everything that using it takes, and no data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from obverse.data.damage import decoding, printable
from obverse.data.sources import NAMES
from obverse.ground.errors import CheckpointError, InvalidArgument
from obverse.ground.numerics import fastest
from obverse.guidance import Guided
from obverse.model import Clamped, Dynamic, Model, Network, SelfConditioned
from obverse.recipes import build
from obverse.recipes.drawing import Drawing
from obverse.recipes.recipe import Recipe
from obverse.recipes.sampling import Sampling
from obverse.sampler import Adaptive, Grid, Ledger, Round, Sampled, Scales, Solver, Step, Tableau
from obverse.sampler.asked import with_eta
from obverse.sampler.sizes import told
from obverse.sampler.truth import beginning
from obverse.train import Checkpoint, Run, checkpoint
from obverse.train.session import read
from obverse.train.snapshots import weights


class Trained(NamedTuple):
    """A trained model out of its run folder: averaged weights, recipe, facts of the data."""

    run: Run
    recipe: Recipe
    facts: build.Facts
    model: Network | SelfConditioned
    step: int

    @classmethod
    def open(
        cls,
        folder: str | Path,
        device: torch.device | str | None = None,
        ema: str | None = None,
        checkpoint: str = "newest",
    ) -> Trained:
        """A checkpoint of a run.

        Args:     device: where the network goes; default a GPU where there is one.
                  ema: which weights: a half-life that was averaged over, "sigma=0.08" for an average made afterwards,
                      "none" for those of the last step; default the first average of the run.
                  checkpoint: "newest" that is valid, "best" by its loss on held-out data, or a step such as "5000".

        Raises:   DataError when the folder is no run; CheckpointError when it holds no such checkpoint;
                  InvalidArgument for weights that it does not hold.
        """
        run = Run.open(Path(folder))
        saved = _saved_at(run, checkpoint)
        if checkpoint != "newest" and (ema or "").startswith("sigma="):
            raise InvalidArgument(
                f"ema {ema!r} is made out of all snapshots of a run, got checkpoint {checkpoint!r} too; give one."
            )
        config: Any = run.config
        with decoding(printable(run.folder)):  # a folder may come from anybody
            recipe = from_here(Recipe.of_run(run), run)
            facts = build.Facts.from_json(config["data"])
            net = build.network(recipe, facts)
            net.load_state_dict(weights(run, saved, ema))
        net.to(device or fastest())
        return cls(run, recipe, facts, build.model(recipe, net.eval().requires_grad_(False)), saved.step)

    def on(self, sampling: Sampling) -> Model:
        """The model as it will be sampled: guided, on the schedule asked for, its data estimate kept in bounds.

        Raises:   InvalidArgument for guidance without classes, or where none was ever hidden in training, and for a
                  threshold on data of no known range.
        """
        model = self._unbounded(sampling)
        if sampling.threshold == "none":
            return model
        if sampling.threshold not in _BOUNDS:
            raise InvalidArgument(f"threshold is none, {' or '.join(_BOUNDS)}, got {sampling.threshold!r}.")
        if self.facts.kind != "images":
            raise InvalidArgument(
                f"threshold {sampling.threshold!r} needs data of a known range, images; {self.facts.name} is "
                f"{self.facts.kind}, scaled to mean 0 and deviation 1 (threshold none)."
            )
        return _BOUNDS[sampling.threshold](model)

    def tableau(self, sampling: Sampling) -> Tableau:
        """The table that would be run.

        Raises:   InvalidArgument when a table from a file is asked for, and there is none or a solver is named too; and
                  for an adaptive solver, which has none.
        """
        if sampling.tableau is not None:
            return _saved(sampling)
        if self.adapts(sampling) is not None:
            raise InvalidArgument(
                f"{sampling.solver} has no table: it chooses its levels on the way. This needs a solver with a grid, "
                f"such as dpmpp-2m."
            )
        solver = told(with_eta(Solver.of(sampling.solver), sampling.eta), self.facts.size)
        return solver.tableau(self.on(sampling).schedule, self.grid(sampling))

    def adapts(self, sampling: Sampling) -> Adaptive | None:
        """The adaptive solver asked for; None for one that has a table.

        Raises:   InvalidArgument when steps or a grid are asked of a solver that chooses them.
        """
        if sampling.tableau is not None or sampling.solver.partition(":")[0] not in Adaptive.members:
            return None
        method, said = Adaptive.of(sampling.solver), _said(sampling, "steps", "grid")
        if said:
            raise InvalidArgument(
                f"{sampling.solver} chooses its own levels: leave {' and '.join(said)} out, and say how exact it is to "
                f"be, such as adaptive:rtol=1e-3 (now {method.rtol:g})."
            )
        return with_eta(method, sampling.eta)

    def calls(self, sampling: Sampling) -> int:
        """Network calls for each sample, guidance's second one counted; of an adaptive solver the most it may take."""
        method = self.adapts(sampling)
        calls = self.tableau(sampling).calls if method is None else method.max_calls
        return calls * self.on(sampling).passes

    def grid(self, sampling: Sampling) -> Grid:
        """The grid that would be visited.

        Raises:   InvalidArgument for a grid that brings another number of steps than is asked for.
        """
        if sampling.grid != "auto":
            return told(Grid.sized(sampling.grid, sampling.steps), self.facts.size)
        return Scales(steps=sampling.steps, start=self.begin(sampling), size=self.facts.size)

    def begin(self, sampling: Sampling) -> float:
        """The time that sampling begins at unless a grid says otherwise: 1, or just below where 1 cannot be."""
        return beginning(self._unbounded(sampling))

    def sampled(
        self,
        count: int,
        sampling: Sampling,
        *,
        labels: Tensor | None = None,
        samples: Sequence[int] | None = None,
        watch: Callable[[Step | Round], object] | None = None,
    ) -> Sampled:
        """Samples, and what they took; `facts.scaling.undo` brings x, in network units, to the data's own.

        Args:     labels: (count,); default the classes in turn.
                  watch: called with every Step, of an adaptive solver every Round; both know what is `behind`.
        Returns:  x on the CPU, (count *data); the ledger, of an adaptive solver as `Ledger.of`.
        """
        drawing, method = self.drawing(count, sampling, labels=labels, samples=samples), self.adapts(sampling)
        if method is None:
            return drawing.by_table(self.tableau(sampling), watch)
        run = drawing.adaptively(method, self.begin(sampling), watch)
        return Sampled(run.x, Ledger.of(run, drawing.model.passes), None)

    def drawing(
        self, count: int, sampling: Sampling, *, labels: Tensor | None = None, samples: Sequence[int] | None = None
    ) -> Drawing:
        """What `sampled` draws, for other ways to draw it; arguments as there."""
        labels = build.labels_for(self.recipe, self.facts, count) if labels is None else labels
        return Drawing(
            self.on(sampling),
            (count, *self.facts.shape),
            self.recipe.told(labels),
            sampling.seed,
            samples,
            sampling.microbatch or None,
        )

    def _unbounded(self, sampling: Sampling) -> Model:
        model: Model = self.model
        if sampling.guidance != 1:
            if not self.recipe.told(self.facts.classes):
                raise InvalidArgument("guidance needs a class-conditional model; this one knows no classes.")
            if not self.recipe.drop:
                raise InvalidArgument(
                    f"guidance {sampling.guidance:g} steers away from the model without classes, which this one, "
                    "trained with drop=0, has never been (train with drop=0.1, or guidance=1)."
                )
            model = Guided(model, sampling.guidance)
        return model if sampling.schedule is None else model.on(sampling.schedule)


_BOUNDS = {"static": Clamped, "dynamic": Dynamic}  # in network units images lie in [-1, 1], the bounds of both


def from_here(recipe: Recipe, run: Run) -> Recipe:
    """The recipe of a run, its data where it was if that is a path which was given from another folder."""
    source = (read(run.folder) or [{}])[-1].get("source", recipe.data)
    near = recipe.data in NAMES or Path(recipe.data).exists() or source == recipe.data
    return recipe if near else replace(recipe, data=str(source))


def _saved_at(run: Run, which: str) -> Checkpoint:
    """The checkpoint asked for."""
    if which == "newest":
        if (found := run.newest()) is None:
            raise CheckpointError(
                f"{run.folder} holds no valid checkpoint yet (obverse train ... --out {run.folder} --resume)."
            )
        return found
    if which == "best":
        if (path := checkpoint.best(run.checkpoints)) is None:
            raise CheckpointError(
                f"No checkpoint of {run.folder} has been judged (train with --keep-best 1, or take the newest)."
            )
        return checkpoint.load(path)
    if not which.isdecimal():
        raise InvalidArgument(f"checkpoint is newest, best or a step, got {which!r}.")
    path = run.checkpoints / f"step-{int(which):08d}"
    if not path.is_dir():
        kept = ", ".join(str(int(each.name.split("-")[1])) for each in sorted(run.checkpoints.glob("step-*")))
        raise CheckpointError(f"{run.folder} has no checkpoint of step {int(which)}; kept: {kept or 'none'}.")
    return checkpoint.load(path)


def _saved(sampling: Sampling) -> Tableau:
    """The table of a file, which brings its own method and levels."""
    assert sampling.tableau is not None
    file, said = Path(sampling.tableau), _said(sampling, "solver", "steps", "grid", "eta")
    if said:
        raise InvalidArgument(f"A tableau is a solver on its grid already; leave {', '.join(said)} out.")
    if not file.is_file():
        raise InvalidArgument(f"No tableau at {file} (obverse tune RUN --steps 8 writes RUN/tableaux/8.json).")
    return Tableau.load(file)


def _said(sampling: Sampling, *names: str) -> list[str]:
    """Which of the options are not at their defaults."""
    plain = Sampling()
    return [name for name in names if getattr(sampling, name) != getattr(plain, name)]

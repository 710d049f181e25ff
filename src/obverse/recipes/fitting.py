"""A recipe, carried out: data from disk, batches to the loss, the run written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from torch import nn

from obverse import __version__
from obverse.data import Batch, Dataset, batches
from obverse.objective import Loss
from obverse.recipes import build
from obverse.recipes.recipe import Recipe
from obverse.train import Progress, Run, train


class Fitting(NamedTuple):
    """A run about to go: iterate `steps`; the rest is for those who watch; `main` is the process that writes."""

    run: Run
    net: nn.Module
    facts: build.Facts
    data: Dataset
    first: int
    main: bool
    steps: Iterator[Progress]


def fit(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Fitting:
    """Train a recipe in a run folder.

    Args:     recipe: what and how.
              folder: a new or empty one, or with `resume` the run to go on with, to the last bit.
              progress: of reading the data.
    Raises:   what data, names and folders can be wrong about; nothing is trained then.

    Example:
        >>> import tempfile
        >>> from obverse.train import Training
        >>> with tempfile.TemporaryDirectory() as place:
        ...     recipe = Recipe(data="digits", net="unet:width=8", training=Training(steps=2, batch=8))
        ...     [step.step for step in fit(recipe, f"{place}/run").steps]
        [1, 2]
    """
    from accelerate import PartialState

    data, _ = build.datasets(recipe, progress)
    facts = build.Facts.of(data)
    net, objective, settings = build.network(recipe, facts), build.objective(recipe), recipe.training
    build.model(recipe, net)  # a name that does not exist is found before anything is written
    here = PartialState()
    config = {"obverse": __version__, "recipe": recipe.to_json(), "data": facts.to_json()}
    with here.main_process_first():
        run = Run.create(Path(folder), config, resume=resume or not here.is_main_process)
    start = run.newest() if resume else None

    def loss(net: nn.Module, batch: Batch, step: int) -> Loss:
        cond = batch.label if recipe.conditional else None
        return objective(build.model(recipe, net), batch.x, cond, seed=settings.seed, step=step, samples=batch.rows)

    def stream(step: int) -> Iterator[Batch]:
        part = {"rank": here.process_index, "processes": here.num_processes}
        return batches(data, settings.batch, seed=settings.seed, start=step, **part)

    steps = train(net, loss, stream, settings, run=run, start=start)
    return Fitting(run, net, facts, data, start.step if start else 0, here.is_main_process, steps)

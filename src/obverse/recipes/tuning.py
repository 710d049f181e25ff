"""Samplers fitted to a run, and advice for it: the noise, conditions and files that `sampler` knows nothing of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from obverse.ground import noise
from obverse.recipes import build
from obverse.recipes.sampling import Sampling
from obverse.recipes.trained import Trained
from obverse.sampler.advice import Advice, Contender, Watch, advise
from obverse.sampler.tableau import Tableau
from obverse.sampler.truth import Truth
from obverse.sampler.tuned import Effort, Tuned, tune

FOLDER = "tableaux"  # of a run


def tune_run(
    trained: Trained,
    steps: int,
    sampling: Sampling | None = None,
    *,
    noises: int = 192,
    effort: Effort | None = None,
    watch: Watch | None = None,
) -> Tuned:
    """Fit a table of so many calls to a trained model, guided and on the schedule as it will be sampled.

    Args:     trained: the model.
              steps: calls of the network for a sample (guidance makes two of each).
              sampling: guidance, schedule and seed are read; the seed is of the noise.
              noises: a third of them is held out.
              effort: how long.
              watch: see `tune`.
    """
    sampling = sampling or Sampling()
    start, cond = noise_for(trained, noises, sampling.seed, "tune")
    return tune(trained.on(sampling), start, steps, cond=cond, effort=effort, watch=watch)


def advise_run(
    trained: Trained,
    calls: Sequence[int],
    sampling: Sampling | None = None,
    *,
    noises: int = 64,
    watch: Watch | None = None,
) -> tuple[Advice, dict[str, Contender]]:
    """Measure all members on a trained model, and the tables that were fitted to it.

    Returns:  the advice, and the fitted tables by their file.
    """
    sampling = sampling or Sampling()
    start, cond = noise_for(trained, noises, sampling.seed, "advise")
    advice = advise(trained.on(sampling), start, calls, cond=cond, watch=watch)
    return advice, _fitted(trained, sampling, advice.truth)


def noise_for(trained: Trained, count: int, seed: int, purpose: str) -> tuple[Tensor, Tensor | None]:
    """Noise of the data's shape, and the classes in turn; never the noise that `sample` starts from."""
    start = noise.normal((count, *trained.facts.shape), seed=seed, purpose=purpose, device=trained.model.device)
    labels = build.labels_for(trained.recipe, trained.facts, count)
    return start, labels if labels is None else labels[noise.permutation(count, seed=seed, purpose="labels")]


def place(trained: Trained, steps: int, sampling: Sampling) -> Path:
    """Where a fitted table lies: RUN/tableaux/8.json, with guidance or a schedule named if there is one."""
    guided = "" if sampling.guidance == 1 else f"-guidance-{sampling.guidance:g}"
    there = "" if sampling.schedule is None else "-" + "".join(c if c.isalnum() else "-" for c in sampling.schedule)
    return trained.run.folder / FOLDER / f"{steps}{guided}{there}.json"


def save(tuned: Tuned, sampling: Sampling, path: Path) -> None:
    """Write a fitted table with what it was fitted for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tuned.save(path, {"guidance": sampling.guidance, "schedule": sampling.schedule, "seed": sampling.seed})


def about(path: str | Path) -> dict[str, Any]:
    """What was written beside a table: empty for one that was not fitted."""
    try:
        found = json.loads(Path(path).read_bytes()).get("tuned", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _fitted(trained: Trained, sampling: Sampling, known: Truth) -> dict[str, Contender]:
    """The run's own tables for this guidance and schedule, measured."""
    found = {}
    for file in sorted((trained.run.folder / FOLDER).glob("*.json")):
        was = about(file)
        if (was.get("guidance"), was.get("schedule")) == (sampling.guidance, sampling.schedule):
            table = Tableau.load(file)
            found[str(file)] = Contender("tuned", file.stem, table.calls, table, lambda _: None, known.errors(table))
    return found

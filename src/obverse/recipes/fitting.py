"""A recipe, carried out: data from disk, batches to the loss, the run written down."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from obverse import __version__
from obverse.data import Dataset, evenly
from obverse.data.sources import NAMES
from obverse.ground.errors import InvalidArgument, ObverseError, require
from obverse.recipes import build
from obverse.recipes.exact import Floor
from obverse.recipes.learning import Learning
from obverse.recipes.recipe import Recipe
from obverse.train import Progress, Run, shards, train
from obverse.train.lock import alone
from obverse.train.processes import here
from obverse.train.refusals import check_training
from obverse.train.session import read, record, session, warning

if TYPE_CHECKING:
    from accelerate import PartialState

_JUDGED, _PART, _PRINTED = 2048, 256, 4096  # held-out samples behind a score; at once; samples behind a fingerprint


class Fitting(NamedTuple):
    """A run about to go: iterate `steps`; the rest is for those who watch.

    `main` is the process that writes; `note` says what differs from where the run was before, "" for nothing; `floored`
    is whether the loss of the exact model is known, and logged beside the loss.
    """

    run: Run
    net: nn.Module
    facts: build.Facts
    data: Dataset
    first: int
    main: bool
    steps: Generator[Progress, None, None]
    note: str = ""
    floored: bool = False


def fit(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    keep_best: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fitting:
    """Train a recipe in a run folder, which nobody else can train in meanwhile.

    Args:     recipe: what and how.
              folder: a new or empty one, or with `resume` the run to go on with, to the last bit.
              keep_best: how many checkpoints with the lowest held-out loss of the averaged weights are kept besides;
                  None goes on as the run was begun, a new one with 0.
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
    require(not keep_best or keep_best > 0, f"keep_best is a whole number >= 0, got {keep_best} (1 keeps the best).")
    data, held = build.datasets(recipe, progress)
    facts = build.Facts.of(data)
    if keep_best and held is None:
        raise InvalidArgument(
            f"keep_best judges by held-out data, and none is held out (holdout={recipe.holdout}, {len(data)} samples): "
            "try holdout=0.1, or keep_best=0."
        )
    learning = prepared(recipe, facts, data)
    net, floor, group = learning.net, Floor.of(recipe, facts, learning.objective), here()
    with ExitStack() as stack:
        run = _claimed(Path(folder), recipe, facts, group, resume, stack)
        start, before = run.newest() if resume else None, read(run.folder)
        best = (before[-1].get("keep_best", 0) if before else 0) if keep_best is None else keep_best
        if best and held is not None:
            run = replace(run, best=best, judge=_judge(recipe, facts, held))
        first, note = start.step if start else 0, ""
        if group.is_main_process:
            now = session(group.num_processes, group.device.type)
            pairs = learning.paired and not learning.objective.coupling.gathers
            note = warning(before[-1], now, pairs=pairs) if start is not None and before else ""
            known = {"data": fingerprint(data), "source": _source(recipe.data), "keep_best": best}
            record(run.folder, first, {**now, **known})
        locked = stack.pop_all()

    def steps() -> Generator[Progress, None, None]:
        with locked:
            yield from train(net, learning, learning.stream, recipe.training, run=run, start=start, floor=floor)

    return Fitting(run, net, facts, data, first, group.is_main_process, steps(), note, floor is not None)


def prepared(recipe: Recipe, facts: build.Facts, data: Dataset) -> Learning:
    """This process's batches and loss, its net untrained; what cannot be trained is refused, and nothing is written."""
    net, objective, settings = build.network(recipe, facts), build.objective(recipe), recipe.training
    objective.check(build.model(recipe, net))
    shards.foreseen(settings, beside=objective.weighting.beside() is not None)
    check_training(net, settings)
    group = here()
    learning = Learning(recipe, net, data, objective, rank=group.process_index, processes=group.num_processes)
    learning.check()
    each = settings.batch // group.num_processes
    if each % settings.accumulate:
        raise InvalidArgument(f"accumulate divides the batch of a process, got {settings.accumulate} for {each} rows.")
    return learning


def _claimed(
    folder: Path, recipe: Recipe, facts: build.Facts, group: PartialState, resume: bool, stack: ExitStack
) -> Run:
    """The run folder of all processes, made or opened and locked by the first of them until the stack is closed."""
    config: dict[str, Any] = {"obverse": __version__, "recipe": recipe.to_json(), "data": facts.to_json()}
    with suppress(ObverseError, KeyError):  # no run of a recipe: `create` says so, or begins one
        run = Run.open(folder)
        if resume and (recipe, facts) == (Recipe.of_run(run), build.Facts.from_json(run.config["data"])):
            config = dict(run.config)  # in the words of the version that began it
    with group.main_process_first():
        run = Run.create(folder, config, resume=resume or not group.is_main_process)
        if group.is_main_process:
            stack.enter_context(alone(run.folder))
            if Run.open(run.folder).config != run.config:
                raise InvalidArgument(f"{folder} was begun by another process just now (choose another folder).")
    return run


def fingerprint(data: Dataset) -> str:
    """A hash of how many samples there are and of 4,096 of them, evenly spread: what a run was trained on.

    Example:
        >>> import torch
        >>> one, two = (Dataset("points", torch.full((9, 1), value)) for value in (1.0, 2.0))
        >>> fingerprint(one) == fingerprint(one), fingerprint(one) == fingerprint(two)
        (True, False)
    """
    index = evenly(len(data), _PRINTED)
    batch, found = data.rows(index), hashlib.sha256(str((len(data), data.shape)).encode())
    for values in (batch.x, batch.label):
        if values is not None:
            found.update(values.contiguous().numpy().tobytes())
    return found.hexdigest()


def _source(data: str) -> str:
    """Where the data was, whatever folder one stands in; its name if it is one."""
    return data if data in NAMES or not Path(data).exists() else str(Path(data).resolve())


def _judge(recipe: Recipe, facts: build.Facts, held: Dataset) -> Callable[[Mapping[str, Mapping[str, Tensor]]], float]:
    """The held-out loss of averaged weights: the same samples, times and noise for every checkpoint."""
    objective = build.objective(replace(recipe, drop=0.0, coupling="independent"))
    rows = evenly(len(held), _JUDGED)

    @torch.no_grad()
    def judge(tensors: Mapping[str, Mapping[str, Tensor]]) -> float:
        net = build.network(recipe, facts)
        net.load_state_dict(tensors["ema"])
        device = here().device  # weights that were in shards have been gathered on the CPU
        model, total = build.model(recipe, net.to(device).eval()), 0.0
        for part in torch.split(rows, _PART):
            batch = held.rows(part)
            told = recipe.told(batch.label)
            cond = None if told is None else told.to(device)
            loss = objective(model, batch.x.to(device), cond, seed=recipe.training.seed, step=0, samples=part)
            total += float(loss.per_sample.sum())
        return total / len(rows)

    return judge

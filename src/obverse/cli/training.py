"""A training as the command line runs it: described by one record, shown with a bar."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import tyro

from obverse.cli.console import Talk
from obverse.cli.pictures import Pictures
from obverse.ground.errors import InvalidArgument
from obverse.recipes import Recipe

if TYPE_CHECKING:
    from obverse.recipes import Fitting
    from obverse.train.tracking import Tracking


@dataclass(frozen=True, kw_only=True)
class Train(Talk, Recipe):
    """Train a model on DATA and keep everything about it in one folder.

    DATA is a name (digits, fashion-mnist) or a path: a folder or archive of images, sounds or arrays (one subfolder a
    class, if you like), .npy, .npz, .safetensors, IDX, .csv, .parquet, .arrow. Options are the recipe; start from a
    named one with --recipe or from a file with --config, and change what you like.

    Args:
        data: a name or a path.
        out: the run folder; default runs/NAME, numbered.
        recipe: start from this named recipe.
        config: start from this .toml, .yaml or .json file.
        resume: go on with the run in --out, to the last bit on the same machine with the same threads and processes.
        until: stop after this step, having saved; --resume goes on.
        keep_best: keep so many checkpoints with the lowest held-out loss, beside the newest; default what the run that
            goes on did, else none.
        processes: train in so many processes on this machine, a GPU each or cores shared; --batch is over all of them.
            The same as `torchrun --nproc-per-node 2 -m obverse train` and, on GPUs, `accelerate launch`.
        shard: share weights, gradients, averages and the optimiser's state out between the processes instead of keeping
            all in each (FSDP 2): for nets that do not fit. The run can go on with or without. The same as `accelerate
            launch --use_fsdp --fsdp_version 2`.
        threads: CPU threads of a process; 0 leaves the choice to torch, or shares the cores between processes.
        track: tell trackers too what metrics.jsonl says, and show them the sample grids: tensorboard (RUN/tensorboard;
            pip install 'obverse[tensorboard]'), wandb, mlflow or another that Accelerate knows; several with +.
        dry_run: say what would be done, and stop.
    """

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = "digits"
    out: Path | None = None
    recipe: str | None = None
    config: Path | None = None
    resume: bool = False
    until: int | None = None
    keep_best: int | None = None
    processes: int = 1
    shard: bool = False
    threads: int = 0
    track: str | None = None
    dry_run: bool = False

    @classmethod
    def of(cls, recipe: Recipe, talk: Talk | None = None) -> Self:
        """A recipe with everything else at its default."""
        talk = talk or Talk()
        return cls(**{f.name: getattr(recipe, f.name) for f in fields(Recipe)}, json=talk.json, quiet=talk.quiet)

    @property
    def described(self) -> Recipe:
        """The recipe alone."""
        return Recipe(**{f.name: getattr(self, f.name) for f in fields(Recipe)})

    @property
    def folder(self) -> Path:
        """Where the run goes."""
        return self.out or free(Path("runs") / (Path(self.data).stem or "run"))


def run(options: Train) -> int:
    """Train a recipe into a folder, with a bar."""
    from obverse.recipes import fit
    from obverse.train.processes import threaded
    from obverse.train.tracking import Tracking, trackers

    recipe, out, until = options.described, options.folder, options.until
    trackers(options.track)  # missed now rather than after the data has been read
    if until is not None and until < 1:
        raise InvalidArgument(f"until is a step >= 1, got {until} (leave it out to train to the end).")
    threaded(options.threads)
    if options.dry_run:
        return _describe(options, recipe, out)
    talk: Talk = options if main_process() else Talk(quiet=True)
    with talk.bar("reading", 1) as reading:
        fitting = fit(
            recipe,
            out,
            resume=options.resume,
            keep_best=options.keep_best,
            progress=lambda done, total: _reading(reading, done, total),
        )
    talk.say(f"{fitting.data.summary()}\n{_net(fitting)}\nrun folder {out}")
    if fitting.floored:
        talk.say("exact floor of the loss: known, and logged for each log-SNR beside it")
    if fitting.note:
        print(f"obverse train: {fitting.note}", file=sys.stderr)
    if until is not None and until <= fitting.first:
        raise InvalidArgument(f"until is a step beyond {fitting.first}, which {out} has got to; got {until}.")
    tracker = options.track if fitting.main else None
    with Tracking(fitting.run, tracker, first=fitting.first, shows=recipe.to_json()) as tracking:
        last, loss = _followed(fitting, recipe, talk, tracking, until)
    if fitting.main:
        talk.result(f"trained {out}", {"run": str(out), "steps": last, "loss": loss})
    return 0


def _followed(
    fitting: Fitting, recipe: Recipe, talk: Talk, tracking: Tracking, until: int | None
) -> tuple[int, float | None]:
    """Take the steps, with a bar, trackers and pictures; the last one and the trend of the loss, if any was left."""
    first = last = fitting.first
    loss = pace = 0.0
    pictures = Pictures(talk, recipe, fitting, tracking.show)
    with talk.bar("training", recipe.training.steps) as bar:
        if first:
            pictures.missing(first)
        bar.done = bar.first = first
        for step in fitting.steps:
            last = step.step
            share = max(0.02, 1 / (last - first))  # a trend to look at, nothing more
            pace += share * (step.seconds - pace)
            if math.isfinite(step.loss):  # else fp16 overflowed, and the step was not taken
                loss += share * (step.loss - loss)
            numbers = {"loss": loss, "samples_per_second": recipe.training.batch / pace}
            bar.to(last, {**numbers, "skipped": step.skipped} if step.skipped else numbers)
            tracking.follow()
            if step.draws:
                with step.ema.applied(fitting.net):
                    pictures.draw(last, patient=False)
            if last == until:
                step.save()
                break
        fitting.steps.close()
        pictures.missing(last)
        pictures.bind(last)
    return last, loss if last > first else None


def main_process() -> bool:
    """Whether this is the process that speaks, where `accelerate launch` has started several."""
    from obverse.train.processes import here

    return bool(here().is_main_process)


def free(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3 ... that does not exist."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    return next(path for path in chain([folder], numbered) if not path.exists())


def _reading(bar: Any, done: int, total: int) -> None:
    bar.total = total
    bar.to(done)


def _net(fitting: Fitting) -> str:
    from obverse.nets import cost

    return f"{type(fitting.net).__name__}: {cost(fitting.net, fitting.facts.shape)}"


def _describe(talk: Talk, recipe: Recipe, out: Path) -> int:
    from obverse.nets import cost
    from obverse.recipes import build
    from obverse.recipes.fitting import prepared

    data, held = build.datasets(recipe)
    facts = build.Facts.of(data)
    net = prepared(recipe, facts, data).net
    model, price = build.model(recipe, net), cost(net, facts.shape)
    lines = [data.summary(), f"held out: {0 if held is None else len(held)}", f"{price}", repr(model)]
    lines.append(f"would train {recipe.training.steps} steps of {recipe.training.batch} into {out}")
    values = {"recipe": recipe.to_json(), "out": str(out), "parameters": price.parameters, "samples": len(data)}
    talk.result("\n".join(lines), values)
    return 0

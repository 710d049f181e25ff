"""`obverse train DATA`."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, fields, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from obverse.cli.console import Talk, parse
from obverse.cli.pictures import Pictures
from obverse.ground.errors import InvalidArgument, ObverseError
from obverse.recipes import Recipe, named

if TYPE_CHECKING:
    from obverse.recipes import Fitting


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
    threads: int = 0
    track: str | None = None
    dry_run: bool = False


def main(argv: list[str]) -> int:
    """Train, with a bar; Ctrl-C saves and exits 130."""
    from obverse.train.processes import launch, launched, part
    from obverse.train.signals import leaving

    with leaving():
        options: Train = parse(Train, argv, "train", _default(argv))
        together = launched()
        if together and options.processes not in (1, together):
            raise InvalidArgument(
                f"--processes {options.processes} in one of {together} processes that a launcher has started (leave it "
                "out, or start obverse without the launcher)."
            )
        if options.processes != 1 and not (together or options.dry_run):
            return launch("obverse", ["train", *argv], options.processes)
        try:
            code = _train(options)
            part()  # a launcher ends the others when the first one leaves, and one of them may still be saving
            return code
        except (ObverseError, RuntimeError) as error:
            return _among_others(error)


def _among_others(error: Exception) -> int:
    """The exit code of one of several processes: the first speaks for all, where all fail alike."""
    from obverse.train.processes import LEFT, launched, left_behind

    if left_behind(error):
        time.sleep(5)  # so that the launcher sees first the one that knows why
        return LEFT
    if launched() < 2 or main_process() or not isinstance(error, ObverseError):
        raise error
    print(f"obverse train: process {os.environ['RANK']} of {launched()}: {error}", file=sys.stderr)
    return 2


def _train(options: Train) -> int:
    from obverse.train import Stopped

    recipe = Recipe(**{f.name: getattr(options, f.name) for f in fields(Recipe)})
    out = options.out or _agreed(free(Path("runs") / (Path(recipe.data).stem or "run")))
    try:
        return run(
            options,
            recipe,
            out,
            options.resume,
            options.threads,
            options.dry_run,
            options.until,
            options.keep_best,
            options.track,
        )
    except Stopped as stop:
        if main_process():
            print(f"obverse train: {stop} Go on with: obverse train --resume --out {out}", file=sys.stderr, flush=True)
        return 128 + stop.signum


def run(
    talk: Talk,
    recipe: Recipe,
    out: Path,
    resume: bool = False,
    threads: int = 0,
    dry_run: bool = False,
    until: int | None = None,
    keep_best: int | None = None,
    track: str | None = None,
) -> int:
    """Train a recipe into a folder, with a bar."""
    import torch

    from obverse.recipes import fit
    from obverse.train.tracking import Tracking, trackers

    trackers(track)  # missed now rather than after the data has been read
    if until is not None and until < 1:
        raise InvalidArgument(f"until is a step >= 1, got {until} (leave it out to train to the end).")
    if threads:
        torch.set_num_threads(threads)
    if dry_run:
        return _describe(talk, recipe, out)
    talk = talk if main_process() else replace(talk, quiet=True, json=False)
    with talk.bar("reading", 1) as reading:
        fitting = fit(
            recipe, out, resume=resume, keep_best=keep_best, progress=lambda done, total: _reading(reading, done, total)
        )
    talk.say(f"{fitting.data.summary()}\n{_net(fitting)}\nrun folder {out}")
    if fitting.note:
        print(f"obverse train: {fitting.note}", file=sys.stderr)
    if until is not None and until <= fitting.first:
        raise InvalidArgument(f"until is a step beyond {fitting.first}, which {out} has got to; got {until}.")
    last, loss, pace = fitting.first, 0.0, 0.0
    tracking = Tracking(fitting.run, track if fitting.main else None, first=last, shows=recipe.to_json())
    with tracking, talk.bar("training", recipe.training.steps) as bar:
        pictures = Pictures(talk, recipe, fitting, tracking.show)
        if fitting.first:
            pictures.missing(fitting.first)
        bar.done = bar.first = fitting.first
        for step in fitting.steps:
            last = step.step
            share = max(0.02, 1 / (last - fitting.first))  # a trend to look at, nothing more
            loss, pace = loss + share * (step.loss - loss), pace + share * (step.seconds - pace)
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
    if fitting.main:
        talk.result(f"trained {out}", {"run": str(out), "steps": last, "loss": loss})
    return 0


def _agreed(out: Path) -> Path:
    """The first process's choice: the others may look for a free folder when it has already been made."""
    from obverse.train.processes import here, launched

    if launched() < 2:
        return out
    from accelerate.utils import broadcast_object_list

    here()
    return Path(str(broadcast_object_list([str(out)])[0]))


def main_process() -> bool:
    """Whether this is the process that speaks, where `accelerate launch` has started several."""
    from obverse.train.processes import here

    return bool(here().is_main_process)


def _default(argv: list[str]) -> Train:
    """What the options start from: a named recipe, a file, the run to go on with, or the plain defaults."""
    words = _parse_known(argv)
    if words.recipe and words.config:
        raise InvalidArgument("--recipe and --config both name a starting point; give one.")
    base = Recipe()
    if words.recipe:
        base = named(words.recipe)
    elif words.config:
        base = Recipe.read(words.config)
    elif words.resume and words.out and (Path(words.out) / "config.json").exists():
        import json

        base = Recipe.from_json(json.loads((Path(words.out) / "config.json").read_text())["recipe"])
    return Train(**{f.name: getattr(base, f.name) for f in fields(Recipe)})


def _parse_known(argv: list[str]) -> Any:
    """The few words that decide what the others default to."""
    import argparse

    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--recipe", "--config", "--out"):
        words.add_argument(name)
    words.add_argument("--resume", action="store_true")
    return words.parse_known_args(argv)[0]


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

    data, held = build.datasets(recipe)
    facts = build.Facts.of(data)
    net = build.network(recipe, facts)
    model, price = build.model(recipe, net), cost(net, facts.shape)
    lines = [data.summary(), f"held out: {0 if held is None else len(held)}", f"{price}", repr(model)]
    lines.append(f"would train {recipe.training.steps} steps of {recipe.training.batch} into {out}")
    values = {"recipe": recipe.to_json(), "out": str(out), "parameters": price.parameters, "samples": len(data)}
    talk.result("\n".join(lines), values)
    return 0

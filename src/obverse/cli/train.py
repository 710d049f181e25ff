"""`obverse train DATA`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from obverse.cli.console import Talk, parse
from obverse.ground.errors import InvalidArgument, ObverseError
from obverse.recipes import Recipe, named

if TYPE_CHECKING:
    from obverse.recipes import Fitting


@dataclass(frozen=True, kw_only=True)
class Train(Talk, Recipe):
    """Train a model on DATA and keep everything about it in one folder.

    DATA is a name (digits, fashion-mnist) or a path: a folder of images (one subfolder a class, if you like), .npy,
    .npz, IDX, .csv, .parquet. Options are the recipe; start from a named one with --recipe or from a file with
    --config, and change what you like.

    Args:
        data: a name or a path.
        out: the run folder; default runs/NAME, numbered.
        recipe: start from this named recipe.
        config: start from this .toml, .yaml or .json file.
        resume: go on with the run in --out, to the last bit.
        threads: CPU threads; 0 leaves the choice to torch.
        dry_run: say what would be done, and stop.
    """

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = "digits"
    out: Path | None = None
    recipe: str | None = None
    config: Path | None = None
    resume: bool = False
    threads: int = 0
    dry_run: bool = False


def main(argv: list[str]) -> int:
    """Train, with a bar; Ctrl-C saves and exits 130."""
    from obverse.train import Stopped

    options: Train = parse(Train, argv, "train", _default(argv))
    recipe = Recipe(**{f.name: getattr(options, f.name) for f in fields(Recipe)})
    out = options.out or free(Path("runs") / (Path(recipe.data).stem or "run"))
    try:
        return run(options, recipe, out, options.resume, options.threads, options.dry_run)
    except Stopped as stop:
        print(f"obverse train: {stop} Go on with: obverse train --resume --out {out}", file=sys.stderr)
        return 128 + stop.signum


def run(talk: Talk, recipe: Recipe, out: Path, resume: bool = False, threads: int = 0, dry_run: bool = False) -> int:
    """Train a recipe into a folder, with a bar."""
    import torch

    from obverse.data import png, sheet
    from obverse.recipes import Trained, fit
    from obverse.recipes.sampling import Sampling

    if threads:
        torch.set_num_threads(threads)
    if dry_run:
        return _describe(talk, recipe, out)
    talk = talk if main_process() else replace(talk, quiet=True, json=False)
    with talk.bar("reading", 1) as reading:
        fitting = fit(recipe, out, resume=resume, progress=lambda done, total: _reading(reading, done, total))
    talk.say(f"{fitting.data.summary()}\n{_net(fitting)}\nrun folder {out}")
    view = Trained(fitting.run, recipe, fitting.facts, _model(recipe, fitting.net), fitting.first)
    loss, across = 0.0, min(16, len(fitting.facts.classes) or 8)  # a class each column, where there are classes
    with talk.bar("training", recipe.training.steps) as bar:
        bar.done = bar.first = fitting.first
        for step in fitting.steps:
            loss = step.loss if loss == 0.0 else 0.98 * loss + 0.02 * step.loss  # a trend to look at, nothing more
            bar.to(step.step, {"loss": loss})
            if step.draws and fitting.main:
                try:
                    with step.ema.applied(fitting.net):
                        drawn = view.sample(8 * across, Sampling(microbatch=0))
                    fitting.run.put(f"samples/step-{step.step:08d}.png", png(sheet(drawn, columns=across)))
                except ObverseError as error:  # a picture is not worth a run
                    talk.say(f"no picture of step {step.step}: {error}")
    if fitting.main:
        talk.result(f"trained {out}", {"run": str(out), "steps": recipe.training.steps, "loss": loss})
    return 0


def main_process() -> bool:
    """Whether this is the process that speaks, where `accelerate launch` has started several."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


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


def _model(recipe: Recipe, net: Any) -> Any:
    from obverse.recipes import build

    return build.model(recipe, net)


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

"""`obverse train DATA`."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from obverse.cli.console import parse
from obverse.cli.training import Train, main_process, run
from obverse.ground.errors import InvalidArgument, NonFinite, ObverseError
from obverse.recipes import Recipe, named


def main(argv: list[str]) -> int:
    """Train, with a bar; Ctrl-C saves and exits 130."""
    from obverse.train.interrupt import leaving
    from obverse.train.processes import asking, launch, launched, leave

    with leaving():
        options: Train = parse(Train, argv, "train", _default(argv))
        together = launched()
        if options.resume and options.out is None:
            raise InvalidArgument("--resume goes on with the run in --out, and no folder is named (--out runs/NAME).")
        if not options.data:
            raise InvalidArgument(f"'{options.out}' holds no run to go on with: no config.json (name DATA to begin).")
        if together and options.processes not in (1, together):
            raise InvalidArgument(
                f"--processes {options.processes} in one of {together} processes that a launcher has started (leave it "
                "out, or start obverse without the launcher)."
            )
        if options.shard and max(options.processes, together) < 2:
            raise InvalidArgument("--shard shares the net out between processes, and there is one (--processes 2).")
        if options.processes != 1 and not (together or options.dry_run):
            return launch("obverse", ["train", *argv], options.processes)
        try:
            with asking(options.shard):
                code = _train(options)
            if together > 1:  # a launcher ends the others when the first one leaves, and one may still be saving
                leave(code)
            return code
        except (ObverseError, RuntimeError) as error:
            if together > 1:
                _among_others(error)
            raise


def _among_others(error: Exception) -> None:
    """End one of several processes, unless nobody foresaw this; the first speaks for all, where all fail alike."""
    from obverse.train.processes import LEFT, gone, left_behind

    if left_behind(error):
        time.sleep(5)  # so that the launcher sees first the one that knows why
        gone(LEFT)
    if isinstance(error, ObverseError):
        who = "" if main_process() else f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']}: "
        print(f"obverse train: {who}{error}", file=sys.stderr)
        gone(1 if isinstance(error, NonFinite) else 2)


def _train(options: Train) -> int:
    from obverse.train import Stopped

    if options.out is None:
        options = replace(options, out=_agreed(options.folder))
    try:
        return run(options)
    except Stopped as stop:
        if main_process():
            again = f"obverse train --resume --out {options.out}"
            print(f"obverse train: {stop} Go on with: {again}", file=sys.stderr, flush=True)
        return 128 + stop.signum


def _agreed(out: Path) -> Path:
    """The first process's choice: the others may look for a free folder when it has already been made."""
    from obverse.train.processes import here, launched

    if launched() < 2:
        return out
    from accelerate.utils import broadcast_object_list

    here()
    return Path(str(broadcast_object_list([str(out)])[0]))


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
        from obverse.train import Run

        base = Recipe.of_run(Run.open(Path(words.out)))
    elif words.resume:
        base = replace(base, data="")  # nothing is begun that was not named
    return Train.of(base)


def _parse_known(argv: list[str]) -> Any:
    """The few words that decide what the others default to."""
    import argparse

    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--recipe", "--config", "--out"):
        words.add_argument(name)
    words.add_argument("--resume", action="store_true")
    return words.parse_known_args(argv)[0]

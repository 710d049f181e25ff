"""`obverse reproduce RUN`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obverse.cli.console import Talk, parse
from obverse.cli.runs import RunFolder
from obverse.ground.errors import CheckpointError, InvalidArgument, ObverseError
from obverse.recipes import Recipe

if TYPE_CHECKING:
    from obverse.recipes.reproduction import Comparison
    from obverse.train import Run


@dataclass(frozen=True, kw_only=True)
class Reproduce(Talk):
    """Train a run again from its folder alone, and say whether every byte is the same: weights, metrics, samples.

    On the machine it was trained on, with the versions and threads that it has written down, every byte is. Elsewhere
    sums are added in another order; then what differs is named, and by how much. The exit code is 1 where one does.

    Args:
        run: the run folder; it is only read.
        step: go as far as this step; default that of the newest checkpoint.
        samples_only: do not train: draw the samples of the step's checkpoint again.
        threads: CPU threads; 0 takes what the run had.
        processes: 0 takes what the run had.
        out: keep the second run here; default a folder that is deleted in the end.
        dry_run: say what would be done, and stop.
    """

    run: RunFolder
    step: int | None = None
    samples_only: bool = False
    threads: int = 0
    processes: int = 0
    out: Path | None = None
    dry_run: bool = False


def main(argv: list[str]) -> int:
    """Train again, compare, and exit with 1 where something differs."""
    options: Reproduce = parse(Reproduce, argv, "reproduce")

    from obverse.recipes.reproduction import redrawn, retrained
    from obverse.train import Run
    from obverse.train.session import read

    run = Run.open(options.run)
    was = (read(run.folder) or [{}])[-1]
    step = options.step if options.step is not None else _newest(run)
    options = replace(
        options,
        threads=options.threads or int(was.get("threads", 0)),
        processes=options.processes or int(was.get("processes", 1)),
    )
    if options.dry_run:
        how = "draw the samples again" if options.samples_only else f"train {options.run} again"
        where = f"{options.threads} CPU threads, {options.processes} processes"
        options.result(f"would {how} to step {step} with {where}", {"step": step, **_plain(asdict(options))})
        return 0
    if options.samples_only:
        from obverse.cli.pictures import picture

        found = redrawn(run, step, picture, options.threads)
    else:
        with _second(options, run, was, step) as other:
            found = retrained(run, other, step)
    options.result(_words(found), {"run": str(options.run), **found.to_json()})
    return 0 if found.same else 1


def _newest(run: Run) -> int:
    newest = run.newest()
    if newest is None:
        raise CheckpointError(f"{run.folder} holds no valid checkpoint: there is nothing to compare with (try --step).")
    return newest.step


@contextmanager
def _second(options: Reproduce, run: Run, was: dict[str, Any], step: int) -> Iterator[Run]:
    """The run, trained again as far as a step, from its configuration alone."""
    from obverse.cli import training
    from obverse.recipes.trained import from_here
    from obverse.train import Run
    from obverse.train.processes import launch

    recipe = from_here(Recipe.of_run(run), run)
    if not 1 <= step <= recipe.training.steps:
        raise InvalidArgument(f"step is in 1 ... {recipe.training.steps}, the length of the run; got {step}.")
    with tempfile.TemporaryDirectory(prefix="obverse-reproduce-") as place:
        out = options.out or Path(place) / "run"
        if options.processes > 1:
            config = Path(place) / "recipe.json"
            config.write_text(json.dumps(recipe.to_json()))
            words = ["--config", str(config), "--out", str(out), "--until", str(step), "--quiet"]
            words += ["--shard"] if was.get("shards") else []
            words += ["--own", options.own] if options.own else []
            code = launch("obverse", ["train", *words, "--threads", str(options.threads)], options.processes)
            if code:
                raise ObverseError(f"{run.folder} could not be trained again: its processes ended with code {code}.")
        else:
            wanted = training.Train.of(recipe, options)
            training.run(replace(wanted, out=out, threads=options.threads, until=step))
        yield Run.open(out)


def _words(found: Comparison) -> str:
    lines = [
        f"  {'same' if not apart else 'DIFFERS':8} {name}  {apart}".rstrip() for name, apart in found.parts.items()
    ]
    lines += [f"  then and now: {words}" for words in found.elsewhere]
    verdict = "every byte is the same" if found.same else f"{len(found.apart)} of {len(found.parts)} parts differ"
    if found.apart and not found.elsewhere:
        verdict += ", though nothing is known to differ: is the network deterministic on this device?"
    return "\n".join([*lines, f"reproduced to step {found.step}: {verdict}"])


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

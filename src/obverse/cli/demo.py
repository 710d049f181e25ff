"""`obverse demo`: the whole way, on real data."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from obverse.cli import report, training
from obverse.cli.console import Talk, parse
from obverse.recipes import named
from obverse.recipes.sampling import Sampling


@dataclass(frozen=True, kw_only=True)
class Demo(Talk):
    """Train on the 1,797 scanned digits of scikit-learn, sample, measure, and write report.html: three minutes.

    Args:
        out: the page.
        run: the run folder; default runs/demo, numbered.
        steps: of training; default the recipe's.
        threads: CPU threads; 0 leaves the choice to torch.
        dry_run: say what would be done, and stop.
    """

    out: Path = Path("report.html")
    run: Path | None = None
    steps: int | None = None
    threads: int = 0
    dry_run: bool = False


def main(argv: list[str]) -> int:
    """Train, then report, and say how long it took."""
    options: Demo = parse(Demo, argv, "demo")
    recipe = named("digits")
    if options.steps is not None:
        shorter = replace(recipe.training, steps=options.steps, sample_every=max(1, options.steps // 2))
        recipe = replace(recipe, training=shorter)
    folder = options.run or training.free(Path("runs/demo"))
    begun = time.perf_counter()
    wanted = training.Train.of(recipe, options)
    training.run(replace(wanted, out=folder, threads=options.threads, dry_run=options.dry_run))
    if options.dry_run:
        return 0
    trained = time.perf_counter() - begun
    report.run(options, folder, options.out, Sampling(), {"training": trained})
    options.say(f"{time.perf_counter() - begun:.0f} s in all, {trained:.0f} s of them training; open {options.out}")
    return 0

"""`obverse tune RUN`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from obverse.cli.console import parse
from obverse.cli.study import Study, drawn, measured_from, watching
from obverse.ground.errors import require

if TYPE_CHECKING:
    from obverse.report.figures import Line
    from obverse.sampler.tuned import Tuned


@dataclass(frozen=True, kw_only=True)
class Tune(Study):
    """Fit a sampler of a few network calls to a trained model.

    A sampler is a table of numbers: the noise levels at which the network is called, and how its answers are added up.
    Known methods choose them for all models at once; this verb moves them until this model's samples end where its own
    ODE ends. It begins with the best known methods of as many calls and judges on noise that it did not fit: what it
    writes is never worse than the best of them there. The network is not changed.

    Writes RUN/tableaux/STEPS.json and a picture beside it; draw with: obverse sample RUN --tableau FILE.

    Args:
        steps: network calls for a sample; 4 to 16 gain most.
        noises: starts of samples, a third of them held out to judge by; more find strays that few do not show.
        iterations: of the fit to the end; a third as many for each method that it begins with.
        methods: that it begins with; the closest after a few iterations is fitted to the end.
        out: the file; default RUN/tableaux/STEPS.json, which names guidance and schedule if given.
    """

    steps: Annotated[int, tyro.conf.arg(aliases=("-n",))] = 8
    noises: int = 192
    iterations: int = 24
    methods: int = 8
    out: Path | None = None


def main(argv: list[str]) -> int:
    """Tune, with a bar, and write."""
    options: Tune = parse(Tune, argv, "tune")
    require(options.steps >= 1, f"--steps >= 1, got {options.steps} (try 8).")
    require(options.noises >= 12, f"--noises >= 12, got {options.noises} (192; a third is held out).")

    from obverse.recipes.tuning import place, save, tune_run
    from obverse.sampler.tuned import Effort

    effort = Effort(iterations=options.iterations, starts=options.methods)
    trained, sampling = options.trained(), options.sampling
    out = options.out or place(trained, options.steps, sampling)
    if options.dry_run:
        text = f"would fit {options.steps} network calls on {options.noises} noises into {out}"
        options.result(text, {"run": str(options.run), "steps": options.steps, "out": str(out)})
        return 0
    with options.bar("reference", 1) as bar:
        tuned = tune_run(trained, options.steps, sampling, noises=options.noises, effort=effort, watch=watching(bar))
    save(tuned, sampling, out)
    files = [out, *drawn(out.with_suffix(".svg"), _lines(tuned), "network calls")]
    values = {"run": str(options.run), "files": list(map(str, files)), **tuned.to_json()}
    options.result("\n".join([words(tuned), *map(str, files)]), values)
    return 0


def words(tuned: Tuned) -> str:
    """What was reached, beside what untuned methods need for it."""
    calls = tuned.tableau.calls
    lines = [f"{calls} calls, tuned:   {tuned.errors}" if tuned.improved else "nothing better than the start was found"]
    lines += [f"{more} calls, untuned: {errors}" for more, errors in tuned.curve]
    lines.append(f"untuned: {tuned.start}; errors relative to the data, on {len(tuned.truth.noise)} noises held out")
    lines.append(measured_from(tuned.truth))
    return "\n".join(lines)


def _lines(tuned: Tuned) -> list[Line]:
    from obverse.report.figures import Line

    calls, errors = zip(*tuned.curve, strict=True)
    here = [tuned.tableau.calls]
    return [
        Line("untuned, median", calls, [e.median for e in errors]),
        Line("untuned, rms", calls, [e.rms for e in errors]),
        Line("tuned, median", here, [tuned.errors.median]),
        Line("tuned, rms", here, [tuned.errors.rms]),
    ]

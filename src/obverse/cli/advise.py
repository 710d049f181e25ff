"""`obverse advise RUN`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obverse.cli.console import parse
from obverse.cli.study import Study, drawn, measured_from, watching
from obverse.ground.errors import require

if TYPE_CHECKING:
    from obverse.recipes.sampling import Sampling
    from obverse.report.figures import Line
    from obverse.sampler.advice import Advice, Contender


@dataclass(frozen=True, kw_only=True)
class Advise(Study):
    """Measure every method on a trained model, and say which to use for how many network calls.

    Every deterministic solver, at its default settings and on several grids, is run from the same noise and compared
    with where the model's own ODE ends. All start with 16 samples; the best few of each budget go on to all. Tables
    that `obverse tune` has fitted to this run are measured beside them. Median times rms decides.

    Writes RUN/advice.json and RUN/advice.svg.

    Args:
        calls: budgets: network calls for a sample.
        noises: starts of samples; 64 tell methods apart, strays take more.
        out: where to write, without suffix; default RUN/advice.
    """

    calls: tuple[int, ...] = (4, 8, 16, 32)
    noises: int = 64
    out: Path | None = None


def main(argv: list[str]) -> int:
    """Measure, with a bar, and print the table."""
    options: Advise = parse(Advise, argv, "advise")
    require(options.noises >= 2, f"--noises >= 2, got {options.noises} (64).")
    require(bool(options.calls) and min(options.calls) >= 1, f"--calls are budgets >= 1, got {options.calls}.")

    from obverse.recipes.tuning import advise_run

    trained, sampling, out = options.trained(), options.sampling, options.out or options.run / "advice"
    if options.dry_run:
        text = f"would measure all methods at {', '.join(map(str, options.calls))} network calls into {out}.*"
        options.result(text, {"run": str(options.run), "calls": options.calls, "out": str(out)})
        return 0
    with options.bar("reference", 1) as bar:
        advice, tuned = advise_run(trained, options.calls, sampling, noises=options.noises, watch=watching(bar))
    values = {
        "reference": {"calls": advice.truth.calls, "gap": advice.truth.gap, "samples": options.noises},
        "tried": advice.tried,
        "front": [_plain(one) for one in advice.front],
        "measured": [_plain(one) for one in advice.contenders],
        "tuned": {file: _plain(one) for file, one in tuned.items()},
    }
    file = out.with_name(out.name + ".json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values, indent=1))
    files = [file, *drawn(out.with_name(out.name + ".svg"), _lines(advice, tuned), "network calls for a sample")]
    text = "\n".join([words(advice, tuned, sampling), *map(str, files)])
    options.result(text, {"run": str(options.run), "files": list(map(str, files)), **values})
    return 0


def words(advice: Advice, tuned: dict[str, Contender], sampling: Sampling) -> str:
    """The front, a line each, with the options that ask for it."""
    also = "" if sampling.guidance == 1 else f" --guidance {sampling.guidance:g}"
    also += "" if sampling.schedule is None else f" --schedule {sampling.schedule}"
    lines = [f"{'calls':>5}  {'median':>8}  {'rms':>8}  {'flipped':>7}  options of `obverse sample`"]
    rows = [(one, f"--solver {one.solver} --grid {one.grid} --steps {one.steps}") for one in advice.front]
    rows += [(one, f"--tableau {file}") for file, one in tuned.items()]
    for one, how in sorted(rows, key=lambda row: (row[0].calls, row[0].errors.score)):
        e = one.errors
        lines.append(f"{one.calls:5}  {e.median:8.2g}  {e.rms:8.2g}  {e.flipped:7.1%}  {how}{also}")
    lines.append(
        f"{advice.tried} tables tried; errors relative to the data, on {len(advice.truth.noise)} noises, "
        f"{measured_from(advice.truth)}"
    )
    return "\n".join(lines)


def _plain(one: Contender) -> dict[str, Any]:
    named = {"calls": one.calls, "solver": one.solver, "grid": one.grid, "steps": one.steps}
    return {**named, **one.errors._asdict()}


def _lines(advice: Advice, tuned: dict[str, Contender]) -> list[Line]:
    from obverse.report.figures import Line

    found = []
    for name, those in (("best known", advice.front), ("tuned", tuple(tuned.values()))):
        those = tuple(sorted(those, key=lambda one: one.calls))
        if those:
            calls = [one.calls for one in those]
            found.append(Line(f"{name}, median", calls, [one.errors.median for one in those]))
            found.append(Line(f"{name}, rms", calls, [one.errors.rms for one in those]))
    return found

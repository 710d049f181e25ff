"""`obverse inspect RUN|SCHEDULE` and `obverse inspect weighting A B`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from obverse.cli.console import Talk, parse
from obverse.cli.letters import cell, curves, plain

if TYPE_CHECKING:
    from obverse.path import Schedule

TIMES = (0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)


@dataclass(frozen=True, kw_only=True)
class Inspect(Talk):
    """Show a run (data, network, convention in words, checkpoints), a schedule (its curves, as numbers and drawn), or
    with `weighting A B` what training recipes weigh each log-SNR with, and whether they are one objective.

    Args:
        target: a run folder, a schedule's spec such as vp or shift:base=cosine,k=2, or the word weighting.
        recipes: after weighting, one to four of: the name of a known recipe (edm, sd3 ...), a run folder, or fields
            such as schedule=cosine,face=v,times=logit-normal,weighting=(min-snr:gamma=5).
        out: also draw the curves, as OUT.path.svg and OUT.logsnr.svg of a schedule, OUT.weighting.svg of recipes.
    """

    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|SCHEDULE|weighting")]
    recipes: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="A B")] = ()
    out: Path | None = None


def main(argv: list[str]) -> int:
    """Show one or the other."""
    options: Inspect = parse(Inspect, argv, "inspect")
    if options.target == "weighting":
        from obverse.cli.weighting import show

        return show(options.recipes, options.out, options)
    if options.recipes:
        from obverse.ground.errors import InvalidArgument

        raise InvalidArgument(
            f"inspect shows one thing, or the weightings of several recipes: write obverse inspect weighting "
            f"{' '.join([options.target, *options.recipes])}."
        )
    if (Path(options.target) / "config.json").exists():
        return _run(options)

    from obverse.path import Schedule

    return _schedule(options, Schedule.of(options.target))


def _schedule(options: Inspect, schedule: Schedule) -> int:
    import torch

    from obverse.laws import laws_of
    from obverse.laws.schedules import FALLS

    falls = next(law for law in laws_of(schedule) if law.name == FALLS).verdict(schedule)
    at = schedule.at(torch.tensor(TIMES, dtype=torch.float64))
    columns = {name: getattr(at, name).tolist() for name in ("t", "alpha", "sigma", "logsnr", "f", "g2")}
    lines = [f"{type(schedule).__name__} ({schedule.spec}): {type(schedule).summary()}", "", _convention(), ""]
    lines.append("".join(f"{name:>12}" for name in columns))
    lines += ["".join(map(cell, row)) for row in zip(*columns.values(), strict=True)]
    low, high = schedule.range
    lines += ["", f"log-SNR from {low:.5g} (source) to {high:.5g} (data)"]
    if not falls.ok:
        lines.append(f"BROKEN: {FALLS} from data to source, yet here it goes {falls.detail} (obverse check says more)")
    lines.append(_curve(schedule))
    if options.out is not None:
        lines += [f"drawn in {path}" for path in _draw(schedule, options.out)]
    values = {"schedule": schedule.spec, "falls": falls.ok, **{n: plain(c) for n, c in columns.items()}}
    options.result("\n".join(lines), values)
    return 0


def _convention() -> str:
    return "x_t = alpha x + sigma eps; t = 0 is data, t = 1 is source; log-SNR = log(alpha²/sigma²) falls in t"


def _draw(schedule: Schedule, out: Path) -> list[Path]:
    """The curves as OUT.path.svg and OUT.logsnr.svg."""
    import torch

    from obverse.report.figures import Line, chart, written

    t = torch.linspace(0.001, 0.999, 400, dtype=torch.float64)
    at = schedule.at(t)
    path = [Line(name, t.tolist(), getattr(at, name).tolist()) for name in ("alpha", "sigma")]
    logsnr = [Line("log-SNR", t.tolist(), torch.as_tensor(at.logsnr).tolist())]
    charts = {
        name: chart(name, lines, x="t (0 = data, 1 = source)", y=y)
        for name, lines, y in (("path", path, "share in x_t"), ("logsnr", logsnr, "log(alpha²/sigma²)"))
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    return [
        written(out.with_name(f"{out.name}.{name}.svg"), svg, f"{name} of {schedule.spec}")
        for name, svg in charts.items()
    ]


def _curve(schedule: Schedule, width: int = 61, height: int = 9) -> str:
    """alpha (a), sigma (s) against t, in letters."""
    import torch

    at = schedule.at(torch.linspace(0, 1, width, dtype=torch.float64))
    alpha, sigma = (torch.as_tensor(c) for c in (at.alpha, at.sigma))
    top = float(torch.maximum(alpha.max(), sigma.max()))
    words = "a: alpha, s: sigma, *: both"
    return "\n".join(
        [*curves({"a": alpha, "s": sigma}, top, height), f"{'t = 0':>13}{'1':>{width}}", f"{'':10}{words}"]
    )


def _run(options: Inspect) -> int:
    from obverse.nets import cost
    from obverse.recipes import Trained

    trained = Trained.open(options.target)
    facts, recipe = trained.facts, trained.recipe
    price = cost(trained.model.net, facts.shape)
    size = " x ".join(map(str, facts.shape))
    classes = f", {len(facts.classes)} classes: {', '.join(facts.classes[:12])}" if facts.classes else ""
    classes += "" if recipe.conditional or not facts.classes else ", none of which it is told"
    checkpoints = sorted(path.name for path in trained.run.checkpoints.iterdir() if path.is_dir())
    lines = [
        f"{options.target}: {facts.kind} of {size} from {facts.name}{classes}",
        f"network    {recipe.net} ({type(trained.model.net).__name__}), {price}",
        f"convention {_convention()}",
        f"           schedule {recipe.schedule}, predicts {recipe.predicts}, told time as {recipe.time}, precondition "
        f"{recipe.precondition}",
        f"objective  times {recipe.times}, weighting {recipe.weighting}, error {recipe.error}, coupling "
        f"{recipe.coupling}, recall {recipe.recall:g}",
        f"trained    {trained.step} of {recipe.training.steps} steps; {', '.join(checkpoints)}",
        f"data units x = (raw - {_some(facts.scaling.shift)}) / {_some(facts.scaling.scale)}",
    ]
    values: dict[str, Any] = {"run": options.target, "step": trained.step, "recipe": recipe.to_json()}
    values |= {"data": facts.to_json(), "parameters": price.parameters, "flops": price.flops}
    options.result("\n".join(lines), values)
    return 0


def _some(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers[:6]) + (" ..." if len(numbers) > 6 else "")

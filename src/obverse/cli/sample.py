"""`obverse sample RUN`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from obverse.cli.console import parse
from obverse.cli.files import write
from obverse.cli.reel import Film, Reel, Show
from obverse.cli.runs import OfRun
from obverse.ground.errors import InvalidArgument, require

if TYPE_CHECKING:
    from torch import Tensor

    from obverse.recipes import Trained
    from obverse.recipes.drawing import Drawing
    from obverse.sampler import Adaptive, Ledger, Round, Step


@dataclass(frozen=True, kw_only=True)
class Sample(OfRun):
    """Draw from a trained model, with any solver, as an ODE or an SDE, on any schedule.

    Writes OUT.png (a picture), OUT.npz (the numbers, in the data's own units), the film of the trajectory, for tables
    OUT.csv and for sounds OUT-0.wav, OUT-1.wav ..., of 64 samples at most. Sample i of a seed is the same, bit for bit,
    however many are drawn with it. Says what it took: network calls for each sample (guidance makes two of each),
    rounds of calls one after the other, all evaluations.

    Args:
        n: how many.
        class_: a class's name or number; default each in turn.
        first: number of the first sample, to go on where another draw stopped.
        ema: which weights: a half-life that the run averaged over, sigma=0.08 for the average of that relative length,
            made now out of the run's snapshots, or none for those of the last step; default the first average.
        film: gif: OUT.gif. mp4: OUT.mp4 (pip install 'obverse[video]'). sheet: OUT-sheet.png, a row for each sample
            and a column for each noise level. none: no film.
        show: on the film: the states on their way, or what the network takes for the data, or the noise, in them.
        parallel: guess all network calls and improve them together, round by round, until nothing moves: the same
            samples to 1e-5 or so in fewer rounds, for machines with room for whole batches of calls (no --microbatch,
            no film).
        out: where to write, without suffix; default RUN/samples-SEED.
    """

    n: Annotated[int, tyro.conf.arg(aliases=("-n",))] = 64
    class_: Annotated[str | None, tyro.conf.arg(name="class")] = None
    first: int = 0
    ema: str | None = None
    film: Film = "gif"
    show: Show = "state"
    parallel: bool = False
    out: Path | None = None


class Draw(NamedTuple):
    """Samples in network units, what they cost, and what else is to be said of them."""

    x: Tensor
    ledger: Ledger
    words: str
    values: dict[str, Any]


def main(argv: list[str]) -> int:
    """Sample, with a bar, and write."""
    options: Sample = parse(Sample, argv, "sample")
    if options.n < 1 or options.first < 0:
        raise InvalidArgument(f"-n >= 1 and --first >= 0, got {options.n} and {options.first}.")

    from obverse.recipes import Trained
    from obverse.recipes.build import labels_for

    sampling = options.sampling
    trained = Trained.open(options.run, ema=options.ema, checkpoint=options.checkpoint)
    _agree(trained, options)
    calls = trained.calls(sampling)
    out = options.out or options.run / f"samples-{sampling.seed}"
    values = {"run": str(options.run), "n": options.n, "calls": calls, "out": str(out), **asdict(sampling)}
    values |= {"ema": options.ema, "checkpoint": trained.step}
    if options.dry_run:
        most = "" if trained.adapts(sampling) is None else "at most "
        options.result(f"would draw {options.n} with {most}{calls} network calls each into {out}.*", values)
        return 0
    labels = labels_for(trained.recipe, trained.facts, options.first + options.n, options.class_)
    labels = None if labels is None else labels[options.first :]
    numbers = range(options.first, options.first + options.n)
    reel = Reel(options.show, "none" if options.parallel else options.film)
    drawing = trained.drawing(options.n, sampling, labels=labels, samples=numbers)
    drawn = draw(trained, options, drawing, reel)
    reel.end(drawn.x)
    written = write(trained, drawn.x, labels, numbers, reel, out, options.seed)
    ledger = drawn.ledger
    lines = [
        f"{options.n} samples, {ledger.calls:,} network calls each{drawn.words}: {ledger.rounds:,} rounds, "
        f"{ledger.evaluations:,} evaluations"
    ]
    if reel.film == "sheet" and reel.frames:
        lines.append(reel.words)
    values |= {"calls": ledger.calls, "ledger": ledger._asdict(), **drawn.values, "files": list(map(str, written))}
    values["logsnr"] = [f.logsnr if f.logsnr is not None and math.isfinite(f.logsnr) else None for f in reel.shown]
    options.result("\n".join([*lines, *map(str, written)]), values)
    return 0


def _agree(trained: Trained, options: Sample) -> None:
    """Refuse what does not go together, before any work."""
    adaptive = trained.adapts(options.sampling) is not None
    if options.parallel:
        require(not adaptive, f"--parallel needs a solver with a grid, got {options.solver} (dpmpp-2m).")
        require(
            options.film in ("gif", "none") and options.show == "state",
            f"--parallel has no states in their order to show, got --film {options.film} --show {options.show} "
            f"(leave them out).",
        )
        require(
            options.microbatch in (0, Sample.microbatch),
            f"--parallel calls whole rounds at once, got --microbatch {options.microbatch} (leave it out).",
        )
    elif options.film == "mp4":
        from obverse.ground.extras import load

        load("imageio_ffmpeg", "video")  # missed now rather than after the work
    require(
        not adaptive or options.show == "state" or options.film == "none",
        f"--show state is what an adaptive solver can, got {options.show} (or a solver with a grid, dpmpp-2m).",
    )


def draw(trained: Trained, options: Sample, drawing: Drawing, reel: Reel) -> Draw:
    """The samples, in the way that was asked for, with a bar."""
    sampling = options.sampling
    if (method := trained.adapts(sampling)) is not None:
        return _adaptively(method, trained.begin(sampling), options, drawing, reel)
    table = trained.tableau(sampling)
    if options.parallel:
        with options.bar("sampling", table.calls) as bar:
            run = drawing.at_once(table, lambda done, _: bar.to(done))
        return Draw(run.x, run.ledger, f" (one by one: {trained.calls(sampling):,})", {})
    with options.bar("sampling", len(table.rows) - 1) as bar:

        def watch(step: Step) -> None:
            bar.to(step.number)
            reel.step(step)

        run = drawing.by_table(table, watch)
    return Draw(run.x, run.ledger, "", {})


def _adaptively(method: Adaptive, begin: float, options: Sample, drawing: Drawing, reel: Reel) -> Draw:
    """As many calls as a tolerance asks for; the bar shows how much of the way, in percent, is behind all."""
    from obverse.sampler import Ledger

    with options.bar("sampling, percent", 100) as bar:

        def watch(attempt: Round) -> None:
            bar.to(int(100 * attempt.behind))
            reel.round(attempt)

        run = drawing.adaptively(method, begin, watch)
    passes, missed = drawing.model.passes, int((~run.finished).sum())
    fewest, error = int(run.calls.min()) * passes, float(run.error.median())
    words = f" at most ({fewest:,} at least)"
    if math.isfinite(error):
        words += f", off by about {error:.2g}"
    if missed:
        words += f", {missed} not within tolerance (raise max_calls or rtol)"
    values = {"calls_least": fewest, "error_median": error if math.isfinite(error) else None, "unfinished": missed}
    return Draw(run.x, Ledger.of(run, passes), words, values)

"""`obverse report RUN`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from obverse.cli.console import Talk, parse
from obverse.cli.pictures import bind
from obverse.cli.runs import OfRun
from obverse.ground.errors import ObverseError
from obverse.recipes.sampling import Sampling


@dataclass(frozen=True, kw_only=True)
class ReportOptions(OfRun):
    """Write one self-contained page about a trained model: pictures, distances, samplers, the coin.

    Args:
        out: the page; default RUN/report.html.
    """

    out: Path | None = None


def main(argv: list[str]) -> int:
    """Write the page, with a bar."""
    options: ReportOptions = parse(ReportOptions, argv, "report")
    out = options.out or options.run / "report.html"
    return run(options, options.run, out, options.sampling, dry_run=options.dry_run, checkpoint=options.checkpoint)


def run(
    talk: Talk,
    folder: Path,
    out: Path,
    sampling: Sampling,
    seconds: dict[str, float] | None = None,
    dry_run: bool = False,
    checkpoint: str = "newest",
) -> int:
    """Report on a run folder."""
    from obverse.recipes import Trained
    from obverse.recipes.reproduction import FLIPBOOK
    from obverse.report import write

    trained = Trained.open(folder, checkpoint=checkpoint)
    if dry_run:
        talk.result(f"would write {out}", {"run": str(folder), "out": str(out), **asdict(sampling)})
        return 0
    if not (trained.run.folder / FLIPBOOK).exists():  # of a run that has not come to its end
        try:
            bind(trained.run)
        except ObverseError as error:  # a page can be written where a run cannot be
            talk.say(f"no flip-book: {error}")
    with talk.bar("report", 1) as bar:

        def progress(what: str, done: int, total: int) -> None:
            bar.what, bar.total = what, total
            bar.to(done)

        report = write(trained, out, sampling=sampling, progress=progress, seconds=seconds)
    talk.result(f"report {out}", {"report": str(out), **report.to_json()})
    return 0

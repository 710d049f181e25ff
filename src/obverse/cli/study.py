"""What the verbs that study a trained model share: `obverse tune` and `obverse advise`."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from obverse.cli.console import Talk
from obverse.cli.runs import RunFolder
from obverse.ground.errors import MissingExtra
from obverse.recipes.sampling import Sampling

if TYPE_CHECKING:
    from obverse.cli.console import Bar
    from obverse.recipes import Trained
    from obverse.report.figures import Line
    from obverse.sampler.advice import Watch
    from obverse.sampler.truth import Errors, Truth


@dataclass(frozen=True, kw_only=True)
class Study(Talk):
    """Options of a study.

    Args:
        run: the run folder.
        seed: of the noise.
        guidance: classifier-free guidance that the samples will be drawn with; 1 is none.
        schedule: see the model on another path; default its own.
        threads: CPU threads; 0 leaves the choice to torch.
        dry_run: say what would be done, and stop.
    """

    run: RunFolder
    seed: int = 0
    guidance: float = 1.0
    schedule: str | None = None
    threads: int = 0
    dry_run: bool = False

    @property
    def sampling(self) -> Sampling:
        """How the samples will be drawn, solver and steps aside."""
        return Sampling(guidance=self.guidance, schedule=self.schedule, seed=self.seed)

    def trained(self) -> Trained:
        """The run's model; guidance and schedule are refused now if they cannot be."""
        from obverse.recipes import Trained
        from obverse.train.processes import threaded

        threaded(self.threads)
        trained = Trained.open(self.run)
        trained.on(self.sampling)
        return trained


def watching(bar: Bar) -> Watch:
    """What shows on a bar how far a thing of several stages is."""

    def watch(what: str, done: int, total: int, errors: Errors | None) -> None:
        if what != bar.what:
            bar.what, bar.total, bar.begun = what, total, time.monotonic()
            if bar.progress is not None:
                bar.progress.reset(bar.task, description=what, total=total)
        bar.to(done, {} if errors is None else {"median": errors.median, "rms": errors.rms})

    return watch


def measured_from(truth: Truth) -> str:
    """What errors are distances from, in words."""
    return f"from the ends of the model's ODE ({truth.calls} calls; {truth.gap:.1g} from half as many)"


def drawn(path: Path, lines: list[Line], x: str) -> list[Path]:
    """A picture of errors, if there is something to draw it with."""
    from obverse.report.figures import chart, written

    try:
        svg = chart("errors", lines, x=x, y="error over the data's rms", log=True)
    except MissingExtra as error:
        print(f"no picture: {error}", file=sys.stderr)
        return []
    return [written(path, svg, f"Error against {x}")]

"""`obverse evaluate RUN`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from obverse.cli.console import parse
from obverse.cli.runs import OfRun

if TYPE_CHECKING:
    from obverse.recipes import Evaluation


@dataclass(frozen=True, kw_only=True)
class Evaluate(OfRun):
    """Measure samples against held-out data, each number beside the same for real against real.

    Args:
        count: samples; default as many as are held out, at most 1,000.
        metrics: names or specs (obverse list metric); default frechet mmd sliced-w2 energy.
        features: what they are measured on: raw, fashion (28 x 28 grey), pairs (clouds), spectra (sounds) or
            inception (FID); auto chooses one of the first four by the data.
        bootstrap: resamplings behind each interval.
    """

    count: int | None = None
    metrics: tuple[str, ...] | None = None
    features: str = "auto"
    bootstrap: int = 50


def main(argv: list[str]) -> int:
    """Evaluate, with a bar, and print the table."""
    options: Evaluate = parse(Evaluate, argv, "evaluate")

    from obverse.recipes import Trained, evaluate
    from obverse.recipes.evaluation import METRICS

    trained, sampling = Trained.open(options.run, checkpoint=options.checkpoint), options.sampling
    calls = trained.calls(sampling)
    if options.dry_run:
        most = "" if trained.adapts(sampling) is None else "at most "
        text = f"would draw samples of {options.run} with {most}{calls} network calls each and measure them"
        options.result(text, {"run": str(options.run), "calls": calls, **asdict(sampling)})
        return 0
    with options.bar("sampling, percent", 100) as bar:
        found = evaluate(
            trained,
            sampling,
            count=options.count,
            metrics=options.metrics or METRICS,
            features=options.features,
            bootstrap=options.bootstrap,
            watch=lambda at: bar.to(int(100 * at.behind)),
        )
    options.result(words(found), {"run": str(options.run), **found.to_json()})
    return 0


def words(found: Evaluation) -> str:
    """What was measured, a line each."""
    count, calls = len(found.samples), f"{found.calls} network calls each"
    if found.evaluations < found.calls * count:
        calls = f"at most {calls}, {found.evaluations / count:.1f} on average"
    lines = [f"{count} samples, {calls}, {found.seconds:.1f} s"]
    if found.features != "raw":
        from obverse.metrics import Features

        lines.append(f"  measured on features: {Features.members[found.features].summary()}")
    lines += [f"  {measured}" for measured in found.measured]
    if found.accuracy is not None and found.accuracy_of_real is not None:
        real = f"(of held-out data {found.accuracy_of_real:.1%})"
        lines.append(f"  class accuracy of samples, 3 nearest neighbours: {found.accuracy:.1%} {real}")
    if found.garments is not None and found.garments_of_real is not None:
        real = f"(of held-out data {found.garments_of_real:.1%})"
        lines.append(f"  class accuracy of samples, network trained on Fashion-MNIST: {found.garments:.1%} {real}")
    if found.looked[0] < found.looked[1]:
        lines.append(f"  {found.looked[0]:,} of {found.looked[1]:,} training samples were looked at, evenly spread")
    new = found.memorisation
    last = "half of the held-out data or more are copies of training data: what is new cannot be told"
    if new is not None:
        ratio = f"{new.value:.2f} [{new.low:.2f}, {new.high:.2f}] x that of held-out data"
        last = f"distance to the nearest training sample: {ratio} (0: copies, far above 1: off the data)"
    lines.append(f"  {last}")
    return "\n".join(lines)

"""`obverse sample RUN`."""

from __future__ import annotations

import io
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from obverse.cli.console import Talk, parse
from obverse.ground.errors import InvalidArgument
from obverse.recipes.sampling import Sampling

if TYPE_CHECKING:
    from torch import Tensor

    from obverse.recipes import Trained

RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True, kw_only=True)
class Sample(Talk, Sampling):
    """Draw from a trained model, with any solver, as an ODE or an SDE, on any schedule.

    Writes OUT.png (a picture), OUT.npz (the numbers, in the data's own units), OUT.gif (the film of the trajectory)
    and for tables OUT.csv. Sample i of a seed is the same, bit for bit, however many are drawn with it.

    Args:
        run: the run folder.
        n: how many.
        class_: a class's name or number; default each in turn.
        first: number of the first sample, to go on where another draw stopped.
        out: where to write, without suffix; default RUN/samples-SEED.
        dry_run: say what would be done, and stop.
    """

    run: RunFolder
    n: Annotated[int, tyro.conf.arg(aliases=("-n",))] = 64
    class_: Annotated[str | None, tyro.conf.arg(name="class")] = None
    first: int = 0
    out: Path | None = None
    dry_run: bool = False


def main(argv: list[str]) -> int:
    """Sample, with a bar, and write."""
    options: Sample = parse(Sample, argv, "sample")
    if options.n < 1 or options.first < 0:
        raise InvalidArgument(f"-n >= 1 and --first >= 0, got {options.n} and {options.first}.")

    from obverse.recipes import Trained
    from obverse.recipes.build import labels_for

    sampling = Sampling(**{f.name: getattr(options, f.name) for f in fields(Sampling)})
    trained = Trained.open(options.run)
    table = trained.tableau(sampling)
    out = options.out or options.run / f"samples-{sampling.seed}"
    values = {"run": str(options.run), "n": options.n, "calls": table.calls, "out": str(out), **asdict(sampling)}
    if options.dry_run:
        options.result(f"would draw {options.n} with {table.calls} network calls each into {out}.*", values)
        return 0
    labels = labels_for(trained.facts, options.first + options.n, options.class_)
    frames: list[Tensor] = []
    with options.bar("sampling", len(table.rows) - 1) as bar:

        def watch(step: Any) -> None:
            bar.to(step.number)
            frames.append(step.x_t[:64])

        numbers = range(options.first, options.first + options.n)
        labels = None if labels is None else labels[options.first :]
        x = trained.sample(options.n, sampling, labels=labels, samples=numbers, watch=watch)
    written = write(trained, x, labels, numbers, frames, out, sampling)
    options.result("\n".join(map(str, written)), {**values, "files": list(map(str, written))})
    return 0


def write(
    trained: Trained, x: Tensor, labels: Tensor | None, numbers: range, frames: list[Tensor], out: Path, how: Sampling
) -> list[Path]:
    """The picture, the numbers and the film of a draw; the files' paths."""
    import numpy as np

    from obverse.data import film, png, sheet

    facts = trained.facts
    raw = facts.scaling.undo(x).numpy()
    arrays: dict[str, Any] = {"x": raw, "seed": how.seed, "sample": np.array(numbers)}
    if labels is not None:
        arrays["label"] = labels.numpy()
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    files = {".npz": packed.getvalue()}
    try:
        files[".png"] = png(sheet(x, columns=min(16, len(facts.classes)) or None))
        files[".gif"] = film(frames)
    except InvalidArgument as error:  # data of a shape that has no picture has numbers all the same
        print(f"no picture: {error}", file=sys.stderr)
    if facts.columns:
        rows = [",".join(facts.columns), *(",".join(f"{value:.9g}" for value in row) for row in raw)]
        files[".csv"] = ("\n".join(rows) + "\n").encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    for suffix, data in files.items():
        out.with_name(out.name + suffix).write_bytes(data)
    return [out.with_name(out.name + suffix) for suffix in files]

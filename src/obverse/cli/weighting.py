"""What training recipes weigh each log-SNR with, for `obverse inspect weighting A B`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from obverse.cli.console import Talk
from obverse.cli.letters import cell, curves, plain

if TYPE_CHECKING:
    from torch import Tensor

    from obverse.objective import Effective

_UNIT = (
    "weight on the squared error of the noise for each unit of log-SNR, scaled so that the best network's",
    "loss on standard normal data is 1",
)


def show(names: tuple[str, ...], out: Path | None, talk: Talk) -> int:
    """Effective weights in log-SNR: a table, a curve, and in words whether they are one objective.

    Args:     names: recipes: known ones, run folders, or fields.
              out: where to draw, if anywhere.
              talk: how the verb talks.
    Raises:   InvalidArgument for no recipe or more than four; UnknownName for names that do not exist.
    """
    import torch

    from obverse.ground.errors import InvalidArgument
    from obverse.objective.effective import KNOWN, advice, compare

    if not 1 <= len(names) <= 4:
        raise InvalidArgument(
            f"inspect weighting shows one to four recipes, got {len(names)}: names ({', '.join(KNOWN)}) or fields such "
            f"as schedule=cosine,face=v."
        )
    recipes = [_recipe(name) for name in names]
    logsnr = torch.linspace(-10, 10, 21, dtype=torch.float64)
    columns = [_scaled(recipe, logsnr) for recipe in recipes]
    labels = list("ABCD"[: len(names)])
    lines = [f"{label}  {name}: {_fields(recipe)}" for label, name, recipe in zip(labels, names, recipes, strict=True)]
    lines += ["", *_UNIT, "", f"{'log-SNR':>12}" + "".join(f"{label:>12}" for label in labels)]
    lines += ["".join(map(cell, row)) for row in zip(logsnr.tolist(), *columns, strict=True)]
    lines += ["", _letters(recipes, labels)]
    for label, recipe in zip(labels, recipes, strict=True):
        if recipe.divergent or recipe.unbounded:
            lines += [f"{label}: {advice(recipe)}"]
        if not recipe.divergent:
            lines += [f"{label}: loss {recipe.floor:.6g} of the best network on standard normal data"]
    said: list[dict[str, Any]] = []
    for label, name, recipe in zip(labels[1:], names[1:], recipes[1:], strict=True):
        if recipes[0].divergent or recipe.divergent:
            lines += [f"A and {label} cannot be compared: a loss that is infinite has no scale"]
            continue
        found = compare(recipes[0], recipe)
        lines += [f"A and {label} are {found.words}"]
        said.append({"first": names[0], "second": name, **found._asdict(), "words": found.words})
    if out is not None:
        lines += [f"drawn in {_drawn(recipes, names, out)}"]
    values = {"logsnr": logsnr.tolist(), "recipes": [recipe.spec for recipe in recipes], "compared": said}
    weights = {name: plain(column) for name, column in zip(names, columns, strict=True)}
    floors = plain([recipe.floor for recipe in recipes])
    talk.result("\n".join(lines), {**values, "weights": weights, "floors": floors})
    return 0


def _recipe(name: str) -> Effective:
    """A known recipe, one written in fields, or that of a run."""
    from obverse.objective import Effective

    config = Path(name) / "config.json"
    if not config.exists():
        return Effective.read(name)
    from obverse.recipes import Trained

    recipe = Trained.open(name).recipe
    spec = (
        f"schedule=({recipe.schedule}),face=({recipe.predicts}),weighting=({recipe.weighting}),times=({recipe.times})"
    )
    return Effective.read(spec)


def _scaled(recipe: Effective, logsnr: Tensor) -> list[float]:
    """The weight over the floor, or as it is where there is none."""
    weight = recipe.weight(logsnr)
    return (weight if recipe.divergent else weight / recipe.floor).tolist()


def _fields(recipe: Effective) -> str:
    return (
        f"schedule {recipe.schedule.spec}, predicts {recipe.face.spec}, weighting {recipe.weighs.spec}, times "
        f"{recipe.times.spec}"
    )


def _letters(recipes: list[Effective], labels: list[str], width: int = 61, height: int = 11) -> str:
    """Each weight times the noise's least error, which is how much a log-SNR adds to the loss, in letters."""
    import torch

    logsnr = torch.linspace(-10, 10, width, dtype=torch.float64)
    shares = [torch.tensor(_scaled(recipe, logsnr), dtype=torch.float64) * logsnr.sigmoid() for recipe in recipes]
    top = max(float(share[share.isfinite()].max()) for share in shares)
    lines = curves(dict(zip(labels, shares, strict=True)), top, height)
    middle = "log-SNR, data to the right; what each adds to that loss (* several)"
    return "\n".join([*lines, f"{'-10':>11}{'10':>{width}}", f"{'':10}{middle}"])


def _drawn(recipes: list[Effective], names: tuple[str, ...], out: Path) -> Path:
    """The weights as OUT.weighting.svg."""
    import torch

    from obverse.report.figures import Line, chart, written

    logsnr = torch.linspace(-12, 12, 481, dtype=torch.float64)
    lines = [Line(name, logsnr.tolist(), _scaled(recipe, logsnr)) for name, recipe in zip(names, recipes, strict=True)]
    svg = chart("weighting", lines, x="log-SNR", y="weight on the error of the noise", log=True, bottom=1e-6)
    return written(out.with_name(f"{out.name}.weighting.svg"), svg, f"Weights of {' and '.join(names)}")

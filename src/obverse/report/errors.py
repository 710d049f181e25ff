"""How well the model estimates: its loss as it was trained, and its error at every noise level, between two limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from obverse.data import Batch
from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, ObverseError
from obverse.ground.numerics import divide
from obverse.model import Empirical, Model
from obverse.model.examples import with_noise
from obverse.path import Level
from obverse.recipes.exact import Exact
from obverse.report.figures import Line, chart
from obverse.report.page import Found, cards, drawing, prose
from obverse.report.subject import Subject

LEVELS, REACH = 17, 8.0  # log-SNR from -8 to 8 in ones: beyond, all that is left is noise or data
ROWS = 256  # samples looked at, at each level
FLOOR, EXACT, LINE = "floor: pure memory", "exact floor", "linear denoiser"
_WORK = 5e9  # distances times dimensions for the floor: seconds
_COVARIANCE = 2048  # its side at most: an eigenvalue problem of seconds


def loss(subject: Subject) -> Found:
    """The training loss, as it was logged."""
    lines = [line for line in subject.trained.run.metrics() if "loss" in line]
    if not lines:
        raise InvalidArgument("The run logged no loss; train for log_every steps at least.")
    steps, values = [line["step"] for line in lines], [line["loss"] for line in lines]
    recipe = subject.trained.recipe
    log = max(values) > 20 * min(values)
    shown, found = [Line("loss", steps, values)], {"step": steps, "loss": values}
    floors = [floor for floor in map(_floor, lines) if floor is not None]
    if len(floors) == len(lines):
        shown.append(Line(EXACT, steps, floors))
        found["floor"] = floors
    svg = chart("loss", shown, x="step", y="loss (weighted mean square)", log=log)
    words = (
        f"Weighted by {recipe.weighting!r}, at times drawn from {recipe.times!r}; each point is the mean of the steps "
        f"since the one before (batch {recipe.training.batch}). Last: {values[-1]:.4g} at step {steps[-1]:,}."
    )
    body = drawing(svg, f"Training loss from {values[0]:.3g} to {values[-1]:.3g} over {steps[-1]} steps") + prose(words)
    if "floor" in found:
        body += prose(_above(lines[-1], subject))
    return body, found


def _floor(line: Mapping[str, Any]) -> float | None:
    """The mean loss of the exact model on the samples of a line of metrics."""
    bins = line.get("floor_by_logsnr")
    return sum(mean * n for _, mean, n in bins) / sum(n for *_, n in bins) if bins else None


def _above(line: Mapping[str, Any], subject: Subject) -> str:
    """How far the last line of metrics lies above its floor, and where most of that lies."""
    gaps = [
        ((loss - least) * n, place, loss / least)
        for (place, loss, n), (_, least, _) in zip(line["loss_by_logsnr"], line["floor_by_logsnr"], strict=True)
    ]
    over, (_, place, ratio) = line["loss"] / (_floor(line) or math.nan), max(gaps)
    return (
        f"The law that {subject.trained.facts.name} is drawn from is known, and with it the loss of the exact model on "
        f"the same samples, times and noise: the exact floor, logged for each log-SNR in metrics.jsonl. The last line "
        f"is {over:.4g} x its floor; most of what is above lies at log-SNR {place:g}, where the loss is {ratio:.4g} x."
    )


def noise_error(subject: Subject) -> Found:
    """The error of the noise estimate at each log-SNR, between the exact floor and a linear denoiser."""
    home, train = subject.trained.model.schedule, _some(subject.train, ROWS)
    low, high = max(-REACH, home.range[0]), min(REACH, home.range[1])
    places = torch.linspace(low, high, LEVELS, dtype=torch.float64)
    levels, curves, absent = list(home.at_logsnr(places)), dict[str, list[float]](), list[str]()
    sizes = f"{len(train.x)} training samples"
    held: Batch | None = None
    try:
        held = _some(subject.held, ROWS)
        curves["held-out data"] = _of(subject.trained.model, held, subject.conditional, levels)
        sizes += f" and {len(held.x)} held-out ones"
    except ObverseError as error:
        absent.append(f"The curve of held-out data is absent: {error}")
    curves["training data"] = _of(subject.trained.model, train, subject.conditional, levels)
    few = max(8, min(ROWS, int(_WORK / (LEVELS * subject.train.x.numel()))))
    curves[FLOOR] = _of_memory(subject, _some(subject.train, few), levels)
    if min(subject.train.x.flatten(1).shape) <= _COVARIANCE:
        curves[LINE] = _of_line(subject.train.x, places)
    else:
        absent.append(f"The linear denoiser is absent: more than {_COVARIANCE:,} samples of as many numbers.")
    known = Exact.of(subject.trained.recipe, subject.trained.facts)
    if known is not None:
        curves[EXACT] = _of(known, held if held is not None else train, subject.conditional, levels)
    words = (
        f"The averaged weights on {sizes}, one noise draw each at {LEVELS} levels; noise on the left, data on the "
        "right; lower is better. The floor of memory is exact: what a denoiser that remembers the training samples"
        f"{' of each class' if subject.conditional else ''} and nothing else reaches on them; to touch it where it "
        "falls is to copy. The linear denoiser knows the training data's mean and covariance and nothing else; what "
        "lies below it has been learnt."
    )
    if held is not None:
        words += " The gap between held-out and training data is what has been learnt by heart."
    if known is not None:
        words += (
            f" The exact floor is that of the law which {subject.trained.facts.name} is drawn from, on the same "
            f"{'held-out' if held is not None else 'training'} samples and noise: what no denoiser stays below, but by "
            "chance or by memory."
        )
    body = _charts(curves, places.tolist()) + prose(words) + "".join(map(prose, absent))
    return body, {"logsnr": places.tolist(), **curves}


def _charts(curves: dict[str, list[float]], places: list[float]) -> str:
    """The errors, and what they are of the linear denoiser's, which shows differences that the logarithm hides."""
    alt = "Error of the noise estimate against log-SNR: " + ", ".join(curves)
    lines = [Line(name, places, values) for name, values in curves.items()]
    model = min(min(values) for name, values in curves.items() if name not in (FLOOR, EXACT))
    svg = chart("error", lines, x="log-SNR", y="mean square error of eps", log=True, bottom=model / 30)
    figures = [drawing(svg, alt, "Mean square error; 1 is the variance of eps.")]
    if LINE in curves:
        shares = [
            Line(name, places, [divide(a, b) for a, b in zip(values, curves[LINE], strict=True)])
            for name, values in curves.items()
        ]
        svg = chart("share", shares, x="log-SNR", y="error over linear denoiser's", bottom=0, top=2)
        figures.append(
            drawing(svg, f"{alt}, as shares of the last", "The same over that of the linear denoiser, up to 2.")
        )
    return cards(figures, wide=True)


def _some(data: Batch, count: int) -> Batch:
    """Rows of a data set, as good as drawn."""
    index = noise.permutation(len(data.x), seed=0, purpose="report")[:count]
    return Batch(data.x[index], None if data.label is None else data.label[index], index, 0, index)


def _of(model: Model, data: Batch, conditional: bool, levels: list[Level]) -> list[float]:
    """Mean squared error of a model's eps at each level."""
    cond = data.label if conditional else None
    noised = zip(levels, with_noise(data.x, levels, seed=0, purpose="report"), strict=True)
    return [float((model(x_t, level, cond).noise - eps).square().mean()) for level, (x_t, eps) in noised]


def _of_memory(subject: Subject, data: Batch, levels: list[Level]) -> list[float]:
    """The error that is left to the best denoiser of the training data, told the class if the model is (T58)."""
    train, schedule = subject.train, subject.trained.model.schedule
    classes = data.label if subject.conditional and data.label is not None else torch.zeros(len(data.x))
    groups = []
    for label in torch.unique(classes).tolist():
        known = train.x if train.label is None or not subject.conditional else train.x[train.label == label]
        groups.append((classes == label, Empirical(known, schedule)))
    found = []
    for level, (x_t, _) in zip(levels, with_noise(data.x, levels, seed=0, purpose="report"), strict=True):
        spread = sum(float(oracle.spread(x_t[rows], level).sum()) for rows, oracle in groups) / data.x.numel()
        found.append(spread / float(level.nsr) ** 2)
    return found


def _of_line(x: Tensor, logsnr: Tensor) -> list[float]:
    """The error of the best affine denoiser: of each direction, variance over variance plus noise (T56)."""
    x = x.flatten(1).double()
    x = x - x.mean(0)
    square = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    signal = logsnr.exp()[:, None] * torch.linalg.eigvalsh(square).clamp(min=0) / len(x)
    return ((signal / (signal + 1)).sum(1) / x.shape[1]).tolist()  # type: ignore[no-any-return]

"""What the model draws: samples beside the training data nearest to them, and how they came about."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from obverse.ground.errors import ObverseError
from obverse.ground.shapes import against
from obverse.metrics import nearest
from obverse.recipes import Evaluation
from obverse.recipes.evaluation import neighbours_by
from obverse.report.page import Found, cards, digits, prose, table
from obverse.report.sounds import audible, players, told
from obverse.report.subject import Subject
from obverse.sampler import Step

_CLASSES = 20  # shown at most
_SHOWN, _ALONE, _POINTS = 6, 24, 500  # samples of a class, of a model without classes; vectors, which make a scatter
_FOLLOWED, _MOMENTS, _SCATTERS = 10, 8, 4  # of the trajectory: samples, one a class; moments; those of plots


def samples(subject: Subject) -> Found:
    """Samples by class, above their nearest training neighbours."""
    drawn = subject.drawn
    try:
        train, missing = subject.train.x, ""
    except ObverseError as error:
        train, missing = None, str(error)
    groups = _groups(subject)
    facts, plot, classes = subject.trained.facts, drawn.x.ndim == 2, len(subject.trained.facts.classes)
    most = max(len(rows) for _, rows in groups)
    words = f"{len(drawn.x):,} samples were drawn; shown are the first {most}"
    if drawn.labels is not None:
        words += f" or fewer of each of {len(groups)} classes" + (f" out of {classes}" if len(groups) < classes else "")
    words += f". {subject.axes}" if plot else "."
    if train is None:
        words += f" Their nearest training neighbours are absent: {missing}"
    elif plot:
        words += " Below are the training samples nearest to them; were all copies, the two pictures would be one."
    else:
        words += " Below each is the training sample nearest to it; were it a copy, the two would look the same."
    numbers: dict[str, Any] = {"count": len(drawn.x)}
    if drawn.evaluation is not None:
        numbers["novelty"] = drawn.evaluation.novelty
        words += _new(drawn.evaluation)
    sides = 1 if train is None else 2
    counts, length = audible(facts, len(groups), sides)
    words += told(facts, length, sides)
    figures = [
        _beside(subject, name, drawn.x[rows], train, partial(players, facts, count, length))
        for (name, rows), count in zip(groups, counts, strict=True)
    ]
    body = prose(words) + (cards(figures) if drawn.labels is not None else figures[0])
    if facts.columns:
        body += _cells(subject, torch.cat([rows[: 1 if len(groups) > 1 else _SHOWN] for _, rows in groups])[:_SHOWN])
    return body, numbers


def _cells(subject: Subject, rows: Tensor) -> str:
    """Samples of a table in its own columns, units and words."""
    drawn, trained = subject.drawn, subject.trained
    labels = None if drawn.labels is None else drawn.labels[rows]
    head, *lines = trained.facts.table(drawn.x[rows], labels, trained.recipe.label)
    return table("Some of them, as rows of the table.", head, [[*map(_short, line)] for line in lines])


def _short(cell: str) -> str:
    return f"{float(cell):.5g}" if re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", cell) else cell


def _new(found: Evaluation) -> str:
    """How new samples are."""
    if found.novelty is None:
        return " As half of the held-out data or more are copies of training data, what is new cannot be told."
    return (
        f" The median distance to the nearest training sample is {found.novelty:.3g} times that of held-out data "
        f"(n = {len(found.samples):,}; 0: copies, 1: as new as data never seen, far above: off the data)."
    )


def trajectory(subject: Subject) -> Found:
    """A few samples on their way: their states, and the data the model believes in at each."""
    facts = subject.trained.facts
    plot = len(facts.shape) == 1
    labels = torch.arange(min(len(facts.classes), _FOLLOWED)) if subject.conditional else None
    count = 6 if labels is None else len(labels)
    if plot:
        count, labels = _POINTS, subject.labels(_POINTS)
    steps, tableau = list[Step](), subject.trained.tableau(subject.sampling)
    x = subject.trained.drawing(count, subject.sampling, labels=labels).by_table(tableau, steps.append).x
    every = [
        *{id(step.estimate): step.estimate for step in steps if step.estimate is not None}.values()
    ]  # a call's once
    moments = torch.linspace(0, len(every) - 1, _SCATTERS if plot else _MOMENTS).round().long()
    made = [every[i] for i in sorted({*moments.tolist()})]
    states = [*((e.x_t / against(e.level.r, e.x_t)).cpu() for e in made), x]
    beliefs = [*(e.data.cpu() for e in made), x]
    places = [float(e.level.logsnr) for e in made]
    rows = "One row a class" if labels is not None else "One row a sample"
    body = _scatters(subject, states, beliefs, places) if plot else _strips(subject, states, beliefs, rows)
    words = (
        f"From noise to data, at log-SNR {', '.join(f'{place:.3g}' for place in places)}; last, the sample itself. "
        f"{'' if plot else rows + '. '}States are divided by (alpha² + sigma²)^½, so that they look alike on every "
        "schedule. An estimate is the mean of all data that the state may come from: in pure noise the mean of "
        "everything, in the end the sample."
    )
    numbers = {"logsnr": [place if math.isfinite(place) else None for place in places]}
    return prose(words) + body, numbers


def _scatters(subject: Subject, states: list[Tensor], beliefs: list[Tensor], places: list[float]) -> str:
    """A card a moment: the states above the estimates."""
    figures = []
    names = [*(f"log-SNR {place:.3g}" for place in places), "the sample"]
    for name, state, belief in zip(names, states, beliefs, strict=True):
        upper = subject.show(state, f"states at {name}", f"{name}: states")
        lower = subject.show(belief, f"estimates of the data at {name}", "estimates of the data")
        figures.append(f"<div>{upper}{lower}</div>")
    return cards(figures)


def _strips(subject: Subject, states: list[Tensor], beliefs: list[Tensor], rows: str) -> str:
    """A strip a sample, from noise to data: one sheet of states, one of estimates."""
    figures = [
        subject.show(torch.stack(kind, 1).flatten(0, 1), f"{what}. {rows}.", f"{what}.", columns=len(kind))
        for kind, what in ((states, "States x_t, on the unit circle"), (beliefs, "Estimates of the data"))
    ]
    return cards(figures, wide=True) if states[0].ndim == 4 else "".join(figures)


def _groups(subject: Subject) -> list[tuple[str, Tensor]]:
    """The classes and the rows of each that are shown; one nameless group without classes."""
    drawn, classes = subject.drawn, subject.trained.facts.classes
    plot = drawn.x.ndim == 2
    if drawn.labels is None:
        return [("", torch.arange(min(len(drawn.x), _POINTS if plot else _ALONE)))]
    rows = [(drawn.labels == number).nonzero().flatten() for number in range(min(len(classes), _CLASSES))]
    return [(name, row[: _POINTS if plot else _SHOWN]) for name, row in zip(classes, rows, strict=False) if len(row)]


def _beside(subject: Subject, name: str, x: Tensor, train: Tensor | None, players: Callable[..., str]) -> str:
    """Samples of one class, below them their nearest neighbours, and players of some of both if they are sounds."""
    of = f" of class {name}" if name else ""
    card, alone = (2, _SHOWN) if x.ndim == 3 else (_SHOWN, 2 * _SHOWN)  # curves and clouds are drawn larger than images
    columns = card if name else alone
    upper = subject.show(x, f"{len(x)} samples{of}", f"{'Class ' + name if name else 'Samples'}", columns=columns)
    if train is None:
        return f"<div>{upper}{players(of, x)}</div>"
    found = nearest(*map(neighbours_by(subject.trained.recipe, subject.trained.facts), (x, train)))
    near, median = train[found.index], digits(float(found.distance.median()))
    words = f"nearest in the training data, median distance {median}"
    lower = subject.show(near, f"training samples nearest to the samples{of}", words, columns=columns)
    return f"<div>{upper}{lower}{players(of, x, near)}</div>"

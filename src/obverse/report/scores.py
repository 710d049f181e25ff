"""How good the samples are, in numbers: distances to held-out data, and what each sampler makes of its calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument, ObverseError
from obverse.metrics import Features, Measured, against, fashion, nearest_neighbour_accuracy
from obverse.recipes import Sampling
from obverse.recipes.evaluation import features_for, neighbours_by
from obverse.report.page import Found, digits, prose, table
from obverse.report.subject import Subject

COUNT = 300  # samples a sampler: enough to rank them
SAMPLERS = (
    *(("thrifty", 10), ("thrifty", 20), ("ddim", 10), ("ddim", 20), ("dpmpp-2m", 10), ("dpmpp-2m", 20), ("heun", 10)),
    *(("sde", 20), ("sde", 50)),  # eta = 1
)


def work(subject: Subject) -> int:
    """Steps of all samplers of a report, times the samples that each draws; one without a grid as if it had one."""
    tried = min(COUNT, subject.foreseen) * sum(steps for _, steps in SAMPLERS)
    return subject.foreseen * subject.sampling.steps + tried


def distances(subject: Subject) -> Found:
    """Distances of samples to held-out data, each beside real against real."""
    found = subject.drawn.evaluation
    if found is None:
        raise InvalidArgument(subject.drawn.missing)
    head = ["distance", "samples against held-out", "95 % interval", "real against real", "ratio", "n a side"]
    rows = [
        [
            _name(m),
            digits(m.value),
            f"{digits(m.low)} … {digits(m.high)}",
            digits(m.floor),
            digits(m.ratio),
            f"{m.sizes[0]:,}",
        ]
        for m in found.measured
    ]
    units = "In network units (frechet: their square; mmd: none)."
    if found.features != "raw":
        units = f"On features called {found.features}: {Features.members[found.features].summary()}"
    body = table(units, head, rows)
    body += prose(
        "Finite sets never agree; so beside each number stands the same one between two sets of real data of the same "
        "size, mean magnitude of 20 splits. A perfect model has a ratio of about 1 (mmd, whose mean is then 0: -2 to "
        "3). Intervals are of halves of both sets, drawn without replacement."
    )
    if found.accuracy is not None and found.accuracy_of_real is not None:
        body += prose(
            f"Class accuracy: a 3-nearest-neighbour classifier of all real data recognises {found.accuracy:.1%} of "
            f"{len(found.samples):,} samples as the class they were asked for. Fitted to the training data, it "
            f"recognises {found.accuracy_of_real:.1%} of {len(subject.held.x):,} held-out samples."
        )
    else:
        body += prose("Class accuracy is absent: the model knows no classes.")
    if found.garments is not None and found.garments_of_real is not None:
        body += prose(
            f"A network trained on Fashion-MNIST, right for {float(fashion.facts()['accuracy']):.1%} of its test "
            f"images, recognises {found.garments:.1%} of the samples and {found.garments_of_real:.1%} of held-out data."
        )
    return body, found.to_json()


def _name(measured: Measured) -> str:
    return measured.name if measured.better == "lower" else f"{measured.name} ({measured.better} is better)"


def samplers(subject: Subject) -> Found:
    """Several samplers: network calls, wall time, distance and accuracy."""
    labels, count = subject.drawn.labels, min(COUNT, len(subject.drawn.x))
    if labels is not None:
        labels = labels[torch.arange(count) * len(labels) // count]
    tried = []
    for solver, steps in SAMPLERS:
        sampling = replace(subject.sampling, solver=solver, steps=steps, eta=None, tableau=None)
        tried.append({"solver": solver, "steps": steps, **_try(subject, sampling, count, labels)})
    columns: dict[str, tuple[str, Callable[[Any], str]]] = {
        "solver": ("solver", str),
        "steps": ("steps", str),
        "network calls": ("calls", str),
        "seconds": ("seconds", "{:.2f}".format),
        "Fréchet ratio": ("frechet_ratio", digits),
    }
    if labels is not None:
        columns["class accuracy"] = ("accuracy", "{:.1%}".format)
    rows = [["–" if one[key] is None else told(one[key]) for key, told in columns.values()] for one in tried]
    how = f"seed {subject.sampling.seed}, grid {subject.sampling.grid}, sde with eta = 1"
    body = table(f"{count:,} samples each; {how}; threads: {torch.get_num_threads()}.", [*columns], rows)
    if any(one["frechet_ratio"] is None for one in tried):
        body += prose(f"Fréchet ratios are absent where they cannot be measured. {subject.drawn.missing}")
    if labels is None:
        body += prose("Class accuracy is absent: the model knows no classes.")
    for one in tried:
        if one["refused"]:
            body += prose(f"{one['solver']}, {one['steps']} steps: {one['refused']}")
    words = "Calls are for one sample, guidance's second one counted. The Fréchet ratio is distance to held-out data "
    words += "over real against real, on what distances above are measured on."
    if count < len(subject.drawn.x):
        words += " This n is smaller than above: compare it down the column only."
    return body + prose(words, quiet=True), {"count": count, "rows": tried}


def _try(subject: Subject, sampling: Sampling, count: int, labels: Tensor | None) -> dict[str, Any]:
    """What one sampler took and reached; None for what cannot be known."""
    found: dict[str, Any] = dict.fromkeys(("calls", "seconds", "frechet_ratio", "accuracy", "refused"))
    begun = time.perf_counter()
    try:
        watch = subject.watching(count * sampling.steps)
        run = subject.trained.sampled(count, sampling, labels=labels, watch=watch)
    except ObverseError as error:
        return {**found, "refused": str(error)}
    found["seconds"] = time.perf_counter() - begun
    found["calls"] = run.ledger.calls
    recipe, facts = subject.trained.recipe, subject.trained.facts
    x = facts.settled(run.x)
    try:
        train, held, on = subject.train, subject.held, features_for(recipe, facts)
        found["frechet_ratio"] = against(x, held.x, train.x, metrics=["frechet"], features=on, bootstrap=2)[0].ratio
    except ObverseError:
        return found
    if labels is not None and train.label is not None and held.label is not None:
        made, known, new = map(neighbours_by(recipe, facts), (x, train.x, held.x))
        real = torch.cat([known, new]), torch.cat([train.label, held.label])
        found["accuracy"] = nearest_neighbour_accuracy(made, labels, *real)
    return found

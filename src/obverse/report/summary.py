"""What was trained, how it came out, and everything needed to do it again."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from obverse import __version__
from obverse.ground.errors import ObverseError
from obverse.metrics import Features
from obverse.path import Prediction
from obverse.report.page import Found, Mark, digits, table
from obverse.report.subject import Subject

ACCURACY, FRECHET = 0.98, 1.5  # what a small net reaches on digits, and no copier or blurrer does
NOVELTY = 0.9, 1.5  # the named recipes reach 0.74 (it remembers) to 1.37; a Gaussian fitted to digits has 1.67
COIN = 1e-9  # float64 rounding, grown by a network and twenty steps
_EASY = 0.97  # the accuracy mark is for data whose own classes are told apart so well


def sentence(subject: Subject) -> str:
    """What was trained on what, in one sentence."""
    trained = subject.trained
    facts, training, net = trained.facts, trained.recipe.training, trained.model.net
    kind, size = "sounds" if facts.rate else facts.kind, " x ".join(map(str, facts.shape))
    try:
        what, looked = f"{subject.sizes[0]:,} {kind} of {size}", len(subject.train.x)
        few = f" Here {looked:,} of them, evenly spread, stand for all." if looked < subject.sizes[0] else ""
    except ObverseError:
        what, few = f"{kind} of {size}", ""
    parameters = sum(p.numel() for p in net.parameters())
    classes = f" in {len(facts.classes)} classes" if facts.classes else ""
    try:
        held = f"{subject.sizes[1]:,} others were held out" if subject.sizes[1] else "none are held out"
    except ObverseError:
        held = "none are held out"
    told = " It is told the class." if subject.conditional else ""
    return (
        f"{type(net).__name__} of {parameters:,} parameters, trained for {trained.step:,} steps of {training.batch} "
        f"samples on {what} from {facts.name}{classes}; {held}.{few}{told}"
    )


def verdict(numbers: Mapping[str, Any]) -> list[Mark]:
    """The headline numbers of a report, as far as they could be measured."""
    found = []
    scores, coin = numbers.get("distances"), numbers.get("coin")
    if scores:
        name = Features.of(scores["features"]).title("frechet")
        frechet = next(one for one in scores["measured"] if one["name"] == name)
        n = f"n = {scores['samples']:,}"
        if scores["accuracy"] is not None:
            real, value = scores["accuracy_of_real"], scores["accuracy"]
            passed = value >= ACCURACY if real >= _EASY else None
            mark = f"mark: at least {ACCURACY:.0%}; " if passed is not None else ""
            words = f"of samples are recognised as their class ({mark}held-out data: {real:.1%}; {n})"
            found.append(Mark("Class accuracy", f"{value:.1%}", words, passed))
        words = f"real against real (mark: at most {FRECHET}; n = {frechet['sizes'][0]:,} a side)"
        title = "Fréchet distance" if name == "frechet" else name
        found.append(Mark(title, f"{digits(frechet['ratio'])} x", words, frechet["ratio"] <= FRECHET))
        new, (low, high) = scores["novelty"], NOVELTY
        if new is not None:
            said = ": copies" if new < low else ": off the data" if new > high else ""
            words = f"held-out data's distance to the training data{said} (mark: {low} to {high}; {n})"
            found.append(Mark("Novelty", f"{digits(new)} x", words, low <= new <= high))
    if coin:
        words = f"relative difference of flow and diffusion samples in float64 (mark: at most {COIN:.0e})"
        found.append(Mark("The coin", f"{coin['float64']:.1e}", words, coin["float64"] <= COIN))
    return found


def provenance(subject: Subject) -> Found:
    """Recipe, convention, versions and times."""
    trained = subject.trained
    recipe, model, scaling = trained.recipe, trained.model, trained.facts.scaling
    face = Prediction.of(recipe.predicts)
    units = "one pair of numbers" if len(scaling.shift) == 1 else f"{len(scaling.shift)} pairs of numbers"
    threads = torch.get_num_threads()
    about = {
        "obverse": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "step": trained.step,
        "seed": recipe.training.seed,
        "sampling": asdict(subject.sampling),
        "recipe": recipe.to_json(),
        "seconds": dict(subject.seconds),
    }
    rows = [
        ["convention", "x_t = alpha x + sigma eps; data at t = 0, noise at t = 1"],
        ["schedule", f"{model.schedule.spec}: {model.schedule.summary()}"],
        ["the network predicts", f"{face.spec}: {face.summary()}"],
        ["it is told time as", f"{model.time.spec}: {model.time.summary()}"],
        ["its state is scaled by", f"{model.precondition.spec}: {model.precondition.summary()}"],
        ["network units", f"(raw - shift) / scale, {units}: {_numbers(scaling.shift)}; {_numbers(scaling.scale)}"],
        ["weights", f"averaged (EMA), step {trained.step:,} of {recipe.training.steps:,}"],
        ["seed", f"{recipe.training.seed} of training, {subject.sampling.seed} of sampling"],
        ["sampling", ", ".join(f"{k} = {v}" for k, v in asdict(subject.sampling).items() if v is not None)],
        ["versions", f"obverse {__version__}, torch {torch.__version__}, python {about['python']}, threads: {threads}"],
        *([f"seconds: {name}", f"{value:.1f}"] for name, value in subject.seconds.items()),
        ["recipe", json.dumps(recipe.to_json())],
    ]
    return table("What it takes to do this again.", [], rows, words=True), about


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values[:4]) + (" …" if len(values) > 4 else "")

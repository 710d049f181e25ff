"""The coin: one network, sampled as a flow and as a diffusion, draws the same samples."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from obverse.ground.numerics import precise
from obverse.ground.shapes import against
from obverse.model import Model
from obverse.recipes import build
from obverse.report.page import Found, cards, prose, table
from obverse.report.subject import Subject
from obverse.sampler import LogSNR, Step, sample

STEPS, REACH = 20, 8.0  # one grid for all: log-SNR from -8 to 8, as far as the home schedule goes, then the end
_COUNT, _POINTS = 20, 200  # samples; vectors


class Side(NamedTuple):
    """A way of sampling: what it is called, its schedule and its solver."""

    words: str
    schedule: str
    solver: str


FLOW = Side("flow matching: Euler", "linear", "euler")
ODE = (
    FLOW,
    Side("diffusion: DDIM", "vp", "ddim"),
    Side("diffusion: DDIM", "cosine", "ddim"),
    Side("diffusion: EDM's Euler", "edm", "euler:face=noise"),
)
SDE = tuple(Side("SDE, eta = 1", side.schedule, "sde") for side in ODE)


def work(subject: Subject) -> int:
    """Steps of all sides, times the samples of each: what `Subject.watch` will be told."""
    return 2 * len(ODE + SDE) * STEPS * _count(subject)


def coin(subject: Subject) -> Found:
    """The same network on four schedules, as an ODE and as an SDE, in two precisions: how far samples differ."""
    trained, place = subject.trained, precise(subject.trained.model.device)
    twin = build.model(trained.recipe, copy.deepcopy(trained.model.net).to(place, torch.float64))
    rows, finals = [], {}
    for sides in (ODE, SDE):
        double = [_path(subject, twin, side, torch.float64) for side in sides]
        single = [_path(subject, trained.model, side, torch.float32) for side in sides]
        for i, side in enumerate(sides):
            finals[side] = single[i][-1]
            apart = {"float64": _apart(double[i], double[0]), "float32": _apart(single[i], single[0])}
            rows.append({**side._asdict(), **apart})
    flow, diffusion = finals[FLOW], finals[ODE[1]]
    strangers = _apart([flow], [flow.roll(1, 0)])
    worst = {kind: max(float(row[kind]) for row in rows[: len(ODE)]) for kind in ("float64", "float32")}
    words = (
        f"One network, {len(flow)} samples, seed {subject.sampling.seed}, {STEPS} steps on one grid of log-SNR. As a "
        f"flow on the linear path and as a diffusion on three others, its samples differ by {worst['float64']:.1e} in "
        f"float64 and {worst['float32']:.1e} in float32: by rounding. (Different samples: "
        f"{strangers:.1f}.) With fresh noise they are other samples of the same distribution, and again the same on "
        "every schedule."
    )
    shown = [
        subject.show(flow, "samples of the flow", "As a flow: Euler on the linear path", columns=4),
        subject.show(diffusion, "samples of the diffusion", "As a diffusion: DDIM on VP, same seed", columns=4),
        subject.show(finals[SDE[1]], "samples of the SDE", "With fresh noise: DDPM's SDE on VP", columns=4),
    ]
    cells = [
        [str(row["words"]), row["schedule"], *(_brief(row, kind) for kind in ("float64", "float32"))] for row in rows
    ]
    caption = (
        "Largest difference of x_t/alpha from the linear path's over all steps, relative to the largest entry "
        f"(n = {len(flow)}); SDE against SDE."
    )
    body = prose(words) + cards(shown) + table(caption, ["sampled as", "schedule", "float64", "float32"], cells)
    return body, {**worst, "strangers": strangers, "rows": rows}


def _path(subject: Subject, model: Model, side: Side, dtype: torch.dtype) -> list[Tensor]:
    """x_t / alpha after every step."""
    facts, count = subject.trained.facts, _count(subject)
    low, high = model.schedule.range
    states: list[Tensor] = []
    watch = subject.watching(count * STEPS)

    def look(step: Step) -> None:
        states.append(step.x_t / against(step.level.alpha, step.x_t))
        watch(step)

    sample(
        model.on(side.schedule),
        (count, *facts.shape),
        solver=side.solver,
        grid=LogSNR(steps=STEPS, low=max(-REACH, low), high=min(REACH, high)),
        cond=build.labels_for(subject.trained.recipe, facts, count),
        seed=subject.sampling.seed,
        dtype=dtype,
        watch=look,
    )
    return states


def _count(subject: Subject) -> int:
    return _POINTS if len(subject.trained.facts.shape) == 1 else _COUNT


def _apart(path: list[Tensor], other: list[Tensor]) -> float:
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(path, other, strict=True))


def _brief(row: dict[str, object], kind: str) -> str:
    return "reference" if row["schedule"] == FLOW.schedule else f"{row[kind]:.1e}"

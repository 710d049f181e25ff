"""Weightings, time laws and distances with other settings than their defaults keep the laws of their families."""

from __future__ import annotations

import pytest
import torch

from obverse.ground.families import Family
from obverse.laws import Law, laws_of
from obverse.objective import Adaptive, Distance, TimeLaw, Weighting
from obverse.path import Linear


def learnt() -> Adaptive:
    """A law that has seen losses grow towards noise."""
    law = Adaptive(TimeLaw.of("stratified:base=logit-normal"), bins=16)
    for step in range(50):
        level = law.level(law.uniforms(64, seed=0, step=step, samples=None), Linear())
        law.observe(level, torch.as_tensor(level.t) * law.ratio(level))
    return law


MEMBERS: list[Family] = [
    *map(
        TimeLaw.of,
        [
            "beta:a=0.9,b=0.8",
            "beta:a=3,b=1.2",
            "mode:scale=-0.6",
            "mode:scale=0.81",
            "logit-normal:mean=-0.5,std=1.5",
            "cut:base=(beta:a=2,b=2),low=0.2,high=0.9",
            "cut:base=log-normal-nsr,low=0.05,high=0.8",
            "shifted:base=uniform,k=0.3",
            "shifted:base=mode",
            "stratified:base=(shifted:base=logit-normal)",
            "importance:base=(beta:a=0.8,b=0.8),meant=logit-normal",
            "adaptive:base=(cut:base=cos-map),bins=7",
        ],
    ),
    learnt(),
    *map(
        Weighting.of,
        [
            "soft-min-snr:gamma=1",
            "p2:k=2,gamma=0.5",
            "mse:face=score,path=vp",
            "mse:face=v,path=linear",
            "mse:face=edm,path=edm",
            "induced:times=log-normal-nsr,weighting=edm,path=edm",
            "sd3:times=mode",
            "learned:base=elbo",
            "learned:base=(min-snr:gamma=1),octaves=3",
        ],
    ),
    *map(Distance.of, ["square", "huber", "huber:delta=0.01", "pseudo-huber", "pseudo-huber:c=3"]),
]
CASES = [(member, law) for member in MEMBERS for law in laws_of(member)]


@pytest.mark.parametrize(
    ("member", "law"), CASES, ids=lambda value: value.name if isinstance(value, Law) else value.label
)
def test_every_member_keeps_every_law(member: Family, law: Law) -> None:
    verdict = law.verdict(member)
    assert verdict.ok, verdict


def test_distances_have_laws() -> None:
    assert len(laws_of(Distance.of("huber"))) >= 3

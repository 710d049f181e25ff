"""Guidance is affine in beliefs, so every face agrees."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from obverse.guidance import Guided
from obverse.laws.problems import FACES, PATHS, draws, times
from obverse.model import Call, Cond, Model
from obverse.path import Data, Level, Prediction, Schedule, change

X_T = draws((6, 2, 3), "guidance")
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@dataclass(frozen=True)
class Opinion(Model):
    """A belief about the data that depends on the label (-1: none), told in any face."""

    schedule: Schedule
    face: Prediction

    def at(self, level: Level, like: Tensor) -> Call:
        def call(x_t: Tensor, cond: Cond) -> Tensor:
            data = (x_t + 0.7 * cond.reshape(-1, 1, 1)).tanh()
            return change(data, x_t, level, Data(), self.face)

        return call


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.spec)
def test_guidance_agrees_on_every_face(path: Schedule, scale: float) -> None:
    for t in (torch.tensor(0.6), times(0.1, 0.9, 6)):
        first, *others = (Guided(Opinion(path, face), scale)(X_T, t, LABELS).data for face in FACES)
        for other in others:
            assert torch.allclose(other, first, rtol=1e-10, atol=1e-10)


def test_scale_one_is_no_guidance_and_scale_zero_no_condition() -> None:
    opinion, none = Opinion(PATHS[0], FACES[2]), torch.full((6,), -1)
    for scale, cond in ((1.0, LABELS), (0.0, none)):
        guided = Guided(opinion, scale)(X_T, 0.5, LABELS).data
        assert torch.allclose(guided, opinion(X_T, 0.5, cond).data, rtol=1e-12)


def test_row_i_does_not_depend_on_row_j() -> None:
    guided = Guided(Opinion(PATHS[1], FACES[3]), 2.0)
    t = times(0.1, 0.9, 6)
    together = guided(X_T, t, LABELS).data
    order = torch.tensor([4, 0, 2])
    assert torch.allclose(guided(X_T[order], t[order], LABELS[order]).data, together[order], rtol=1e-13)

"""Conditions that lie on another device than the states: wherever a model is asked, they are with the states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from obverse.guidance import Guided
from obverse.likelihood import density
from obverse.model import Call, Cond, Microbatched, Model
from obverse.objective import couplings
from obverse.path import Flow, Level, Linear
from obverse.sampler import Adaptive, Sampler, Solver, Uniform, parallel

FAR = torch.device("meta")  # a device without numbers
START = torch.zeros(6, 2, device=FAR)
COND: Any = {"label": torch.arange(6), "pair": (torch.zeros(6, 3), None)}
TABLE = Solver.of("ddim").tableau("linear", Uniform(4))


class Asked(Exception):
    """The model was asked, which is as far as a run without numbers comes."""


class Looks(Model):
    """Looks whether states and condition are in one place."""

    schedule, face = Linear(), Flow()

    def at(self, level: Level, like: Tensor) -> Call:
        def call(x_t: Tensor, cond: Cond) -> Tensor:
            places = {x_t.device, cond["label"].device, cond["pair"][0].device}
            assert places == {FAR}
            raise Asked

        return call


ASKS: dict[str, Callable[[Model], object]] = {
    "called": lambda model: model(START, 0.5, COND),
    "sampled": lambda model: Sampler(TABLE).end(model, START, cond=COND),
    "bound": lambda model: Sampler(TABLE).bound(model, START)(START, (), COND),
    "adaptive": lambda model: Adaptive().run(model, START, cond=COND, microbatch=4),
    "in parallel": lambda model: parallel(TABLE, model, START, cond=COND),
    "likelihood": lambda model: density.log_density(model, START, cond=COND, probes=2),
}
WRAPS: dict[str, Callable[[Model], Model]] = {
    "itself": lambda model: model,
    "microbatched": lambda model: Microbatched(model, 4),
    "guided": lambda model: Guided(model, 2.0),
    "guided by a null": lambda model: Guided(model, 2.0, {"label": torch.zeros(1), "pair": (torch.zeros(1, 3), None)}),
}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("ask", ASKS)
def test_a_condition_is_where_the_states_are(ask: str, wrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if wrap == "microbatched" and ask in ("adaptive", "in parallel", "likelihood"):
        pytest.skip("every sample has its own level")
    monkeypatch.setattr(density, "_check", lambda *_: None)  # which looks at numbers
    with pytest.raises(Asked):
        ASKS[ask](WRAPS[wrap](Looks()))


def test_a_coupling_sees_the_condition_beside_the_data() -> None:
    class Looking(couplings.Coupling):
        def paired(self, batch: couplings.Batch) -> Tensor:
            assert all(one.cond["label"].device == FAR for one in (batch, batch.part(torch.tensor([1, 0]))))  # type: ignore
            return batch.eps

    assert Looking().pair(START, START, COND).device == FAR

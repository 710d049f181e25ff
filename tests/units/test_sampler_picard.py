"""Parallel in time: the same end in fewer rounds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.model import Mixture, Network
from obverse.sampler import Angle, Sampler, Solver
from obverse.sampler.picard import parallel

TURN = torch.arange(8) * (math.pi / 4)
RING = Mixture(1.3 * torch.stack([TURN.cos(), TURN.sin()], 1), 0.15**2, None, "linear")
START = noise.normal((6, 2), seed=0, purpose="test", dtype=torch.float64)


@pytest.mark.parametrize("solver", ["ddim", "euler", "heun", "dpmpp-2m", "sde:eta=0.5"])
def test_rounds_lead_where_the_calls_one_by_one_lead(solver: str) -> None:
    table = Solver.of(solver).tableau("linear", Angle(64 if solver != "heun" else 32))
    want = Sampler(table).end(RING, START, seed=3)
    run = parallel(table, RING, START, tolerance=1e-6, seed=3)
    assert float((run.x - want).abs().max()) <= 1e-5
    assert run.rounds <= (32 if solver.startswith("sde") else 21)


@pytest.mark.parametrize("window", [1, 2, 7, 64])
def test_any_window_leads_there(window: int) -> None:
    table = Solver.of("dpmpp-2m").tableau("linear", Angle(24))
    want = Sampler(table).end(RING, START)
    run = parallel(table, RING, START, tolerance=1e-9, window=window)
    assert float((run.x - want).abs().max()) <= 1e-7
    assert (run.rounds == 24) if window == 1 else (run.rounds <= 24)
    assert run.calls <= run.rounds * window


def test_a_tighter_tolerance_is_a_smaller_difference() -> None:
    table = Solver.of("dpmpp-2m").tableau("linear", Angle(64))
    want = Sampler(table).end(RING, START)
    runs = [parallel(table, RING, START, tolerance=tolerance) for tolerance in (1e-2, 1e-4, 1e-8)]
    errors = [float((run.x - want).abs().max()) for run in runs]
    assert errors[0] > errors[1] > errors[2] and [run.rounds for run in runs] == sorted(run.rounds for run in runs)


def test_conditions_follow_their_rows() -> None:
    class Pulled(nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
            return x - cond[:, None] * (1 + t[:, None])

    model = Network(Pulled(), "linear", predicts="flow")
    table = Solver.of("ddim").tableau("linear", Angle(16))
    cond = torch.arange(6.0)
    want = Sampler(table).end(model, START.float(), cond=cond)
    seen = []
    run = parallel(table, model, START.float(), cond=cond, watch=lambda done, total: seen.append((done, total)))
    assert torch.allclose(run.x, want, atol=1e-4)
    assert seen[-1] == (16, 16) and len(seen) == run.rounds


@pytest.mark.parametrize(("tolerance", "window"), [(0.0, None), (math.nan, None), (1e-3, 0)])
def test_what_is_out_of_range_is_refused(tolerance: float, window: int | None) -> None:
    table = Solver.of("ddim").tableau("linear", Angle(4))
    with pytest.raises(InvalidArgument, match="tolerance > 0 and window >= 1"):
        parallel(table, RING, START, tolerance=tolerance, window=window)


def test_a_table_of_another_schedule_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="This table is of another schedule than the model's, linear"):
        parallel(Solver.of("ddim").tableau("vp", "uniform:steps=4"), RING, START)


def test_a_condition_has_a_row_for_each_sample() -> None:
    net = Network(lambda x, _, cond: x * cond[:, None], "linear")
    with pytest.raises(InvalidArgument, match="cond has one row for each sample: expected 6"):
        parallel(Solver.of("ddim").tableau("linear", Angle(4)), net, START, cond=torch.ones(5))


def test_what_is_not_finite_is_named_by_call_level_and_row() -> None:
    def breaks(x: torch.Tensor, t: torch.Tensor, _: None) -> torch.Tensor:
        wrong = (t < 0.3) & (torch.arange(len(x)) % 6 == 2)
        return torch.where(wrong[:, None], math.nan, -x)

    table = Solver.of("ddim").tableau("linear", "uniform:steps=4")
    words = r"output of call 4 of 4 is not finite at t = 0\.25 .*first in row 2 \(1 of 6 rows\)"
    with pytest.raises(NonFinite, match=words):
        parallel(table, Network(breaks, "linear"), START)


def test_a_run_that_is_lost_ends_at_once() -> None:
    rounds: list[int] = []

    def breaks(x: torch.Tensor, t: torch.Tensor, _: None) -> torch.Tensor:
        return torch.where(t[:, None] > 0.9, math.nan, -x)

    table = Solver.of("ddim").tableau("linear", "uniform:steps=64")
    with pytest.raises(NonFinite, match=r"output of call 1 of 64 is not finite"):
        parallel(table, Network(breaks, "linear"), START, watch=lambda done, _: rounds.append(done))
    assert len(rounds) <= 1

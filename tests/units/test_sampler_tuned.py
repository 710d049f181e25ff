"""Tuned samplers and advice: what is fitted is a table, exact where it must be, and never worse than its start."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.guidance import Guided
from obverse.model import Gaussian, Mixture, Network
from obverse.path import Schedule
from obverse.sampler import Sampler, Solver, Tableau
from obverse.sampler.advice import advise, contenders, race
from obverse.sampler.descent import Place, descend
from obverse.sampler.fitting import Method, levels_of
from obverse.sampler.search import Aim, Search, no_worse, starts
from obverse.sampler.truth import Errors, truth
from obverse.sampler.tuned import Effort, Tuned, tune

SCHEDULES = ("linear", "cosine", "vp", "edm")
QUICK = Effort(iterations=12)


def ring(schedule: str = "linear") -> Mixture:
    turn = torch.arange(5) * (2 * math.pi / 5)
    return Mixture(1.2 * torch.stack([turn.cos(), turn.sin()], 1), 0.04, None, schedule)


def draw(count: int, purpose: str = "fit") -> torch.Tensor:
    return noise.normal((count, 2), seed=0, purpose=purpose, dtype=torch.float64)


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return tune(ring(), draw(288), 6, effort=QUICK)


def test_a_tuned_table_is_closer_to_the_truth_than_its_start_on_noise_that_neither_has_seen(tuned: Tuned) -> None:
    fresh = truth(ring(), draw(200, "fresh"))
    start = dict(tuned.curve)[6]
    reached = fresh.errors(tuned.tableau)
    assert tuned.improved
    assert reached.median < 0.5 * start.median
    assert reached.rms < start.rms


def test_what_is_reported_is_what_the_table_does(tuned: Tuned) -> None:
    assert tuned.truth.errors(tuned.tableau) == tuned.errors


def test_a_fit_that_finds_nothing_better_returns_its_start() -> None:
    idle = tune(ring(), draw(60), 5, effort=Effort(iterations=0))
    assert not idle.improved
    assert idle.errors == idle.started
    assert idle.truth.errors(idle.tableau) == idle.started


def test_a_call_that_says_what_is_known_can_be_left_out() -> None:
    model, eps = ring(), draw(8, "later")
    solver = Solver.of("adams")
    longer = Method.of(solver.tableau(model.schedule, "angle:steps=6"))  # from pure noise, and data's mean is 0
    begun = [one.tableau(model.schedule) for one in (longer, longer.later())]
    ends = [Sampler(one).end(model, eps * float(one.levels.sigma[0])) for one in begun]
    assert longer.later().calls == 5
    assert float((ends[0] - ends[1]).abs().max()) < 1e-6


def test_a_tuned_table_has_as_many_calls_as_asked_at_falling_angles(tuned: Tuned) -> None:
    assert tuned.tableau.calls == 6
    assert tuned.tableau.draws == 0
    assert bool((tuned.tableau.canonical().angles.diff() < 0).all())


def test_a_saved_table_is_read_back_the_same_with_its_measurements_beside(tuned: Tuned, tmp_path: Path) -> None:
    tuned.save(tmp_path / "6.json", {"guidance": 2.0})
    assert Tableau.load(tmp_path / "6.json") == tuned.tableau
    beside = json.loads((tmp_path / "6.json").read_text())["tuned"]
    assert beside["guidance"] == 2.0
    assert beside["errors"]["median"] == tuned.errors.median
    assert [row["calls"] for row in beside["start"]["curve"]] == [6, 9, 12, 18]


def test_the_same_noise_and_seed_give_the_same_table() -> None:
    effort = Effort(iterations=4)
    one, two = (tune(ring(), draw(60), 4, effort=effort).tableau for _ in range(2))
    assert one.difference(two) == 0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_tuning_works_on_every_schedule(schedule: str) -> None:
    found = tune(ring().on(schedule), draw(96), 5, effort=Effort(iterations=6))
    assert found.errors.median < found.started.median


@pytest.mark.parametrize("predicts", ["data", "noise", "flow", "v", "velocity", "edm"])
def test_tuning_works_for_float32_networks_of_every_prediction(predicts: str) -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))

        def forward(self, x_t: torch.Tensor, t: torch.Tensor, cond: object) -> torch.Tensor:
            out: torch.Tensor = self.inner(torch.cat([x_t, t[:, None]], 1))
            return out

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Network(Small().requires_grad_(False), "cosine", predicts=predicts)
    found = tune(model, draw(60).float(), 4, effort=Effort(iterations=4))
    assert math.isfinite(found.errors.rms)
    assert found.errors.score <= found.started.score


def test_tuning_is_of_the_guided_model_and_its_conditions() -> None:
    def net(x_t: torch.Tensor, _: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        to = torch.where(cond < 0, 0.0, cond * 2.0 - 1).to(x_t)[:, None]
        return x_t - (x_t + 4 * to).tanh()

    guided = Guided(Network(net, "linear"), 3.0)
    cond = torch.arange(60) % 2
    found = tune(guided, draw(60), 4, cond=cond, effort=Effort(iterations=4))
    assert found.truth.errors(found.tableau) == found.errors
    assert torch.equal(found.truth.cond, cond[: len(found.truth.noise)])
    with pytest.raises(InvalidArgument, match="one row for each sample"):
        tune(guided, draw(60), 4, cond=cond[:10])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("spec", ["ddim", "dpmpp-2m", "adams", "adams:face=noise", "adams:face=v"])
def test_a_table_survives_being_read_as_a_method_and_made_a_table_again(spec: str, schedule: str) -> None:
    path = Schedule.of(schedule)
    table = Solver.of(spec).tableau(path, "angle:steps=7,start=0.99")
    assert Method.of(table).tableau(path).difference(table) < 1e-9


@pytest.mark.parametrize("spec", ["heun", "sde"])
def test_what_cannot_be_fitted_is_refused(spec: str) -> None:
    with pytest.raises(InvalidArgument, match="Fitted are methods"):
        Method.of(Solver.of(spec).tableau("linear", "angle:steps=5"))


def test_kept_is_what_keeps_the_noise_in_step_for_every_analytic_method() -> None:
    for spec in ("ddim", "dpmpp-2m", "adams"):
        method = Method.of(Solver.of(spec).tableau("linear", "angle:steps=6"))
        noise = method.angles.sin()
        assert torch.allclose(method.kept, noise[1:] / noise[:-1], atol=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "vp"])
@pytest.mark.parametrize("grid", ["angle:steps=4,start=0.98", "scales:steps=5,start=0.9"])
def test_slopes_are_those_of_finite_differences_of_whole_tables(schedule: str, grid: str) -> None:
    model, eps = ring(schedule), draw(6, "slope")
    method = Method.of(Solver.of("dpmpp-2m").tableau(model.schedule, grid))

    def end(by: torch.Tensor) -> torch.Tensor:
        table = method.moved(by).tableau(model.schedule)
        return Sampler(table).end(model, eps * float(table.levels.sigma[0]))

    ends, slopes = method.slopes(model, eps)
    assert torch.allclose(ends, end(torch.zeros(len(slopes), dtype=torch.float64)), atol=1e-12)
    assert len(slopes) == method.free == 2 * method.calls + 1 + method.calls * (method.calls + 1) // 2
    for number, slope in enumerate(slopes):
        by = torch.zeros(len(slopes), dtype=torch.float64)
        by[number] = 1e-5
        assert torch.allclose(slope, (end(by) - end(-by)) / 2e-5, rtol=1e-3, atol=1e-4)


def test_slopes_of_a_float32_network_are_good_to_some_per_cent() -> None:
    def net(x_t: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        return (x_t + cond.to(x_t)[:, None]).tanh() * t.cos()[:, None]

    model, cond = Network(net, "cosine"), torch.arange(6)
    method = Method.of(Solver.of("ddim").tableau("cosine", "angle:steps=4,start=0.98"))
    _, rough = method.slopes(model, draw(6, "slope").float(), cond)
    _, fine = method.slopes(model, draw(6, "slope"), cond)
    assert rough.dtype == torch.float32
    assert float((rough - fine).norm() / fine.norm()) < 0.02


def test_a_method_moved_there_and_back_is_itself() -> None:
    method = Method.of(Solver.of("adams").tableau("linear", "angle:steps=5"))
    by = 0.01 * noise.normal((1, method.free), seed=1, purpose="by", dtype=torch.float64)[0]
    there, schedule = method.moved(by), Schedule.of("linear")
    assert there.tableau(schedule).difference(method.tableau(schedule)) > 1e-3
    assert there.moved(-by).tableau(schedule).difference(method.tableau(schedule)) < 1e-12


def test_a_descent_lowers_its_loss_and_stands_still_where_there_is_no_error() -> None:
    known = truth(ring(), draw(64, "descent"))
    place = Place(Method.of(Solver.of("adams").tableau("linear", "angle:steps=5,start=0.95")))
    for _ in range(3):
        before, place = known.errors(place.method.tableau(known.model.schedule)), descend(known, place, 0.5, 1.0)
        assert known.errors(place.method.tableau(known.model.schedule)).score < before.score
    assert place.gain > 0
    ends = known.run(place.method.tableau(known.model.schedule))
    assert descend(replace(known, ends=ends), place, 0.5, 1.0).gain == 0


def test_what_the_rms_counts_trades_it_for_the_median() -> None:
    known = truth(ring(), draw(256, "tails"))
    found = []
    for tail in (0.02, 0.9):
        place = Place(Method.of(Solver.of("adams").tableau("linear", "angle:steps=4,start=0.95")))
        for _ in range(15):
            place = descend(known, place, tail, 0.5)
        found.append(known.errors(place.method.tableau(known.model.schedule)))
    assert found[0].median < found[1].median
    assert found[0].rms > found[1].rms


def test_the_aim_is_met_where_both_errors_are_those_of_more_calls() -> None:
    aim = Aim(0.01, 0.1)
    assert aim(Errors(0.01, 0.1, 0.0)) == 0
    assert aim(Errors(0.009, 0.09, 0.0)) < 0
    assert aim(Errors(0.001, 0.2, 0.0)) > 0
    assert math.isfinite(Aim(0.0, 0.0)(Errors(0.0, 0.0, 0.0)))
    known = truth(ring(), draw(48, "aim"))
    more, most = (race(known, calls)[0] for calls in (6, 8))
    assert Aim.of(known, 4).median == min(one.errors.median for one in most)
    assert Aim.of(known, 4).rms == min(one.errors.rms for one in more)


def test_errors_of_rounding_are_all_the_same() -> None:
    assert no_worse(Errors(1e-15, 0.1, 0.0), Errors(1e-17, 0.2, 0.0))
    assert not no_worse(Errors(1e-5, 0.1, 0.0), Errors(1e-17, 0.2, 0.0))
    assert not no_worse(Errors(0.1, 0.3, 0.0), Errors(0.1, 0.2, 0.0))


def test_a_search_goes_on_with_what_came_closest() -> None:
    known = truth(ring(), draw(96, "search"))
    aim = Aim.of(known, 4)
    search = Search(known, known, aim, iterations=6, tail=0.3, coarse=1.7, fine=0.3)
    begun = starts(known, 4, 4, aim)
    assert [one.calls for one in begun] == [4] * 4
    steps = list(search.run(begun))
    assert len(steps) <= search.looks(4) == 2 * 4 + 2 * 2 + 6
    scores = [aim(step.errors) for step in steps]
    assert scores[-1] < min(scores[1], scores[3])
    assert all(known.errors(step.method.tableau(known.model.schedule)) == step.errors for step in steps[::5])


def test_levels_of_angles_have_these_angles_on_every_schedule() -> None:
    angles = torch.tensor([1.3, 0.8, 0.1, 0.0], dtype=torch.float64)
    for schedule in (*SCHEDULES, "sqrt", "ddpm", "ve"):
        levels = levels_of(Schedule.of(schedule), angles)
        assert torch.allclose(torch.as_tensor(levels.theta), angles, atol=1e-12)


def test_the_truth_is_where_the_flow_of_a_gaussian_ends() -> None:
    oracle = Gaussian(torch.tensor([0.3, -0.2]), torch.tensor([[1.0, 0.4], [0.4, 0.5]], dtype=torch.float64), "linear")
    eps = draw(32, "gauss")
    exact_ends = oracle.flow(eps, oracle.schedule.at(1.0), oracle.schedule.end)
    found = truth(oracle, eps)
    assert float(found.each(exact_ends).max()) < 1e-4
    assert found.gap < 1e-3


def test_errors_count_what_ended_elsewhere_and_what_is_not_finite() -> None:
    found = Errors.of(torch.tensor([0.01, 0.01, 0.02, 2.0]))
    assert found.median == pytest.approx(0.015)
    assert found.flipped == 0.25
    assert Errors.of(torch.tensor([0.0, math.nan])).rms == math.inf


def test_advice_is_a_front_on_which_more_calls_are_more_exact() -> None:
    found = advise(ring(), draw(32, "advice"), [8, 4], grids=["angle", "uniform"])
    scores = [one.errors.score for one in found.front]
    assert [one.calls for one in found.front] == sorted(one.calls for one in found.front)
    assert scores == sorted(scores, reverse=True)
    assert found.within(5).calls <= 5
    assert found.within(100) is found.front[-1] or found.within(100) == found.front[-1]
    with pytest.raises(InvalidArgument, match="measured at 1 calls"):
        found.within(1)


def test_a_recommended_method_made_again_from_its_words_has_the_error_promised() -> None:
    found = advise(ring(), draw(32, "advice"), [6], grids=["angle", "uniform"])
    one = found.within(6)
    again = Solver.of(one.solver).tableau("linear", f"{one.grid}{',' if ':' in one.grid else ':'}steps={one.steps}")
    assert found.truth.errors(again) == one.errors


def test_contenders_are_deterministic_different_and_within_budget() -> None:
    those = list(contenders(truth(ring(), draw(4, "contenders"), None), 7, ["angle"]))
    assert len({one.solver for one in those}) >= 6
    assert all(one.calls <= 7 and one.table.draws == 0 for one in those)
    assert all(a.table.difference(b.table) > 1e-11 for i, a in enumerate(those) for b in those[:i])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"steps": 0}, "steps is a whole number >= 1"),
        ({"noise": torch.zeros(60)}, "noise is"),
        ({"noise": torch.zeros(60, 2, dtype=torch.int64)}, "noise is"),
        ({"noise": torch.zeros(3, 2)}, "at least 12 rows"),
    ],
)
def test_tune_refuses_what_cannot_be(wrong: dict[str, object], says: str) -> None:
    given: dict[str, object] = {"noise": draw(60), "steps": 4} | wrong
    with pytest.raises(InvalidArgument, match=says):
        tune(ring(), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": -1},
        {"starts": 0},
        {"held": 1.0},
        {"fine": 0.0},
        {"fine": 9.0},
        {"tail": -1.0},
        {"tail": 2.0},
    ],
)
def test_an_effort_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument):
        Effort(**wrong)  # type: ignore[arg-type]


def test_advise_refuses_budgets_and_grids_that_cannot_be() -> None:
    with pytest.raises(InvalidArgument, match="budgets"):
        advise(ring(), draw(16), [])
    with pytest.raises(UnknownName, match="angle"):
        advise(ring(), draw(16), [4], grids=["angel"])

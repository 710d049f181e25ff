"""The loop: whose noise, which dtype, how many calls, where it stops, what it refuses."""

from __future__ import annotations

import copy
import gc
import itertools
import math
import pickle
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, NonFinite, SingularConversion, UnknownName
from obverse.model import Gaussian, Microbatched, Mixture, Model, Network
from obverse.model.inputs import OnCircle, Time
from obverse.path import EDM, VE, VP, Cosine, Linear, Schedule
from obverse.sampler import DDIM, SDE, Heun, Sampler, Solver, Step, Tableau, Uniform, adaptive, sample, sampled

TWO = Mixture(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), 0.1, None, "linear")
SOLVERS = ["ddim", "euler", "heun", "dpmpp-2m", "sde", "sde:eta=0.5"]


def draws(count: int = 8, **how: Any) -> Tensor:
    return sample(TWO, (count, 2), **{"steps": 5, "seed": 3, **how})


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_sample_belongs_to_its_seed_and_number(solver: str) -> None:
    whole = draws(64, solver=solver)
    for who in ([17], [5, 4, 3], [63, 0, 17, 17], list(range(63, -1, -1))):
        assert torch.equal(draws(len(who), solver=solver, samples=who), whole[who])
    assert torch.equal(draws(10, solver=solver), whole[:10])
    assert len({tuple(row) for row in whole.tolist()}) == 64
    assert not torch.equal(draws(64, solver=solver, seed=4), whole)


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = draws(solver="sde")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(draws(solver="sde"), first)


@pytest.mark.parametrize("block", [1, 16, 33, 10**9])
def test_draws_made_ahead_are_the_same_draws(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = draws(solver="sde", steps=40)
    monkeypatch.setattr("obverse.sampler.brownian.BLOCK", block)
    assert torch.equal(draws(solver="sde", steps=40), usual)


@pytest.mark.parametrize("solver", SOLVERS)
def test_float32_runs_follow_float64_runs(solver: str) -> None:
    exact, single = draws(64, solver=solver, dtype=torch.float64), draws(64, solver=solver)
    assert exact.dtype == torch.float64 and single.dtype == torch.float32
    assert torch.allclose(exact.float(), single, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lesser_dtypes_are_a_float32_run_rounded_at_the_end(dtype: torch.dtype) -> None:
    assert torch.equal(draws(dtype=dtype), draws().to(dtype))


@pytest.mark.parametrize("path", [Linear(), Cosine(), VP(), VE(), EDM()], ids=lambda s: s.spec)
@pytest.mark.parametrize("solver", SOLVERS)
def test_samples_follow_the_law_of_the_data(path: Schedule, solver: str) -> None:
    oracle = Gaussian(torch.tensor([0.5, -1.0]), torch.tensor([[1.0, 0.3], [0.3, 0.5]]), path)
    face = ":face=flow" if solver in ("euler", "heun") else ""
    x = sample(oracle, (4000, 2), solver=solver + face, steps=60, dtype=torch.float64)
    for column, mean, variance in ((0, 0.5, 1.0), (1, -1.0, 0.5)):
        standard = (x[:, column] - mean) / variance**0.5
        assert abs(float(standard.mean())) < 0.1 and abs(float(standard.std()) - 1) < 0.08
        assert stats.kstest(standard.numpy(), "norm").statistic < 0.06


def test_the_start_is_noise_of_the_size_of_the_path() -> None:
    seen: list[Tensor] = []
    for path in (Linear(), EDM(), VP()):
        net = Network(lambda x, *_: seen.append(x) or x * 0, path, predicts="data")  # type: ignore[arg-type, func-returns-value]
        sample(net, (3, 2), steps=2, seed=1)
    first = noise.normal((3, 2), seed=1, purpose="start")
    assert (
        torch.allclose(seen[0], first)
        and torch.allclose(seen[2], 80 * first)
        and torch.allclose(seen[4], first, rtol=1e-4)
    )


def test_a_given_start_takes_the_place_of_noise_and_is_left_as_it_was() -> None:
    start = noise.normal((8, 2), seed=3, purpose="start")
    kept = start.clone()
    assert torch.equal(draws(start=start), draws()) and torch.equal(start, kept)
    assert torch.equal(draws(start=start, seed=9, solver="ddim"), draws(solver="ddim"))
    assert not torch.equal(draws(start=start, seed=9, solver="sde"), draws(solver="sde"))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_run_makes_the_calls_of_its_table_and_no_other(solver: str, steps: int) -> None:
    calls = []
    net = Network(lambda x, t, _: calls.append(t) or -x, "linear")  # type: ignore[arg-type, func-returns-value]
    sample(net, (4, 2), solver=solver, steps=steps)
    assert len(calls) == Solver.of(solver).tableau("linear", f"angle:steps={steps}").calls


def test_the_loop_itself_takes_little_time() -> None:
    net = Network(lambda x, *_: -x, "linear")  # type: ignore[arg-type]
    table = DDIM().tableau("linear", Uniform(200))
    started = time.perf_counter()
    for _ in Sampler(table).steps(net, torch.zeros(1, 2)):
        pass
    assert (time.perf_counter() - started) / 200 < 5e-3  # measured: 0.06 ms a step


def test_steps_come_one_by_one_with_the_estimate_they_were_made_from() -> None:
    table, start = DDIM().tableau("linear", Uniform(4)), torch.full((3, 2), 0.7, dtype=torch.float64)
    every = list(Sampler(table).steps(TWO, start))
    assert [(step.number, step.total) for step in every] == [(n, 4) for n in (1, 2, 3, 4)]
    assert [float(step.level.t) for step in every] == [0.75, 0.5, 0.25, 0.0]
    assert [float(step.estimate.level.t) for step in every] == [1.0, 0.75, 0.5, 0.25]
    assert torch.equal(every[0].estimate.x_t, start) and torch.allclose(every[-1].x_t, every[-1].estimate.data)
    for before, after in itertools.pairwise(every):
        assert torch.equal(after.estimate.x_t, before.x_t)
        assert torch.allclose(after.estimate.data, TWO(before.x_t, before.level).data)


def test_a_run_can_be_left_early_without_further_calls() -> None:
    calls = []
    net = Network(lambda x, t, _: calls.append(t) or -x, "linear")  # type: ignore[arg-type, func-returns-value]
    run = Sampler(DDIM().tableau("linear", Uniform(50))).steps(net, torch.ones(2, 2))
    assert next(run).number == 1 and next(run).number == 2
    run.close()  # type: ignore[attr-defined]
    assert len(calls) == 2


def test_a_watcher_sees_every_step() -> None:
    seen: list[Step] = []
    x = draws(solver="dpmpp-2m", watch=seen.append)  # a state a step; what is corrected has two
    assert [step.number for step in seen] == [1, 2, 3, 4, 5] and torch.equal(seen[-1].x_t, x)


def test_states_kept_by_a_caller_are_not_written_over() -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    draws(solver="sde", steps=8, watch=lambda step: seen.append((step.x_t, step.x_t.clone())))
    draws(solver="heun", steps=8, watch=lambda step: seen.append((step.estimate.output, step.estimate.output.clone())))
    assert all(torch.equal(kept, copy) for kept, copy in seen)


@pytest.mark.parametrize("solver", ["ddim", "sde", "heun", "dpmpp-2m"])
@pytest.mark.parametrize("microbatch", [None, 2])
def test_what_a_caller_writes_on_a_state_does_not_change_the_run(solver: str, microbatch: int | None) -> None:
    def scribble(step: Step) -> None:
        if step.number < step.total:  # the last one is the caller's
            step.x_t.zero_()

    model = Gaussian(torch.zeros(3), 0.25, "linear")
    ends = [sample(model, (2, 3), solver=solver, steps=5, microbatch=microbatch, watch=see) for see in (id, scribble)]
    assert bool((ends[0] == ends[1]).all())


def test_a_sampler_used_twice_gives_the_same_answer_twice() -> None:
    sampler, start = Sampler(SDE().tableau("linear", Uniform(5))), torch.ones(4, 2)
    one, two = (list(sampler.steps(TWO, start, seed=2)) for _ in range(2))
    assert all(torch.equal(a.x_t, b.x_t) for a, b in zip(one, two, strict=True))


class Layer(nn.Module):
    """A network with a weight."""

    def __init__(self, weight: float = 0.7) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x: Tensor, t: Tensor, cond: object) -> Tensor:
        return (self.weight * x - t[:, None]).sin()


SHORT = {name: Solver.of(name).tableau("linear", Uniform(5)) for name in ("ddim", "dpmpp-2m", "unipc", "sde")}
START = noise.normal((6, 2), seed=8, purpose="start")


def end(model: Network, table: Tableau, start: Tensor = START) -> Tensor:
    with torch.no_grad():
        return Sampler(table).end(model, start, seed=2)


@pytest.mark.parametrize("table", SHORT.values(), ids=SHORT)
def test_what_lies_between_two_runs_does_not_show(table: Tableau) -> None:
    """Other batches, dtypes, tables, contexts, a run left early and a run gone wrong."""
    model, want = Network(Layer(), "linear"), end(Network(Layer(), "linear"), table)
    for start in (START, START[:2], START, START.double()):
        assert torch.allclose(end(model, table, start).float(), want[: len(start)], atol=1e-5)
    end(model, SHORT["ddim"]), end(model, DDIM().tableau("linear", Uniform(7)))
    with torch.inference_mode():
        assert torch.equal(end(model, table), want)
    next(Sampler(table).steps(model, START, seed=2))
    assert torch.equal(end(model, table), want) and torch.equal(end(model, table), want)
    assert not bool(end(model, table, START * math.nan).isfinite().any())
    assert torch.equal(end(model, table), want)
    slope = torch.autograd.grad(Sampler(table).end(model, START, seed=2).sum(), model.net.weight)
    assert bool(slope[0].isfinite())


@pytest.mark.parametrize("table", SHORT.values(), ids=SHORT)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda table: pickle.loads(pickle.dumps(table))], ids=["copy", "pickle"]
)
def test_a_copy_of_a_table_that_has_run_runs(table: Tableau, copied: Callable[[Tableau], Tableau]) -> None:
    model = Network(Layer(), "linear")
    want = end(model, table, -START)
    end(model, table)
    assert torch.equal(end(model, copied(table), -START), want)


@pytest.mark.parametrize("table", SHORT.values(), ids=SHORT)
def test_a_run_inside_a_run_is_a_run_of_its_own(table: Tableau) -> None:
    model = Network(Layer(), "linear")
    want, inner = end(model, table), end(model, table, START[:, :1].expand(6, 2))

    class Nested(Layer):
        def forward(self, x: Tensor, t: Tensor, cond: object) -> Tensor:
            assert torch.equal(end(model, table, START[:, :1].expand(6, 2)), inner)
            return super().forward(x, t, cond)

    assert torch.equal(end(Network(Nested(), "linear"), table), want)


@pytest.mark.parametrize(
    "start", [torch.ones(2, 2, dtype=torch.uint8), torch.ones(2, 2).bool(), np.ones((2, 2))], ids=str
)
def test_states_are_floating_since_all_that_is_said_of_them_is_in_their_dtype(start: Any) -> None:
    model, sampler = Network(Layer(), "linear"), Sampler(SHORT["unipc"])
    for asked in (sampler.end, sampler.bound, lambda *of: next(sampler.steps(*of)), lambda m, x: m(x, 0.5)):
        with pytest.raises(InvalidArgument, match=r"A state is a floating tensor .* got .*\(x.float\(\)\)"):
            asked(model, start)


@pytest.mark.parametrize("table", SHORT.values(), ids=SHORT)
def test_runs_side_by_side_do_not_meet(table: Tableau) -> None:
    model = Network(Layer(), "linear")
    starts = [noise.normal((6, 2), seed=seed, purpose="start") for seed in range(8)]
    want = [end(model, table, start) for start in starts]
    with ThreadPoolExecutor(4) as many:
        for _ in range(10):
            got = many.map(lambda start: end(model, table, start), starts)
            assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_a_network_is_asked_as_it_is_now() -> None:
    model, table = Network(Layer(), "linear"), SHORT["ddim"]
    end(model, table)
    changes = (("net", Layer(0.2)), ("time", Time(1000.0)), ("precondition", OnCircle()))
    for n, (name, value) in enumerate(changes):
        setattr(model, name, value)
        fresh = Network(Layer(0.2), "linear")
        for other, its in changes[: n + 1]:
            setattr(fresh, other, its)
        assert torch.equal(end(model, table), end(fresh, table)), name
    model.net.double()
    before = end(model, table, START.double())
    with torch.no_grad():
        model.net.weight.mul_(2)
    assert not torch.equal(end(model, table, START.double()), before)


def test_a_network_that_writes_on_its_times_is_told_them_anew() -> None:
    told: list[list[float]] = [[]]

    def net(x: Tensor, t: Tensor) -> Tensor:
        told[-1].append(float(t.mul_(1000)[0]))
        return -x

    model = Network(net, "linear", cond="none")
    end(model, SHORT["ddim"])
    told.append([])
    end(model, SHORT["ddim"])
    assert told[0] == told[1] == pytest.approx([1000, 800, 600, 400, 200])


def test_a_network_that_has_run_can_be_copied_and_let_go() -> None:
    model = Network(Layer(), "linear")
    want, net = end(model, SHORT["ddim"]), weakref.ref(model.net)
    assert torch.equal(end(copy.deepcopy(model), SHORT["ddim"]), want)
    assert torch.equal(end(pickle.loads(pickle.dumps(model)), SHORT["ddim"]), want)
    del model
    gc.collect()
    assert net() is None


@pytest.mark.parametrize("around", ["", "rescheduled", "microbatched"])
@pytest.mark.parametrize("precondition", ["none", "unit-variance", "circle"])
def test_a_model_along_levels_is_the_model_at_each(precondition: str, around: str) -> None:
    model: Model = Network(Layer(), "edm", time="log-nsr", precondition=precondition)
    model = model.on("linear") if around == "rescheduled" else model
    model = Microbatched(model, 4) if around == "microbatched" else model
    levels = model.schedule.at(torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64))
    for call, level in zip(model.along(levels, START), levels, strict=True):
        assert torch.allclose(call(START, None), model.at(level, START)(START, None), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("out", [torch.zeros(6, 1), torch.zeros(2), None])
def test_an_answer_of_another_shape_is_refused(out: Tensor | None) -> None:
    with pytest.raises(InvalidArgument, match=r"The network maps \(6, 2\) to the same shape, got"):
        end(Network(lambda *_: out, "linear"), SHORT["ddim"])  # type: ignore[arg-type, return-value]


def test_sampling_makes_no_graph_and_stepping_does() -> None:
    weight = nn.Parameter(torch.ones(()))
    net = Network(lambda x, *_: -weight * x, "linear")  # type: ignore[arg-type]
    assert not sample(net, (2, 2), steps=3).requires_grad
    *_, last = Sampler(Heun().tableau("linear", Uniform(3))).steps(net, torch.ones(2, 2))
    (slope,) = torch.autograd.grad(last.x_t.sum(), weight)

    def end(value: float) -> float:
        plain = Network(lambda x, *_: -value * x, "linear")  # type: ignore[arg-type]
        *_, step = Sampler(Heun().tableau("linear", Uniform(3))).steps(plain, torch.ones(2, 2, dtype=torch.float64))
        return float(step.x_t.sum())

    assert float(slope) == pytest.approx((end(1 + 1e-5) - end(1 - 1e-5)) / 2e-5, rel=1e-4)


def test_shorthands_are_the_long_way() -> None:
    assert torch.equal(draws(solver="sde", eta=0.3), draws(solver=SDE(0.3)))
    assert torch.equal(draws(grid="uniform"), draws(grid=Uniform(5)))
    assert torch.equal(draws(steps=None, grid="uniform:steps=7"), draws(steps=7, grid="uniform"))
    assert torch.equal(draws(steps=2, grid="given:times=(1,0.4,0)"), draws(steps=None, grid="given:times=(1,0.4,0)"))


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"solver": "dimm"}, UnknownName, "No solver is called 'dimm'; did you mean 'ddim'"),
        ({"grid": "unifrm"}, UnknownName, "did you mean 'uniform'"),
        ({"solver": "ddim", "eta": 0.5}, InvalidArgument, r"Solver 'ddim' has no eta; .*solver='sde'"),
        ({"solver": "sde", "eta": -1.0}, InvalidArgument, "eta >= 0 .* got -1.0"),
        ({"solver": "sde", "eta": math.nan}, InvalidArgument, "eta >= 0 .* got nan"),
        ({"steps": 0}, InvalidArgument, r"steps >= 1, got 0 \(try steps=20\)"),
        ({"steps": 2.5}, InvalidArgument, r"whole number of steps >= 1, got 2.5"),
        ({"grid": "given:times=(1,0)", "steps": 5}, InvalidArgument, "'given' has its own 1 steps"),
        ({"start": torch.zeros(3, 2)}, InvalidArgument, r"start has the shape of the samples, \(8, 2\), got \(3, 2\)"),
        ({"samples": [1, 2]}, InvalidArgument, r"samples names every row once: expected 8 of them, got \(2,\)"),
        ({"samples": 3}, InvalidArgument, r"samples names every row once: expected 8 of them, got \(\)"),
        ({"samples": [1, 2], "start": torch.zeros(8, 2)}, InvalidArgument, "samples names every row once"),
        ({"samples": [0.5, *range(7)]}, InvalidArgument, r"samples are whole numbers, got torch.float32"),
        ({"samples": torch.ones(8)}, InvalidArgument, r"samples are whole numbers, got torch.float32"),
        (
            {"samples": [0.5, *range(7)], "solver": "adaptive", "start": torch.zeros(8, 2), "steps": None},
            InvalidArgument,
            r"samples are whole numbers",
        ),
        ({"microbatch": 0}, InvalidArgument, "microbatch >= 1, got 0"),
        ({"microbatch": 2.0}, InvalidArgument, r"whole microbatch >= 1, got 2.0"),
        ({"microbatch": 2.0, "solver": "adaptive", "steps": None}, InvalidArgument, "whole microbatch >= 1, got 2.0"),
        ({"cond": torch.zeros(3)}, InvalidArgument, r"cond has one row for each sample: expected 8, got \(3,\)"),
        ({"cond": {"label": torch.zeros(3)}}, InvalidArgument, r"one row for each sample: expected 8, got \(3,\)"),
        ({"dtype": "float32"}, InvalidArgument, "dtype is a floating-point type, got float32"),
        ({"start": torch.zeros(8, 2) * 1j}, InvalidArgument, r"start is of real numbers, got torch.complex64"),
        ({"start": np.zeros((8, 2))}, InvalidArgument, r"start is a tensor, got ndarray \(torch.as_tensor"),
        ({"dtype": torch.int64}, InvalidArgument, "dtype is a floating-point type, got torch.int64"),
    ],
)
def test_arguments_out_of_range_are_refused_with_the_fix(
    how: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        draws(**how)


@pytest.mark.parametrize("shape", [(), (4,), (0, 2), (3, 0)])
def test_a_shape_is_a_batch_of_something(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match=r"shape is \(batch \*data\), every size >= 1, got"):
        sample(TWO, shape)


@pytest.mark.parametrize("shape", [4, (4.0, 2), torch.tensor([4, 2])])
def test_a_shape_is_whole_numbers(shape: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"shape is \(batch \*data\), every size >= 1, got"):
        sample(TWO, shape)


@pytest.mark.parametrize("solver", ["ddim", "adaptive"])
@pytest.mark.parametrize("net", [nn.Linear(2, 2), lambda x, *_: x])
def test_a_network_that_is_no_model_yet_is_told_how_to_become_one(net: Any, solver: str) -> None:
    for draw in (partial(sample, solver=solver), adaptive):
        with pytest.raises(
            InvalidArgument, match=r"A model is expected, got .* ob.Network\(net, 'linear', predicts='flow'"
        ):
            draw(net, (2, 2))


def test_a_net_that_cannot_start_at_pure_noise_is_refused_before_any_call() -> None:
    calls = []
    net = Network(lambda x, *_: calls.append(1) or x, "linear", predicts="noise")  # type: ignore[arg-type, func-returns-value]
    with pytest.raises(SingularConversion, match=r"noise does not determine v at t = 1 .* or predict data, v or flow"):
        sample(net, (2, 2))
    assert not calls
    assert bool(sample(net, (2, 2), grid="uniform:start=0.999").isfinite().all())


class Breaks(nn.Module):
    """Right until t < 0.3, where row 2 goes wrong."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, time: Tensor, cond: None) -> Tensor:
        wrong = (time < 0.3) & (torch.arange(len(x)) == min(2, len(x) - 1))
        return torch.where(wrong[:, None], self.value, -x)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_diagnosed_by_step_level_and_row(value: float) -> None:
    words = r"Step 4 of 4: the network's output is not finite at t = 0\.25 .*first in row 2 \(1 of 5 rows\)"
    with pytest.raises(NonFinite, match=words):
        sample(Network(Breaks(value), "linear"), (5, 2), solver="ddim", grid="uniform", steps=4)


def test_a_start_that_is_not_finite_is_diagnosed_too() -> None:
    with pytest.raises(NonFinite, match=r"Step 1 of 4"):
        sample(TWO, (2, 2), start=torch.tensor([[0.0, 0.0], [math.nan, 0.0]]), grid="uniform", steps=4, solver="ddim")


def test_a_net_that_fails_only_once_is_called_what_it_is() -> None:
    states = iter([math.nan] + [1.0] * 99)
    net = Network(lambda x, *_: x * next(states), "linear")  # type: ignore[arg-type]
    with pytest.raises(NonFinite, match="a replay was: the network is not deterministic"):
        sample(net, (2, 2), steps=3)


@pytest.mark.parametrize("solver", ["sde", "sde-adams"])
def test_a_bound_run_without_its_draws_is_refused(solver: str) -> None:
    sampler = Sampler(Solver.of(solver).tableau("linear", "uniform:steps=3"))
    start = torch.ones(2, 2)
    with pytest.raises(InvalidArgument, match=r"takes \d draws, got 0: run\(start, sampler.draws"):
        sampler.bound(TWO, start)(start)


class OnePlace(nn.Module):
    """Answers in one tensor again and again, as a captured CUDA graph does."""

    place: Tensor | None = None

    def forward(self, x: Tensor, t: Tensor, _: None) -> Tensor:
        said = -x * (1 + t[:, None])
        if self.place is None or self.place.shape != said.shape:
            self.place = torch.empty_like(said)
        return self.place.copy_(said)


@pytest.mark.parametrize("size", [2, 2000])
@pytest.mark.parametrize("solver", ["ddim", "heun", "dpmpp-2m", "thrifty", "sde-adams"])
def test_a_net_may_answer_in_one_place(solver: str, size: int) -> None:
    fresh = Network(lambda x, t, _: -x * (1 + t[:, None]), "linear")
    for microbatch in (None, 2):
        how: dict[str, Any] = {"solver": solver, "steps": 6, "microbatch": microbatch}
        one, other = (sampled(Network(net, "linear"), (3, size), record=True, **how) for net in (OnePlace(), fresh.net))
        assert torch.equal(sample(Network(OnePlace(), "linear"), (3, size), **how), sample(fresh, (3, size), **how))
        assert one.trajectory and other.trajectory and torch.equal(one.trajectory.data, other.trajectory.data)

"""Time laws against their published formulas; those made of others; the one that learns."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from obverse.ground.errors import CheckpointError, InvalidArgument
from obverse.model import Gaussian, Network
from obverse.objective import Adaptive, Objective, Stratified, TimeLaw
from obverse.path import EDM, VE, Cosine, Level, Linear, Schedule
from obverse.sampler import Shift
from obverse.sampler import Uniform as UniformGrid

U = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000


def t_of(spec: str, path: Schedule | None = None) -> Tensor:
    return torch.as_tensor(TimeLaw.of(spec).level(U, path or Linear()).t)


@pytest.mark.parametrize(("a", "b"), [(1.5, 1.0), (0.5, 0.5), (3.0, 2.0)])
def test_beta_times_have_a_beta_distribution(a: float, b: float) -> None:
    law = stats.beta(a, b)
    assert np.allclose(law.cdf(t_of(f"beta:a={a},b={b}").numpy()), U.numpy(), atol=1e-9)
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    level = Linear().at(t)
    rate = torch.as_tensor(level.logsnr_dot).abs()
    assert np.allclose(TimeLaw.of(f"beta:a={a},b={b}").density(level) * rate, law.pdf(t.numpy()), rtol=1e-9)


@pytest.mark.parametrize("scale", [1.29, 0.81, -1.0, 0.0])
def test_mode_times_are_those_of_equation_20(scale: float) -> None:
    v = 1 - U  # Esser et al. (2024) draw v; its law is that of 1 - v
    truth = 1 - v - scale * ((v * math.pi / 2).cos() ** 2 - 1 + v)
    assert torch.allclose(t_of(f"mode:scale={scale}"), truth, atol=1e-12)


def test_cos_map_has_the_log_snrs_of_the_cosine_schedule() -> None:
    """Esser et al. (2024), section 3.1: that is what it is made for."""
    got = torch.as_tensor(TimeLaw.of("cos-map").level(U, Linear()).logsnr)
    assert torch.allclose(got, torch.as_tensor(TimeLaw.of("uniform").level(U, Cosine()).logsnr), atol=1e-9)


@pytest.mark.parametrize("k", [0.5, 3.0])
def test_a_shifted_law_has_its_quantiles_where_the_shifted_grid_has_its_times(k: float) -> None:
    grid = torch.as_tensor(Shift(4, UniformGrid(), k).levels(Linear()).t)[1:4]
    law = TimeLaw.of(f"shifted:base=uniform,k={k}")
    at = torch.tensor([0.75, 0.5, 0.25], dtype=torch.float64)
    assert torch.allclose(torch.as_tensor(law.level(at, Linear()).t), grid, rtol=1e-12)


def test_a_shift_of_the_logit_normal_law_is_a_move_of_its_mean() -> None:
    """On the logit a factor of the noise-to-signal ratio is a term."""
    moved = t_of("shifted:base=(logit-normal:mean=0.2,std=0.7),k=3")
    assert torch.allclose(moved, t_of(f"logit-normal:mean={0.2 + math.log(3)},std=0.7"), rtol=1e-9)


def test_a_cut_law_is_the_law_given_that_it_falls_inside() -> None:
    law, whole = TimeLaw.of("cut:base=(beta:a=2,b=3),low=0.1,high=0.7"), stats.beta(2, 3)
    t = torch.as_tensor(law.level(U, Linear()).t).numpy()
    assert whole.ppf(0.1) < t.min() and t.max() < whole.ppf(0.7)
    assert np.allclose((whole.cdf(t) - 0.1) / 0.6, U.numpy(), atol=1e-9)
    outside = Linear().at(torch.tensor([0.05, 0.95], dtype=torch.float64))
    assert law.density(outside).tolist() == [0, 0]


def test_draws_of_two_processes_are_the_strata_of_one_batch() -> None:
    """Rows 0, 2, 4 ... and 1, 3, 5 ... together leave no more than three gaps, none much longer than even ones."""
    for spec in ("stratified", "adaptive", "cut:base=stratified"):
        law = TimeLaw.of(spec)
        parts = [law.uniforms(32, seed=0, step=3, samples=range(rank, 64, 2)) for rank in (0, 1)]
        u = torch.cat(parts).sort().values
        assert torch.equal(u, law.uniforms(64, seed=0, step=3, samples=None).sort().values)
        gaps = torch.cat([u.diff(), u[:1] + 1 - u[-1:]])
        assert float(gaps.max()) * 64 < 2.2


class Steep:
    """A squared error that grows towards noise; its mean under uniform t is 1/3."""

    def __call__(self, level: Level) -> Tensor:
        return torch.as_tensor(level.t) ** 2


def mean_of(law: TimeLaw, value: Callable[[Level], Tensor], path: Schedule, count: int = 200000) -> tuple[float, float]:
    """Mean and standard deviation of a loss under a law, its ratio included."""
    level = law.level((torch.arange(count, dtype=torch.float64) + 0.5) / count, path)
    loss = value(level) * law.ratio(level)
    return float(loss.mean()), float(loss.std())


def taught(law: Adaptive, path: Schedule, value: Callable[[Level], Tensor], steps: int = 300) -> Adaptive:
    for step in range(steps):
        level = law.level(law.uniforms(64, seed=0, step=step, samples=None), path)
        law.observe(level, value(level) * law.ratio(level))
    return law


@pytest.mark.parametrize("path", [Linear(), Cosine()], ids=lambda s: s.spec)
@pytest.mark.parametrize("base", ["uniform", "stratified", "logit-normal", "cut:base=uniform,low=0.1"])
def test_adaptive_draws_keep_the_expectation_and_vary_less(base: str, path: Schedule) -> None:
    law = taught(Adaptive(TimeLaw.of(base)), path, Steep())
    truth, before = mean_of(TimeLaw.of(base), Steep(), path)
    mean, after = mean_of(law, Steep(), path)
    assert mean == pytest.approx(truth, rel=1e-4)
    assert after < 0.4 * before


def test_adaptive_draws_approach_the_optimal_density() -> None:
    """p ~ sqrt(E l²): of the loss t² under uniform t it is 3 t², up to the share that stays (T50)."""
    law = taught(Adaptive(TimeLaw.of("uniform"), bins=32, share=0.05), Linear(), Steep())
    t = (torch.arange(32, dtype=torch.float64) + 0.5) / 32
    density = law.density(Linear().at(t)) * torch.as_tensor(Linear().at(t).logsnr_dot).abs()
    assert torch.allclose(density[16:], 0.05 + 0.95 * 3 * t[16:] ** 2, rtol=0.08)
    assert float(density[:4].max()) < 0.3
    assert float(torch.as_tensor(law.ratio(Linear().at(t))).max()) <= 1 / 0.05 + 1e-9


def test_before_it_has_observed_it_is_the_law_that_it_is_made_of() -> None:
    law, base = Adaptive(TimeLaw.of("logit-normal")), TimeLaw.of("logit-normal")
    assert torch.allclose(torch.as_tensor(law.level(U, Linear()).t), torch.as_tensor(base.level(U, Linear()).t))
    assert bool((torch.as_tensor(law.ratio(Linear().at(U))) == 1).all())


def test_the_same_observations_give_the_same_bits_and_go_on_from_a_checkpoint() -> None:
    def objective() -> Objective:
        return Objective("adaptive", "flow")

    def run(objective: Objective, steps: range) -> list[Tensor]:
        model, losses = Gaussian(torch.zeros(2), 0.3, Linear()), []
        x = model.sample(32, seed=1).float()
        for step in steps:
            loss = objective(model, x, seed=0, step=step)
            objective.observe(model.schedule, loss.logsnr, loss.per_sample)
            losses.append(loss.per_sample)
        return losses

    whole = run(objective(), range(20))
    first, second = objective(), objective()
    assert all(torch.equal(a, b) for a, b in zip(whole, run(first, range(8)), strict=False))
    second.load(first.state())
    assert all(torch.equal(a, b) for a, b in zip(whole[8:], run(second, range(8, 20)), strict=True))
    assert not torch.equal(whole[9], run(objective(), range(9, 10))[0])


def test_a_state_of_another_law_is_refused_and_a_state_is_a_copy() -> None:
    objective = Objective("adaptive:bins=8")
    state = objective.state()
    state["times"] += 1
    assert float(objective.state()["times"].sum()) == 0 and Objective("uniform").state() == {}
    with pytest.raises(CheckpointError, match=r"a table of \(2, 8\) for time law uniform"):
        Objective("uniform").load(state)
    with pytest.raises(CheckpointError, match="nothing for time law adaptive"):
        Objective("adaptive").load({})


def test_the_expected_gradient_stays_as_it_was() -> None:
    """Of a network's one weight, by quadrature over levels, with the same rows everywhere."""
    weight = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    model = Network(lambda x_t, t, _: weight * x_t * t[:, None].cos(), Linear())  # type: ignore[arg-type]
    x = torch.full((40000, 1), 0.7, dtype=torch.float64)
    slopes = {}
    taught_law = taught(Adaptive(Stratified()), Linear(), Steep())
    for name, law in (("uniform", Stratified()), ("adaptive", taught_law), ("importance", TimeLaw.of(
        "importance:base=(stratified:base=(beta:a=1.5,b=1.5)),meant=uniform"
    ))):  # fmt: skip
        (slopes[name],) = torch.autograd.grad(Objective(law, "flow")(model, x, seed=0).mean, weight)
    assert float(slopes["adaptive"]) == pytest.approx(float(slopes["uniform"]), rel=0.02)
    assert float(slopes["importance"]) == pytest.approx(float(slopes["uniform"]), rel=0.02)


def test_integrals_over_log_snr_stay_the_same_under_adaptive_draws() -> None:
    path, law = EDM(), taught(Adaptive(TimeLaw.of("uniform")), EDM(), Steep())
    level = law.level((torch.arange(40000, dtype=torch.float64) + 0.5) / 40000, path)
    from obverse.objective import Weighting
    from obverse.path import Noise

    ratio = law.ratio(level)
    got = (Weighting.of("sigmoid").on(Noise(), level, law.density(level) * ratio) * ratio).mean()
    truth, _ = integrate.quad(lambda s: 1 / (1 + math.exp(s - 2)), *path.range)
    assert float(got) == pytest.approx(truth, rel=2e-3)


def test_draws_that_pile_up_cannot_be_told_apart_and_are_refused() -> None:
    law = Adaptive(TimeLaw.of("log-normal-nsr:mean=3"))
    with pytest.raises(InvalidArgument, match="piles up more than 1/64 of its draws at an end of ve"):
        law.level(U, VE(0.1, 1.0))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("beta:a=0", "a > 0 and b > 0, got a=0"),
        ("mode:scale=2", r"scale lies in \[-1, 2/\(pi - 2\) = 1.7519\], got 2"),
        ("cut:low=0.5,high=0.5", "0 <= low < high <= 1, got low=0.5, high=0.5"),
        ("shifted:k=0", "k > 0, got 0"),
        ("shifted:base=log-normal-nsr", "base is a law of t, got log-normal-nsr"),
        ("adaptive:bins=0", "bins is a whole number >= 1"),
        ("adaptive:share=0", r"share lies in \(0, 1\]"),
        ("adaptive:keep=1", r"keep lies in \(0, 1\)"),
    ],
)
def test_laws_out_of_range_are_refused(spec: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        TimeLaw.of(spec)


def test_a_law_without_a_distribution_function_says_what_is_missing() -> None:
    class Bare(TimeLaw):
        name = "bare-law"

        def level(self, u: Tensor, schedule: Schedule) -> Level:
            return schedule.at(u)

        def density(self, level: Level) -> Tensor:
            return torch.ones_like(torch.as_tensor(level.t))

    with pytest.raises(InvalidArgument, match=r"write cumulative\(level\)"):
        Adaptive(Bare()).level(U, Linear())

"""Oracles: against scipy, quadrature, autograd, brute force and an ODE solver."""

from __future__ import annotations

import math
import resource
import time

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.model import Empirical, Gaussian, Mixture, Oracle
from obverse.path import VE, VP, Cosine, Level, Linear, Polynomial, Schedule

MEANS = torch.tensor([[-1.0, 0.5, 0.0], [1.0, 1.0, -2.0]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [[[0.5, 0.2, 0.0], [0.2, 0.3, 0.1], [0.0, 0.1, 0.9]], [[1.5, -0.4, 0.2], [-0.4, 0.7, 0.0], [0.2, 0.0, 0.1]]],
    dtype=torch.float64,
)
WEIGHTS = torch.tensor([3.0, 1.0])
PATHS: list[Schedule] = [Linear(), Cosine(), VP(), VE()]
POINTS = noise.normal((6, 3), seed=0, purpose="test", dtype=torch.float64)


def named(value: object) -> str:
    return getattr(value, "spec", type(value).__name__)


def mixture(path: Schedule) -> Mixture:
    return Mixture(MEANS, COVARIANCES, WEIGHTS, path)


def oracles(path: Schedule) -> list[Oracle]:
    return [Gaussian(MEANS[0], COVARIANCES[0], path), mixture(path), Empirical(POINTS + 0.1, path)]


@pytest.mark.parametrize("path", PATHS, ids=named)
@pytest.mark.parametrize("t", [0.1, 0.6, 1.0])
def test_the_density_of_states_is_scipys(path: Schedule, t: float) -> None:
    level = path.at(t)
    alpha, sigma = float(level.alpha), float(level.sigma)
    laws = [
        stats.multivariate_normal(alpha * m.numpy(), alpha**2 * c.numpy() + sigma**2 * np.eye(3))
        for m, c in zip(MEANS, COVARIANCES, strict=True)
    ]
    truth = np.log(0.75 * laws[0].pdf(POINTS) + 0.25 * laws[1].pdf(POINTS))
    assert np.allclose(mixture(path).log_prob(POINTS, level), truth, rtol=1e-10)


def test_the_density_of_the_data_is_scipys() -> None:
    truth = stats.multivariate_normal(MEANS[0].numpy(), COVARIANCES[0].numpy()).logpdf(POINTS)
    assert np.allclose(Gaussian(MEANS[0], COVARIANCES[0], "vp").log_prob(POINTS), truth, rtol=1e-10)


@pytest.mark.parametrize("path", PATHS, ids=named)
@pytest.mark.parametrize("which", [0, 1, 2], ids=["gaussian", "mixture", "empirical"])
@pytest.mark.parametrize("t", [0.3, 0.9])
def test_the_score_is_the_slope_of_the_density(path: Schedule, which: int, t: float) -> None:
    oracle, level = oracles(path)[which], path.at(t)
    x_t = POINTS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(oracle.log_prob(x_t, level).sum(), x_t)
    assert torch.allclose(oracle(POINTS, level).score, slope, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("path", PATHS, ids=named)
@pytest.mark.parametrize("which", [0, 1, 2], ids=["gaussian", "mixture", "empirical"])
def test_the_divergence_is_the_trace_of_the_velocitys_jacobian(path: Schedule, which: int) -> None:
    oracle, level = oracles(path)[which], path.at(0.5)
    x_t = POINTS.clone().requires_grad_()
    velocity = oracle(x_t, level).velocity
    slopes = [torch.autograd.grad(velocity[:, d].sum(), x_t, retain_graph=True)[0][:, d] for d in range(3)]
    assert torch.allclose(oracle.divergence(POINTS, level), torch.stack(slopes).sum(0))


@pytest.mark.parametrize("t", [0.05, 0.4, 0.95])
@pytest.mark.parametrize("x_t", [-2.0, 0.1, 1.3])
def test_posterior_mean_and_spread_are_bayes_by_quadrature(t: float, x_t: float) -> None:
    two = Mixture(torch.tensor([[-1.0], [0.8]]), torch.tensor([[[0.1]], [[0.4]]]), torch.tensor([0.3, 0.7]), "linear")

    def joint(x: float) -> float:
        prior = 0.3 * stats.norm.pdf(x, -1, 0.1**0.5) + 0.7 * stats.norm.pdf(x, 0.8, 0.4**0.5)
        return float(prior * stats.norm.pdf(x_t, (1 - t) * x, t))

    def moment(power: int) -> float:
        value, _ = integrate.quad(lambda x: x**power * joint(x), -8, 8, points=[x_t / (1 - t), -1, 0.8], limit=200)
        return float(value)

    mass, mean = moment(0), moment(1) / moment(0)
    state = torch.tensor([[x_t]], dtype=torch.float64)
    assert float(two(state, t).data) == pytest.approx(mean, rel=1e-6)
    assert float(two.spread(state, two.schedule.at(t))) == pytest.approx(moment(2) / mass - mean**2, rel=1e-6)
    assert float(two(state, t).noise) == pytest.approx((x_t - (1 - t) * mean) / t, rel=1e-6)


@pytest.mark.parametrize("path", [Linear(), Cosine(), Polynomial()], ids=named)
@pytest.mark.parametrize("which", [0, 1, 2], ids=["gaussian", "mixture", "empirical"])
def test_oracles_are_regular_at_both_ends(path: Schedule, which: int) -> None:
    oracle = oracles(path)[which]
    means = [MEANS[0], WEIGHTS.double() @ MEANS / 4, POINTS.mean(0) + 0.1][which]
    source = oracle(POINTS, 1.0)
    assert torch.allclose(source.data, means.expand(6, 3)) and torch.allclose(source.noise, POINTS)
    data = oracle(oracle.sample(6), 0.0)
    assert torch.allclose(data.data, oracle.sample(6)) and torch.allclose(
        oracle.spread(data.x_t, path.at(0.0)), torch.zeros(6).double(), atol=1e-12
    )


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_the_gaussian_flow_is_the_solution_of_its_ode(path: Schedule) -> None:
    oracle = Gaussian(MEANS[0], COVARIANCES[0], path)
    start = POINTS[:1] * float(path.at(0.9).sigma)

    def velocity(t: float, x: np.ndarray) -> np.ndarray:
        return np.asarray(oracle(torch.from_numpy(x)[None], t).velocity[0])

    solved = integrate.solve_ivp(velocity, (0.9, 0.1), start[0].numpy(), rtol=1e-10, atol=1e-12, method="DOP853")
    assert np.allclose(oracle.flow(start, path.at(0.9), path.at(0.1))[0], solved.y[:, -1], rtol=1e-7)
    back = oracle.flow(oracle.flow(start, path.at(0.9), path.at(0.1)), path.at(0.1), path.at(0.9))
    assert torch.allclose(back, start, rtol=1e-12)


def brute(points: Tensor, x_t: Tensor, level: Level) -> tuple[Tensor, Tensor]:
    away = ((x_t[:, None] - level.alpha * points) ** 2).sum(-1)
    share = torch.softmax(-away / (2 * level.sigma**2), 1)
    mean = share @ points
    return mean, (share * ((points - mean[:, None]) ** 2).sum(-1)).sum(1)


@pytest.mark.parametrize("t", [0.02, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_the_empirical_denoiser_is_the_softmax_over_the_data(t: float, offset: float) -> None:
    points = noise.normal((300, 4), seed=1, purpose="test", dtype=torch.float64) + offset
    oracle, level = Empirical(points, "linear"), Linear().at(t)
    x_t = level.alpha * points[:7] + level.sigma * noise.normal((7, 4), seed=2, purpose="test", dtype=torch.float64)
    mean, spread = brute(points, x_t, level)
    assert torch.allclose(oracle(x_t, level).data, mean, rtol=1e-8)
    assert torch.allclose(oracle.spread(x_t, level), spread, rtol=1e-6, atol=1e-9 * (1 + offset**2))


def test_without_noise_the_nearest_point_takes_all() -> None:
    points = noise.normal((50, 2), seed=1, purpose="test", dtype=torch.float64)
    assert torch.equal(Empirical(points, "linear")(points[:9] + 1e-3, 0.0).data, points[:9] + 1e-3)  # alpha x = x_t
    _, _, data, _ = Empirical(points, "linear")._sums(
        points[:9] + 1e-3, torch.ones(()).double(), torch.zeros(()).double()
    )
    assert torch.allclose(data, points[:9])


@pytest.mark.parametrize("away", [1.0, 1e5])
def test_without_noise_there_is_an_answer_far_from_the_data_too(away: float) -> None:
    points = noise.normal((50, 2), seed=1, purpose="test", dtype=torch.float64)
    assert bool(Empirical(points, "linear")(points[:9] + away, 0.0).data.isfinite().all())


def test_the_empirical_denoiser_does_not_depend_on_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle, levels = (
        Empirical(POINTS.repeat(20, 1) + 0.1 * torch.arange(120)[:, None], "vp"),
        VP().at(torch.linspace(0.05, 1, 6)),
    )
    whole, density = oracle(POINTS, levels).data, oracle.log_prob(POINTS, levels)
    for size in (6, 7 * 6, 60 * 6):
        monkeypatch.setattr("obverse.model.oracles.CHUNK", size)
        assert torch.allclose(oracle(POINTS, levels).data, whole, rtol=1e-12)
        assert torch.allclose(oracle.log_prob(POINTS, levels), density, rtol=1e-12)


def test_the_empirical_density_is_scipys_sum_of_kernels() -> None:
    points, level = POINTS.numpy(), Linear().at(0.4)
    truth = np.log(np.mean([stats.multivariate_normal(0.6 * p, 0.16).pdf(POINTS + 1) for p in points], 0))
    assert np.allclose(Empirical(POINTS, "linear").log_prob(POINTS + 1, level), truth, rtol=1e-10)


@pytest.mark.slow
def test_sixty_thousand_images_fit_in_two_gigabytes() -> None:
    data = noise.normal((60000, 784), seed=0, purpose="test")
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    estimate = Empirical(data, "linear")(data[:64], 0.5)
    took, grown = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert bool(estimate.data.isfinite().all()) and grown < 2 * 2**20 and took < 30


@pytest.mark.parametrize("which", [0, 1, 2], ids=["gaussian", "mixture", "empirical"])
def test_draws_have_the_moments_of_the_law(which: int) -> None:
    count = 20000
    draws = oracles(Linear())[which].sample(count, seed=3)
    points = POINTS.numpy() + 0.1
    between = 0.1875 * np.outer(MEANS[1] - MEANS[0], MEANS[1] - MEANS[0])
    mean, covariance = [
        (MEANS[0].numpy(), COVARIANCES[0].numpy()),
        (
            0.75 * MEANS[0].numpy() + 0.25 * MEANS[1].numpy(),
            (0.75 * COVARIANCES[0] + 0.25 * COVARIANCES[1]).numpy() + between,
        ),
        (points.mean(0), np.cov(points.T, bias=True)),
    ][which]
    error = np.sqrt(np.diag(covariance) / count)
    assert (np.abs(draws.mean(0).numpy() - mean) < 4.5 * error).all()
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) * 4 / count)
    assert (np.abs(np.cov(draws.T.numpy()) - covariance) < 4.5 * scale).all()


def test_draws_of_a_mixture_take_their_components_by_weight() -> None:
    apart = Mixture(torch.tensor([[-100.0], [0.0], [100.0]]), 1.0, torch.tensor([1.0, 0.0, 3.0]), "linear")
    draws = apart.sample(4000, seed=0)
    assert stats.binomtest(int((draws > 0).sum()), 4000, 0.75).pvalue > 1e-3 and not bool((draws.abs() < 50).any())


def test_draws_are_functions_of_their_seed() -> None:
    oracle = mixture(Linear())
    assert torch.equal(oracle.sample(9, seed=1)[:4], oracle.sample(4, seed=1))
    assert not torch.equal(oracle.sample(4, seed=1), oracle.sample(4, seed=2))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_data_of_any_shape_and_dtype_keeps_them(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    every = [
        Gaussian(MEANS[0].reshape(shape), COVARIANCES[0], "linear"),
        Mixture(MEANS.reshape(2, *shape), COVARIANCES, WEIGHTS, "linear"),
        Empirical(POINTS.reshape(6, *shape).to(dtype), "linear"),
    ]
    for oracle, flat in zip(every, [*oracles(Linear())[:2], Empirical(POINTS.to(dtype), "linear")], strict=True):
        x_t = POINTS.reshape(6, *shape).to(dtype)
        each = torch.linspace(0.1, 1, 6, dtype=torch.float64)
        got = oracle(x_t, each).output
        assert got.shape == x_t.shape and got.dtype == dtype and oracle.sample(2).shape == (2, *shape)
        assert torch.equal(got.flatten(1), flat(x_t.flatten(1), each).output)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["gaussian", "mixture", "empirical"])
def test_a_level_for_each_sample_is_read_row_by_row(which: int) -> None:
    oracle, times = oracles(Cosine())[which], torch.linspace(0, 1, 6, dtype=torch.float64)
    together = oracle(POINTS, times).output
    for i, t in enumerate(times):
        assert torch.allclose(together[i : i + 1], oracle(POINTS[i : i + 1], t).output, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("means", "covariances", "weights", "words"),
    [
        (torch.zeros(3), 1.0, None, r"means has one row for each component: \(components \*data\), got \(3,\)"),
        (torch.zeros(2, 3), torch.eye(2), None, r"covariances is \(2, 3, 3\), got \(2, 2\)"),
        (torch.zeros(2, 3), 0.0, None, "positive definite; smallest eigenvalue 0"),
        (torch.zeros(2, 3), -torch.eye(3), None, "positive definite; smallest eigenvalue -1"),
        (torch.zeros(2, 3), torch.eye(3) + torch.ones(3, 3).triu(1), None, "covariances"),
        (torch.zeros(2, 3), 1.0, torch.tensor([1.0, -1.0]), r"weights is \(2,\), non-negative"),
        (torch.zeros(2, 3), 1.0, torch.zeros(2), "not all 0"),
        (torch.zeros(2, 3), 1.0, torch.ones(3), r"weights is \(2,\)"),
    ],
)
def test_what_is_no_mixture_is_refused(means: Tensor, covariances: Tensor, weights: Tensor | None, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Mixture(means, covariances, weights, "linear")


def test_what_is_no_data_set_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"data is \(samples \*data\) with at least one sample, got \(0, 3\)"):
        Empirical(torch.zeros(0, 3), "linear")
    with pytest.raises(InvalidArgument, match="density only at levels with noise: log_prob needs sigma > 0"):
        Empirical(POINTS, "linear").log_prob(POINTS)


def test_the_spread_of_a_gaussian_does_not_depend_on_the_state() -> None:
    oracle = Gaussian(torch.zeros(1), 4.0, "linear")
    assert torch.allclose(oracle.spread(torch.tensor([[-3.0], [7.0]]), Linear().at(0.5)), torch.tensor(4 / 5).double())
    assert float(oracle.log_prob(torch.zeros(1, 1))) == pytest.approx(-math.log(2 * math.sqrt(2 * math.pi)))


@pytest.mark.parametrize("oracle", [Mixture(torch.zeros(2, 2, 1), 0.1, None, "linear"), Empirical(POINTS, "linear")])
def test_an_oracle_is_asked_of_data_of_its_own_size(oracle: Oracle) -> None:
    for ask in (
        lambda x: oracle(x, 0.5),
        lambda x: oracle.spread(x, Linear().at(0.5)),
        lambda x: oracle.log_prob(x, Linear().at(0.5)),
    ):
        with pytest.raises(InvalidArgument, match=r"This oracle is of data of shape \(.*\), got \(7, 5\)"):
            ask(torch.zeros(7, 5, dtype=torch.float64))

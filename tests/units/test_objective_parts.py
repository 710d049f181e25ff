"""Time laws and weightings, each by itself."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.objective import LogitNormal, LogNormalNSR, Stratified, TimeLaw, Weighting
from obverse.path import EDM, VE, VP, Cosine, Linear, Noise, Schedule

LAWS = ["uniform", "logit-normal", "logit-normal:mean=0.5,std=0.6", "log-normal-nsr", "stratified:base=logit-normal"]
U = noise.uniform((20000,), seed=0, purpose="test")


@pytest.mark.parametrize("path", [Linear(), Cosine(), VP(), EDM()], ids=lambda s: s.spec)
@pytest.mark.parametrize("law", LAWS)
def test_the_density_is_that_of_the_levels_drawn(law: str, path: Schedule) -> None:
    times = TimeLaw.of(law)
    drawn = torch.as_tensor(times.level(U, path).logsnr).numpy()
    edges = np.quantile(drawn, [0.05, 0.3, 0.5, 0.8, 0.95])
    for low, high in itertools.pairwise(edges):
        mass, _ = integrate.quad(lambda logsnr: float(times.density(path.at_logsnr(logsnr))), low, high)
        share = np.mean((drawn > low) & (drawn <= high))
        assert mass == pytest.approx(share, abs=4.5 * math.sqrt(0.25 / len(U)))


def test_uniform_times_on_known_paths_have_the_published_densities() -> None:
    """sech^2(logsnr / 4) / 8 on the linear path, sech(logsnr / 2) / (2 pi) on the cosine path (Kingma & Gao 2023)."""
    logsnr = torch.linspace(-8, 8, 33, dtype=torch.float64)
    for path, truth in (
        (Linear(), 1 / (8 * (logsnr / 4).cosh() ** 2)),
        (Cosine(), 1 / (2 * math.pi * (logsnr / 2).cosh())),
    ):
        assert torch.allclose(TimeLaw.of("uniform").density(path.at_logsnr(logsnr)), truth, rtol=1e-9)


def test_the_logit_of_a_logit_normal_time_is_normal() -> None:
    t = torch.as_tensor(LogitNormal(0.5, 0.6).level(U, Linear()).t)
    assert stats.kstest(t.logit().numpy(), stats.norm(0.5, 0.6).cdf).pvalue > 1e-3


def test_edms_noise_levels_are_log_normal() -> None:
    nsr = torch.as_tensor(LogNormalNSR().level(U, Linear()).nsr)
    assert stats.kstest(nsr.log().numpy(), stats.norm(-1.2, 1.2).cdf).pvalue > 1e-3


def test_edms_noise_levels_stay_on_a_short_path() -> None:
    sigma = torch.as_tensor(LogNormalNSR().level(U, VE(0.1, 1.0)).sigma)
    assert float(sigma.min()) == pytest.approx(0.1) and float(sigma.max()) == pytest.approx(1.0)


@pytest.mark.parametrize("count", [2, 5, 16, 100, 256])
def test_stratified_draws_leave_gaps_of_at_most_three_lengths(count: int) -> None:
    """The three-gap theorem (Steinhaus; Sos 1958), and no gap much longer than even spacing would leave."""
    for step in range(5):
        u = Stratified().uniforms(count, seed=0, step=step, samples=None).sort().values
        gaps = torch.cat([u.diff(), u[:1] + 1 - u[-1:]])
        assert len({round(gap, 9) for gap in gaps.tolist()}) <= 3 and float(gaps.max()) * count < 2.2


def test_stratified_draws_reach_every_stratum_and_are_uniform_over_steps() -> None:
    every = torch.stack([Stratified().uniforms(64, seed=0, step=n, samples=None) for n in range(400)])
    strata = (every * 24).long()
    assert all(len(set(row)) == 24 for row in strata.tolist())
    assert stats.kstest(every[:, 17].numpy(), "uniform").pvalue > 1e-3


def test_stratified_losses_vary_less_from_step_to_step() -> None:
    means = {
        law: torch.stack([TimeLaw.of(law).uniforms(64, seed=0, step=n, samples=None).mean() for n in range(200)]).std()
        for law in ("uniform", "stratified")
    }
    assert float(means["stratified"]) < 0.3 * float(means["uniform"])


@pytest.mark.parametrize("law", LAWS)
def test_times_of_a_row_do_not_know_the_batch(law: str) -> None:
    times = TimeLaw.of(law)
    whole = times.uniforms(50, seed=1, step=2, samples=None)
    assert torch.equal(times.uniforms(3, seed=1, step=2, samples=[49, 0, 7]), whole[[49, 0, 7]])
    assert bool(((whole > 0) & (whole < 1)).all())


@pytest.mark.parametrize(
    ("spec", "words"),
    [("logit-normal:std=0", "std > 0, got 0"), ("log-normal-nsr:std=-1", "std > 0, got -1")],
)
def test_laws_without_width_are_refused(spec: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        TimeLaw.of(spec)


LOGSNR = torch.tensor([-12.0, -3.0, 0.0, 2.0, 9.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("spec", "truth"),
    [  # Kingma & Gao 2023, table 1 and appendix D, as factors of the noise's squared error
        ("noise", lambda lam: np.ones_like(lam)),
        ("data", lambda lam: np.exp(-lam)),
        ("v", lambda lam: 1 + np.exp(-lam)),
        ("flow", lambda lam: (1 + np.exp(-lam / 2)) ** 2),
        ("edm:sigma_data=0.5", lambda lam: (np.exp(-lam) + 0.25) / 0.25),
        ("min-snr:gamma=5", lambda lam: np.minimum(1, 5 / np.exp(lam))),
        ("elbo", lambda lam: np.ones_like(lam)),
        ("sigmoid:bias=2", lambda lam: 1 / (1 + np.exp(lam - 2))),
    ],
)
def test_weights_are_the_published_functions_of_log_snr(spec: str, truth: object) -> None:
    assert callable(truth)
    assert np.allclose(Weighting.of(spec)(LOGSNR).numpy(), truth(LOGSNR.numpy()), rtol=1e-12)


@pytest.mark.parametrize(
    ("spec", "words"), [("min-snr:gamma=0", "gamma > 0, got 0"), ("edm:sigma_data=-1", "sigma_data > 0")]
)
def test_weightings_out_of_range_are_refused(spec: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Weighting.of(spec)


@pytest.mark.parametrize("times", ["uniform", "logit-normal"])
@pytest.mark.parametrize("weighting", ["elbo", "sigmoid"])
def test_integrals_over_log_snr_do_not_depend_on_the_time_law(weighting: str, times: str) -> None:
    """The mean weight on the noise's error is the integral of the weight over the range of log-SNR."""
    path, law = EDM(), TimeLaw.of(times)
    level = law.level(Stratified().uniforms(40000, seed=0, step=0, samples=None), path)
    inside = (torch.as_tensor(level.t) > 0.05) & (torch.as_tensor(level.t) < 0.95)
    got = (Weighting.of(weighting).on(Noise(), level, law.density(level)) * inside).mean()
    low, high = float(path.logsnr(0.95)), float(path.logsnr(0.05))
    truth = high - low if weighting == "elbo" else np.logaddexp(0, 2 - low) - np.logaddexp(0, 2 - high)
    assert float(got) == pytest.approx(float(truth), rel=2e-3)

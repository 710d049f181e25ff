"""Stochastic methods: equal where theory says so, unequal where it does not, exact at both ends."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from obverse.ground.errors import InvalidArgument
from obverse.model import Gaussian
from obverse.path import EDM, VP, Cosine, Data, Linear, Noise, Schedule, Velocity
from obverse.sampler import (
    DDIM,
    DDPM,
    ERSDE,
    SDE,
    Ancestral,
    Churn,
    DDIMEta,
    DPMSolver,
    Euler,
    EulerMaruyama,
    Given,
    Heun,
    Langevin,
    LogSNR,
    Register,
    Renoise,
    Restart,
    SASolver,
    SDEAdams,
    SDEDPMpp,
    Solver,
    Uniform,
    propagate,
)
from obverse.sampler.grids import Inverted
from obverse.sampler.propagation import states

PATHS: list[Schedule] = [Linear(), Cosine(), VP(), EDM()]
INSIDE = "uniform:steps=6,start=0.9,end=0.1"
GRIDS = [INSIDE, "angle:steps=1", "angle:steps=5", "uniform:steps=4"]
NOISY = [
    SDE(),
    SDE("window:value=0.8,nsr_min=0.2,nsr_max=4"),
    Renoise(),
    DDPM(),
    DDPM("large"),
    DDIMEta(0.6),
    Ancestral(),
    Ancestral(DPMSolver(2, Data())),
    SDEAdams(),
    SASolver(),
    ERSDE(),
    SDEDPMpp(),
    SDEDPMpp(stages=3),
]


def named(value: object) -> str:
    return getattr(value, "label", str(value))


each_path = pytest.mark.parametrize("path", PATHS, ids=named)
each_grid = pytest.mark.parametrize("grid", GRIDS)


@each_path
@each_grid
def test_ddpm_and_ddim_twice_as_far_and_the_sde_are_one_algorithm(path: Schedule, grid: str) -> None:
    sde = SDE().tableau(path, grid)
    for same in (DDPM(), Renoise(), DDIMEta(1.0), Ancestral(), SDEDPMpp(stages=1), SDEAdams(1.0, 1, 0)):
        assert same.tableau(path, grid) == sde, same


@each_path
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0, 1.7])
def test_undoing_a_fraction_of_the_way_is_the_sde_of_an_eta(path: Schedule, eta: float) -> None:
    undone = eta**2 / (1 + eta**2)
    assert Renoise(undone).tableau(path, GRIDS[2]) == SDE(eta).tableau(path, GRIDS[2])
    assert eta == 1 or Renoise(undone).tableau(path, INSIDE) != SDE().tableau(path, INSIDE)


@each_path
@pytest.mark.parametrize("eta", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_songs_eta_is_the_sdes_at_0_and_1_only(path: Schedule, eta: float) -> None:
    song, sde = DDIMEta(eta).tableau(path, INSIDE), SDE(eta).tableau(path, INSIDE)
    assert (song == sde) == (eta in (0.0, 1.0))
    assert eta in (0.0, 1.0) or song.difference(sde) > 1e-3
    assert song == Ancestral(eta=eta).tableau(path, INSIDE)


def test_songs_eta_and_the_sdes_part_at_second_order_in_the_step() -> None:
    gaps = []
    for logsnr in (0.2, 0.1, 0.05):
        t, s = Cosine().at_logsnr(torch.tensor([0.0, logsnr], dtype=torch.float64)).t.tolist()
        one, two = (solver.tableau("cosine", Given((t, s))) for solver in (DDIMEta(0.5), SDE(0.5)))
        gaps.append(float((one.canonical().outputs - two.canonical().outputs).abs().max()))
    assert [math.log2(a / b) for a, b in pairwise(gaps)] == pytest.approx([2, 2], abs=0.1)


@each_path
def test_the_large_variance_is_more_noise_on_the_same_mean(path: Schedule) -> None:
    small, large = (DDPM(variance).tableau(path, Given((0.6, 0.4))).canonical() for variance in ("posterior", "large"))
    assert torch.allclose(small.outputs, large.outputs) and torch.allclose(small.start, large.start)
    t, s = path.at(0.6), path.at(0.4)
    ratio = float(large.draws[-1, 0] / small.draws[-1, 0])
    assert ratio == pytest.approx(float(t.theta.sin() / s.theta.sin()))


def test_the_large_variance_is_right_for_white_data() -> None:
    """Ho et al. (2020), section 3.2: optimal for x ~ N(0, I)."""
    white = Gaussian(torch.zeros(3), 1.0, "vp")
    for variance, exact in (("large", True), ("posterior", False)):
        _, covariance = propagate(DDPM(variance).tableau("vp", "uniform:steps=7,end=0.2"), white)
        assert torch.allclose(covariance, torch.eye(3, dtype=torch.float64), atol=1e-12) == exact


@each_path
@each_grid
def test_without_noise_each_is_its_deterministic_sibling(path: Schedule, grid: str) -> None:
    siblings: list[tuple[Solver, Solver]] = [
        (SDE(0.0), DDIM()),
        (Renoise(0.0), DDIM()),
        (DDIMEta(0.0), DDIM()),
        (Ancestral(Heun(), 0.0), Heun()),
        (Churn(s_churn=0.0), Heun()),
        (Churn(Heun(Noise()), s_churn=0.0), Heun(Noise())),
        (Churn(s_min=0.2, s_max=0.2), Heun()),
        (Restart(intervals=()), Heun()),
        (Restart(intervals=((0.5, 2.0, 0.0, 0.0),)), Heun()),
        (Langevin(DDIM(), moves=0), DDIM()),
        (SDEAdams(0.0, 1, 0), DDIM()),
        (SDEAdams("window:value=1,nsr_min=1e-9,nsr_max=1e-8"), SDEAdams(0.0)),
        (SDEDPMpp(0.0), Solver.of("dpmpp-2m")),
        (SASolver(0.0), SDEAdams(0.0, 3, 4, "logsnr")),
    ]
    for one, other in siblings:
        assert one.tableau(path, grid) == other.tableau(path, grid), (one, other)


@each_path
def test_euler_maruyama_without_noise_is_eulers_method_in_t(path: Schedule) -> None:
    assert EulerMaruyama(0.0).tableau(path, INSIDE) == Euler(Velocity()).tableau(path, INSIDE)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_euler_maruyama_and_the_sde_part_at_second_order_in_the_step(eta: float) -> None:
    """One step from t = 0.6 on the cosine path."""
    gaps = []
    for length in (0.02, 0.01, 0.005):
        plain, exact = (kind(eta).tableau("cosine", Given((0.6, 0.6 - length))) for kind in (EulerMaruyama, SDE))
        gaps.append(float((plain.canonical().outputs - exact.canonical().outputs).abs().max()))
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(2, abs=0.15) and gaps[1] / gaps[2] == pytest.approx(4, rel=0.1)


@each_path
@pytest.mark.parametrize("solver", NOISY, ids=named)
def test_the_last_step_to_no_noise_draws_nothing(path: Schedule, solver: Solver) -> None:
    table = solver.tableau(path, "angle:steps=4")
    _, draws = table.weights(Data())
    ends = [span[1] for span in table.spans if span is not None]
    assert min(ends) > 0 and float(draws.abs().max()) < 1e-12


@pytest.mark.parametrize("path", [Linear(), Cosine()], ids=named)
@pytest.mark.parametrize("solver", NOISY, ids=named)
def test_one_step_from_pure_noise_is_the_data_estimate_there(path: Schedule, solver: Solver) -> None:
    table = solver.tableau(path, "angle:steps=1").canonical()
    assert table.start[-1] == pytest.approx(0, abs=1e-15) and table.outputs[-1].tolist() == pytest.approx([-1.0])


@pytest.mark.parametrize("path", [Linear(), Cosine()], ids=named)
def test_a_step_from_pure_noise_forgets_the_state(path: Schedule) -> None:
    for solver in (SDE(0.3), DDPM(), Renoise(0.2), DDIMEta(1.0), Ancestral(), SDEAdams(), SASolver(), ERSDE()):
        table = solver.tableau(path, Given((1.0, 0.5))).canonical()
        assert float(table.start[-1]) == pytest.approx(0, abs=1e-15), solver
    faint = SDE("window:value=0.5,nsr_min=0.5,nsr_max=2").tableau(path, Given((1.0, 0.5)))
    assert float(faint.canonical().start[-1]) > 0.1  # a window spends a finite amount on an infinite step


def test_churn_keeps_the_law_on_every_path() -> None:
    """Raising noise is exact: the state it makes has the covariance of its level."""
    for path in PATHS:
        data = Gaussian(torch.tensor([0.4, -1.0]), torch.tensor([[1.0, 0.4], [0.4, 0.5]]), path)
        table = Churn(s_churn=2.0, s_min=0.0).tableau(path, Uniform(4, start=0.6, end=0.5))
        raised = next(iter(list(states(table, data))[1:]))
        level = table.moments[1]
        want = level.alpha**2 * torch.tensor([[1.0, 0.4], [0.4, 0.5]]).double() + level.sigma**2 * torch.eye(2).double()
        assert level.nsr == pytest.approx(table.moments[0].nsr * math.sqrt(2), rel=1e-9)  # sqrt(2) - 1 is the most
        assert torch.allclose(raised.covariance, want, atol=1e-12)
        assert torch.allclose(raised.mean, level.alpha * torch.tensor([0.4, -1.0]).double())


def test_churn_happens_between_its_bounds_and_never_beyond_the_schedule() -> None:
    whole = Churn(s_min=0.5, s_max=2.0).tableau("vp", "uniform:steps=20")
    raised = [a for a, b in pairwise(whole.moments) if b.nsr > a.nsr]
    assert raised and all(0.5 <= level.nsr <= 2.0 for level in raised)
    top = Churn(s_max=1e9).tableau("vp", "uniform:steps=20").moments
    assert max(level.nsr for level in top) <= top[0].nsr * (1 + 1e-9)


def test_more_noise_than_is_exact_leaves_more_noise() -> None:
    data = Gaussian(torch.zeros(1), 1.0, "cosine")
    spread = [float(propagate(Churn(s_noise=s).tableau("cosine", INSIDE), data).covariance) for s in (1.0, 1.1)]
    assert spread[1] > spread[0] + 1e-3


def test_restart_goes_up_and_down_as_often_as_told() -> None:
    times = 3
    table = Restart(DDIM(), ((0.3, 1.0, times, 0),)).tableau("vp", "uniform:steps=20")
    nsr = [level.nsr for level in table.moments]
    ups = [(low, high) for low, high in pairwise(nsr) if high > low]
    assert len(ups) == times == table.draws and all(low <= 0.3 < high <= 1.0 for low, high in ups)
    inside = [level.nsr for level in Uniform(20).levels(VP()) if ups[0][0] < level.nsr <= 1.0]
    assert table.calls == 20 + times * len(inside)


def test_restart_takes_steps_of_its_own_where_it_is_given_some() -> None:
    plain = Heun().tableau("vp", "uniform:steps=20")
    own = Restart(intervals=((0.3, 1.0, 2, 3), (2.0, 4.0, 1, 2))).tableau("vp", "uniform:steps=20")
    assert own.calls == plain.calls + 2 * (2 * 3 + 1 * 2)
    with pytest.raises(InvalidArgument, match="no level in"):
        Restart(intervals=((1e-9, 1.0, 2, 3),)).tableau("vp", "uniform:steps=3")


def test_many_langevin_moves_end_at_the_variance_of_unadjusted_langevin() -> None:
    """Of x - a e / C + sqrt(2 a) xi on a Gaussian of variance C: C / (1 - a / (2 C)), here a = 2 snr² sigma²."""
    data = Gaussian(torch.zeros(1), 0.5, "cosine")
    table = Langevin(snr=0.3, moves=400).tableau("cosine", Given((0.6, 0.5)))
    level = table.moments[-1]
    variance = level.alpha**2 * 0.5 + level.sigma**2
    want = variance / (1 - 0.3**2 * level.sigma**2 / variance)
    assert float(propagate(table, data).covariance) == pytest.approx(want, rel=1e-9)


def test_sa_solver_is_stochastic_adams_in_log_snr_and_er_sde_in_nsr() -> None:
    assert SASolver(0.8).tableau("vp", "angle:steps=8") == SDEAdams(0.8, 3, 4, "logsnr").tableau("vp", "angle:steps=8")
    assert ERSDE().tableau("vp", "angle:steps=8") == SDEAdams("noise-scale", 3, 0, "nsr").tableau("vp", "angle:steps=8")


def test_the_weights_of_the_two_estimate_forms_part_at_second_order_in_the_step() -> None:
    """The midpoint form, and the integral of the line through two estimates."""
    gaps = []
    for steps in (8, 16, 32):
        grid = LogSNR(steps, low=-1.0, high=1.0)
        one, two = (s.tableau("cosine", grid).canonical() for s in (SDEDPMpp(), SDEAdams(1.0, 2, 0, "logsnr")))
        gaps.append(float((one.outputs[2] - two.outputs[2]).abs().max()))
    assert [math.log2(a / b) for a, b in pairwise(gaps)] == pytest.approx([2, 2], abs=0.25)


@pytest.mark.parametrize("path", [Cosine(), VP()], ids=named)
def test_a_corrector_changes_states_and_makes_no_calls(path: Schedule) -> None:
    plain, corrected = (SDEAdams(0.5, 2, c).tableau(path, "angle:steps=6") for c in (0, 2))
    assert plain.calls == corrected.calls == 6 and plain.draws == corrected.draws and plain != corrected


@pytest.mark.parametrize("solver", [*NOISY, Churn(s_max=1e9), EulerMaruyama()], ids=named)
def test_noise_is_drawn_on_the_way_down_only(solver: Solver) -> None:
    with pytest.raises(InvalidArgument, match="way down"):
        solver.tableau("vp", Inverted(5, f"part:steps=5,skip=1,spare=1,base=({INSIDE})"))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("sde:eta=-0.1", "eta >= 0"),
        ("ddim-eta:eta=1.2", "0 <= eta <= 1"),
        ("ancestral:eta=-1", "0 <= eta <= 1"),
        ("renoise:undone=1", "undone < 1"),
        ("ddpm:variance=small", "posterior"),
        ("churn:s_churn=-1", "s_churn"),
        ("churn:s_min=3,s_max=2", "s_min <= s_max"),
        ("restart:intervals=((1,0.5,1,0))", "nsr_min"),
        ("restart:intervals=((0.5,1,1.5,0))", "times"),
        ("langevin:snr=-1", "snr >= 0"),
        ("sde-adams:predictor=5", "predictor 1 to 4"),
        ("sa-solver:corrector=-1", "corrector 0 to 4"),
        ("er-sde:stages=4", "1, 2 or 3"),
        ("sde-dpmpp:stages=0", "1, 2 or 3"),
    ],
)
def test_settings_outside_their_range_are_refused(spec: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        Solver.of(spec)


def test_a_base_that_calls_below_the_schedule_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="heun calls at the end of its step"):
        Ancestral(Heun()).tableau("edm", "angle:steps=5")


@pytest.mark.parametrize("solver", [*NOISY, Churn(), Restart(), Langevin(), EulerMaruyama(0.4)], ids=named)
def test_a_method_is_its_spec(solver: Solver) -> None:
    assert Solver.of(solver.spec) == solver and hash(Solver.of(solver.spec)) == hash(solver)


def test_the_oldest_of_three_estimates_counts_four_fifths_of_what_interpolation_gives_it() -> None:
    """The second difference counts half: (1/2 + 1/6) : (1/2 + 1/3) in the limit of small, equal steps."""
    times = Cosine().at_logsnr(torch.tensor([0.0, 0.001, 0.002, 0.003], dtype=torch.float64)).t.tolist()
    published, exact = (
        solver.tableau("cosine", Given(tuple(times))).on_face("data").rows[3][Register("o", 0)]
        for solver in (SDEDPMpp(stages=3), SDEAdams(1.0, 3, 0, "logsnr"))
    )
    assert published / exact == pytest.approx(0.8, rel=1e-3)

"""What recipes weigh log-SNRs with, whether two are one, and where a loss is infinite."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.model import Gaussian, Network
from obverse.objective import Effective, Objective, UnboundedLoss, compare
from obverse.objective.effective import KNOWN
from obverse.path import VP, Cosine, Linear, Schedule

Array = NDArray[np.float64]
LOGSNR = torch.linspace(-8, 12, 41, dtype=torch.float64)


@pytest.mark.parametrize(
    ("recipe", "truth"),
    [  # Kingma & Gao (2023), table 1 and appendix D
        ("schedule=linear,face=flow", lambda lam: np.exp(-lam / 2) / 2),
        ("schedule=cosine,face=v", lambda lam: np.exp(-lam / 2) / np.pi),
        ("schedule=cosine,face=noise", lambda lam: 1 / np.cosh(lam / 2) / (2 * np.pi)),
        ("schedule=linear,face=data", lambda lam: np.exp(-lam) / np.cosh(lam / 4) ** 2 / 8),
        ("sd3", lambda lam: stats.norm(0, 2).pdf(lam) * (1 + np.exp(-lam / 2)) ** 2),
        ("edm", lambda lam: stats.norm(2.4, 2.4).pdf(lam) * (np.exp(-lam) + 0.25) / 0.25),
        ("schedule=cosine,face=v,weighting=(sigmoid:bias=2)", lambda lam: 1 / (1 + np.exp(lam - 2))),
        ("schedule=vp,face=noise,weighting=elbo,times=(cut:low=0.01)", lambda lam: np.ones_like(lam)),
    ],
)
def test_the_weight_of_a_recipe_is_the_published_one(recipe: str, truth: Callable[[Array], Array]) -> None:
    logsnr = LOGSNR[LOGSNR < 4] if "vp" in recipe else LOGSNR  # its law is cut at 4.6
    assert np.allclose(Effective.read(recipe).weight(logsnr).numpy(), truth(logsnr.numpy()), rtol=1e-8)


@pytest.mark.parametrize("face", ["flow", "v", "data", "noise", "edm", "score"])
def test_flow_matching_is_v_prediction_with_the_cosine_schedule(face: str) -> None:
    """T47: whatever both networks predict, as long as errors are weighed so."""
    one = Effective.read(f"schedule=linear,face={face},weighting=flow")
    other = Effective.read(f"schedule=cosine,face={face},weighting=v")
    found = compare(one, other)
    assert found.same and found.constant == pytest.approx(math.pi / 2, rel=1e-9) and found.elsewhere < 1e-9
    assert "pi/2" in found.words


@pytest.mark.parametrize(
    ("first", "second"),
    [  # C5: the mixed pairs differ
        ("schedule=cosine,face=flow", "schedule=linear,face=flow"),
        ("schedule=linear,face=v", "schedule=cosine,face=v"),
        ("schedule=vp,face=noise", "schedule=cosine,face=noise"),
        ("sd3", "flow-matching"),
    ],
)
def test_other_pairs_are_different_objectives(first: str, second: str) -> None:
    found = compare(Effective.read(first), Effective.read(second))
    assert not found.same and 0.01 < found.elsewhere < 1 and "different" in found.words


def test_the_place_where_two_recipes_part_is_where_the_loss_differs_most() -> None:
    """A logit-normal time law moved towards noise: more weight at low log-SNR, and the words say whose."""
    found = compare(Effective.read("sd3"), Effective.read("schedule=linear,times=(logit-normal:mean=1)"))
    back = compare(Effective.read("schedule=linear,times=(logit-normal:mean=1)"), Effective.read("sd3"))
    assert found.elsewhere == pytest.approx(back.elsewhere) and found.at == back.at
    assert found.ratio == pytest.approx(1 / back.ratio)
    assert ("first" in found.words) != ("first" in back.words)


def test_the_same_weight_in_other_words_is_the_same_objective() -> None:
    for one, other in [
        ("sd3", "schedule=cosine,face=v,weighting=sd3"),
        ("v-cosine", "schedule=linear,face=data,weighting=v-cosine,times=logit-normal"),
        ("indi", "schedule=cosine,face=v,weighting=indi"),
        ("sd3-cos-map", "schedule=linear,weighting=(sd3:times=cos-map)"),
        ("flow-matching", "schedule=linear,times=(importance:base=(beta:a=0.7,b=0.7),meant=uniform)"),
        ("flow-matching", "schedule=linear,times=adaptive"),
        ("flow-matching", "schedule=(slider:base=linear,vp=1),weighting=flow,face=v"),
    ]:
        assert compare(Effective.read(one), Effective.read(other)).constant == pytest.approx(1, rel=1e-6)
        assert compare(Effective.read(one), Effective.read(other)).same, (one, other)


@pytest.mark.parametrize(
    ("recipe", "truth"),
    [  # the least losses of unit normal data, in closed form (T51)
        ("flow-matching", math.pi / 2),
        ("schedule=cosine,face=velocity", math.pi**2 / 4),
        ("v-cosine", 1.0),
        ("schedule=cosine,face=noise", 0.5),
    ],
)
def test_the_floor_is_the_least_loss_on_unit_normal_data(recipe: str, truth: float) -> None:
    assert Effective.read(recipe).floor == pytest.approx(truth, rel=1e-8)


def test_what_is_learnt_is_compared_as_it_starts() -> None:
    learns, flow, edm = map(Effective.read, ("weighting=learned", "flow-matching", "edm"))
    for one, other in ((learns, flow), (flow, learns), (learns, edm)):
        assert "(at the start: 'learned' comes to weigh" in compare(one, other).words
    assert "start" not in compare(flow, edm).words


@pytest.mark.parametrize("recipe", ["flow-matching", "v-cosine", "edm", "sd3", "sd3-mode", "min-snr", "sigmoid"])
def test_an_objective_measures_the_floor_that_is_predicted(recipe: str) -> None:
    known = Effective.read(recipe)
    oracle = Gaussian(torch.zeros(4), 1.0, known.schedule)
    times = f"stratified:base=({known.times.spec})"
    measured = Objective(times, known.weighs)(oracle, oracle.sample(40000, seed=1), seed=0).mean
    assert float(measured) == pytest.approx(known.floor, rel=0.03)


@pytest.mark.parametrize(
    ("recipe", "ends"),
    [
        ("flow-matching-vp", ("data",)),  # C51: the velocity of a path with sigma ~ sqrt(t)
        ("schedule=sqrt,face=velocity", ("data",)),
        ("schedule=linear,face=velocity", ()),
        ("schedule=cosine,face=velocity", ()),
        ("schedule=linear,weighting=elbo", ("data",)),
        ("schedule=edm,weighting=elbo,face=edm", ()),
        ("schedule=linear,weighting=sigmoid,times=logit-normal", ()),
        ("schedule=linear,weighting=elbo,times=cut", ()),
        ("schedule=linear,weighting=elbo,times=(importance:base=(beta:a=0.5,b=0.5),meant=uniform)", ("data",)),
        ("schedule=cosine,face=score", ("data",)),
    ],
)
def test_ends_at_which_every_loss_is_infinite_are_known(recipe: str, ends: tuple[str, ...]) -> None:
    assert Effective.read(recipe).divergent == ends


@pytest.mark.parametrize(("path", "rate"), [("vp", 0.1 / 4), ("(vp:beta_min=2,beta_max=20)", 0.5), ("sqrt", 0.5)])
def test_the_loss_of_the_velocity_grows_with_the_logarithm_of_where_it_starts(path: str, rate: float) -> None:
    """T51: (d sigma²/dt at 0) / 4 for each factor e nearer to the data; beta_min / 4 on VP, 1/2 on the square root."""
    floors = [Effective.read(f"schedule={path},face=velocity,times=(cut:low={t})").floor for t in (1e-7, 1e-5)]
    assert (floors[0] - floors[1]) / math.log(100) == pytest.approx(rate, rel=0.02)


@pytest.mark.parametrize(
    ("face", "weighting", "times", "ends"),
    [
        ("flow", "flow", "uniform", ()),
        ("data", "flow", "uniform", ("data",)),
        ("noise", "flow", "uniform", ("source",)),
        ("noise", "noise", "uniform", ()),
        ("data", "data", "uniform", ()),
        ("data", "flow", "logit-normal", ()),
        ("noise", "flow", "cut:base=uniform,high=0.99", ()),
        ("v", "v", "stratified", ()),
    ],
)
@pytest.mark.parametrize("path", ["linear", "cosine"])
def test_ends_at_which_a_small_error_costs_without_limit_are_known(
    path: str, face: str, weighting: str, times: str, ends: tuple[str, ...]
) -> None:
    recipe = Effective.read(f"schedule={path},face={face},weighting={weighting},times=({times})")
    assert recipe.unbounded == ends and not recipe.divergent


def zero(path: Schedule, face: str) -> Network:
    return Network(lambda x, *_: x * 0, path, predicts=face)  # type: ignore[arg-type]


def test_a_loss_that_is_infinite_is_refused_with_the_law_that_cuts_it() -> None:
    x = noise.normal((8, 2), seed=0, purpose="x")
    objective = Objective("stratified", "mse:face=velocity,path=vp")
    words = (
        r"Towards the data end of vp the best network's loss is infinite when velocity is predicted, .*"
        r"\(times=cut:base=stratified,low=0.001\)"
    )
    with pytest.raises(InvalidArgument, match=words):
        objective(zero(VP(), "velocity"), x)
    cut = Objective("cut:base=stratified,low=0.001", "mse:face=velocity,path=vp")
    assert bool(cut(zero(VP(), "velocity"), x).mean.isfinite())
    with pytest.raises(InvalidArgument, match="Towards the data end of linear"):
        Objective("uniform", "elbo")(zero(Linear(), "flow"), x)


def test_a_loss_that_only_a_perfect_network_keeps_finite_is_warned_of_once() -> None:
    x = noise.normal((8, 2), seed=0, purpose="x")
    objective = Objective("uniform", "flow")
    with pytest.warns(UnboundedLoss, match=r"Towards the source end of linear .*times=cut:base=uniform,high=0.999"):
        objective(zero(Linear(), "noise"), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        objective(zero(Linear(), "noise"), x, step=1)
        for face in ("flow", "v"):
            objective(zero(Linear(), face), x)
        Objective("uniform", "noise")(zero(Cosine(), "noise"), x)


def test_recipes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'flow-matching'"):
        Effective.read("flowmatching")
    with pytest.raises(UnknownName, match="weightng"):
        Effective.read("schedule=linear,weightng=flow")
    with pytest.raises(InvalidArgument, match=r"has no finite loss to compare. Towards the data end of linear"):
        compare(Effective.read("schedule=linear,weighting=elbo"), Effective.read("sd3"))


def test_every_known_recipe_can_be_read_and_only_the_same_ones_are_the_same() -> None:
    recipes = {name: Effective.read(name) for name in KNOWN}
    finite = {name: recipe for name, recipe in recipes.items() if not recipe.divergent}
    assert set(recipes) - set(finite) == {"flow-matching-vp", "vdm"}
    same = {(a, b) for a, b in product(finite, finite) if a < b and compare(finite[a], finite[b]).same}
    assert same == {("flow-matching", "v-cosine")}

"""Log-densities along the flow: those of closed forms, on every path and in every face, as exact as was asked."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, distributions, nn

from obverse.data import Scaling
from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.likelihood import dequantised, log_density
from obverse.model import Around, Call, Gaussian, Mixture, Model, Network
from obverse.nets import MLPArchitecture
from obverse.path import EDM, VE, VP, Cosine, Level, Linear, Prediction, Schedule, Shifted, change
from obverse.sampler import adaptive

PATHS = [Linear(), Cosine(), VP(), EDM(), Shifted(Linear(), 3.0)]
MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.3], [0.3, 0.5]], dtype=torch.float64)
NORMAL = distributions.MultivariateNormal(MEAN, COVARIANCE)
CENTRES = torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.0, 1.5]], dtype=torch.float64)
SHARES = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
MIXED = distributions.MixtureSameFamily(
    distributions.Categorical(SHARES),
    distributions.Independent(distributions.Normal(CENTRES, torch.full_like(CENTRES, 0.2)), 1),
)
THREE = Mixture(CENTRES, 0.04, SHARES, "linear")


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def net(size: int = 1, seed: int = 0) -> nn.Module:
    """A network of random weights, gentle enough for its flow to be followed."""
    made = MLPArchitecture(width=16, depth=1).build((size,), seed=seed).double()
    draw = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    return made


class Speaking(Around):
    """A model in another face."""

    def __init__(self, model: Model, face: str) -> None:
        self.model, self._face = model, Prediction.of(face)

    @property
    def face(self) -> Prediction:  # type: ignore[override]
        return self._face

    def at(self, level: Level, like: Tensor) -> Call:
        call = self.model.at(level, like)
        return lambda x_t, cond: change(call(x_t, cond), x_t, level, self.model.face, self._face)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("path", [Linear(), Cosine(), Shifted(Linear(), 3.0)], ids=lambda s: s.spec)
def test_a_gaussian_has_its_own_density(path: Schedule, tolerance: float) -> None:
    model = Gaussian(MEAN, COVARIANCE, path)
    x = model.sample(32, seed=1)
    found = log_density(model, x, tolerance=tolerance)
    assert rms(found.nats - NORMAL.log_prob(x)) < 3 * tolerance and bool(found.finished.all())
    assert bool((found.standard_error == 0).all())


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
def test_the_error_is_what_was_asked_for(tolerance: float) -> None:
    x = THREE.sample(64, seed=1)
    found = log_density(THREE, x, tolerance=tolerance)
    off = found.nats - MIXED.log_prob(x)
    assert tolerance / 10 < rms(off) < 3 * tolerance
    assert rms(off) < 3 * rms(found.error)
    assert float(found.calls.double().mean()) < 20 * tolerance**-0.13


@pytest.mark.parametrize("path", PATHS, ids=lambda s: s.spec)
def test_paths_agree(path: Schedule) -> None:
    x = THREE.sample(32, seed=1)
    found = log_density(THREE.on(path), x, tolerance=1e-5)
    # VP and EDM start from almost pure noise, and EDM keeps a little at its end
    assert rms(found.nats - MIXED.log_prob(x)) < (1e-2 if path.name in ("vp", "edm") else 3e-5)


@pytest.mark.parametrize("face", ["data", "noise", "flow", "v", "velocity", "score", "edm"])
def test_faces_agree(face: str) -> None:
    x = THREE.sample(32, seed=1)
    found = log_density(Speaking(THREE, face), x, tolerance=1e-5)
    # data and score say nothing of the flow at clean data: 0.001 radians of noise; noise at pure noise: t = 0.999
    assert rms(found.nats - MIXED.log_prob(x)) < (3e-5 if face in ("flow", "v", "velocity", "edm") else 3e-3)


@pytest.mark.parametrize("t", [0.02, 0.3, 0.9])
def test_states_on_the_way_have_a_density_too(t: float) -> None:
    for path in (Linear(), VE()):
        model = Gaussian(torch.zeros(2), COVARIANCE, path)
        level = path.at(t)
        x_t = 0.7 * float(level.r) * torch.tensor([[1.0, -0.5], [0.1, 2.0]], dtype=torch.float64)
        covariance = float(level.alpha) ** 2 * COVARIANCE + float(level.sigma) ** 2 * torch.eye(2)
        truth = distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance).log_prob(x_t)
        found = log_density(model, x_t, level=t, tolerance=1e-6).nats
        assert rms(found - truth) < (3e-6 if path == Linear() else 1e-2)  # VE starts from noise of finite size


class Short(Schedule, name="short"):
    """A path that ends with half of the data still there."""

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t / 2

    def sigma(self, t: Tensor) -> Tensor:
        return t


@pytest.mark.parametrize("path", [Linear(), Cosine(), Short()], ids=lambda s: s.name)
def test_any_network_is_a_density(path: Schedule) -> None:
    model = Network(net(), path, predicts="flow")
    x = torch.linspace(-12, 12, 1201, dtype=torch.float64)[:, None]
    total = torch.trapezoid(log_density(model, x, tolerance=1e-5).nats.exp(), x[:, 0])
    assert abs(float(total) - 1) < 2e-4


def test_the_latent_leads_back() -> None:
    x = THREE.sample(16, seed=2)
    latent = log_density(THREE, x, tolerance=1e-7).latent
    back = adaptive(THREE, (16, 2), start=latent, rtol=1e-7, atol=0.0, dtype=torch.float64).x
    assert rms(back - x) < 1e-5


def test_units_change_the_density_by_their_volume() -> None:
    scaling = Scaling((10.0, -3.0), (4.0, 0.01))
    turn = torch.diag(torch.tensor(scaling.scale, dtype=torch.float64))
    raw = distributions.MultivariateNormal(
        turn @ MEAN + torch.tensor(scaling.shift, dtype=torch.float64), turn @ COVARIANCE @ turn
    )
    x = scaling.undo(Gaussian(MEAN, COVARIANCE, "linear").sample(16, seed=1))
    found = log_density(Gaussian(MEAN, COVARIANCE, "linear"), x, scaling=scaling, tolerance=1e-5)
    assert rms(found.nats - raw.log_prob(x)) < 3e-5


def test_one_scale_counts_for_every_number() -> None:
    model = Gaussian(torch.zeros(3, 2, 2), 1.0, "linear")
    x = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    truth = distributions.Normal(1.0, 2.0).log_prob(x).sum()
    for scaling in (Scaling((1.0,), (2.0,)), Scaling((1.0,) * 3, (2.0,) * 3)):
        assert abs(float(log_density(model, x, scaling=scaling, tolerance=1e-6).nats - truth)) < 1e-5


def test_probes_are_right_on_average_and_say_how_wrong_they_are() -> None:
    x = THREE.sample(200, seed=1)
    truth = MIXED.log_prob(x)
    few, many = (log_density(THREE, x, probes=probes, tolerance=1e-4) for probes in (4, 64))
    off = (many.nats - truth) / many.standard_error
    assert 0.8 < rms(off) < 1.2 and abs(float(off.mean())) < 4 / math.sqrt(200)
    assert 3 < rms(few.standard_error) / rms(many.standard_error) < 5  # sqrt(64 / 4) = 4


def test_row_i_does_not_depend_on_row_j() -> None:
    x = THREE.sample(9, seed=1)
    for probes in (None, 4):
        whole = log_density(THREE, x, probes=probes, seed=3)
        alone = log_density(THREE, x[5:6], probes=probes, seed=3, samples=[5])
        assert torch.allclose(alone.nats, whole.nats[5:6], rtol=0, atol=1e-10)
        assert torch.equal(alone.calls, whole.calls[5:6])


def test_conditions_go_with_their_rows() -> None:
    class Two(Model):
        schedule, face = THREE.schedule, THREE.face
        apart = (Gaussian(MEAN, COVARIANCE, "linear"), THREE)

        def at(self, level: Level, like: Tensor) -> Call:
            calls = [one.at(level, like) for one in self.apart]
            return lambda x_t, cond: torch.where(cond[:, None] == 0, calls[0](x_t, None), calls[1](x_t, None))

    x, cond = THREE.sample(10, seed=4), torch.arange(10) % 2
    truth = torch.where(cond == 0, NORMAL.log_prob(x), MIXED.log_prob(x))
    assert rms(log_density(Two(), x, cond=cond, tolerance=1e-5).nats - truth) < 3e-5


def test_float32_networks_are_followed_in_double_precision() -> None:
    model = Network(net(2).float(), Linear(), predicts="flow")
    exact = Network(net(2), Linear(), predicts="flow")
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    found = log_density(model, x, tolerance=1e-6)
    assert found.nats.dtype == torch.float64
    assert rms(found.nats - log_density(exact, x, tolerance=1e-6).nats) < 2e-5


def test_bits_of_whole_numbers_bound_those_of_coding_them() -> None:
    width, deviation = 0.5, 2.0
    model, normal = Gaussian(torch.zeros(1), deviation**2, "linear"), distributions.Normal(0.0, deviation)
    k = torch.arange(-4, 5, dtype=torch.float64)[:, None] * width
    probability = normal.cdf(k + width / 2) - normal.cdf(k - width / 2)
    many = k.repeat(200, 1)
    bits = log_density(model, dequantised(many, width, seed=1), tolerance=1e-4).bits(width).reshape(200, 9).mean(0)
    away = bits + probability[:, 0].log2()
    assert float(away.abs().max()) < 0.02 and float(away.mean()) > -2e-3


def test_who_runs_out_of_calls_says_so() -> None:
    found = log_density(THREE, THREE.sample(4, seed=1), tolerance=1e-8, max_calls=20)
    assert not bool(found.finished.any()) and bool(found.nats.isnan().all())
    assert int(found.calls.max()) <= 20


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": 2.0}, "tolerance"),
        ({"probes": 1}, "probes"),
        ({"probes": 2.5}, "probes is None .exact. or a whole number >= 2, got 2.5"),
        ({"samples": [0.5, 1.5], "probes": 2}, "samples are whole numbers"),
        ({"samples": [1]}, "samples"),
        ({"max_calls": 1}, "max_calls"),
        ({"level": 1.0}, "level"),
        ({"level": torch.tensor([0.1, 0.2])}, "level is one for all points, got 2"),
        ({"cond": torch.zeros(3)}, "cond"),
        ({"scaling": Scaling((0.0, 0.0), (1.0, 1.0), constant=(1,))}, "constant"),
        ({"scaling": Scaling((0.0,) * 3, (1.0,) * 3)}, "3 columns"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        log_density(THREE, torch.zeros(2, 2), **arguments)


@pytest.mark.parametrize(
    "x", [torch.zeros(2), torch.zeros(0, 2), torch.zeros(2, 2).long(), torch.full((1, 2), math.nan)]
)
def test_points_that_are_none_are_refused(x: Tensor) -> None:
    with pytest.raises(InvalidArgument, match="x is"):
        log_density(THREE, x)


def test_points_are_a_tensor() -> None:
    with pytest.raises(InvalidArgument, match=r"x is a tensor.*got list"):
        log_density(THREE, [[0.0, 0.0]])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"x is a tensor.*got list"):
        dequantised([[0.0, 0.0]])  # type: ignore[arg-type]


def test_inference_mode_changes_nothing() -> None:
    model = Network(net(2), "linear")
    x = THREE.sample(3, seed=1)
    with torch.inference_mode():
        inside = log_density(model, x * 1)
    assert bool((inside.nats == log_density(model, x).nats).all())


def test_a_search_for_nan_changes_nothing() -> None:
    model, x = Network(net(2), "linear"), THREE.sample(3, seed=1)
    want = log_density(model, x).nats
    with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly():  # type: ignore[no-untyped-call]
        assert torch.allclose(log_density(model, x).nats, want, atol=1e-9)


def test_points_too_wide_for_an_exact_trace_are_pointed_to_probes() -> None:
    with pytest.raises(InvalidArgument, match="probes=8"):
        log_density(Gaussian(torch.zeros(1), 1.0, "linear"), torch.zeros(1, 3, 64, 64))


def test_a_model_that_breaks_is_named() -> None:
    def broken(x_t: Tensor, t: Tensor, cond: None) -> Tensor:  # noqa: ARG001
        return x_t * torch.where(x_t > 0.5, 1.0, math.nan)

    with pytest.raises(NonFinite, match="point 1"):
        log_density(Network(broken, Linear(), predicts="flow"), torch.tensor([[1.0], [0.0]]))


def test_widths_are_positive() -> None:
    with pytest.raises(InvalidArgument, match="width"):
        dequantised(torch.zeros(1, 1), 0.0)
    with pytest.raises(InvalidArgument, match="width"):
        log_density(THREE, torch.zeros(1, 2)).bits(-1.0)


def test_a_model_seen_from_a_noisier_schedule_has_the_density_of_its_own() -> None:
    model, x = Gaussian(torch.zeros(2), 0.25, "vp"), torch.tensor([[0.5, -0.5]])
    here, there = (log_density(one, x, tolerance=1e-7).nats for one in (model, model.on("linear")))
    assert float((here - there).abs()) < 1e-3 * float(here.abs())

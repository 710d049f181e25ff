"""The loss: its floor in closed form, whose draws it uses, what it hands back."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.model import Gaussian, Model, Network
from obverse.nets import Architecture, Conditions
from obverse.objective import Loss, Objective
from obverse.objective.draws import Draws
from obverse.path import VP, Cosine, Edm, Linear, Schedule, VPLinear

VARIANCES = torch.tensor([0.25, 1.0, 4.0])
COUNT = 60000


def gaussian(path: Schedule) -> Gaussian:
    return Gaussian(torch.tensor([1.0, 0.0, -2.0]), VARIANCES.diag(), path)


def expected(model: Model, x: Tensor, weighting: str, times: str = "stratified") -> float:
    return float(Objective(times, weighting)(model, x, seed=0).mean)


def floor(path: Schedule, weighting: str, times: str = "stratified") -> float:
    oracle = gaussian(path)
    return expected(oracle, oracle.sample(COUNT, seed=1), weighting, times)


def test_the_floor_of_flow_matching_is_half_pi_times_the_mean_std() -> None:
    assert floor(Linear(), "flow") == pytest.approx(math.pi / 2 * float(VARIANCES.sqrt().mean()), rel=0.01)


def test_the_floor_of_v_prediction_on_the_cosine_path_is_the_mean_std() -> None:
    """The velocity's floor there is (pi/2)^2 tr S^(1/2), and the velocity is pi/2 times v."""
    assert floor(Cosine(), "v") == pytest.approx(float(VARIANCES.sqrt().mean()), rel=0.01)


def test_the_floor_of_the_elbo_is_the_information_between_its_ends() -> None:
    """The integral over log-SNR of the noise's least error, S SNR / (1 + S SNR) for each eigenvalue."""
    path = VP(0.5, 12.0)
    low, _ = path.range
    draws = gaussian(path).sample(COUNT, seed=1)
    high = 6.0

    class Below(nn.Module):
        """Exact, and without error past `high`, where uniform time would need for ever."""

        def forward(self, x_t: Tensor, logsnr: Tensor, cond: None) -> Tensor:
            return torch.as_tensor(gaussian(path)(x_t, path.at_logsnr(logsnr.double())).v)

    model = Network(Below(), path, predicts="v", time="logsnr:limit=700")
    nearest = float(path.time_of(torch.tensor(high + 1, dtype=torch.float64)))  # nearer, it would be infinite
    loss = Objective(f"cut:base=stratified,low={nearest},high=1", "elbo")(model, draws, seed=0)
    kept = loss.per_sample[loss.logsnr < high].sum() / COUNT
    information = ((VARIANCES * math.exp(high)).log1p() - (VARIANCES * math.exp(low)).log1p()).mean()
    assert float(kept) == pytest.approx(float(information), rel=0.02)


@pytest.mark.parametrize("path", [Linear(), Cosine(), VP(), VPLinear()], ids=lambda s: s.spec)
def test_flow_matching_on_any_path_leaves_the_same_error_at_a_level(path: Schedule) -> None:
    """At equal log-SNR the noise's least error does not know the path: alpha^2 S / (alpha^2 S + sigma^2)."""
    oracle = gaussian(path)
    loss = Objective("uniform", "flow")(oracle, oracle.sample(COUNT, seed=1), seed=0)
    near = (loss.logsnr > -0.1) & (loss.logsnr < 0.1)
    assert int(near.sum()) > 500
    assert float(loss.noise_error[near].mean()) == pytest.approx(float((VARIANCES / (1 + VARIANCES)).mean()), rel=0.05)


@pytest.mark.parametrize("face", ["data", "noise", "flow", "v", "velocity", "edm", "score"])
@pytest.mark.parametrize("weighting", ["flow", "noise", "data", "v", "edm", "min-snr", "elbo", "sigmoid", "sd3", "p2"])
def test_the_loss_does_not_depend_on_what_the_network_predicts(face: str, weighting: str) -> None:
    """One belief, written in two faces: the same weighted error of every sample."""

    class Believes(nn.Module):
        def __init__(self, face: str) -> None:
            super().__init__()
            self.face = face

        def forward(self, x_t: Tensor, time: Tensor, cond: None) -> Tensor:
            estimate = gaussian(Cosine())(x_t, time.double())
            return torch.as_tensor(getattr(estimate, self.face) if self.face != "edm" else estimate.on(edm))

    edm = Edm()
    x = gaussian(Cosine()).sample(50, seed=1)
    times = "cut:base=logit-normal,low=0.01,high=0.99"
    one, other = (
        Objective(times, weighting)(Network(Believes(f), Cosine(), predicts=f), x, seed=0) for f in (face, "v")
    )
    assert torch.allclose(one.per_sample, other.per_sample, rtol=1e-4)
    assert torch.allclose(one.noise_error, other.noise_error, rtol=1e-4)


@pytest.mark.parametrize("times", ["uniform", "logit-normal:std=2", "mode", "beta", "importance:base=mode", "adaptive"])
def test_the_floor_of_an_integral_over_log_snr_does_not_know_the_time_law(times: str) -> None:
    """v with the cosine schedule, whatever is drawn from: the mean standard deviation, as above."""
    law = f"stratified:base=({times})" if times != "adaptive" else times
    got = floor(Cosine(), "v-cosine", f"cut:base=({law}),low=0.0005,high=0.9995")
    assert got == pytest.approx(float(VARIANCES.sqrt().mean()), rel=0.05)


@pytest.mark.parametrize("size", [0.01, 0.5, 3.0])
@pytest.mark.parametrize(
    ("distance", "truth"),
    [
        ("square", nn.functional.mse_loss),
        ("huber:delta=0.7", lambda a, b: 2 * nn.functional.huber_loss(a, b, delta=0.7)),
        ("huber", lambda a, b: 2 * nn.functional.huber_loss(a, b)),
        ("pseudo-huber:c=0.5", lambda a, b: 2 * 0.5**2 * (math.hypot(1, float((a - b).mean()) / 0.5) - 1)),
    ],
)
def test_distances_of_single_numbers_are_the_known_losses(distance: str, truth: Any, size: float) -> None:
    """torch's Huber loss is half the square; Charbonnier's is c² (sqrt(1 + (a/c)²) - 1), half of it too."""
    x = torch.zeros(64, 1, dtype=torch.float64)  # then flow = eps = x_t / t
    exact = Network(lambda x, t, _: x / t[:, None] + size, "linear", predicts="flow")  # type: ignore[arg-type]
    loss = Objective("uniform", "flow", error=distance)(exact, x)
    want = float(truth(torch.full((1,), size, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)))
    assert loss.per_sample.tolist() == pytest.approx([want] * 64, rel=1e-5)
    assert torch.allclose(loss.noise_error, (1 - torch.as_tensor(loss.level.t)) ** 2 * size**2, rtol=1e-5)


def test_a_distance_is_taken_of_a_sample_not_of_a_number() -> None:
    """Two numbers, one wrong by 2: the mean square is 2, past a delta of 1, on the line 2 sqrt(2) - 1."""
    net = Network(lambda x, t, _: x / t[:, None] + torch.tensor([2.0, 0.0]), "linear")  # type: ignore[arg-type]
    loss = Objective("uniform", "flow", error="huber:delta=1")(net, torch.zeros(8, 2, dtype=torch.float64))
    assert loss.per_sample.tolist() == pytest.approx([2 * math.sqrt(2) - 1] * 8, rel=1e-5)


@pytest.mark.parametrize("distance", ["huber", "pseudo-huber:c=0.01"])
def test_no_distance_has_an_infinite_gradient_at_no_error(distance: str) -> None:
    weight = torch.zeros((), requires_grad=True)
    net = Network(lambda x, t, _: x / t[:, None] + weight, "linear")  # type: ignore[arg-type]
    (slope,) = torch.autograd.grad(Objective("uniform", "flow", error=distance)(net, torch.zeros(4, 2)).mean, weight)
    assert abs(float(slope)) < 1e-5


class Rowwise(nn.Module):
    """A net in which rows do not meet."""

    def forward(self, x_t: Tensor, time: Tensor, cond: Tensor | None) -> Tensor:
        told = 0 if cond is None else cond.to(x_t.dtype)[:, None]
        return torch.sin(x_t * 3 + time[:, None].to(x_t.dtype)) + told


@pytest.mark.parametrize(
    "times", ["uniform", "stratified", "logit-normal", "log-normal-nsr", "mode", "adaptive", "cut"]
)
@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_the_loss_of_a_row_does_not_know_its_batch(times: str, drop: float) -> None:
    model, objective = Network(Rowwise(), "vp"), Objective(times, "flow", drop=drop)
    x, label = noise.normal((32, 3), seed=0, purpose="x"), torch.arange(32)
    whole = objective(model, x, label, seed=1, step=7)
    for who in ([5], [31, 0, 8], list(range(31, -1, -1))):
        part = objective(model, x[who], label[who], seed=1, step=7, samples=who)
        assert torch.allclose(part.per_sample, whole.per_sample[who], rtol=1e-5)
        assert torch.allclose(torch.as_tensor(part.level.t), torch.as_tensor(whole.level.t)[who], rtol=1e-13)


def test_another_step_and_another_seed_are_other_draws() -> None:
    model, x = Network(Rowwise(), "linear"), noise.normal((16, 3), seed=0, purpose="x")
    every = [Objective()(model, x, seed=s, step=n) for s, n in ((0, 0), (0, 1), (1, 0))]
    for i in range(3):
        assert torch.equal(every[i].per_sample, Objective()(model, x, seed=(0, 0, 1)[i], step=(0, 1, 0)[i]).per_sample)
        assert not bool((every[i].per_sample == every[i - 1].per_sample).any())


def test_a_loss_tells_its_parts() -> None:
    model, x = Network(Rowwise(), "cosine", predicts="noise"), noise.normal((16, 3), seed=0, purpose="x")
    loss = Objective("uniform", "noise")(model, x)
    assert isinstance(loss, Loss) and loss.mean.shape == () and loss.per_sample.shape == loss.noise_error.shape == (16,)
    assert float(loss.mean) == pytest.approx(float(loss.per_sample.mean())) and loss.logsnr.shape == (16,)
    assert torch.allclose(loss.per_sample, loss.noise_error.to(loss.per_sample.dtype))


def test_the_noise_error_is_measured_and_not_learnt_from() -> None:
    weight = nn.Parameter(torch.ones(()))
    loss = Objective()(Network(lambda x, *_: weight * x, "linear"), torch.ones(4, 2))  # type: ignore[arg-type]
    assert loss.mean.requires_grad and not loss.noise_error.requires_grad


def test_the_gradient_is_that_of_a_finite_difference() -> None:
    x = noise.normal((8, 3), seed=0, purpose="x", dtype=torch.float64)

    def loss(weight: Any) -> Tensor:
        return Objective("stratified", "min-snr")(Network(lambda x, *_: weight * x.sin(), "vp"), x).mean  # type: ignore[arg-type]

    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(weight), weight)
    assert float(slope) == pytest.approx(float(loss(1 + 1e-5) - loss(1 - 1e-5)) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["mlp:width=16,depth=2", "unet:width=8", "dit:width=16,depth=2"])
def test_every_dtype_trains(name: str, dtype: torch.dtype) -> None:
    shape = (3,) if "mlp" in name else (1, 8, 8)
    net = Architecture.of(name).build(shape, Conditions(classes=4)).to(dtype)
    x = noise.normal((6, *shape), seed=0, purpose="x", dtype=dtype)
    loss = Objective("stratified", "sigmoid", drop=0.5)(Network(net, "linear"), x, torch.arange(6) % 4)
    loss.mean.backward()  # type: ignore[no-untyped-call]
    assert loss.per_sample.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert bool(loss.mean.isfinite()) and all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())


def test_the_loss_in_bfloat16_is_near_that_in_float64() -> None:
    x = noise.normal((256, 3), seed=0, purpose="x", dtype=torch.float64)
    exact, rough = (
        float(Objective()(Network(Rowwise(), "linear"), x.to(d)).mean) for d in (torch.float64, torch.bfloat16)
    )
    assert rough == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_conditions_are_hidden_in_the_share_asked_for(share: float) -> None:
    seen: list[Tensor] = []

    def net(x: Tensor, _: Tensor, cond: dict[str, Tensor]) -> Tensor:
        seen.append(cond["label"])
        assert torch.equal(cond["label"] == -1, cond["vector"].isnan().all(1))
        return x

    cond = {"label": torch.arange(4000), "vector": torch.ones(4000, 2)}
    Objective(drop=share)(Network(net, "linear"), torch.zeros(4000, 1), cond)  # type: ignore[arg-type]
    hidden = seen[0] == -1
    assert abs(float(hidden.double().mean()) - share) < 4.5 * math.sqrt(share * (1 - share) / 4000) + 1e-12
    assert torch.equal(seen[0][~hidden], torch.arange(4000)[~hidden]) and int(cond["label"].min()) == 0


def test_without_drop_conditions_pass_as_they_are() -> None:
    seen: list[Any] = []
    cond = torch.arange(4)
    Objective()(Network(lambda x, _, cond: seen.append(cond) or x, "linear"), torch.zeros(4, 1), cond)  # type: ignore[arg-type, func-returns-value]
    assert seen[0] is cond


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"drop": 1.5}, InvalidArgument, r"drop is a share in \[0, 1\], got 1.5 \(0.1 is usual"),
        ({"drop": math.nan}, InvalidArgument, "drop is a share"),
        ({"times": "unform"}, UnknownName, "No time law is called 'unform'; did you mean 'uniform'"),
        ({"weighting": "snr"}, UnknownName, "No weighting is called 'snr'"),
        ({"coupling": "ot"}, UnknownName, "No coupling is called 'ot'"),
        ({"error": "hubber"}, UnknownName, "No distance is called 'hubber'; did you mean 'huber'"),
        ({"error": "huber:delta=0"}, InvalidArgument, "delta > 0, got 0"),
        ({"error": "pseudo-huber:c=-1"}, InvalidArgument, "c > 0, got -1"),
    ],
)
def test_what_does_not_exist_is_refused(how: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Objective(**how)


def test_parts_of_a_step_do_not_draw_each_others_steps_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = Draws._make
    monkeypatch.setattr(Draws, "_make", lambda self, *asked: (made.append(1), make(self, *asked))[1])
    objective, model, x = Objective(), gaussian(Linear()), torch.zeros(32, 3)
    for step in range(128):
        for part in (slice(0, 16), slice(16, 32)):
            objective.noised(model, x[part], step=step, samples=torch.arange(32)[part])
    assert len(made) == 4  # two parts, two blocks of 64 steps
    assert len(objective.draws._kept) == 2


def test_a_step_looked_at_without_derivatives_is_trained_on_afterwards() -> None:
    net = nn.Linear(2, 2)
    objective, model, x = Objective(), Network(lambda x, *_: net(x), "linear"), torch.ones(4, 2)  # type: ignore[arg-type]
    with torch.inference_mode():
        seen = objective(model, x, step=3).mean.item()
    loss = objective(model, x, step=3).mean
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == seen and net.weight.grad is not None


def test_what_is_drawn_ahead_stays_where_it_was_drawn() -> None:
    objective, model = Objective(), gaussian(Linear())
    before = pickle.dumps(objective)
    want = objective(model, torch.ones(4, 3), step=3).per_sample
    after = pickle.dumps(objective)
    assert len(after) < 2 * len(before)
    assert torch.equal(pickle.loads(after)(model, torch.ones(4, 3), step=3).per_sample, want)


def test_samples_that_change_in_place_are_other_samples() -> None:
    objective, x, samples = Objective(), torch.ones(4, 3), torch.arange(4)
    objective(gaussian(Linear()), x, seed=0, samples=samples)
    samples += 4
    again = objective(gaussian(Linear()), x, seed=0, samples=samples).per_sample
    assert torch.equal(again, Objective()(gaussian(Linear()), x, seed=0, samples=range(4, 8)).per_sample)


@pytest.mark.parametrize(("name", "spec"), [("times", "logit-normal"), ("weighting", "v")])
def test_what_is_drawn_ahead_is_not_changed_behind_its_back(name: str, spec: str) -> None:
    how: dict[str, Any] = {name: spec}
    with pytest.raises(AttributeError, match=name):
        setattr(Objective(), name, getattr(Objective(**how), name))


@pytest.mark.parametrize("x", [torch.ones(4, 3, dtype=d) for d in (torch.uint8, torch.int64, torch.bool)])
@pytest.mark.parametrize("eps", [None, torch.full((4, 3), 0.5)])
def test_data_that_cannot_hold_noise_is_refused(x: Tensor, eps: Tensor | None) -> None:
    with pytest.raises(InvalidArgument, match=rf"x is a floating tensor .*, got {x.dtype}"):
        Objective()(gaussian(Linear()), x, eps=eps)


def test_an_objective_is_asked_of_a_model_not_of_a_network() -> None:
    with pytest.raises(InvalidArgument, match="A model is expected, got Linear: wrap a network once"):
        Objective()(nn.Linear(2, 2), torch.zeros(2, 2))  # type: ignore[arg-type]


def test_objectives_and_oracles_say_what_they_are() -> None:
    said = repr(Objective("logit-normal", "min-snr", "exact-ot", drop=0.1, error="huber"))
    assert said == "Objective(logit-normal, min-snr, exact-ot, huber; drop 0.1, recall 0.0)"
    assert repr(gaussian(VP())) == "Gaussian(data of shape (3,) on vp)"

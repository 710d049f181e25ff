"""Networks at the door: what the net is handed, what its answer means, what is refused."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.model import InTraining, Network
from obverse.model.inputs import Index
from obverse.path import DDPM, EDM, VE, VP, Cosine, Linear, Rescaled, Schedule
from obverse.sampler import sample

STATES = noise.normal((4, 3), seed=0, purpose="test")


class Spy(nn.Module):
    """Answers minus its state and remembers what it was handed."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    def forward(self, *handed: Any, **named: Any) -> Tensor:
        self.calls.append((*handed, named))
        return -torch.as_tensor(handed[0])


def handed(schedule: Schedule | str, t: float, **how: Any) -> tuple[Any, ...]:
    spy = Spy()
    Network(spy, schedule, **how)(STATES, t)
    return spy.calls[0]


@pytest.mark.parametrize(
    ("time", "schedule", "t", "number"),
    [
        ("t", Linear(), 0.25, 0.25),
        ("t:scale=1000", Linear(), 0.25, 250.0),
        ("data-at-1", Cosine(), 0.25, 0.75),
        ("index", DDPM(), 1.0, 999.0),
        ("index", DDPM(), 0.001, 0.0),
        ("index:count=50", DDPM(count=50), 0.5, 24.0),
        ("logsnr", Linear(), 0.25, 2 * math.log(3)),
        ("logsnr", Linear(), 1.0, -20.0),
        ("logsnr:limit=8", Linear(), 0.0, 8.0),
        ("log-nsr", EDM(), 1.0, math.log(80) / 4),
        ("log-nsr", Linear(), 0.5, 0.0),
        ("nsr", VE(), 1.0, 50.0),
        ("nsr", Linear(), 0.75, 3.0),
    ],
)
@pytest.mark.parametrize("each", [False, True])
def test_the_net_is_told_the_time_it_was_trained_with(
    time: str, schedule: Schedule, t: float, number: float, each: bool
) -> None:
    spy = Spy()
    Network(spy, schedule, time=time)(STATES, torch.full((4,), t, dtype=torch.float64) if each else t)
    told = spy.calls[0][1]
    assert told.shape == (4,) and told.dtype == torch.float32
    assert torch.allclose(told, torch.tensor(number), rtol=1e-6, atol=1e-6)


def test_every_sample_is_told_its_own_time() -> None:
    spy, times = Spy(), torch.tensor([0.1, 0.9, 0.4, 0.5], dtype=torch.float64)
    Network(spy, "linear")(STATES, times)
    assert torch.equal(spy.calls[0][1], times.float())


@pytest.mark.parametrize("face", ["flow", "velocity"])
@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=lambda s: s.spec)
def test_rates_of_nets_with_data_at_one_have_the_other_sign(face: str, schedule: Schedule) -> None:
    ours = Network(lambda x, _, __: x.sin(), schedule, predicts=face)  # type: ignore[arg-type]
    theirs = Network(lambda x, _, __: -x.sin(), schedule, predicts=face, time="data-at-1")  # type: ignore[arg-type]
    for name in ("data", "noise", "flow", "velocity", "v"):
        got, truth = (getattr(model(STATES, 0.3), name) for model in (theirs, ours))
        assert torch.allclose(got, truth, atol=1e-6), name


@pytest.mark.parametrize("face", ["data", "noise", "v", "score", "edm"])
def test_states_of_nets_with_data_at_one_are_the_same(face: str) -> None:
    ours, theirs = (Network(Spy(), "cosine", predicts=face, time=time) for time in ("t", "data-at-1"))
    assert torch.equal(ours(STATES, 0.3).data, theirs(STATES, 0.3).data)


def karras(net: nn.Module, noisy: Tensor, sigma: Tensor, sigma_data: float) -> Tensor:
    """D(x; sigma), Karras et al. (2022), equation 7 with table 1, as in their EDMPrecond."""
    c_skip = sigma_data**2 / (sigma**2 + sigma_data**2)
    c_out = sigma * sigma_data / (sigma**2 + sigma_data**2).sqrt()
    c_in = 1 / (sigma_data**2 + sigma**2).sqrt()
    c_noise = sigma.log() / 4
    return torch.as_tensor(c_skip * noisy + c_out * net(c_in * noisy, c_noise.expand(len(noisy))))


class Odd(nn.Module):
    """Something that reads both of its arguments."""

    def forward(self, x: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        return torch.sin(3 * x) + time[:, None].cos() * x.flip(1)


@pytest.mark.parametrize("sigma_data", [0.5, 2.0])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_edm_nets_denoise_as_their_paper_says(sigma_data: float, t: float) -> None:
    model = Network(
        Odd(), EDM(), predicts=f"edm:sigma_data={sigma_data}", time="log-nsr",
        precondition=f"unit-variance:sigma_data={sigma_data}", cond="none",
    )  # fmt: skip
    noisy, level = STATES.double() * 3, EDM().at(t)
    assert torch.allclose(model(noisy, t).data, karras(Odd(), noisy, level.sigma, sigma_data), rtol=1e-9)


def test_edms_preconditioning_holds_on_every_path() -> None:
    """x_t / alpha is EDM's noisy image: the same net denoises the same data on a path of any scale."""
    for schedule in (Linear(), VP(), Cosine()):
        model = Network(Odd(), schedule, predicts="edm", time="log-nsr", precondition="unit-variance")
        level = schedule.at(0.6)
        truth = karras(Odd(), STATES.double(), torch.as_tensor(level.nsr), 0.5)
        seen = Network(Odd(), EDM(), predicts="edm", time="log-nsr", precondition="unit-variance").on(schedule)
        assert torch.allclose(seen(STATES.double() * level.alpha, level).data, truth, rtol=1e-9)
        inside = level.alpha * (level.alpha**2 * 0.25 + level.sigma**2) ** -0.5  # c_in of x_t is c_in of x_t / alpha
        assert float(inside) == pytest.approx(float((0.25 + torch.as_tensor(level.nsr) ** 2) ** -0.5), rel=1e-12)
        assert model(STATES, 0.6).data.shape == STATES.shape


def test_states_of_unit_variance_data_enter_with_unit_variance() -> None:
    data, eps = (0.5 * noise.normal((20000, 1), seed=0, purpose="x"), noise.normal((20000, 1), seed=0, purpose="eps"))
    spy = Spy()
    for t in (0.1, 0.5, 0.9):
        level = VE().at(t)
        Network(spy, VE(), precondition="unit-variance")(data + float(level.sigma) * eps, t)
        assert float(spy.calls[-1][0].std()) == pytest.approx(1.0, abs=0.03)


def test_states_on_the_circle_do_not_know_the_scale_of_their_path() -> None:
    spy = Spy()
    for schedule in (Linear(), Rescaled(Linear(), lambda t: 5 - t)):
        level = schedule.at(0.3)
        Network(spy, schedule, precondition="circle")(STATES * float(level.r), 0.3)
    assert torch.allclose(spy.calls[0][0], spy.calls[1][0], rtol=1e-6)
    assert torch.allclose(spy.calls[0][0], STATES, rtol=1e-6)


def test_states_enter_untouched_unless_asked() -> None:
    assert torch.equal(handed("linear", 0.3)[0], STATES)


def test_conditions_travel_as_the_door_says() -> None:
    label = torch.arange(4)
    for how, place in (("third", 2), ("class_labels", "class_labels")):
        spy = Spy()
        Network(spy, "linear", cond=how)(STATES, 0.5, label)
        call = spy.calls[0]
        assert (call[2] if place == 2 else call[-1][place]) is label
    spy = Spy()
    Network(spy, "linear", cond="none")(STATES, 0.5)
    assert len(spy.calls[0]) == 3 and spy.calls[0][-1] == {}
    with pytest.raises(InvalidArgument, match=r"takes no condition \(cond='none' at its door\)"):
        Network(spy, "linear", cond="none")(STATES, 0.5, label)


@pytest.mark.parametrize("net_dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_net_works_in_its_dtype_and_the_state_keeps_its_own(net_dtype: torch.dtype, dtype: torch.dtype) -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3, dtype=net_dtype)

        def forward(self, x: Tensor, time: Tensor, cond: None) -> Tensor:
            seen.append((x.dtype, time.dtype))
            return torch.as_tensor(self.layer(x))

    seen: list[tuple[torch.dtype, torch.dtype]] = []
    estimate = Network(Layer(), "linear")(STATES.to(dtype), 0.5)
    assert seen == [(net_dtype, torch.float64 if net_dtype == torch.float64 else torch.float32)]
    assert estimate.output.dtype == estimate.data.dtype == dtype


def test_an_index_of_a_thousand_survives_a_bfloat16_net() -> None:
    spy = Spy()
    spy.weight = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    Network(spy, DDPM(), time="index")(STATES, 0.998)
    assert spy.calls[0][0].dtype == torch.bfloat16 and float(spy.calls[0][1][0]) == pytest.approx(997.0, abs=1e-3)


@pytest.mark.parametrize("count", [50, 1000])
def test_an_index_is_a_whole_number_in_double_too(count: int) -> None:
    indices = torch.arange(count, dtype=torch.float64)
    told = Index(count)(DDPM(count=count).at(1 - indices / count))
    assert bool((told == count - 1 - indices).all())


def test_an_index_counts_as_its_schedule_does() -> None:
    Network(Spy(), DDPM(count=50), time="index:count=50")
    with pytest.raises(InvalidArgument, match=r"time index counts to 1000, ddpm:count=50 has 50 \(count=50\)"):
        Network(Spy(), DDPM(count=50), time="index")
    with pytest.raises(InvalidArgument, match=r"ddpm:table=.* has 3 \(count=3\)"):
        Network(Spy(), DDPM(table=(0.1, 0.2, 0.3)), time="index")


def test_edm_has_one_spread_of_the_data() -> None:
    with pytest.raises(InvalidArgument, match=r"one sigma_data: predicts says 1\.3, precondition 0\.5"):
        Network(Spy(), EDM(), predicts="edm:sigma_data=1.3", precondition="unit-variance")


def test_times_that_count_up_to_data_may_be_scaled() -> None:
    assert float(handed("linear", 0.25, time="data-at-1:scale=999")[1][0]) == 0.75 * 999


def test_under_autocast_the_state_decides() -> None:
    net = nn.Linear(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        estimate = Network(lambda x, *_: net(x), "linear")(STATES, 0.5)  # type: ignore[arg-type]
    assert estimate.output.dtype == torch.float32


@pytest.mark.parametrize(
    ("of_net", "of_state"), [("float32", "float64"), ("bfloat16", "float64"), ("float64", "float32")]
)
def test_under_autocast_the_network_decides_where_there_is_double_precision(of_net: str, of_state: str) -> None:
    class Layer(nn.Linear):
        def forward(self, x_t: Tensor, *_: object) -> Tensor:
            return super().forward(x_t)

    net = Layer(3, 3).to(getattr(torch, of_net))
    states = STATES.to(getattr(torch, of_state))
    want = Network(net, "linear", predicts="data")(states, 0.5).data
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = Network(net, "linear", predicts="data")(states, 0.5).data
    assert got.dtype == states.dtype and torch.allclose(got, want, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"predicts": "epsilon"}, UnknownName, "No prediction is called 'epsilon'"),
        ({"predicts": "velocty"}, UnknownName, "did you mean 'velocity'"),
        ({"time": "data-at-one"}, UnknownName, "did you mean 'data-at-1'"),
        ({"precondition": "edm"}, UnknownName, "No precondition is called 'edm'"),
    ],
)
def test_unknown_words_at_the_door_are_refused(how: dict[str, str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Network(Spy(), "linear", **how)


def test_what_cannot_be_called_is_no_net() -> None:
    with pytest.raises(InvalidArgument, match=r"net is a torch module or a function net\(x_t, t, cond\), got Tensor"):
        Network(torch.zeros(3), "linear")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("net", "got"),
    [(lambda x, *_: x[:, :2], r"\(4, 2\)"), (lambda x, *_: (x, x), "tuple"), (lambda *_: None, "NoneType")],
)
def test_a_net_answers_in_the_shape_of_its_state(net: Any, got: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"The network maps \(4, 3\) to the same shape, got {got}"):
        Network(net, "linear")(STATES, 0.5)


def test_what_a_net_answers_besides_its_prediction_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"got \(4, 6\) \(if it learns a variance too.*chunk"):
        Network(lambda x, *_: torch.cat([x, x], 1), "linear")(STATES, 0.5)
    with pytest.raises(InvalidArgument, match=r"diffusers.*returns its \.sample"):
        Network(lambda x, *_: SimpleNamespace(sample=x), "linear")(STATES, 0.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"got tuple \(wrap it in a module that returns its \[0\]\)"):
        Network(lambda x, *_: (x, x), "linear")(STATES, 0.5)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_as_many_levels_as_samples_are_asked_for(count: int) -> None:
    with pytest.raises(InvalidArgument, match=f"{count}.* for 4 states|one for all samples or one for each"):
        Network(Spy(), "linear", precondition="circle")(STATES, torch.full((count,), 0.5))


def test_a_network_tells_what_it_is() -> None:
    text = repr(Network(Spy(), Rescaled(Linear(), torch.ones_like), predicts="noise", time="index"))
    assert all(word in text for word in ("Spy", "rescale", "noise", "index", "none"))


@pytest.mark.parametrize(
    ("net", "cond", "called"),
    [
        (lambda x, _: x, "third", r"net\(x_t, t, cond\): too many positional"),
        (nn.Linear(3, 3), "none", r"net\(x_t, t\): too many positional"),
        (lambda x, _, y: x * y, "label", r"net\(x_t, t, label=cond\): missing a required argument: 'y'"),
        (lambda x, _, y: x * y, "none", r"net\(x_t, t\): missing a required argument: 'y'"),
    ],
)
def test_a_net_that_takes_other_arguments_is_refused_at_the_door(net: Any, cond: str, called: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"cannot be called as {called}.*cond='none' for one without"):
        Network(net, "linear", cond=cond)


@pytest.mark.parametrize("cond", ["third", "none", "text"])
def test_a_net_whose_time_is_not_second_is_refused_at_the_door(cond: str) -> None:
    def theirs(hidden_states: Tensor, text: Tensor | None = None, timestep: float = 0.0) -> Tensor:
        return hidden_states * timestep if text is None else text

    with pytest.raises(InvalidArgument, match=r"takes its time by the name timestep.*net\(x_t, timestep=t, \*\*cond\)"):
        Network(theirs, "linear", cond=cond)


def test_a_net_that_writes_on_its_state_is_refused() -> None:
    net = Network(lambda x, *_: x.mul_(2), "linear")
    with pytest.raises(InvalidArgument, match=r"writes on the state it is given .*x_t.clone\(\)"):
        net(STATES.clone(), 0.5)
    with pytest.raises(InvalidArgument, match="writes on the state"):
        sample(net, (2, 3), solver="ddim")


class Restless(nn.Module):
    """Answers otherwise in training, if what it is made of does."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 8), *parts, nn.Linear(8, 2))

    def forward(self, x: Tensor, t: Tensor, cond: None) -> Tensor:
        out: Tensor = self.body(x)
        return out


@pytest.mark.parametrize(
    ("part", "solver"), [(nn.Dropout(0.5), "ddim"), (nn.Dropout(0.5), "adaptive"), (nn.BatchNorm1d(8), "ddim")]
)
def test_a_network_in_training_mode_is_warned_of_once_when_sampled(part: nn.Module, solver: str) -> None:
    model = Network(Restless(part).train(), "linear")
    with pytest.warns(InTraining, match=rf"body\.1 \({type(part).__name__}\).*net\.eval\(\)"):
        sample(model, (4, 2), solver=solver)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InTraining)
        sample(model, (5, 2), solver=solver)


def test_networks_at_rest_and_networks_that_learn_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", InTraining)
        sample(Network(Restless(nn.Dropout(0.5)).eval(), "linear"), (4, 2), steps=2)
        sample(Network(Restless(nn.Dropout(0.0), nn.LayerNorm(8)), "linear"), (4, 2), steps=2)
        learns = Network(Restless(nn.Dropout(0.5), nn.BatchNorm1d(8)), "linear")
        learns(torch.ones(4, 2), 0.5).output.sum().backward()  # type: ignore[no-untyped-call]
        learns.at(Linear().at(0.5), torch.ones(4, 2))
    with pytest.warns(InTraining), torch.no_grad():  # what was learnt before is no excuse
        learns(torch.ones(4, 2), 0.5)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"time": "t:scale=0"}, "t: scale > 0, got 0"),
        ({"time": "t:scale=-1"}, "t: scale > 0, got -1"),
        ({"time": "data-at-1:scale=0"}, "data-at-1: scale > 0, got 0"),
        ({"time": "index:count=0"}, "index: count >= 1, got 0"),
        ({"time": "logsnr:limit=0"}, "logsnr: limit > 0, got 0"),
        ({"precondition": "unit-variance:sigma_data=-1"}, "unit-variance: sigma_data > 0, got -1"),
    ],
)
def test_numbers_of_a_convention_that_mean_nothing_are_refused(how: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Network(Spy(), "linear", **how)

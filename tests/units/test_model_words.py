"""Which words fit: networks of others, written as they would write them, are recognised; what is none is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.model import Clamped, Fits, Gaussian, Mixture, Model, Network, TimeInput, fits
from obverse.nets import MLPArchitecture
from obverse.path import Estimate, Level, Schedule

Net = Callable[..., Tensor]
CENTRES = noise.normal((6, 4), seed=0, purpose="test: centres")
TURN = torch.linalg.qr(noise.normal((4, 4), seed=1, purpose="test: axes", dtype=torch.float64)).Q
LONG = TURN @ torch.tensor([0.01, 0.05, 0.4, 3.0], dtype=torch.float64).diag() @ TURN.T

RATES = ("flow", "velocity")  # which change sign with the direction of time
ANSWERS: dict[str, Callable[[Estimate], Tensor]] = {
    "data": lambda e: e.data,
    "noise": lambda e: e.noise,
    "flow": lambda e: e.noise - e.data,
    "v": lambda e: e.level.alpha * e.noise - e.level.sigma * e.data,
    "velocity": lambda e: e.level.alpha_dot * e.data + e.level.sigma_dot * e.noise,
    "score": lambda e: -e.noise / e.level.sigma,
    "edm": lambda e: raw(e),
}
MOMENTS: dict[str, Callable[[Schedule, float], Level]] = {
    "t": lambda path, told: path.at(told),
    "t:scale=1000": lambda path, told: path.at(told / 1000),
    "data-at-1": lambda path, told: path.at(1 - told),
    "data-at-1:scale=1000": lambda path, told: path.at(1 - told / 1000),
    "index": lambda path, told: path.at((told + 1) / 1000),
    "logsnr": lambda path, told: path.at_logsnr(told),
    "log-nsr": lambda path, told: path.at_logsnr(-8 * told),
    "nsr": lambda path, told: path.at_logsnr(-2 * math.log(told)),
}
INPUTS: dict[str, Callable[[Level], Any]] = {
    "none": lambda _: 1.0,
    "unit-variance": lambda level: (level.alpha**2 * 0.25 + level.sigma**2) ** -0.5,
    "circle": lambda level: (level.alpha**2 + level.sigma**2) ** -0.5,
}
PATHS = ("ddpm", "linear", "edm", "vp", "cosine")
TURNS = [
    (path, list(ANSWERS)[n], list(MOMENTS)[(n + 3 * k) % 8], list(INPUTS)[(n + k) % 3])
    for k, path in enumerate(PATHS)
    for n in range(7)
]


def raw(e: Estimate) -> Tensor:
    """F of D = c_skip x + c_out F (Karras et al. 2022, table 1)."""
    nsr, state = e.level.sigma / e.level.alpha, e.x_t / e.level.alpha
    return (e.data - 0.25 / (nsr**2 + 0.25) * state) * (nsr**2 + 0.25) ** 0.5 / (0.5 * nsr)


def foreign(oracle: Model, predicts: str, time: str, precondition: str = "none", off: float = 0.0) -> Net:
    """A perfect network in somebody's convention; with `off`, an imperfect one."""

    def net(x: Tensor, told: Tensor, _: Tensor | None = None) -> Tensor:
        level = MOMENTS[time](oracle.schedule, float(told[0]))
        out = ANSWERS[predicts](oracle(x.double() / INPUTS[precondition](level), level))
        out = -out if predicts in RATES and time.startswith("data-at-1") else out
        wrong = noise.normal(x.shape, seed=int(1e6 * float(x.sum())), purpose="test: off", dtype=torch.float64)
        return (out + off * out.square().mean().sqrt() * wrong).to(x)

    return net


def mixture(path: str) -> Mixture:
    return Mixture(CENTRES, 0.02, None, path)


def gaussian(path: str) -> Gaussian:
    return Gaussian(torch.zeros(4), LONG, path)


def told_alike(found: Fits, name: str) -> set[Any]:
    return {fit.words[name] for fit in (found.best, *found.ties)}


@pytest.mark.parametrize(("path", "predicts", "time", "precondition"), TURNS)
def test_a_convention_is_recognised(path: str, predicts: str, time: str, precondition: str) -> None:
    number = TURNS.index((path, predicts, time, precondition))
    oracle, off = (mixture, gaussian)[number % 2](path), (0.0, 0.05, 0.2)[number % 3]
    x = oracle.sample(96, seed=3).float()
    found = fits(foreign(oracle, predicts, time, precondition, off), x, path)
    right = {"schedule": path, "predicts": predicts, "time": time, "precondition": precondition}
    assert found.best.fits
    assert right in [fit.words for fit in (found.best, *found.ties)]
    assert told_alike(found, "time") in ({time}, {"t:scale=1000", "index"}, {time, "data-at-1:scale=1000"})
    if not off:
        assert found.best.score == pytest.approx(fits(oracle, x).best.score, rel=2e-3)


def test_a_sign_that_is_nobodys_is_found() -> None:
    oracle = mixture("linear")
    net = foreign(oracle, "flow", "t")
    found = fits(lambda *handed: -net(*handed), oracle.sample(96), "linear")
    assert found.best.words["predicts"] == "reversed" and found.best.words["time"] == "t"
    assert "predicts='reversed'" in str(found)
    x_t = oracle.sample(8, seed=1)
    assert torch.allclose(found.model(x_t, 0.3).data, oracle(x_t, 0.3).data)


def test_the_path_is_found_among_several() -> None:
    oracle = mixture("cosine")
    x = oracle.sample(96)
    found = fits(foreign(oracle, "v", "t"), x, ("vp", "cosine", "edm"))
    assert told_alike(found, "schedule") == {"cosine"}


def test_what_is_the_same_at_equal_log_snr_is_a_tie_of_paths() -> None:
    oracle = mixture("cosine")
    found = fits(foreign(oracle, "noise", "logsnr"), oracle.sample(96), ("vp", "cosine"))
    assert told_alike(found, "schedule") == {"vp", "cosine"}


def test_a_network_that_looks_at_no_time_ties_all_times() -> None:
    point = torch.full((64,), 1.0)
    x = torch.where(torch.arange(64) % 2 == 0, 1.0, -1.0)[:, None] * point
    found = fits(lambda x_t, _, __: (x_t @ point).sign()[:, None] * point, x, "linear")
    assert told_alike(found, "time") == set(MOMENTS)
    assert told_alike(found, "predicts") == {"data"}
    assert "more" in str(found)


class Untrained(nn.Module):
    """A network with weights as they come; `through` adds its input."""

    def __init__(self, seed: int, through: bool) -> None:
        super().__init__()
        self.through = through
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(nn.Linear(5, 32), nn.SiLU(), nn.Dropout(0.5), nn.Linear(32, 4))

    def forward(self, x_t: Tensor, t: Tensor, _: Tensor | None) -> Tensor:
        out: Tensor = self.net(torch.cat([x_t, t[:, None]], 1))
        return out + x_t if self.through else out


NOTHING: list[Net] = [Untrained(0, False), Untrained(1, True), lambda x_t, *_: 0 * x_t, lambda x_t, *_: x_t]


@pytest.mark.parametrize("net", NOTHING, ids=["random", "residual", "zero", "identity"])
@pytest.mark.parametrize("path", ["ddpm", "linear"])
def test_nothing_fits_what_has_learnt_nothing(net: Net, path: str) -> None:
    found = fits(net, mixture(path).sample(96), path)
    assert not found.best.fits and "Nothing fits" in str(found)
    with pytest.raises(InvalidArgument, match="Nothing fits"):
        found.model  # noqa: B018


def test_a_network_that_was_trained_is_recognised() -> None:
    angle = math.pi * noise.uniform((1024, 1), seed=0, purpose="test: moons").float()
    upper = (torch.arange(1024) % 2 == 0)[:, None]
    moons = torch.where(
        upper, torch.cat([angle.cos(), angle.sin()], 1), torch.cat([1 - angle.cos(), 0.5 - angle.sin()], 1)
    )
    x = (moons - moons.mean(0)) / moons.std()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = MLPArchitecture(width=64, depth=2).build((2,))
        optimizer = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(300):  # on the cosine path, in the words of nobody's library
            t, eps = torch.rand(256), torch.randn(256, 2)
            turn = (math.pi / 2 * t)[:, None]
            some = x[torch.randint(1024, (256,))]
            loss = (net(turn.cos() * some + turn.sin() * eps, 1000 * t) - eps).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = fits(net, x[:256], ("linear", "cosine"))
    right = {"schedule": "cosine", "predicts": "noise", "time": "t:scale=1000", "precondition": "none"}
    assert found.best.fits and found.best.words == right
    assert told_alike(found, "predicts") == {"noise"}
    assert told_alike(found, "time") == {"t:scale=1000", "index"}


def test_indices_that_are_not_there_only_do_not_fit() -> None:
    oracle, table = mixture("ddpm"), nn.Embedding(1000, 1)
    net = foreign(oracle, "noise", "index")

    def looking(x_t: Tensor, index: Tensor, _: Tensor | None) -> Tensor:
        table(index.long())
        return net(x_t, index)

    found = fits(looking, oracle.sample(96), "ddpm")
    assert found.best.words["time"] == "index"
    reasons = {fit.words["time"]: fit.failed for fit in found.tried if fit.failed}
    assert reasons == {"logsnr": "IndexError: index out of range in self"}


def test_a_network_of_indices_is_told_whole_numbers() -> None:
    oracle = mixture("ddpm:count=50")

    def looking(x_t: Tensor, index: Tensor, _: Tensor | None) -> Tensor:
        if not bool((index == index.round()).all()):
            raise IndexError("a fraction")
        return oracle(x_t, (index[0].double() + 1) / 50).noise

    found = fits(looking, oracle.sample(96), "ddpm:count=50")
    assert found.best.fits and found.best.words["time"] == "index:count=50"
    assert told_alike(found, "time") == {"index:count=50"}


def test_a_network_that_always_fails_says_why() -> None:
    def broken(*_: Tensor) -> Tensor:
        raise ValueError("no time today\nnor tomorrow")

    found = fits(broken, mixture("linear").sample(8), "linear")
    assert not found.best.fits and "ValueError: no time today" in str(found) and "tomorrow" not in str(found)
    assert json.loads(json.dumps(found.to_json()))["tried"][0]["failed"] == "ValueError: no time today"


def test_wrong_words_of_a_network_are_judged() -> None:
    oracle = mixture("linear")
    found = fits(Network(foreign(oracle, "flow", "data-at-1"), "linear", predicts="flow"), oracle.sample(96))
    assert found.own is not None and not found.own.fits and found.own.words["time"] == "t"
    assert found.best.words["time"] == "data-at-1"
    assert len(repr(found)) < 1000  # of hundreds of combinations
    assert str(found).startswith(
        "As it is wrapped (schedule='linear', predicts='flow', time='t'), the network does not"
    )


@pytest.mark.parametrize("predicts", ["velocity", "flow"])
def test_who_is_as_good_as_right_is_right(predicts: str) -> None:
    oracle = mixture("linear")
    found = fits(Network(foreign(oracle, "flow", "t"), "linear", predicts=predicts), oracle.sample(96))
    assert found.own is found.best and found.best.words["predicts"] == predicts


def test_own_numbers_of_a_network_are_tried() -> None:
    oracle = mixture("edm")
    net = foreign(oracle, "noise", "nsr")
    model = Network(lambda x_t, told, _: net(x_t, told / 7), "edm", predicts="data", time=Sevenfold())
    assert fits(model, oracle.sample(96)).best.words["time"] == Sevenfold()
    unknown = fits(model.net, oracle.sample(96), "edm")
    assert not unknown.best.fits and "times what could be made of its answers" in str(unknown)


class Sevenfold(TimeInput):
    """7 nsr, a time that has no name."""

    name = "sevenfold"

    def __call__(self, level: Level) -> Any:
        return 7 * level.nsr


def test_a_new_member_is_tried_without_being_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimeInput, "members", dict(TimeInput.members))

    class Twelve(TimeInput, name="twelve"):
        def __call__(self, level: Level) -> Any:
            return 12 * level.t

    @dataclass(frozen=True)
    class Asking(TimeInput, name="asking"):
        number: float

        def __call__(self, level: Level) -> Any:
            return self.number * level.t

    oracle = mixture("linear")
    net = foreign(oracle, "data", "t")
    assert fits(lambda x, told, _: net(x, told / 12), oracle.sample(96), "linear").best.words["time"] == "twelve"


@pytest.mark.parametrize("cond", ["third", "label"])
def test_conditions_go_the_way_of_the_network(cond: str) -> None:
    """The classes are all that tells where the data lie, so that without them nothing fits."""
    labels = torch.arange(96) % 6
    x = CENTRES[labels] + 0.05 * noise.normal((96, 4), seed=5, purpose="test: within")

    def net(x_t: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return (x_t - (1 - t[:, None]) * CENTRES[label]) / t[:, None]

    found = fits(Network(net, "linear", predicts="noise", cond=cond), x, cond=labels)
    assert found.own is found.best and found.best.fits
    assert found.model(x, 0.5, labels).data.isfinite().all()
    assert not fits(Network(net, "linear", predicts="noise", cond=cond), x, cond=labels.roll(1)).best.fits


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_networks_of_any_precision_and_pictures(dtype: torch.dtype) -> None:
    oracle = Mixture(CENTRES.reshape(6, 1, 2, 2), 0.02, None, "linear")

    class Rounding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones((), dtype=dtype))

        def forward(self, x_t: Tensor, t: Tensor, _: Tensor | None) -> Tensor:
            assert x_t.dtype == dtype
            return -oracle(x_t, 1 - t[0].double()).flow * self.weight

    found = fits(Rounding(), oracle.sample(64).to(torch.float32), "linear")
    assert found.best.words["time"] == "data-at-1" and found.best.words["predicts"] in RATES


def test_any_other_model_is_judged_as_it_is() -> None:
    """On Gaussian data both errors are known: along each axis, and of a denoiser that knows the mean variance only."""
    oracle = gaussian("vp")
    found = fits(Clamped(oracle, -50, 50), oracle.sample(8192, seed=1))
    variances = torch.tensor([0.01, 0.05, 0.4, 3.0], dtype=torch.float64)
    nsr2 = (-torch.tensor(found.logsnr, dtype=torch.float64)).exp()[:, None]
    exact = (variances * nsr2 / (variances + nsr2)).mean(1) * (1 / variances.mean() + 1 / nsr2[:, 0])
    assert torch.allclose(torch.tensor(found.best.curve, dtype=torch.float64), exact, rtol=0.05)
    assert (
        found.own is found.best
        and found.model is found.net
        and str(found).startswith("As it is wrapped, the network denoises")
    )


def test_a_network_in_training_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fits(lambda *_: None, mixture("linear").sample(8), "linear")  # type: ignore[arg-type, return-value]
    found = fits(Wrapped(net), mixture("linear").sample(32), "linear")
    assert [part.training for part in net] == [True, False]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    again = fits(Wrapped(net), mixture("linear").sample(32), "linear")
    assert again.to_json() == found.to_json()


class Wrapped(nn.Module):
    """A network of the state alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x_t: Tensor, *_: Tensor) -> Tensor:
        out: Tensor = self.net(x_t)
        return out


@pytest.mark.parametrize(
    ("x", "schedule", "cond", "said"),
    [
        (CENTRES.numpy(), "linear", None, "a tensor, got ndarray"),
        (torch.ones(8, 2), "linear", None, "two different rows"),
        (torch.randn(1, 2), "linear", None, "two different rows"),
        (torch.full((4, 2), math.nan), "linear", None, "finite"),
        (1e6 * CENTRES, "ddpm", None, "scale x as the network was trained"),
        (CENTRES, (), None, "needs the schedule"),
        (CENTRES, "linear", torch.zeros(2), "one row for each sample"),
    ],
)
def test_what_cannot_be_asked_is_refused(x: Tensor, schedule: Any, cond: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        fits(lambda x_t, *_: x_t, x, schedule, cond)


def test_large_data_are_looked_at_in_part() -> None:
    """A search makes hundreds of calls: of pictures a few tell as much as all."""
    known, seen = Gaussian(torch.zeros(3, 32, 32), 0.25, "linear"), set[int]()

    def net(x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        assert cond is not None and len(cond) == len(x_t)
        seen.add(len(x_t))
        return known(x_t, t).noise

    fits(net, known.sample(64).float(), "linear", torch.arange(64))
    assert seen == {16}

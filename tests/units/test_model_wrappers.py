"""Models around models: micro-batches that change no bit, other schedules, clamped data."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument
from obverse.guidance import Guided
from obverse.model import Clamped, Gaussian, Microbatched, Mixture, Model, Network
from obverse.nets import Architecture, Conditions
from obverse.path import DDPM, EDM, VE, VP, Cosine, Linear, Rescaled, Schedule
from obverse.sampler import sample
from obverse.sampler.truth import beginning

NETS = {
    "mlp": ("mlp:width=48,depth=2", (5,)),
    "unet": ("unet:width=8", (2, 7, 9)),
    "dit": ("dit:width=24,depth=2", (1, 9, 9)),
}
ORDERS = {
    "as they come": torch.arange(64),
    "backwards": torch.arange(64).flip(0),
    "shuffled": noise.permutation(64, seed=0, purpose="test"),
}
BATCHES = (1, 3, 8, 64)
PATHS: list[Schedule] = [Linear(), Cosine(), VP(), VE()]


def named(value: object) -> str:
    return getattr(value, "spec", str(value))


def learnt(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A net with classes whose weights are nowhere special."""
    spec, shape = NETS[name]
    net = Architecture.of(spec).build(shape, Conditions(classes=4))
    with torch.no_grad():
        for i, weight in enumerate(net.parameters()):
            weight.add_(0.1 * noise.normal(weight.shape, seed=i, purpose="weights"))
    return net.eval(), shape


def two(path: Schedule | str) -> Mixture:
    return Mixture(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), 0.1, None, path)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", NETS)
@torch.no_grad()
def test_no_bit_of_a_row_depends_on_its_batch(name: str, order: str) -> None:
    net, shape = learnt(name)
    model = Microbatched(Network(net, "linear"), 8)
    x_t, label = noise.normal((64, *shape), seed=0, purpose="x_t"), torch.arange(64) % 5 - 1
    whole = model(x_t, 0.4, label).output
    assert float(whole.std()) > 0.01
    who = ORDERS[order]
    for batch in BATCHES:
        parts = [
            model(x_t[part], 0.4, label[part]).output
            for part in torch.tensor_split(who, tuple(range(batch, 64, batch)))
        ]
        assert torch.equal(torch.cat(parts), whole[who]), batch


@pytest.mark.parametrize("solver", ["sde", "sde:eta=0.4", "dpmpp-2m", "heun"])
@pytest.mark.parametrize("name", NETS)
def test_no_bit_of_a_sample_depends_on_its_batch(name: str, solver: str) -> None:
    net, shape = learnt(name)
    model, label = Network(net, "cosine"), torch.arange(40) % 4
    how = {"solver": solver, "steps": 4, "seed": 7, "microbatch": 16}
    whole = sample(model, (40, *shape), cond=label, **how)  # type: ignore[arg-type]
    for who in ([17], [39, 0, 17], list(range(39, -1, -1)), [5] * 20):
        alone = sample(model, (len(who), *shape), cond=label[who], samples=who, **how)  # type: ignore[arg-type]
        assert torch.equal(alone, whole[who]), who


def test_every_call_has_the_one_size() -> None:
    sizes = []

    def net(x: Tensor, time: Tensor, cond: Tensor) -> Tensor:
        sizes.append((len(x), len(time), len(cond)))
        return -x

    sample(Network(net, "linear"), (11, 2), steps=3, cond=torch.arange(11), microbatch=4)  # type: ignore[arg-type]
    assert sizes == [(4, 4, 4)] * 9


@pytest.mark.parametrize("count", [1, 4, 7])
def test_micro_batches_change_no_value(count: int) -> None:
    x_t = noise.normal((count, 2), seed=0, purpose="x_t", dtype=torch.float64)
    assert torch.allclose(Microbatched(two("vp"), 4)(x_t, 0.3).data, two("vp")(x_t, 0.3).data, rtol=1e-13)


def test_micro_batches_cut_conditions_of_any_structure() -> None:
    cond = {"label": torch.arange(5), "vector": torch.arange(10.0).reshape(5, 2)}

    def net(x: Tensor, _: Tensor, cond: dict[str, Tensor]) -> Tensor:
        return x * 0 + cond["label"][:, None] + cond["vector"]

    out = Microbatched(Network(net, "linear"), 2)(torch.zeros(5, 2), 0.5, cond).output  # type: ignore[arg-type]
    assert torch.equal(out, torch.arange(5.0)[:, None] + cond["vector"])


def test_micro_batches_need_a_size_and_one_level() -> None:
    with pytest.raises(InvalidArgument, match="microbatch >= 1, got 0"):
        Microbatched(two("linear"), 0)
    with pytest.raises(InvalidArgument, match="one level for all samples; call the model itself"):
        Microbatched(two("linear"), 2)(torch.zeros(3, 2), torch.full((3,), 0.5))


@pytest.mark.parametrize("there", PATHS, ids=named)
@pytest.mark.parametrize("here", PATHS, ids=named)
def test_a_model_on_another_schedule_is_the_model_of_that_schedule(here: Schedule, there: Schedule) -> None:
    seen, truth = two(here).on(there), two(there)
    x_t = noise.normal((6, 2), seed=0, purpose="x_t", dtype=torch.float64)
    for level in (there.at(0.4), there.at(torch.linspace(0.3, 0.6, 6, dtype=torch.float64))):
        for face in ("data", "noise", "flow", "v", "velocity", "score"):
            got, wanted = getattr(seen(x_t, level), face), getattr(truth(x_t, level), face)
            assert torch.allclose(got, wanted, rtol=1e-8, atol=1e-9), face


@pytest.mark.parametrize(
    "schedule",
    [DDPM(), DDPM(betas="scaled-linear", zero_terminal_snr=True), Rescaled(VP(), lambda t: 1 + t)],
    ids=lambda s: s.name,
)
@pytest.mark.parametrize("face", ["noise", "v", "velocity", "score", "edm", "flow", "data"])
def test_a_net_of_any_face_is_the_same_belief_on_another_schedule(schedule: Schedule, face: str) -> None:
    model = Network(lambda x, time, _: (x + time[:, None]).sin(), schedule, predicts=face, time="logsnr")  # type: ignore[arg-type]
    level = schedule.at(torch.tensor(0.4))
    other = Linear().at_logsnr(level.logsnr)
    x_t = noise.normal((6, 2), seed=0, purpose="x_t", dtype=torch.float64)
    home, seen = model(x_t * level.alpha, level), model.on("linear")(x_t * other.alpha, other)
    assert torch.allclose(home.data, seen.data, rtol=1e-8) and torch.allclose(home.noise, seen.noise, rtol=1e-8)


def test_seeing_a_model_from_elsewhere_twice_is_seeing_it_once() -> None:
    model = two("linear")
    assert model.on("linear") is model
    assert model.on("cosine").on("vp") == model.on("vp")
    assert model.on("cosine").on("linear") is model


def test_a_model_is_not_asked_beyond_the_noise_it_was_made_for() -> None:
    with pytest.raises(InvalidArgument, match=r"log-SNR of vp lies in \[-10\.05, inf\], got -13\.8"):
        two("vp").on("linear")(torch.zeros(1, 2), 0.999)


@pytest.mark.parametrize("around", [lambda model: model, Clamped, lambda model: Guided(model, 2.0)])
@pytest.mark.parametrize("face", ["noise", "v", "data", "flow"])
@pytest.mark.parametrize("home", [VP(), EDM(), VE()], ids=lambda s: s.name)
def test_a_model_seen_from_a_noisier_schedule_says_where_it_begins(
    home: Schedule, face: str, around: Callable[[Model], Model]
) -> None:
    model = around(Network(lambda x, *_: x / 2, home, predicts=face).on("linear"))  # type: ignore[arg-type]
    how: dict[str, Any] = {"steps": 4, "cond": torch.zeros(2, 1)}
    with pytest.raises(InvalidArgument, match=r"begins at t = 0\.9\d+: grid='scales:start=0\.9\d+'") as refused:
        sample(model, (2, 2), **how)
    (start,) = re.findall("grid='(.*)'", str(refused.value))
    assert bool(sample(model, (2, 2), grid=start, **how).isfinite().all())
    least = float(Linear().at_logsnr(home.range[0]).t)  # where it truly begins
    assert least - 1e-4 < model.first == beginning(model) <= least
    with pytest.raises(InvalidArgument, match="log-SNR of"):
        model(torch.zeros(2, 2), least + 1e-4, how["cond"])


def test_a_model_begins_at_pure_noise_where_its_own_schedule_is_as_noisy() -> None:
    assert two("linear").on("vp").first == two("vp").first == two("cosine").on("linear").first == 1.0


@pytest.mark.parametrize("face", ["noise", "flow", "v", "score"])
def test_clamped_data_stays_in_its_range_whatever_was_predicted(face: str) -> None:
    model = Network(lambda x, *_: 3 * x, Cosine(), predicts=face)  # type: ignore[arg-type]
    x_t = noise.normal((200, 3), seed=0, purpose="x_t")
    free, held = model(x_t, 0.6), Clamped(model, -0.5, 0.25)(x_t, 0.6)
    inside = (free.data > -0.5) & (free.data < 0.25)
    assert bool(inside.any()) and bool((~inside).any())
    assert float(held.data.min()) == -0.5 and float(held.data.max()) == 0.25
    assert torch.allclose(held.data[inside], free.data[inside])
    assert torch.allclose(Cosine().at(0.6).alpha * held.data + Cosine().at(0.6).sigma * held.noise, x_t, atol=1e-6)


def test_clamping_leaves_the_schedule_and_needs_a_range() -> None:
    assert Clamped(two("vp")).schedule == VP()
    with pytest.raises(InvalidArgument, match=r"Clamped needs low < high, got 1, -1"):
        Clamped(two("vp"), 1, -1)


def test_a_clamped_model_can_be_sampled_with_one_level_or_many() -> None:
    held: Model = Clamped(Gaussian(torch.zeros(2), 4.0, "linear"))
    x = sample(held, (64, 2), solver="ddim", steps=10)
    assert float(x.abs().max()) <= 1.0
    assert held(torch.zeros(3, 2), torch.tensor([0.2, 0.5, 0.8])).data.shape == (3, 2)

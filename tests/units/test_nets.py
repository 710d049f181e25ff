"""Networks: what holds for every architecture, whatever it is built for."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from obverse.ground import noise
from obverse.nets import UNCONDITIONAL, Architecture, Conditions, drop

SMALL = {"mlp": "mlp:width=16,depth=2", "unet": "unet:width=8", "dit": "dit:width=16,depth=2"}
SHAPES = {
    "mlp": [(1,), (2,), (3, 5), (1, 4, 3)],
    "unet": [(1, 8), (2, 7, 13), (3, 8, 8), (1, 1, 9), (1, 1), (2, 3, 4, 5), (1, 28, 28), (1, 100)],
    "dit": [(1, 8), (2, 9), (2, 7, 13), (3, 8, 8), (1, 1), (2, 3, 4, 5)],
}
EVERY = [pytest.param(SMALL[name], shape, id=f"{name}-{shape}") for name in SMALL for shape in SHAPES[name]]
KINDS: dict[str, tuple[Conditions, Callable[[int], Tensor]]] = {
    "label": (Conditions(classes=5), lambda n: torch.arange(n) % 5),
    "vector": (Conditions(vector=3), lambda n: noise.normal((n, 3), seed=1, purpose="vector")),
    "tokens": (Conditions(tokens=4), lambda n: noise.normal((n, 6, 4), seed=1, purpose="tokens")),
}
HEARD = [(name, kind) for name in SMALL for kind in KINDS if (name, kind) != ("mlp", "tokens")]
one_shape = pytest.mark.parametrize("name", SMALL)
heard = pytest.mark.parametrize(("name", "kind"), HEARD)


def states(batch: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    draw = noise.normal((batch, *shape), seed=0, purpose="x_t")
    return draw, noise.uniform((batch,), seed=0, purpose="t").float()


def learnt(spec: str, shape: tuple[int, ...], condition: Conditions = UNCONDITIONAL) -> nn.Module:
    """A net whose weights are nowhere special."""
    net = Architecture.of(spec).build(shape, condition)
    for step, parameter in enumerate(net.parameters()):
        draw = noise.normal((1, parameter.numel()), seed=7, purpose="weights", step=step)
        parameter.data += 0.1 * draw.reshape(parameter.shape)
    return net


def shape_of(name: str) -> tuple[int, ...]:
    return (2,) if name == "mlp" else (1, 7, 6)


@pytest.mark.parametrize(("spec", "shape"), EVERY)
def test_the_answer_has_the_shape_of_the_state_and_depends_on_it(spec: str, shape: tuple[int, ...]) -> None:
    net, (x_t, t) = learnt(spec, shape), states(3, shape)
    answer = net(x_t, t)
    assert answer.shape == (3, *shape)
    assert answer.isfinite().all()
    assert (answer - net(-x_t, t)).abs().max() > 1e-3


@pytest.mark.parametrize(("spec", "shape"), EVERY)
def test_a_new_net_answers_zero(spec: str, shape: tuple[int, ...]) -> None:
    assert (Architecture.of(spec).build(shape)(*states(3, shape)) == 0).all()


@pytest.mark.parametrize("kinds", [(), ("label", "vector"), ("label", "vector", "tokens")])
@one_shape
def test_every_parameter_has_a_gradient_away_from_the_start(name: str, kinds: tuple[str, ...]) -> None:
    if (name, *kinds[2:]) == ("mlp", "tokens"):
        pytest.skip("an mlp takes no tokens")
    condition = Conditions(*(size for size, _ in zip((5, 3, 4), kinds, strict=False)))
    net = learnt(SMALL[name], shape_of(name), condition)
    given = drop({kind: KINDS[kind][1](12) for kind in kinds}, torch.arange(12) >= 8)
    net(*states(12, shape_of(name)), given).square().sum().backward()
    grads = {key: p.grad for key, p in net.named_parameters()}
    assert [key for key, g in grads.items() if g is None or not g.abs().max() > 0] == []
    rows = {key: g.flatten(1).abs().amax(1) for key, g in grads.items() if g is not None and g.ndim > 1}
    assert [key for key, row in rows.items() if not row.min() > 0] == []


@heard
def test_row_i_does_not_depend_on_row_j(name: str, kind: str) -> None:
    condition, make = KINDS[kind]
    net, (x_t, t), cond = learnt(SMALL[name], shape_of(name), condition), states(4, shape_of(name)), make(4)
    other = torch.tensor([0, 3, 2, 1])
    with torch.no_grad():
        here, there = net(x_t, t, cond), net(x_t[other], t[other], cond[other])
        broken = net(torch.cat([x_t[:1], x_t[1:] * math.nan]), t, cond)
    assert torch.equal(here[[0, 2]], there[[0, 2]])
    assert torch.equal(here[0], broken[0])


@heard
def test_a_dropped_condition_is_no_condition(name: str, kind: str) -> None:
    condition, make = KINDS[kind]
    net, (x_t, t), cond = learnt(SMALL[name], shape_of(name), condition), states(4, shape_of(name)), make(4)
    mask = torch.tensor([True, False, True, False])
    with torch.no_grad():
        given, absent, mixed = net(x_t, t, cond), net(x_t, t), net(x_t, t, drop(cond, mask))
        named = net(x_t, t, drop({kind: cond}, mask))
    torch.testing.assert_close(mixed[mask], absent[mask], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mixed[~mask], given[~mask], rtol=1e-5, atol=1e-6)
    assert torch.equal(mixed, named)
    assert ((given - absent).abs().flatten(1).max(1).values > 1e-3).all()


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_a_missing_token_is_never_looked_at(name: str) -> None:
    condition, make = KINDS["tokens"]
    net, (x_t, t), tokens = learnt(SMALL[name], (1, 8), condition), states(2, (1, 8)), make(2)
    padded = torch.cat([tokens[:, :4], torch.full((2, 2, 4), math.nan)], 1)
    with torch.no_grad():
        torch.testing.assert_close(net(x_t, t, padded), net(x_t, t, tokens[:, :4]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_the_order_of_tokens_matters(name: str) -> None:
    condition, make = KINDS["tokens"]
    net, (x_t, t), tokens = learnt(SMALL[name], (1, 8), condition), states(2, (1, 8)), make(2)
    assert not torch.allclose(net(x_t, t, tokens), net(x_t, t, tokens.flip(1)), atol=1e-4)


def test_missing_rows_leave_gradients_finite() -> None:
    net = learnt("dit:width=16,depth=1", (1, 8), Conditions(vector=3, tokens=4))
    cond = drop({"vector": torch.ones(2, 3), "tokens": torch.ones(2, 5, 4)}, torch.tensor([True, False]))
    net(*states(2, (1, 8)), cond).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@one_shape
def test_it_compiles_into_one_graph(name: str) -> None:
    kinds = ["label", "vector"] if name == "mlp" else ["label", "tokens"]
    condition = Conditions(5, 3) if name == "mlp" else Conditions(5, 0, 4)
    net, (x_t, t) = learnt(SMALL[name], shape_of(name), condition), states(4, shape_of(name))
    cond = drop({kind: KINDS[kind][1](4) for kind in kinds}, torch.arange(4) > 2)
    torch.compiler.reset()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x_t, t, cond), net(x_t, t, cond))


@pytest.mark.parametrize(("dtype", "close"), [(torch.bfloat16, 0.1), (torch.float64, 1e-5)])
@one_shape
def test_other_precisions_give_the_same_answer(name: str, dtype: torch.dtype, close: float) -> None:
    shape, condition = shape_of(name), Conditions(classes=5, vector=3)
    net, (x_t, t) = learnt(SMALL[name], shape, condition), states(4, shape)
    cond = {"label": torch.arange(4), "vector": torch.ones(4, 3)}
    with torch.no_grad():
        expected = net(x_t, t, cond)
        got = net.to(dtype)(x_t.to(dtype), t.double(), cond)
    assert got.dtype == dtype
    assert (got.float() - expected).abs().max() < close * expected.abs().max()


def test_channels_last_gives_the_same_answer() -> None:
    net, (x_t, t) = learnt("unet:width=8", (3, 8, 8)), states(4, (3, 8, 8))
    with torch.no_grad():
        expected = net(x_t, t)
        got = net.to(memory_format=torch.channels_last)(x_t.to(memory_format=torch.channels_last), t)  # type: ignore[call-overload]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@one_shape
def test_a_few_steps_learn_a_tiny_batch_by_heart(name: str) -> None:
    shape = shape_of(name)
    spec = {"mlp": "mlp:width=64", "unet": "unet:width=16", "dit": "dit:width=64,depth=2"}[name]
    net = Architecture.of(spec).build(shape, Conditions(classes=8))
    (x_t, t), label = states(8, shape), torch.arange(8)
    target = noise.normal((8, *shape), seed=0, purpose="target")
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(150):
        loss = (net(x_t, t, label) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 20


@one_shape
def test_weights_are_a_function_of_the_seed_alone(name: str) -> None:
    make = Architecture.of(SMALL[name]).build
    before = torch.get_rng_state()
    one, two, three = (make(shape_of(name), seed=seed).state_dict() for seed in (3, 3 + 2**64, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], three[key]) for key in one)


@pytest.mark.parametrize(("spec", "shape"), EVERY)
def test_a_spec_makes_the_same_architecture_again(spec: str, shape: tuple[int, ...]) -> None:
    member = Architecture.of(spec)
    assert Architecture.of(member.spec) == member
    one, two = member.build(shape).state_dict(), Architecture.of(member.spec).build(shape).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


@one_shape
@pytest.mark.parametrize("times", [torch.linspace(0, 1, 1001), torch.linspace(-15, 15, 3001), torch.arange(1001.0)])
def test_near_times_are_told_apart(name: str, times: Tensor) -> None:
    context = learnt(SMALL[name], shape_of(name)).get_submodule("context")
    told = context(times, None).vector.detach()
    assert (torch.cdist(told, told) + 9 * torch.eye(len(times))).min() > 1e-4


def test_fourier_features_turn_a_smooth_net_into_a_sharp_one() -> None:
    """Neighbours a hundredth apart: the features must reach the answer."""
    x_t = torch.tensor([[0.0, 0.0], [0.01, 0.0]])

    def contrast(fourier: int) -> float:
        answers = learnt(f"mlp:width=64,fourier={fourier}", (2,))(x_t, torch.zeros(2)).detach()
        return float((answers[0] - answers[1]).abs().max())

    assert contrast(8) > 5 * contrast(0)


def test_a_transformer_that_is_not_told_places_moves_its_answer_with_the_points() -> None:
    (x_t, t), order = states(2, (3, 7)), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    for placed in ("true", "false"):
        net = learnt(f"dit:width=16,depth=2,patch=1,placed={placed}", (3, 7))
        apart = (net(x_t, t)[..., order] - net(x_t[..., order], t)).abs().max()
        assert bool(apart < 1e-5) == (placed == "false")

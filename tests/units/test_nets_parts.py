"""Networks in parts: waves, positions, patches, cost, dropping, and everything that is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.nets import (
    UNCONDITIONAL,
    Architecture,
    Conditions,
    Cost,
    DiTArchitecture,
    MLPArchitecture,
    UNetArchitecture,
    cost,
    drop,
)
from obverse.nets.waves import TIME_OCTAVES, positions, waves


@pytest.mark.parametrize("shape", [(1, 8), (2, 9), (2, 7, 13), (3, 8, 8), (1, 1), (2, 3, 4, 5)])
def test_a_dit_cuts_into_neighbours_and_joins_them_again(shape: tuple[int, ...]) -> None:
    net = DiTArchitecture(width=16, patch=2, depth=1).module(shape, UNCONDITIONAL)
    x = noise.normal((2, *shape), seed=0, purpose="x")
    cells = net._cut(x)
    assert torch.equal(net._join(cells), x)
    corner = x[(slice(None), slice(None), *(slice(2),) * (len(shape) - 1))]
    if min(shape[1:]) > 1:
        assert torch.equal(cells[:, 0], corner.flatten(1))


def test_the_depth_of_a_unet_follows_the_size() -> None:
    def levels(shape: tuple[int, ...]) -> int:
        keys = UNetArchitecture(width=8).build(shape).state_dict()
        return 1 + max(key.split(".").count("inside") for key in keys if ".shrink." in key or ".norms." in key)

    assert levels((1, 8, 8)) == 2
    assert levels((1, 28, 28)) == 3
    assert levels((1, 7, 7)) == 1


def test_default_unet_for_small_greys_is_small() -> None:
    assert cost(Architecture.of("unet").build((1, 8, 8)), (1, 8, 8)).parameters <= 700_000


def test_waves_are_as_exact_in_float32_as_in_float64() -> None:
    t = torch.cat([torch.linspace(-20, 20, 999), torch.linspace(0, 1000, 999)])
    assert (waves(t, TIME_OCTAVES) - waves(t.double(), TIME_OCTAVES)).abs().max() < 1e-6


def test_every_wave_turns_twice_as_fast_as_the_one_before() -> None:
    sine, cosine = waves(torch.linspace(-20, 1000, 999, dtype=torch.float64), TIME_OCTAVES).chunk(2, 1)
    wave = torch.complex(cosine, sine)
    torch.testing.assert_close(wave[:, :-1] ** 2, wave[:, 1:], rtol=0, atol=1e-12)
    quarter = waves(torch.tensor([0.25]), range(1))
    torch.testing.assert_close(quarter, torch.tensor([[1.0, 0.0]]), rtol=0, atol=1e-6)


def test_positions_tell_every_cell_apart() -> None:
    table = positions((5, 4, 3), 20, torch.zeros(()))
    assert table.shape == (60, 20)
    assert (torch.cdist(table, table) + torch.eye(60)).min() > 0.1


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(30, 20)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        return torch.add(self.layer(x_t), t[:, None])


def test_a_linear_layer_costs_two_operations_a_weight() -> None:
    assert cost(Plain(), (30,)) == Cost(parameters=30 * 20 + 20, flops=2 * 30 * 20)


def test_tokens_make_a_call_dearer() -> None:
    net = Architecture.of("dit:width=16,depth=1").build((1, 8), Conditions(tokens=4))
    assert cost(net, (1, 8), torch.zeros(3, 50, 4)).flops > 2 * cost(net, (1, 8)).flops


@pytest.mark.parametrize(
    ("parameters", "flops", "words"),
    [
        (614_000, 43_000_000, "0.61 M parameters, 43 MFLOPs a call"),
        (42, 84, "42 parameters, 84 FLOPs a call"),
        (99_600, 99_600_000, "100 k parameters, 100 MFLOPs a call"),
        (1_900_000, 510_000_000, "1.9 M parameters, 0.51 GFLOPs a call"),
    ],
)
def test_cost_reads_in_words(parameters: int, flops: int, words: str) -> None:
    assert str(Cost(parameters, flops)) == words


def test_attention_counts_into_the_cost() -> None:
    """Four times the cells: linear layers cost 4 times, attention 16 times as much."""
    small, large = (cost(Architecture.of("dit:width=16,depth=1").build((1, n)), (1, n)).flops for n in (256, 1024))
    assert large > 6 * small


@pytest.mark.parametrize(
    ("cond", "why"),
    [
        (torch.zeros(2, 3), "built without"),
        (torch.zeros(2, 3, 3), "built without"),
        ({"labels": torch.zeros(2, dtype=torch.int64)}, "knows the keys"),
        (torch.zeros(3, dtype=torch.int64), r"\(2,\)"),
        (torch.zeros(2), "whole numbers"),
        ({"label": torch.zeros(2)}, "whole numbers"),
        (torch.zeros(2, 1, dtype=torch.int64), "whole numbers"),
        (torch.tensor([0, 3]), r"0 \.\.\. 2, or -1 .*, got 0 \.\.\. 3"),
        (torch.tensor([-2, 1]), r"got -2 \.\.\. 1"),
    ],
)
def test_a_condition_the_net_cannot_read_is_refused(cond: Tensor, why: str) -> None:
    net = Architecture.of("mlp:width=8").build((2,), Conditions(classes=3))
    with pytest.raises(InvalidArgument, match=why):
        net(torch.zeros(2, 2), torch.zeros(2), cond)


def test_a_net_built_without_conditions_refuses_them() -> None:
    with pytest.raises(InvalidArgument, match="classes"):
        Architecture.of("mlp").build((2,))(torch.zeros(2, 2), torch.zeros(2), torch.tensor([0, 1]))


@pytest.mark.parametrize(("x_t", "t"), [(torch.zeros(2, 3), torch.zeros(2)), (torch.zeros(2, 2), torch.zeros(()))])
def test_states_and_times_of_another_shape_are_refused(x_t: Tensor, t: Tensor) -> None:
    with pytest.raises(InvalidArgument, match=r"\(batch, 2\)"):
        Architecture.of("mlp").build((2,))(x_t, t)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Architecture.of("unet:width=0"),
        lambda: Architecture.of("unet:depth=0"),
        lambda: Architecture.of("dit:patch=0"),
        lambda: MLPArchitecture(fourier=-1),
        lambda: Architecture.of("unet").build((3,)),
        lambda: Architecture.of("dit").build((3, 4, 4, 4, 4)),
        lambda: Architecture.of("mlp").build(()),
        lambda: Architecture.of("mlp").build((0, 2)),
        lambda: Architecture.of("mlp").build((2,), Conditions(tokens=4)),
        lambda: Conditions(classes=-1),
        lambda: drop(torch.zeros(2, 3), torch.ones(2)),
        lambda: drop(torch.zeros(2, 3), torch.ones(3) > 0),
        lambda: Architecture.of("mlp").build((2,), Conditions(vector=3))(
            torch.zeros(2, 2),
            torch.zeros(2),
            (torch.zeros(2, 3),),  # no names
        ),
    ],
)
def test_what_cannot_be_built_is_refused(build: object) -> None:
    with pytest.raises(InvalidArgument):
        build()  # type: ignore[operator]


def test_a_misspelt_architecture_names_the_near_one() -> None:
    with pytest.raises(UnknownName, match="unet"):
        Architecture.of("u-net")


def test_dropping_keeps_structure() -> None:
    cond = {"label": torch.tensor([1, 2]), "tokens": torch.ones(2, 3, 4)}
    dropped = drop(cond, torch.tensor([False, True]))
    assert drop(None, torch.tensor([True])) is None
    assert isinstance(dropped, dict) and dropped["label"].tolist() == [1, -1]
    assert dropped["tokens"][1].isnan().all() and torch.equal(dropped["tokens"][0], cond["tokens"][0])
    assert cond["label"].tolist() == [1, 2]

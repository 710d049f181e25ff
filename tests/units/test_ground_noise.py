"""Seeded noise: the published generator, the normal law, and who may share a draw with whom."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from obverse.ground import grains, noise
from obverse.ground.errors import InvalidArgument

# SplitMix64 from state 1234567: rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64, from Vigna's splitmix64.c
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]
GOLDEN = 0x9E3779B97F4A7C15


def words(count: int, seed: int = 0) -> Tensor:
    return noise.bits(count, seed=seed, purpose="test", samples=[0])[0]


def normals(batch: int, *data: int, seed: int = 0, purpose: str = "test", step: int = 0) -> Tensor:
    return noise.normal((batch, *data), seed=seed, purpose=purpose, step=step, dtype=torch.float64)


def test_the_mixer_is_splitmix64() -> None:
    states = [(1234567 + k * GOLDEN) % 2**64 for k in range(1, 6)]
    signed = torch.tensor([s - 2**64 if s >> 63 else s for s in states])
    assert [word % 2**64 for word in noise.mix(signed).tolist()] == PUBLISHED


def test_every_bit_is_fair() -> None:
    table = torch.stack([(words(2**16) >> bit) & 1 for bit in range(64)]).double()
    assert float(((table.mean(1) - 0.5).abs() * 2 * 2**8).max()) < 4.5  # standard errors, 64 of them
    joint = np.corrcoef(table.numpy())
    np.fill_diagonal(joint, 0)
    assert np.abs(joint).max() * 2**8 < 5


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63, -(2**63), 2**64 - 1])
def test_any_whole_number_of_64_bits_is_a_seed(seed: int) -> None:
    draw = normals(100, 10, seed=seed)
    assert bool(draw.isfinite().all()) and abs(float(draw.mean())) < 4.5 / 1000**0.5


def test_seeds_are_read_modulo_two_to_the_64() -> None:
    assert torch.equal(normals(4, 3, seed=-1), normals(4, 3, seed=2**64 - 1))


def test_draws_follow_the_normal_law() -> None:
    draw = normals(1000, 200).flatten().numpy()
    assert stats.kstest(draw, "norm").pvalue > 1e-3
    for half in (draw[0::2], draw[1::2]):  # sine and cosine of one pair
        assert stats.kstest(half, "norm").pvalue > 1e-3
    count = len(draw)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(draw**power) - moment) < 4.5 * math.sqrt(variance / count)
    share, at_three = np.mean(np.abs(draw) > 3), 2 * stats.norm.sf(3)
    assert abs(share - at_three) < 4.5 * math.sqrt(at_three / count)


def test_neighbours_in_a_sample_point_everywhere_alike() -> None:
    """The normal law in the plane: every direction alike, half the squared radius exponential, independent of it."""
    first, second = normals(1000, 400).reshape(-1, 2).numpy().T
    angle, energy = np.arctan2(second, first), (first**2 + second**2) / 2
    seen, _ = np.histogram(angle, bins=720, range=(-math.pi, math.pi))
    assert stats.chisquare(seen).pvalue > 1e-3
    assert stats.kstest(energy, "expon").pvalue > 1e-3
    assert stats.pearsonr(np.cos(4 * angle), energy).pvalue > 1e-3


def test_uniform_draws_follow_the_uniform_law_inside_the_open_interval() -> None:
    draw = noise.uniform((1000, 100), seed=0, purpose="test").flatten()
    assert draw.dtype == torch.float64 and float(draw.min()) > 0 and float(draw.max()) < 1
    assert stats.kstest(draw.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("other", ["sample", "step", "purpose", "seed", "place"])
def test_draws_of_different_keys_are_independent(other: str) -> None:
    base = normals(20000, 2)
    second = {
        "sample": base.roll(1, 0),
        "step": normals(20000, 2, step=1),
        "purpose": normals(20000, 2, purpose="tesu"),
        "seed": normals(20000, 2, seed=1),
        "place": base.flip(1),
    }[other]
    for f in (torch.clone, torch.square, torch.abs):
        r, p = stats.pearsonr(f(base[:, 0]).numpy(), f(second[:, 0]).numpy())
        assert p > 1e-4, (r, p)


def test_neighbouring_samples_and_seeds_share_no_word() -> None:
    keys = itertools.product(range(4), ("start", "solver"), range(4))
    every = torch.cat([noise.bits(16, seed=s, purpose=p, step=n, samples=range(16)).flatten() for s, p, n in keys])
    assert len(set(every.tolist())) == len(every)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 16, 33])
@pytest.mark.parametrize("data", [(), (1,), (3,), (2, 5)])
def test_a_row_has_the_same_bits_in_every_batch(batch: int, data: tuple[int, ...]) -> None:
    whole = noise.normal((40, *data), seed=5, purpose="test")
    who = torch.arange(40).roll(11)[:batch]
    assert torch.equal(noise.normal((batch, *data), seed=5, purpose="test", samples=who), whole[who])


def test_a_step_has_the_same_bits_alone_and_in_a_range() -> None:
    ahead = noise.normal((6, 5), seed=2, purpose="test", step=range(3, 9))
    alone = [noise.normal((6, 5), seed=2, purpose="test", step=n) for n in range(3, 9)]
    assert torch.equal(ahead, torch.stack(alone))


def test_a_longer_sample_begins_as_the_shorter_one() -> None:
    assert torch.equal(normals(3, 10)[:, :7], normals(3, 7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lesser_dtypes_are_the_float64_draw_rounded(dtype: torch.dtype) -> None:
    exact = normals(50, 9)
    assert torch.equal(noise.normal((50, 9), seed=0, purpose="test", dtype=dtype), exact.to(dtype))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_a_dtype_that_cannot_hold_a_normal_draw_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(InvalidArgument, match=rf"a floating dtype, got {dtype} .*x\.float\(\)"):
        noise.normal((2, 3), seed=0, purpose="test", dtype=dtype)


def test_logarithm_sine_and_cosine_are_those_of_torch() -> None:
    x = torch.cat([torch.linspace(2.0**-32, 1, 100001), torch.logspace(-9, 0, 10001)]).double()
    assert float((noise._log(x) - x.log()).abs().max()) < 1e-13
    angle = torch.linspace(-math.pi / 4, math.pi / 4, 100001, dtype=torch.float64)
    square = angle**2
    assert float((noise._polynomial(square, noise._SIN_TERMS) * angle - angle.sin()).abs().max()) < 1e-13
    assert float((noise._polynomial(square, noise._COS_TERMS) - angle.cos()).abs().max()) < 1e-13


@pytest.mark.parametrize("count", [1, 2, 10, 1000])
def test_a_permutation_holds_everything_once(count: int) -> None:
    assert sorted(noise.permutation(count, seed=0, purpose="order").tolist()) == list(range(count))


def test_permutations_are_evenly_spread() -> None:
    every = [tuple(noise.permutation(4, seed=s, purpose="order").tolist()) for s in range(2400)]
    seen = [every.count(p) for p in itertools.permutations(range(4))]
    assert stats.chisquare(seen).pvalue > 1e-3


@pytest.mark.parametrize("samples", [[1], [1, 2, 3], [[1, 2]]])
def test_as_many_samples_are_named_as_there_are_rows(samples: list[int]) -> None:
    with pytest.raises(InvalidArgument, match=r"samples names every row once: expected 2"):
        noise.normal((2, 3), seed=0, purpose="test", samples=samples)


def test_grained_draws_are_standard_multiples_of_two_to_the_minus_16() -> None:
    draws = grains.grained((4000, 3), seed=2, purpose="test", steps=range(10)).double()
    assert torch.equal(draws * 2**16, (draws * 2**16).round())
    assert stats.kstest(draws.flatten().numpy(), "norm").pvalue > 1e-3
    assert float((draws**4).mean()) == pytest.approx(3, abs=0.15)
    off = torch.corrcoef(draws.flatten(2).permute(0, 2, 1).reshape(30, 4000)) - torch.eye(30)
    assert float(off.abs().max()) < 5.5 / 4000**0.5


@pytest.mark.parametrize("count", [1, 2, 7])
def test_grained_draws_belong_to_seed_purpose_step_and_sample(count: int) -> None:
    whole = grains.grained((9, count), seed=2, purpose="test", steps=range(6))
    assert torch.equal(
        grains.grained((2, count), seed=2, purpose="test", steps=range(3, 5), samples=[8, 1])[1], whole[4, [8, 1]]
    )
    assert len(set(whole[..., 0].flatten().tolist())) > 50
    assert not torch.equal(grains.grained((9, count), seed=3, purpose="test", steps=range(6)), whole)
    assert not torch.equal(grains.grained((9, count), seed=2, purpose="other", steps=range(6)), whole)


@pytest.mark.parametrize("seed", [np.int64(77), np.uint8(77), torch.tensor(77)])
def test_a_seed_may_be_any_whole_number(seed: Any) -> None:
    drawn = noise.normal((2, 3), seed=seed, purpose=f"start-{type(seed).__name__}")
    assert torch.equal(drawn, noise.normal((2, 3), seed=77, purpose=f"start-{type(seed).__name__}"))


@pytest.mark.parametrize("seed", [None, "3", 0.5])
def test_a_seed_that_is_no_whole_number_is_refused(seed: Any) -> None:
    with pytest.raises(InvalidArgument, match="seed is a whole number, got"):
        noise.normal((2, 3), seed=seed, purpose="start")

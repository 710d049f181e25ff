"""The order of samples is a function of (seed, step); batches, processes and resuming cannot change it."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from obverse.data import Dataset, batches, evenly, order
from obverse.ground.errors import InvalidArgument


def ten() -> Dataset:
    return Dataset("ten", torch.arange(10.0)[:, None], labels=torch.arange(10) % 2, classes=("even", "odd"))


def stream(count: int, batch: int, seed: int, steps: int) -> torch.Tensor:
    return torch.cat([order(count, batch, seed=seed, step=step) for step in range(steps)])


@settings(deadline=None, max_examples=50)
@given(count=some.integers(1, 40), batch=some.integers(1, 60), seed=some.integers(-5, 2**64))
def test_every_epoch_holds_every_sample_once_and_batches_run_across_its_end(count: int, batch: int, seed: int) -> None:
    seen = stream(count, batch, seed, 3 * count // batch + 1)
    for start in (0, count, 2 * count):
        assert seen[start : start + count].sort().values.tolist() == list(range(count))


@settings(deadline=None, max_examples=50)
@given(count=some.integers(1, 40), batch=some.integers(1, 60), other=some.integers(1, 60))
def test_the_batch_size_cuts_one_stream_and_does_not_change_it(count: int, batch: int, other: int) -> None:
    one, two = stream(count, batch, 3, 120 // batch + 1), stream(count, other, 3, 120 // other + 1)
    assert torch.equal(one[:120], two[:120])


def test_steps_can_be_asked_for_in_any_order() -> None:
    forwards = [order(7, 3, seed=1, step=step) for step in range(30)]
    backwards = [order(7, 3, seed=1, step=step) for step in reversed(range(30))][::-1]
    assert all(map(torch.equal, forwards, backwards))


def test_changing_an_order_that_was_handed_out_changes_no_later_one() -> None:
    first = order(6, 6, seed=0, step=0)
    kept = first.clone()
    first.fill_(0)
    assert torch.equal(order(6, 6, seed=0, step=0), kept)


def test_seeds_and_epochs_shuffle_differently() -> None:
    orders = [order(50, 50, seed=seed, step=step).tolist() for seed in range(4) for step in range(4)]
    assert len({tuple(rows) for rows in orders}) == 16 and list(range(50)) not in orders


def test_each_sample_comes_first_equally_often() -> None:
    first = torch.stack([order(4, 1, seed=seed, step=0) for seed in range(1000)]).flatten().bincount(minlength=4)
    assert (first - 250).abs().max() < 5 * (1000 * 0.25 * 0.75) ** 0.5


def test_a_run_that_resumes_sees_what_the_run_without_a_break_saw() -> None:
    whole = list(islice(batches(ten(), 4, seed=5), 12))
    rest = list(islice(batches(ten(), 4, seed=5, start=7), 5))
    for resumed, unbroken in zip(rest, whole[7:], strict=True):
        assert resumed.step == unbroken.step and torch.equal(resumed.index, unbroken.index)
        assert torch.equal(resumed.x, unbroken.x)


@pytest.mark.parametrize("processes", [1, 2, 3, 6])
def test_processes_share_out_the_same_batch(processes: int) -> None:
    parts = [next(batches(ten(), 6, seed=0, start=3, rank=r, processes=processes)) for r in range(processes)]
    assert all(part.rows.tolist() == list(range(6))[rank::processes] for rank, part in enumerate(parts))
    rows = torch.cat([part.rows for part in parts])
    index = torch.cat([part.index for part in parts])
    assert torch.equal(index[rows.argsort()], order(10, 6, seed=0, step=3))


def test_a_batch_holds_the_values_and_labels_of_its_samples() -> None:
    batch = next(batches(ten(), 4, seed=0))
    assert torch.equal(batch.x[:, 0], batch.index.float())
    assert batch.label is not None and torch.equal(batch.label, batch.index % 2)


def test_a_batch_larger_than_the_data_warns_and_works() -> None:
    with pytest.warns(UserWarning, match="A batch of 25 holds the 10 samples of ten more than once"):
        stream = batches(ten(), 25, seed=0)
    counts = next(stream).index.bincount(minlength=10)
    assert counts.sum() == 25 and counts.min() >= 2 and counts.max() <= 3


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"batch": 5}, {"start": -1}, {"rank": 2}, {"rank": -1}, {"processes": 0}], ids=str
)
def test_numbers_outside_their_range_are_refused_before_the_first_batch(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        batches(ten(), **{"batch": 4, "seed": 0, "processes": 2, **wrong})


@pytest.mark.parametrize("wrong", [{"count": 0}, {"batch": 0}, {"step": -1}], ids=str)
def test_order_refuses_numbers_outside_their_range(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(wrong))):
        order(**{"count": 4, "batch": 2, "seed": 0, "step": 0, **wrong})


@pytest.mark.parametrize(("count", "most"), [(1, 5), (5, 5), (7, 3), (2**24 + 4, 4096), (2**40 + 1, 1000)])
def test_samples_spread_evenly_are_samples_of_the_set_and_reach_from_end_to_end(count: int, most: int) -> None:
    index = evenly(count, most)
    assert len(index) == min(count, most) and index[0] == 0 and index[-1] == (count - 1 if len(index) > 1 else 0)
    gaps = index.diff()
    assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)

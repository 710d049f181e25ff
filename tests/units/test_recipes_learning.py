"""What a recipe gives the trainer: the same bits, whether it works ahead or not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from obverse.data import Dataset
from obverse.objective.couplings import Pool
from obverse.recipes import Recipe, build, fit
from obverse.recipes.learning import Learning
from obverse.train import Training
from obverse.train.ahead import ahead
from obverse.train.parts import in_parts

POINTS = Dataset(
    "points", torch.randn(60, 2, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3, ("a", "b", "c")
)
RECIPE = Recipe(net="mlp:width=16,depth=1", holdout=0.0, training=Training(steps=6, batch=12, seed=5))


def learning(recipe: Recipe, **place: Any) -> tuple[Learning, nn.Module]:
    net = build.network(recipe, build.Facts.of(POINTS))
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    return Learning(recipe, net, POINTS, build.objective(recipe), **place), net


@pytest.mark.parametrize("coupling", ["independent", "exact-ot"])
@pytest.mark.parametrize("times", ["stratified", "logit-normal"])
def test_working_ahead_changes_no_bit(coupling: str, times: str) -> None:
    recipe = replace(RECIPE, coupling=coupling, times=times)
    early, net = learning(recipe)
    late, _ = learning(recipe)
    late.early = late.paired = False
    assert early.early == (coupling != "independent")
    for start in (0, 35):  # within a block of steps that are drawn together
        pairs = zip(early.stream(start), late.stream(start), strict=False)
        for step, (ready, plain) in islice(enumerate(pairs, start), 3):
            one, two = early(net, ready, step), late(net, plain, step)
            assert torch.equal(one.per_sample, two.per_sample)
            assert torch.equal(one.logsnr, two.logsnr)
            assert torch.equal(one.noise_error, two.noise_error)


def test_a_law_that_learns_from_a_step_is_not_asked_ahead_of_it() -> None:
    assert not learning(replace(RECIPE, times="adaptive", coupling="exact-ot"))[0].early


def test_processes_that_pair_together_do_so_in_turn_with_all_else_that_they_exchange() -> None:
    """On a second thread, gathering meets the sums of gradients in another order in every process: a deadlock."""

    class Seen(Pool, name="seen-for-test"):
        def paired(self, batch: Any) -> torch.Tensor:
            threads.append(threading.current_thread())
            return super().paired(batch)

    for coupling in ("seen-for-test", "within:base=seen-for-test"):
        threads: list[threading.Thread] = []
        next(learning(replace(RECIPE, coupling=coupling))[0].stream(0))
        assert set(threads) == {threading.current_thread()}


@pytest.mark.parametrize("times", ["stratified", "adaptive"])
def test_parts_of_a_batch_keep_the_pairs_of_the_whole(times: str) -> None:
    one, net = learning(replace(RECIPE, coupling="exact-ot", times=times))
    whole = next(one.stream(0))
    parts = in_parts(whole, 3, torch.device("cpu"))
    found = torch.cat([one(net, part, 0).per_sample for part in parts])
    assert torch.allclose(found, one(net, whole, 0).per_sample, rtol=1e-5)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("times", ["stratified", "adaptive"])
@pytest.mark.parametrize("coupling", ["independent", "exact-ot"])
def test_a_fit_left_and_resumed_ends_in_the_same_bits(
    tmp_path: Path, times: str, accumulate: int, coupling: str
) -> None:
    data = tmp_path / "points.csv"
    data.write_text("a,b\n" + "\n".join(f"{x},{y}" for x, y in POINTS.values.tolist()))
    training = replace(RECIPE.training, accumulate=accumulate, save_every=2, steps=9)
    recipe = replace(RECIPE, data=str(data), times=times, coupling=coupling, training=training)
    for name, stop in (("whole", 0), ("left", 5)):
        for progress in fit(recipe, tmp_path / name).steps:
            if progress.step == stop:
                break
    for _ in fit(recipe, tmp_path / "left", resume=True).steps:
        pass
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / name / "checkpoints/step-00000009").iterdir()}
        for name in ("whole", "left")
    )
    assert one == two
    assert ("objective.safetensors" in one) == (times == "adaptive")


def test_items_come_in_order_from_one_other_thread_no_further_than_asked() -> None:
    made: list[tuple[int, str]] = []

    def items() -> Iterator[int]:
        for i in range(20):
            made.append((i, threading.current_thread().name))
            yield i

    for i in ahead(items(), depth=3):
        assert i <= len(made) - 1 <= i + 3
    assert [i for i, _ in made] == list(range(20))
    assert {name for _, name in made} == {"obverse-ahead_0"}


def test_an_error_comes_where_its_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ZeroDivisionError

    got: list[int] = []
    with pytest.raises(ZeroDivisionError):
        got.extend(ahead(items(), depth=8))
    stream = ahead(items())
    assert [next(stream) for _ in range(3)] == [0, 1, 2]


def test_the_thread_ends_with_the_loop(tmp_path: Path) -> None:
    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("obverse-ahead")}

    before = threads()
    steps = fit(replace(RECIPE, data="digits", net="mlp:width=8", coupling="exact-ot"), tmp_path / "run").steps
    next(steps)
    mine = threads() - before
    assert len(mine) == 1
    steps.close()
    assert not mine & threads()

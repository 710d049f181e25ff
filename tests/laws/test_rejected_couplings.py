"""Couplings and costs that are not what they claim are rejected, by the laws that they break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from obverse.ground.families import Family
from obverse.objective import Cost, Coupling
from obverse.objective.couplings import Batch, Sinkhorn

Broken = Callable[[Family | type[Family]], dict[str, str]]
KEPT = "both marginals are kept: source rows are rearranged, or over batches all are drawn alike"


def test_a_coupling_that_takes_the_nearest_source_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Coupling, name="wrong"):
        def paired(self, batch: Batch) -> Tensor:
            return batch.taken(torch.cdist(batch.x.flatten(1), batch.eps.flatten(1)).argmin(1))

    found = broken(Wrong)
    assert set(found) == {KEPT} and "lost or doubled" in found[KEPT]


def test_a_plan_whose_columns_do_not_sum_to_one_is_rejected(broken: Broken) -> None:
    """What an unbalanced plan, sampled as it is, does to the source."""

    @dataclass(frozen=True)
    class Wrong(Sinkhorn, name="wrong"):
        def paired(self, batch: Batch) -> Tensor:
            share = (-self.cost.between(batch)).softmax(1).cumsum(1)
            u = batch.uniform("wrong")[:, None] * share[:, -1:]
            return batch.taken(torch.searchsorted(share, u)[:, 0].clamp(max=len(batch) - 1))

    assert set(broken(Wrong)) == {KEPT}


def test_a_coupling_that_makes_up_sources_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Coupling, name="wrong"):
        def paired(self, batch: Batch) -> Tensor:
            return batch.eps - 0.1 * batch.x

    assert "it gives each row a source row and changes nothing else" in broken(Wrong)


def test_a_coupling_that_draws_from_global_state_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Coupling, name="wrong"):
        def paired(self, batch: Batch) -> Tensor:
            return batch.eps[torch.randperm(len(batch))]

    torch.manual_seed(0)
    assert set(broken(Wrong)) == {"the same batch is paired the same way"}


def test_a_cost_that_is_turned_around_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Cost, name="wrong"):
        def between(self, batch: Batch) -> Tensor:
            return torch.cdist(batch.x.flatten(1), batch.eps.flatten(1)) * torch.arange(len(batch.x))

    assert set(broken(Wrong)) == {"what a pair costs goes with the pair"}


def test_a_cost_of_one_number_a_row_is_rejected(broken: Broken) -> None:
    @dataclass(frozen=True)
    class Wrong(Cost, name="wrong"):
        def between(self, batch: Batch) -> Tensor:
            return (batch.x - batch.eps).flatten(1).square().sum(1)

    assert "it is a finite number for every pair, data rows first" in broken(Wrong)

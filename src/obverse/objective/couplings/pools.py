"""Larger pools than a batch: the rows of all processes, or of several steps, paired together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from obverse.data.dataset import Batch as Rows
from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, require
from obverse.ground.shapes import mapped
from obverse.objective.couplings.coupling import Batch, Coupling
from obverse.objective.couplings.exact import ExactOT
from obverse.objective.couplings.sources import Source, eps_for


@dataclass(frozen=True)
class Pool(Coupling, name="pool"):
    """Another coupling over the batches of all processes at once: k of them pair like one with a k times larger batch.

    Every process gathers all rows, solves the same problem and keeps its own rows, so that one moves no more than
    data, source and condition. In a single process it is its base. All processes have to call it, each with as many
    rows; for larger pools in one process see `pooled`.

    Args:     base: the coupling of the gathered rows.
    Raises:   InvalidArgument where processes hold different numbers of rows.
    """

    base: Coupling = field(default_factory=ExactOT)
    gathers = True

    @property
    def bridge(self) -> float:  # type: ignore[override]
        """That of the base."""
        return self.base.bridge

    def paired(self, batch: Batch) -> Tensor:
        from torch import distributed

        if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
            return self.base.paired(batch)
        counts = _gathered(torch.tensor([len(batch)]))
        if int(counts.min()) != int(counts.max()):
            raise InvalidArgument(f"pool: every process brings as many rows, got {counts.tolist()} (drop the last).")
        samples = None if batch.samples is None else _gathered(batch.samples)
        whole = Batch(
            _gathered(batch.x), _gathered(batch.eps), mapped(_gathered, batch.cond), batch.seed, batch.step, samples
        )
        return self.base.paired(whole)[distributed.get_rank() * len(batch) :][: len(batch)]


def pooled(
    batches: Iterable[Rows], coupling: Coupling | str, *, count: int, seed: int = 0, source: Source = noise.normal
) -> Iterator[tuple[Rows, Tensor]]:
    """Batches with their sources, paired over several batches at once: less of the bias of small pools.

    It holds `count` batches and their sources, and pairs when the last has come; each goes out with its own rows. The
    sources are those that an objective with this seed would draw. Hand them on: `objective(..., eps=eps)`.

    Args:     batches: of a data set, `data.batches`; start at a step that is a multiple of count, or a run that is
                resumed pairs other batches together.
              coupling: of count x batch rows; its work grows faster than their number.
              count: batches in a pool, >= 1.
              seed: of the sources.
              source: what they are drawn from, as of an objective.
    Returns:  (batch, eps) in the order of the batches; a last pool may hold fewer.
    Raises:   InvalidArgument for count < 1.
    Example:
        >>> from obverse.data import Dataset, batches
        >>> data = Dataset("line", torch.linspace(-1, 1, 64)[:, None])
        >>> batch, eps = next(pooled(batches(data, 8, seed=0), "exact-ot", count=4))
        >>> eps.shape == batch.x.shape, bool((eps[batch.x[:, 0].argsort()].diff(dim=0) > 0).all())
        (True, True)
    """
    require(count >= 1, f"pooled needs count >= 1, got {count} (1 pairs each batch by itself).")
    coupling, stream = Coupling.of(coupling), iter(batches)
    while pool := list(islice(stream, count)):
        eps = [eps_for(batch.x, source, seed=seed, step=batch.step, samples=batch.rows) for batch in pool]
        label = None if pool[0].label is None else torch.cat([b.label for b in pool if b.label is not None])
        x = torch.cat([b.x for b in pool])
        paired = coupling.pair(x, torch.cat(eps), label, seed=seed, step=pool[0].step)
        yield from zip(pool, torch.split(paired, [len(b.x) for b in pool]), strict=True)


def _gathered(rows: Tensor) -> Tensor:
    """The rows of all processes, where these are; on their way they are where the processes exchange (NCCL: a GPU)."""
    from torch import distributed

    carried = [pair.partition(":")[0] for pair in distributed.get_backend_config().split(",")]
    sent = rows.to(rows.device if rows.device.type in carried else carried[0]).contiguous()
    parts = [torch.empty_like(sent) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, sent)
    return torch.cat(parts).to(rows.device)

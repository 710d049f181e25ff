"""Order: which samples a training step sees, as a function of (seed, step) and of nothing else.

Nothing is stored, so nothing has to be restored: a run that resumes at step k, on any number of processes, sees what
the run without a break would have seen.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import count as counting

import torch
from torch import Tensor

from obverse.data.augment import Augmentation, augmentations, augmented
from obverse.data.dataset import Batch, Dataset
from obverse.data.rows import release, shuffled
from obverse.ground.errors import InvalidArgument

_MOST, _NUMBERS = 32, 2**15  # steps that are taken at once, and numbers in them


def order(count: int, batch: int, *, seed: int, step: int) -> Tensor:
    """The sample numbers of one training step.

        row i of step k stands at place p = k batch + i;  its sample is number p mod count of epoch ⌊p / count⌋

    Every epoch is a shuffle of its own; batches run across its end, so none is short and no sample is left out.

    Args:     count: how many samples there are, >= 1.
              batch: how many a step takes, >= 1, over all processes; more than `count` is possible.
              seed: any whole number.
              step: >= 0.
    Returns:  int64; (batch).
    Raises:   InvalidArgument for numbers below those.
    Example:
        >>> two_steps = torch.cat([order(4, 2, seed=0, step=k) for k in (0, 1)])
        >>> two_steps.sort().values
        tensor([0, 1, 2, 3])
    """
    for name, value, least in (("count", count, 1), ("batch", batch, 1), ("step", step, 0)):
        if value < least:
            raise InvalidArgument(f"order needs {name} >= {least}, got {value}.")
    start, stop = step * batch, (step + 1) * batch
    epochs = range(start // count, (stop - 1) // count + 1)
    parts = [_epoch(count, seed, e)[max(start - e * count, 0) : stop - e * count].long() for e in epochs]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def evenly(count: int, most: int) -> Tensor:
    """At most so many of a number of samples, evenly spread, the first and the last among them; int64.

    Example:
        >>> evenly(10, 4).tolist(), evenly(3, 4).tolist()
        ([0, 3, 6, 9], [0, 1, 2])
    """
    kept = min(count, most)
    return torch.arange(kept) * (count - 1) // max(kept - 1, 1)


def batches(
    dataset: Dataset,
    batch: int,
    *,
    seed: int,
    start: int = 0,
    rank: int = 0,
    processes: int = 1,
    augment: str = "none",
) -> Iterator[Batch]:
    """The batches of steps start, start + 1, ... without end.

    Args:     dataset: what to draw from.
              batch: samples a step over all processes; a multiple of `processes`.
              seed, start: any whole number; the first step, >= 0.
              augment: what images go through, such as flip or flip+crop:pixels=2.
              rank, processes: this process's part of each batch is its rows rank, rank + processes, ...
    Raises:   InvalidArgument for numbers outside those ranges.
    Warns:    when a batch is larger than the data set, since it then holds samples twice.
    Example:
        >>> data = Dataset("ten", torch.arange(10.0)[:, None])
        >>> second = next(batches(data, 4, seed=0, start=7, rank=1, processes=2))
        >>> second.step, second.rows, bool((second.index == order(10, 4, seed=0, step=7)[1::2]).all())
        (7, tensor([1, 3]), True)
    """
    if processes < 1 or not 0 <= rank < processes:
        raise InvalidArgument(f"rank is below processes >= 1, got rank {rank} of {processes} processes.")
    if batch < 1 or batch % processes:
        raise InvalidArgument(f"batch is a positive multiple of the {processes} processes, got {batch}.")
    if start < 0:
        raise InvalidArgument(f"start is a step >= 0, got {start}.")
    if batch > len(dataset):
        warnings.warn(
            f"A batch of {batch} holds the {len(dataset)} samples of {dataset.name} more than once.", stacklevel=2
        )
    made, members = _batches(dataset, batch, seed, start, torch.arange(rank, batch, processes)), augmentations(augment)
    if members and len(dataset.shape) != 3:
        raise InvalidArgument(f"augment is for images (C, H, W), got {augment!r} for {dataset.shape} (augment='none').")
    if members:
        made = (_changed(batch, members, seed) for batch in made)
    return made


def _batches(dataset: Dataset, batch: int, seed: int, start: int, rows: Tensor) -> Iterator[Batch]:
    count, size = len(dataset), 1
    if isinstance(dataset.values, Tensor):  # small steps cost their calls, not their numbers: many are taken at once
        size = max(1, min(_MOST, _NUMBERS // (len(rows) * math.prod(dataset.shape))))
    for block in counting(start // size):
        first, last = block * size * batch, (block + 1) * size * batch - 1
        if first % count == 0 or first // count < last // count:  # an epoch is shuffled, which takes memory too
            release(dataset.values)
        index = order(count, size * batch, seed=seed, step=block).reshape(size, batch)
        index = index if len(rows) == batch else index[:, rows]
        whole = dataset.rows(index.flatten())
        labels = [None] * size if whole.label is None else whole.label.reshape(size, -1).unbind()
        steps = zip(whole.x.reshape(size, -1, *dataset.shape).unbind(), labels, index.unbind(), strict=True)
        for step, (x, label, chosen) in enumerate(steps, block * size):
            if step >= start:
                yield Batch(x, label, chosen, step, rows)


def _changed(batch: Batch, members: tuple[Augmentation, ...], seed: int) -> Batch:
    return replace(batch, x=augmented(batch.x, members, seed=seed, step=batch.step, samples=batch.index))


@lru_cache(maxsize=2)  # a batch across an epoch's end needs two
def _epoch(count: int, seed: int, epoch: int) -> Tensor:
    return shuffled(count, seed=seed, purpose="order", step=epoch)

"""A data set: stored as compactly as it came, in memory or in a file, scaled when its rows are asked for."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from obverse.data.damage import Damage
from obverse.data.mixed import Schema
from obverse.data.rows import Part, Rows, shuffled
from obverse.data.scaling import Scaling
from obverse.ground.errors import DataError, InvalidArgument

_AS_IT_IS = Scaling()
_NAMED = 3  # damaged samples and constant columns that a summary names before it only counts


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of a data set, ready for a network.

    Args:     x: network units, float32; (batch *data).
              label: classes as int64, or None; (batch).
              index: which samples of the data set these are; (batch).
              step: the training step they belong to.
              rows: their places in that step's batch over all processes, so that noise can be keyed by them; (batch).
    """

    x: Tensor
    label: Tensor | None
    index: Tensor
    step: int
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples of one shape, in raw units.

    Args:     name: where they come from, in a word.
              values: images uint8 or float, channel-first; else float32 or float64; a tensor, or what makes rows when
                asked (a mapped file, images to decode); (N *data).
              labels: classes as int64 below len(classes), or None; (N).
              classes: what the classes are called; empty if there are none.
              scaling: raw units to network units.
              damage: the samples that were left out.
              columns: the names of a table's columns.
              kind: "images", "vectors" or "arrays".
              notes: what was done to the data that its owner should know.
              schema: of a mixed table, how its columns became numbers.
              rate: of sounds, samples a second; 0 for all else.
    Raises:   DataError without samples, or for labels that do not fit.
    Example:
        >>> data = Dataset("four", torch.arange(4.0)[:, None], scaling=Scaling.of_range(0, 3))
        >>> len(data), data.shape, data.rows(torch.tensor([3, 0])).x.flatten().tolist()
        (4, (1,), [1.0, -1.0])
    """

    name: str
    values: Tensor | Rows
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    scaling: Scaling = _AS_IT_IS
    damage: tuple[Damage, ...] = ()
    columns: tuple[str, ...] = ()
    kind: str = "vectors"
    notes: tuple[str, ...] = ()
    schema: Schema | None = None
    rate: int = 0

    def __post_init__(self) -> None:
        if self.values.ndim < 2 or not math.prod(self.values.shape):
            raise DataError(f"{self.name}: values are (N *data) and not empty, got shape {tuple(self.values.shape)}.")
        if self.labels is not None and self.labels.shape != (len(self),):
            raise DataError(f"{self.name}: {len(self)} samples need as many labels, got {tuple(self.labels.shape)}.")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.values.shape[1:])

    @property
    def decoded_later(self) -> bool:
        """Whether samples are decoded when they are asked for, which is worth a thread of its own."""
        return isinstance(self.values, Rows) and self.values.threaded

    def rows(self, index: Tensor, *, step: int = 0, rows: Tensor | None = None) -> Batch:
        """The asked samples, scaled.

        Args:     index: sample numbers, int64; (batch).
                  step, rows: as in Batch; rows are 0, 1, 2 ... unless said.
        """
        label = None if self.labels is None else self.labels[index]
        rows = torch.arange(len(index)) if rows is None else rows
        return Batch(self.scaling.apply(self.values[index]), label, index, step, rows)

    def split(self, holdout: float, seed: int) -> tuple[Dataset, Dataset]:
        """Two parts, of which the second holds the fraction `holdout` of the samples, and of every class.

        Both keep this scaling, so that their units agree. The same seed makes the same parts.

        Args:     holdout: in (0, 1), such that neither part is empty.
                  seed: any whole number.
        Returns:  the samples to learn from, the samples held out.
        Raises:   InvalidArgument when a part would be empty.
        Example:
            >>> data = Dataset("ten", torch.arange(10.0)[:, None])
            >>> [len(part) for part in data.split(0.2, seed=0)]
            [8, 2]
        """
        count = int(len(self) * holdout + 0.5) if 0 < holdout < 1 else 0
        if not 0 < count < len(self):
            raise InvalidArgument(
                f"holdout is a fraction in (0, 1) that leaves samples in both parts, got {holdout} of {len(self)}."
            )
        mixed = shuffled(len(self), seed=seed, purpose="split")
        if self.labels is not None:
            mixed = mixed[self.labels[mixed].cpu().argsort(stable=True)]
        # walk along the classes: at each sample the fraction grows, and whenever it passes a whole number, one is held
        passed = torch.arange(len(self) + 1, dtype=torch.float64).mul_(holdout).add_(0.5).floor_()
        held = torch.zeros(len(self), dtype=torch.bool)
        held[mixed[passed[1:] > passed[:-1]]] = True
        return self._part(~held), self._part(held)

    def summary(self) -> str:
        """What this is, what was done to it and what was left out, in words."""
        size = " x ".join(map(str, self.shape))
        if self.columns:
            what = f"{len(self):,} rows of {_counted(len(self.columns), 'column')}"
        else:
            what = f"{_counted(len(self), self.kind[:-1])} of {size}"
        lines = [f"{self.name}: {what}" + (f" in {_counted(len(self.classes), 'class')}" if self.classes else "")]
        if self.scaling.constant:
            lines.append(f"constant, restored exactly when sampling: {_some(self._constants())}")
        lines.extend(self.notes)
        if self.damage:
            reasons = _some([f"{damage.where} ({damage.reason})" for damage in self.damage])
            lines.append(f"left out, because damaged: {_counted(len(self.damage), 'sample')}: {reasons}")
        return "\n  ".join(lines)

    def _constants(self) -> list[str]:
        name = "channel" if self.kind == "arrays" else "column"
        return [self.columns[i] if self.columns else f"{name} {i}" for i in self.scaling.constant]

    def _part(self, which: Tensor) -> Dataset:
        index = which.nonzero()[:, 0]
        labels = None if self.labels is None else self.labels[index]
        return replace(self, values=Part(self.values, index), labels=labels)


def encode(labels: Iterable[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Class names to numbers, in the order of the names; whole numbers in the order of the numbers.

    Example:
        >>> encode(["10", "9", "10"])
        (tensor([1, 0, 1]), ('9', '10'))
    """
    seen: dict[str, int] = {}
    numbers = torch.tensor(array("q", (seen.setdefault(label, len(seen)) for label in labels)), dtype=torch.int64)
    try:
        classes = sorted(seen, key=lambda name: (int(name), name))
    except ValueError:
        classes = sorted(seen)
    place = torch.empty(len(seen), dtype=torch.int64)
    for number, name in enumerate(classes):
        place[seen[name]] = number
    return place[numbers], tuple(classes)


def _counted(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")

"""What y is: classes or numbers that rows are conditioned on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obverse.data import Scaling
from obverse.ground import extras
from obverse.nets import Conditions
from obverse.sklearn.table import is_word


class Given(ABC):
    """How the values of y become a condition."""

    @property
    @abstractmethod
    def conditions(self) -> Conditions:
        """What a network has to listen to."""

    @abstractmethod
    def cond(self, y: Any, count: int) -> Tensor:
        """The condition of some rows.

        Args:     y: one value for all rows, or one for each.
        Raises:   ValueError for values that are none.
        """


@dataclass(frozen=True)
class Classes(Given):
    """One of some classes, which are sorted."""

    classes: NDArray[Any]

    @property
    def conditions(self) -> Conditions:
        return Conditions(classes=len(self.classes))

    def cond(self, y: Any, count: int) -> Tensor:
        values = _for_each(np.asarray(y), count, 0)
        place = np.clip(np.searchsorted(self.classes, values), 0, len(self.classes) - 1)
        strange = values[self.classes[place] != values]
        if len(strange):
            raise ValueError(
                f"y holds {strange.tolist()[0]!r}, which fit has not seen; its classes: {self.classes.tolist()}."
            )
        return torch.as_tensor(place)


@dataclass(frozen=True)
class Numbers(Given):
    """Numbers, some for each row."""

    scaling: Scaling
    shape: tuple[int, ...]

    @property
    def conditions(self) -> Conditions:
        return Conditions(vector=len(self.scaling.shift))

    def cond(self, y: Any, count: int) -> Tensor:
        word = next(filter(is_word, np.ravel(np.asarray(y, object))), None)
        if word is not None:
            raise self._refused(repr(str(word)))
        values = _for_each(np.asarray(y, dtype=np.float64), count, len(self.shape))
        if values.shape[1:] != self.shape or not np.isfinite(values).all():
            raise self._refused(f"{values.shape}" if np.isfinite(values).all() else "NaN or infinity")
        return self.scaling.apply(torch.as_tensor(values.reshape(count, -1).copy()))

    def _refused(self, got: str) -> ValueError:
        many = f"{math.prod(self.shape)} finite numbers" if self.shape else "one finite number"
        return ValueError(f"y has {many} for each row, as in fit; got {got}.")


def given(y: NDArray[Any]) -> Given:
    """What the y of a fit is: classes if scikit-learn calls it binary or multiclass, else numbers.

    Raises:   ValueError for a y that is neither.
    """
    kind = extras.load("sklearn.utils.multiclass", "data").type_of_target(y, input_name="y")
    if kind in ("binary", "multiclass"):
        return Classes(np.unique(y))
    if kind == "unknown":
        raise ValueError(f"y is classes or numbers. Unknown label type: {y.dtype} of shape {y.shape}.")
    return Numbers(Scaling.standard(torch.as_tensor(y.astype(np.float64)).reshape(len(y), -1)), y.shape[1:])


def _for_each(values: NDArray[Any], count: int, rank: int) -> NDArray[Any]:
    if values.ndim == rank:
        values = np.broadcast_to(values, (count, *values.shape))
    if len(values) != count:
        raise ValueError(f"y has one value for each row or one for all: expected {count}, got {len(values)}.")
    return values

"""Scaling: the affine map between the units of the data and what a network learns; stored with the model."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from obverse.data.rows import Rows, chunks
from obverse.ground.errors import InvalidArgument


@dataclass(frozen=True)
class Scaling:
    """Raw units to network units and back, one pair of numbers for all or for each column or channel.

        x = (raw - shift) / scale        raw = x scale + shift

    Args:     shift, scale: one number, or one for each index of axis 1; scale is positive.
              constant: the indices that never vary; `undo` gives them their one value whatever a model says.
    Raises:   InvalidArgument for numbers that are no such map.
    Example:
        >>> bytes_of_images = Scaling.of_range(0, 255)
        >>> bytes_of_images.apply(torch.tensor([[0, 255]], dtype=torch.uint8))
        tensor([[-1.,  1.]])
    """

    shift: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    constant: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.shift)
        if not count or len(self.scale) != count:
            raise InvalidArgument(f"shift and scale are equally many, at least one: got {count} and {len(self.scale)}.")
        if not all(map(math.isfinite, self.shift)) or not all(0 < scale < math.inf for scale in self.scale):
            raise InvalidArgument(f"shift is finite and scale positive, got {self.shift} and {self.scale}.")
        if not all(0 <= index < count for index in self.constant):
            raise InvalidArgument(f"A scaling's constant holds indices below {count}, got {self.constant}.")

    @classmethod
    def of_range(cls, low: float, high: float) -> Self:
        """The map of [low, high] onto [-1, 1]; a range of one number is only shifted.

        Example:
            >>> Scaling.of_range(0, 16)
            Scaling(shift=(8.0,), scale=(8.0,), constant=())
        """
        half = (high - low) / 2
        return cls(shift=(low + half,), scale=(half or 1.0,))

    @classmethod
    def standard(cls, values: Tensor | Rows) -> Self:
        """The map to mean 0 and standard deviation 1 along axis 1, in one pass; what is constant becomes 0.

        Args:     values: finite; (N, columns) or (N, channels, ...).
        Example:
            >>> Scaling.standard(torch.tensor([[1.0, 0.1], [3.0, 0.1]], dtype=torch.float64))
            Scaling(shift=(2.0, 0.1), scale=(1.0, 1.0), constant=(1,))
        """
        moments = functools.reduce(_Moments.with_more, map(_Moments.of, chunks(values)))
        constant = (moments.low == moments.high).nonzero()[:, 0]
        mean = moments.mean.where(moments.low != moments.high, moments.low)
        scale = moments.deviation.where((moments.deviation > 0) & (moments.low != moments.high), 1)
        return cls(tuple(mean.tolist()), tuple(scale.tolist()), tuple(constant.tolist()))

    def apply(self, raw: Tensor) -> Tensor:
        """Raw units to network units; (batch *data) -> the same, float32."""
        shift, scale = self.against(raw)
        return ((raw.double() - shift) / scale).float()

    def undo(self, x: Tensor) -> Tensor:
        """Network units to raw units, in double precision on the CPU; constants come back exactly.

        Example:
            >>> Scaling((2.0, 0.1), (1.0, 1.0), constant=(1,)).undo(torch.tensor([[0.5, 0.03]]))
            tensor([[2.5000, 0.1000]], dtype=torch.float64)
        """
        x = x.detach().to("cpu", torch.float64)
        shift, scale = self.against(x)
        raw = x * scale + shift
        for index in self.constant:
            raw[:, index] = self.shift[index]
        return raw

    def to_json(self) -> dict[str, Any]:
        """Plain lists of numbers, for a JSON file; `from_json` makes the same scaling again, to the last bit."""
        return {"shift": list(self.shift), "scale": list(self.scale), "constant": list(self.constant)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The scaling that wrote this.

        Raises:   InvalidArgument for anything else.
        Example:
            >>> scaling = Scaling.of_range(0, 255)
            >>> Scaling.from_json(scaling.to_json()) == scaling
            True
        """
        try:
            shift, scale = tuple(map(float, data["shift"])), tuple(map(float, data["scale"]))
            constant = tuple(map(int, data["constant"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArgument(f"A scaling is written as lists shift, scale and constant, got {data!r}.") from error
        return cls(shift, scale, constant)

    def against(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale in float64 where some values are, shaped for them."""
        shift, scale = torch.tensor([self.shift, self.scale], dtype=torch.float64, device=values.device)
        if len(self.shift) == 1:
            return shift, scale
        if values.ndim < 2 or values.shape[1] != len(self.shift):
            raise InvalidArgument(
                f"This scaling is for {len(self.shift)} columns or channels along axis 1, got {tuple(values.shape)}."
            )
        axis = (-1, *(1,) * (values.ndim - 2))
        return shift.reshape(axis), scale.reshape(axis)


class _Moments(NamedTuple):
    """Of each column of some rows: how many, the least, the largest, the mean, the standard deviation."""

    samples: int
    low: Tensor
    high: Tensor
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, values: Tensor) -> _Moments:
        columns = values.double().transpose(0, 1).flatten(1)
        low, high = columns.aminmax(dim=1)
        # relative to the largest number, so that 1e200 has a square
        peak = torch.maximum(low.abs(), high.abs())
        unit = columns / peak.where(peak > 0, 1)[:, None]
        return cls(columns.shape[1], low, high, unit.mean(1) * peak, unit.std(1, correction=0) * peak)

    def with_more(self, more: _Moments) -> _Moments:
        """Of both together; Chan, Golub & LeVeque (1979), with roots in place of squares."""
        samples = self.samples + more.samples
        mine, theirs = self.samples / samples, more.samples / samples
        deviation = torch.hypot(self.deviation * math.sqrt(mine), more.deviation * math.sqrt(theirs))
        apart = (more.mean - self.mean) * math.sqrt(mine * theirs)
        return _Moments(
            samples,
            torch.minimum(self.low, more.low),
            torch.maximum(self.high, more.high),
            self.mean * mine + more.mean * theirs,
            torch.hypot(deviation, apart),
        )

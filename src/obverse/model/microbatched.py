"""A model called at one batch size, so that the bits of a sample do not depend on the batch."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.ground.shapes import rows
from obverse.model.model import Around, Call, Cond, Model
from obverse.path import Level


def check_size(microbatch: int) -> None:
    """Refuse a batch size that is none."""
    if not isinstance(microbatch, Integral) or microbatch < 1:
        raise InvalidArgument(f"A whole microbatch >= 1, got {microbatch} (16 suits small networks on a CPU).")


@dataclass(frozen=True)
class Microbatched(Around):
    """A model called at one fixed batch size, the last call padded: bits of a sample do not depend on the batch.

    Libraries pick their kernels by shape, so the same row in another batch size differs in its last bits; one shape
    for every call removes that (measured on CPU: bit-equal in any order and grouping).
    """

    model: Model
    size: int

    def __post_init__(self) -> None:
        check_size(self.size)

    def at(self, level: Level, like: Tensor) -> Call:
        if exact(level.t).ndim:
            raise InvalidArgument("A micro-batched model takes one level for all samples; call the model itself.")
        return self._padded(self.model.at(level, self._few(like)))

    def along(self, levels: Level, like: Tensor) -> list[Call]:
        return [self._padded(call) for call in self.model.along(levels, self._few(like))]

    def _few(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.size, *like.shape[1:])

    def _padded(self, call: Call) -> Call:
        def padded(x_t: Tensor, cond: Cond) -> Tensor:
            outputs = torch.empty_like(x_t)  # a network may answer in one place, again and again
            for start in range(0, len(x_t), self.size):
                members = torch.arange(start, start + self.size, device=x_t.device).clamp_(max=len(x_t) - 1)
                outputs[start : start + self.size] = call(x_t[members], rows(cond, members))[: len(x_t) - start]
            return outputs

        return padded

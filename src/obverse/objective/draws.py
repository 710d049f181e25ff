"""All that a step draws and that does not depend on the data, made for many steps at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.numerics import Number, exact
from obverse.objective.times import TimeLaw
from obverse.objective.weightings import Weighting
from obverse.path import Level, Prediction, Schedule

_MOST = 64  # steps drawn at once: beyond, arithmetic costs more than calls
_PARTS = 8  # of a step, whose draws are kept beside each other
_NUMBERS = 2**15  # drawn at once, at most: beyond, memory traffic costs more than calls


class Asked(NamedTuple):
    """Whose draws: what they are a function of, beside the step."""

    schedule: Schedule
    face: Prediction
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    seed: int
    drop: float


class Moment(NamedTuple):
    """What a step draws: eps (batch *data), levels, and numbers for each sample.

    Args:     on_data, on_noise: what data and noise are multiplied by in the state and in the target; (2 batch 1 ...).
    """

    eps: Tensor
    level: Level
    on_data: Tensor
    on_noise: Tensor
    weight: Tensor
    ratio: Number
    logsnr: Tensor
    hide: Tensor | None


class Draws:
    """Draws of steps, some ahead of the one that is asked for: the same bits, for a fraction of the calls.

    A draw is a function of (seed, purpose, step, sample); making those of 64 small steps takes little longer than
    making one. Whole blocks of steps are made, from a multiple of their size on, so that bits do not depend on where
    one begins.

    Args:     times, weighting: the objective's. A time law with a memory is asked at its step and not before.
    """

    def __init__(self, times: TimeLaw, weighting: Weighting) -> None:
        self.times, self.weighting = times, weighting
        self._kept: list[tuple[Asked, Tensor, range, list[Moment]]] = []  # newest last; parts of a step have their own

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_kept": []}  # a copy makes its own

    def at(self, asked: Asked, step: int, samples: Tensor) -> Moment:
        """The draws of one step.

        Args:     samples: who the rows are; (batch,), on the CPU.
        """
        numbers = max(1, samples.numel() * int(torch.Size(asked.shape[1:]).numel()))
        size = 1 if self.times.memory is not None else max(1, min(_MOST, _NUMBERS // numbers))
        for whose, which, steps, moments in self._kept:
            if step in steps and asked == whose and torch.equal(samples, which):
                return moments[step - steps.start]
        block = range(step - step % size, step - step % size + size)
        moments = self._make(asked, block, samples)
        if size > 1:
            others = [kept for kept in self._kept if kept[0] != asked or not torch.equal(samples, kept[1])]
            self._kept = [*others[1 - _PARTS :], (asked, samples.clone(), block, moments)]  # which may change
        return moments[step - block.start]

    @torch.inference_mode(False)  # a later step may not be in it
    def _make(self, asked: Asked, block: range, samples: Tensor) -> list[Moment]:
        count, batch = len(block), len(samples)
        who: dict[str, Any] = {"seed": asked.seed, "samples": samples}
        eps = noise.normal(asked.shape, purpose="eps", step=block, dtype=asked.dtype, device=asked.device, **who)
        u = self.times.uniforms(batch, step=block, **who)
        level = self.times.level(u.reshape(-1), asked.schedule)
        hide = None
        if asked.drop:
            hide = (noise.uniform((batch,), purpose="drop", step=block, **who) < asked.drop).to(asked.device)
        ratio = self.times.ratio(level)
        weight = self.weighting.on(asked.face, level, self.times.density(level) * ratio) * ratio
        a, b = asked.face.row(level)
        wide = torch.promote_types(asked.dtype, torch.float32)

        def over(value: Number, dtype: torch.dtype) -> Tensor:
            return exact(value).to(asked.device, dtype).expand(count * batch).reshape(count, batch)

        def row(state: Number, target: Number) -> Sequence[Tensor]:
            both = torch.stack([over(state, asked.dtype), over(target, asked.dtype)], 1)
            return both.reshape(count, 2, batch, *(1,) * (len(asked.shape) - 1)).unbind()

        data = row(level.alpha, a), row(level.sigma, b)
        levels = [
            Level(*values)
            for values in zip(*(_cut(getattr(level, f.name), count, batch) for f in fields(level)), strict=True)
        ]
        ratios = _cut(ratio, count, batch) if isinstance(ratio, Tensor) and ratio.ndim else [ratio] * count
        logsnr = _cut(level.logsnr, count, batch)
        hidden = [None] * count if hide is None else hide.unbind()
        columns = eps.unbind(), levels, *data, over(weight, wide).unbind(), ratios, logsnr, hidden
        return [Moment(*row) for row in zip(*columns, strict=True)]


def _cut(values: Number, count: int, batch: int) -> Sequence[Tensor]:
    return exact(values).expand(count * batch).reshape(count, batch).unbind()

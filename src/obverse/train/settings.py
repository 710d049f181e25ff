"""The numbers of a training run, each checked where it enters and defended where it is given; imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from obverse.ground.errors import InvalidArgument

_WHOLE = {
    "steps": 1,
    "batch": 1,
    "warmup": 0,
    "accumulate": 1,
    "save_every": 0,
    "sample_every": 0,
    "log_every": 1,
    "keep": 1,
}
_RANGES = {  # name: (least, most, fix)
    "lr": (1e-12, 10.0, "try lr=1e-3"),
    "clip": (0.0, math.inf, "clip=0 does not clip"),
    "weight_decay": (0.0, 10.0, "weight_decay=0 does not decay"),
    "ema": (0.0, math.inf, "a half-life in steps; ema=0 does not average"),
    "ema_rampup": (0.0, 1.0, "a fraction of the steps done; try ema_rampup=0.05"),
}
_WORDS = {"decay": ("cosine", "constant"), "precision": ("fp32", "bf16", "fp16")}


@dataclass(frozen=True)
class Training:
    """How to train: how long, how fast, what is averaged and what is kept.

    The rate of step k rises as (k + 1)/w over the w steps of warm-up, then is lr or falls to 0 along half a cosine.

    Args:
        steps: optimiser steps in all.
        batch: samples in a step, over all processes and accumulated parts; 128 keeps small nets busy and is smooth
            enough for lr=1e-3.
        lr: peak rate of AdamW; 1e-3 as EDM uses on small images (large transformers want 1e-4).
        warmup: steps of rising rate, at most a tenth of all, so that short trial runs train too.
        decay: "cosine" (best at a fixed length) or "constant" (when the length is not known).
        clip: largest norm of the gradient; 1 only ever meets outliers; 0 does not clip.
        weight_decay: decoupled, on matrices only; 0, because denoising nets rarely overfit before they converge.
        betas: AdamW's; 0.99 forgets a bad gradient sooner than 0.999 (EDM2 uses the same).
        ema: half-life of the averaged weights, in steps; EDM's 0.5 M images of CIFAR-10 at batch 512 are 1000.
        ema_rampup: the half-life is at most this fraction of the steps done; 0.05 as in EDM's training loop.
        accumulate: parts in which a step's batch is worked through, to save memory; changes no draw.
        precision: "fp32", "bf16" or "fp16"; weights, average and optimiser are float32 in all three.
        save_every: steps between checkpoints; 0 is only at the end.
        sample_every: steps between sample grids; 0 is never.
        log_every: steps that one line of metrics sums up.
        keep: checkpoints kept; 2, so that one is left when the newest is damaged.
        seed: of all randomness; any whole number.

    Raises:   InvalidArgument naming the field, its value, its range and a fix.
    Example:
        >>> settings = Training(steps=100, lr=1e-3, warmup=10)
        >>> settings.lr_at(0), settings.lr_at(9)
        (0.0001, 0.001)

    Source:   Loshchilov & Hutter (2019); Karras et al. (2022), table 7 and reference code; Karras et al. (2024).
    """

    steps: int = 10_000
    batch: int = 128
    lr: float = 1e-3
    warmup: int = 100
    decay: Literal["cosine", "constant"] = "cosine"
    clip: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    ema: float = 1000.0
    ema_rampup: float = 0.05
    accumulate: int = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    save_every: int = 1000
    sample_every: int = 1000
    log_every: int = 50
    keep: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name, first in _WHOLE.items():
            if not _whole(getattr(self, name)) or getattr(self, name) < first:
                raise self._refusal(name, f"a whole number >= {first}", f"try {name}={getattr(Training, name)}")
        if not _whole(self.seed):
            raise self._refusal("seed", "a whole number", "try seed=0")
        for name, (least, most, fix) in _RANGES.items():
            value = getattr(self, name)
            if not _real(value) or not least <= value <= most or math.isinf(value):
                raise self._refusal(name, f"a number in [{least:g}, {most:g}]", fix)
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise self._refusal(name, " or ".join(map(repr, words)), f"try {name}={words[0]!r}")
        betas = tuple(self.betas) if isinstance(self.betas, list | tuple) else ()  # JSON knows lists only
        if len(betas) != 2 or not all(_real(beta) and 0 <= beta < 1 for beta in betas):
            raise self._refusal("betas", "two numbers in [0, 1)", "try betas=(0.9, 0.99)")
        object.__setattr__(self, "betas", betas)
        if self.batch % self.accumulate:
            raise self._refusal("accumulate", f"a divisor of batch={self.batch}", "try accumulate=1")

    def lr_at(self, step: int) -> float:
        """The rate of one step.

        Args:     step: 0 is the first.
        """
        warmup = min(self.warmup, self.steps // 10)
        if step < warmup:
            return self.lr * ((step + 1) / warmup)
        if self.decay == "constant":
            return self.lr
        done = min((step - warmup) / (self.steps - warmup), 1.0)
        return self.lr * (0.5 + 0.5 * math.cos(math.pi * done))

    def _refusal(self, name: str, expected: str, fix: str) -> InvalidArgument:
        return InvalidArgument(f"{name} is {expected}, got {getattr(self, name)!r} ({fix}).")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

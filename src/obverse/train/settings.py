"""The numbers of a training run, each checked where it enters and defended where it is given; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from obverse.ground.errors import InvalidArgument

_WHOLE = {
    "steps": 1,
    "batch": 1,
    "warmup": 0,
    "accumulate": 1,
    "snapshot_every": 0,
    "save_every": 0,
    "sample_every": 0,
    "sample_early": 0,
    "log_every": 1,
    "keep": 1,
}
_RANGES = {  # name: (least, most, fix)
    "lr": (1e-12, 10.0, "try lr=1e-3"),
    "clip": (0.0, math.inf, "clip=0 does not clip"),
    "weight_decay": (0.0, 10.0, "weight_decay=0 does not decay"),
    "cooldown": (1e-6, 1.0, "a fraction of all steps; try cooldown=0.2"),
    "ema_rampup": (0.0, 1.0, "a fraction of the steps done; try ema_rampup=0.05"),
}
_WORDS = {
    "optimizer": ("adamw", "muon"),
    "decay": ("cosine", "constant", "cooldown", "inverse-sqrt"),
    "precision": ("fp32", "bf16", "fp16"),
}
WIDEST = 12**-0.5  # sigma_rel of the plain mean of all weights so far, where gamma is 0


@dataclass(frozen=True)
class Training:
    """How to train: how long, how fast, what is averaged and what is kept.

    The rate of step k rises as (k + 1)/w over the w steps of warm-up; then it is lr ("constant"), falls to 0 along half
    a cosine ("cosine"), stays and falls to 0 on a line at the end ("cooldown"), or falls as (w/(k + 1))^½
    ("inverse-sqrt").

    Args:
        steps: optimiser steps in all.
        batch: samples in a step, over all processes and accumulated parts; 128 keeps small nets busy and is smooth
            enough for lr=1e-3.
        optimizer: "adamw", or "muon": hidden matrices by Muon, scaled so that the same lr serves, the rest by AdamW.
        lr: peak rate; 1e-3 as EDM uses on small images (large transformers want 1e-4).
        warmup: steps of rising rate, at most a tenth of all, so that short trial runs train too.
        decay: "cosine" (best at a fixed length), "constant" (when the length is not known), "cooldown" (constant, then
            a line to 0) or "inverse-sqrt" (when the length is not known either).
        cooldown: the last fraction of all steps, in which "cooldown" falls; 0.2 as Hägele et al. found enough.
        clip: largest norm of the gradient; 1 only ever meets outliers; 0 does not clip.
        weight_decay: decoupled, on matrices only; 0, because denoising nets rarely overfit before they converge.
        betas: AdamW's; 0.99 forgets a bad gradient sooner than 0.999 (EDM2 uses the same).
        ema: half-life of the averaged weights, in steps, or several, of which the first is what samples are drawn
            with; 0 follows the weights. EDM's 0.5 M images of CIFAR-10 at batch 512 are 1000.
        ema_rampup: the half-life is at most this fraction of the steps done; 0.05 as in EDM's training loop.
        ema_power: relative lengths of averages with power-function profiles, such as 0.05 0.1, out of whose snapshots
            an average of any length can be made afterwards; none by default, as each snapshot is kept for good.
        snapshot_every: steps between those snapshots; 0 is only at the end.
        accumulate: parts in which a step's batch is worked through, to save memory; changes no draw.
        recompute: keep the activations between blocks only and compute those within again: less memory, a third more
            time, the same bits (but that a batch norm within, which no net of ours has, counts its batch twice).
        compile: torch.compile the net: faster after a minute or so; other last bits.
        precision: "fp32", "bf16" or "fp16"; weights, average and optimiser are float32 in all three.
        save_every: steps between checkpoints; 0 is only at the end.
        sample_every: steps between sample grids; 0 is never.
        sample_early: grids before the first of these, at a half, a quarter, an eighth ... of its step: most is learnt
            early.
        log_every: steps that one line of metrics sums up.
        keep: checkpoints kept; 2, so that one is left when the newest is damaged.
        seed: of all randomness; any whole number.

    Raises:   InvalidArgument naming the field, its value, its range and a fix.
    Example:
        >>> settings = Training(steps=100, lr=1e-3, warmup=10)
        >>> settings.lr_at(0), settings.lr_at(9)
        (0.0001, 0.001)

    Source:   Loshchilov & Hutter (2019); Karras et al. (2022), table 7 and reference code; Karras et al. (2024);
              Jordan et al. (2024) and Liu et al. (2025), Muon; Hägele et al. (2024), cool-down; Vaswani et al. (2017).
    """

    steps: int = 10_000
    batch: int = 128
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    warmup: int = 100
    decay: Literal["cosine", "constant", "cooldown", "inverse-sqrt"] = "cosine"
    cooldown: float = 0.2
    clip: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    ema: float | tuple[float, ...] = 1000.0
    ema_rampup: float = 0.05
    ema_power: tuple[float, ...] = ()
    snapshot_every: int = 1000
    accumulate: int = 1
    recompute: bool = False
    compile: bool = False
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    save_every: int = 1000
    sample_every: int = 1000
    sample_early: int = 0
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
        self._check_averages()
        for name in ("recompute", "compile"):
            if not isinstance(getattr(self, name), bool):
                raise self._refusal(name, "True or False", f"try {name}=False")
        if self.batch % self.accumulate:
            raise self._refusal("accumulate", f"a divisor of batch={self.batch}", "try accumulate=1")

    def lr_at(self, step: int) -> float:
        """The rate of one step.

        Args:     step: 0 is the first.
        """
        warmup = min(self.warmup, self.steps // 10)
        if step < warmup:
            return self.lr * ((step + 1) / warmup)
        return self.lr * _DECAYS[self.decay](self, step, warmup)

    def draws_at(self, step: int) -> bool:
        """Whether a sample grid is due when so many steps are done.

        Example:
            >>> settings = Training(steps=100, sample_every=40, sample_early=2)
            >>> [step for step in range(101) if settings.draws_at(step)]
            [10, 20, 40, 80, 100]
        """
        if not self.sample_every or step < 1:
            return False
        early = (self.sample_every >> halvings for halvings in range(1, self.sample_early + 1))
        return step == self.steps or step % self.sample_every == 0 or step in early

    @property
    def horizons(self) -> tuple[float, ...]:
        """The half-lives of all exponential averages."""
        return self.ema if isinstance(self.ema, tuple) else (self.ema,)

    def _check_averages(self) -> None:
        for name in ("ema", "ema_power"):  # JSON knows lists only
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        distinct = len(set(self.horizons)) == len(self.horizons) > 0
        if not distinct or not all(_real(h) and 0 <= h < math.inf for h in self.horizons):
            raise self._refusal(
                "ema", "one half-life in steps >= 0, or several distinct ones", "ema=0 averages nothing"
            )
        power = self.ema_power
        in_range = isinstance(power, tuple) and all(_real(s) and 0 < s < WIDEST for s in power)
        if not in_range or len(set(power)) != len(power):
            lengths = f"distinct relative lengths in (0, {WIDEST:.4g})"
            raise self._refusal("ema_power", lengths, "try ema_power=(0.05, 0.1)")

    def _refusal(self, name: str, expected: str, fix: str) -> InvalidArgument:
        return InvalidArgument(f"{name} is {expected}, got {getattr(self, name)!r} ({fix}).")


def _cosine(settings: Training, step: int, warmup: int) -> float:
    done = min((step - warmup) / (settings.steps - warmup), 1.0)
    return 0.5 + 0.5 * math.cos(math.pi * done)


def _cooling(settings: Training, step: int, _warmup: int) -> float:
    return min(1.0, max(0.0, (settings.steps - step) / (settings.cooldown * settings.steps)))


_DECAYS: dict[str, Callable[[Training, int, int], float]] = {
    "constant": lambda _settings, _step, _warmup: 1.0,
    "cosine": _cosine,
    "cooldown": _cooling,
    "inverse-sqrt": lambda _settings, step, warmup: math.sqrt(max(warmup, 1) / (step + 1)),
}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Training: a loop as a generator, resumed to the last bit; its settings import no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from obverse.train.settings import Training

if TYPE_CHECKING:
    from obverse.train.checkpoint import Checkpoint
    from obverse.train.ema import EMA, PowerEMA
    from obverse.train.interrupt import Stopped
    from obverse.train.loop import Progress, train
    from obverse.train.run import Run
    from obverse.train.snapshots import posthoc

_WHERE = {
    "Checkpoint": "checkpoint",
    "EMA": "ema",
    "PowerEMA": "ema",
    "Progress": "loop",
    "Run": "run",
    "Stopped": "interrupt",
    "posthoc": "snapshots",
    "train": "loop",
}

__all__ = ["EMA", "Checkpoint", "PowerEMA", "Progress", "Run", "Stopped", "Training", "posthoc", "train"]


def __getattr__(name: str) -> Any:
    """A name from the room it lives in, imported when it is first asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)

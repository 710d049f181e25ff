"""Time laws: where on the path training looks (T45)."""

from obverse.objective.times.adaptive import Adaptive
from obverse.objective.times.given import Beta, CosMap, LogitNormal, LogNormalNSR, Mode, Uniform
from obverse.objective.times.law import OverTime, TimeLaw
from obverse.objective.times.made import Cut, Importance, Shifted, Stratified

__all__ = [
    "Adaptive",
    "Beta",
    "CosMap",
    "Cut",
    "Importance",
    "LogNormalNSR",
    "LogitNormal",
    "Mode",
    "OverTime",
    "Shifted",
    "Stratified",
    "TimeLaw",
    "Uniform",
]

"""The path x_t = alpha x + sigma eps: schedules, levels, predictions, estimates."""

from obverse.path.circle import VP, Cosine, Laplace, NicholDhariwal, Sqrt, VPLinear
from obverse.path.ddpm import DDPM
from obverse.path.derived import FromSDE, Rescaled, Shifted, Slider
from obverse.path.estimate import Estimate
from obverse.path.level import Level, clean, join
from obverse.path.prediction import (
    Data,
    Edm,
    Flow,
    Noise,
    Prediction,
    Reversed,
    Score,
    V,
    Velocity,
    change,
    coefficients,
    gain,
)
from obverse.path.schedule import Schedule
from obverse.path.schedules import EDM, VE, Linear, Polynomial

__all__ = [
    "DDPM",
    "EDM",
    "VE",
    "VP",
    "Cosine",
    "Data",
    "Edm",
    "Estimate",
    "Flow",
    "FromSDE",
    "Laplace",
    "Level",
    "Linear",
    "NicholDhariwal",
    "Noise",
    "Polynomial",
    "Prediction",
    "Rescaled",
    "Reversed",
    "Schedule",
    "Score",
    "Shifted",
    "Slider",
    "Sqrt",
    "V",
    "VPLinear",
    "Velocity",
    "change",
    "clean",
    "coefficients",
    "gain",
    "join",
]

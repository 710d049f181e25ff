"""All grids: which levels are visited (T3)."""

from obverse.sampler.even import Angle, Exponential, Karras, LogSNR, Quadratic, Uniform
from obverse.sampler.given import Given, GivenAngle, GivenLogSNR, GivenNSR, Indices
from obverse.sampler.grid import Grid
from obverse.sampler.scales import Scales
from obverse.sampler.turned import Inverted, Part
from obverse.sampler.warped import AlignYourSteps, Beta, ResolutionShift, Shift, Sigmoid

__all__ = [
    "AlignYourSteps",
    "Angle",
    "Beta",
    "Exponential",
    "Given",
    "GivenAngle",
    "GivenLogSNR",
    "GivenNSR",
    "Grid",
    "Indices",
    "Inverted",
    "Karras",
    "LogSNR",
    "Part",
    "Quadratic",
    "ResolutionShift",
    "Scales",
    "Shift",
    "Sigmoid",
    "Uniform",
]

"""All grids: which levels are visited (T3)."""

from obverse.sampler.grids.even import Angle, Exponential, Karras, LogSNR, Quadratic, Uniform
from obverse.sampler.grids.given import Given, GivenAngle, GivenLogSNR, GivenNSR, Indices
from obverse.sampler.grids.grid import Grid
from obverse.sampler.grids.scales import Scales
from obverse.sampler.grids.turned import Inverted, Part
from obverse.sampler.grids.warped import AlignYourSteps, Beta, ResolutionShift, Shift, Sigmoid

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

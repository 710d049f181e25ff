"""Samplers: grids, solvers, the tableau they make and the loop that runs it."""

from obverse.sampler.grids import Angle, Given, Grid, Karras, LogSNR, Shift, Uniform
from obverse.sampler.multistep import DPMpp2M
from obverse.sampler.onestep import DDIM, Euler, Heun
from obverse.sampler.run import Sampler, Step, sample
from obverse.sampler.solver import Solver, Trace
from obverse.sampler.stochastic import SDE
from obverse.sampler.tableau import Canonical, Register, Tableau

__all__ = [
    "DDIM",
    "SDE",
    "Angle",
    "Canonical",
    "DPMpp2M",
    "Euler",
    "Given",
    "Grid",
    "Heun",
    "Karras",
    "LogSNR",
    "Register",
    "Sampler",
    "Shift",
    "Solver",
    "Step",
    "Tableau",
    "Trace",
    "Uniform",
    "sample",
]

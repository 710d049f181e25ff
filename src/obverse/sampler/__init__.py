"""Samplers: grids, solvers, the tableau they make and the loop that runs it."""

from obverse.sampler.algebra import composed, rescaled
from obverse.sampler.comparison import Comparison, Parting, compare
from obverse.sampler.draw import Ledger, Sampled, sample, sampled
from obverse.sampler.grids import (
    AlignYourSteps,
    Angle,
    Beta,
    Exponential,
    Given,
    GivenAngle,
    GivenLogSNR,
    GivenNSR,
    Grid,
    Indices,
    Inverted,
    Karras,
    LogSNR,
    Part,
    Quadratic,
    ResolutionShift,
    Scales,
    Shift,
    Sigmoid,
    Uniform,
)
from obverse.sampler.grids.adapted import adapted
from obverse.sampler.picard import Parallel, parallel
from obverse.sampler.program import Register
from obverse.sampler.propagation import Moments, propagate
from obverse.sampler.remarks import reached, remarks
from obverse.sampler.run import Sampler, Step
from obverse.sampler.solvers.ancestral import DDPM, Ancestral, DDIMEta
from obverse.sampler.solvers.churn import Churn, Restart
from obverse.sampler.solvers.clocks import Clock, InAngle, InLogSNR, InNSR, InTime
from obverse.sampler.solvers.langevin import Langevin
from obverse.sampler.solvers.multistep import AB, DEIS, LMS, Adams
from obverse.sampler.solvers.onestep import DDIM, Euler
from obverse.sampler.solvers.pseudo import PNDM
from obverse.sampler.solvers.rungekutta import TABLES, Butcher, Heun, RungeKutta
from obverse.sampler.solvers.sde import ERSDE, SASolver, SDEAdams, SDEDPMpp
from obverse.sampler.solvers.singlestep import DPMSolver
from obverse.sampler.solvers.solver import Solver
from obverse.sampler.solvers.stochastic import SDE, EulerMaruyama, Renoise
from obverse.sampler.solvers.strength import Constant, FromFunction, NoiseScale, Ramp, Strength, Window
from obverse.sampler.solvers.switch import Switch, SwitchAt
from obverse.sampler.solvers.symbols import Trace
from obverse.sampler.solvers.thrifty import Thrifty
from obverse.sampler.solvers.unipc import DPMpp2M, DPMpp3M, UniPC
from obverse.sampler.tableau import Canonical, Tableau
from obverse.sampler.tolerance.adaptive import Adaptive, adaptive
from obverse.sampler.tolerance.outcome import AdaptiveRun, Round
from obverse.sampler.tolerance.pairs import BogackiShampine, DormandPrince, Pair
from obverse.sampler.trajectory import Trajectory

__all__ = [
    "AB",
    "DDIM",
    "DDPM",
    "DEIS",
    "ERSDE",
    "LMS",
    "PNDM",
    "SDE",
    "TABLES",
    "Adams",
    "Adaptive",
    "AdaptiveRun",
    "AlignYourSteps",
    "Ancestral",
    "Angle",
    "Beta",
    "BogackiShampine",
    "Butcher",
    "Canonical",
    "Churn",
    "Clock",
    "Comparison",
    "Constant",
    "DDIMEta",
    "DPMSolver",
    "DPMpp2M",
    "DPMpp3M",
    "DormandPrince",
    "Euler",
    "EulerMaruyama",
    "Exponential",
    "FromFunction",
    "Given",
    "GivenAngle",
    "GivenLogSNR",
    "GivenNSR",
    "Grid",
    "Heun",
    "InAngle",
    "InLogSNR",
    "InNSR",
    "InTime",
    "Indices",
    "Inverted",
    "Karras",
    "Langevin",
    "Ledger",
    "LogSNR",
    "Moments",
    "NoiseScale",
    "Pair",
    "Parallel",
    "Part",
    "Parting",
    "Quadratic",
    "Ramp",
    "Register",
    "Renoise",
    "ResolutionShift",
    "Restart",
    "Round",
    "RungeKutta",
    "SASolver",
    "SDEAdams",
    "SDEDPMpp",
    "Sampled",
    "Sampler",
    "Scales",
    "Shift",
    "Sigmoid",
    "Solver",
    "Step",
    "Strength",
    "Switch",
    "SwitchAt",
    "Tableau",
    "Thrifty",
    "Trace",
    "Trajectory",
    "UniPC",
    "Uniform",
    "Window",
    "adapted",
    "adaptive",
    "compare",
    "composed",
    "parallel",
    "propagate",
    "reached",
    "remarks",
    "rescaled",
    "sample",
    "sampled",
]

"""Objectives: time law x weighting x coupling, in any face."""

from obverse.objective.couplings import Coupling, ExactOT, Independent
from obverse.objective.objective import Loss, Objective
from obverse.objective.times import LogitNormal, LogNormalNSR, Stratified, TimeLaw, Uniform
from obverse.objective.weightings import (
    EDM,
    ELBO,
    VMSE,
    DataMSE,
    FlowMSE,
    MinSNR,
    NoiseMSE,
    Sigmoid,
    Weighting,
)

__all__ = [
    "EDM",
    "ELBO",
    "VMSE",
    "Coupling",
    "DataMSE",
    "ExactOT",
    "FlowMSE",
    "Independent",
    "LogNormalNSR",
    "LogitNormal",
    "Loss",
    "MinSNR",
    "NoiseMSE",
    "Objective",
    "Sigmoid",
    "Stratified",
    "TimeLaw",
    "Uniform",
    "Weighting",
]

"""Weightings: how much an error counts, as a function of log-SNR on the squared error of the noise (T46)."""

from obverse.objective.weightings.faces import EDM, MSE, VMSE, DataMSE, FlowMSE, NoiseMSE, Plain
from obverse.objective.weightings.integral import ELBO, SD3, InDI, Induced, Sigmoid, VCosine
from obverse.objective.weightings.learned import Learned, LogVariance
from obverse.objective.weightings.ratios import P2, MinSNR, SoftMinSNR, TruncatedSNR
from obverse.objective.weightings.weighting import OverLogSNR, Weighting

__all__ = [
    "EDM",
    "ELBO",
    "MSE",
    "P2",
    "SD3",
    "VMSE",
    "DataMSE",
    "FlowMSE",
    "InDI",
    "Induced",
    "Learned",
    "LogVariance",
    "MinSNR",
    "NoiseMSE",
    "OverLogSNR",
    "Plain",
    "Sigmoid",
    "SoftMinSNR",
    "TruncatedSNR",
    "VCosine",
    "Weighting",
]

"""Likelihood: how probable a model finds a point, exactly or with probes."""

from obverse.likelihood.density import LogDensity, log_density
from obverse.likelihood.dequantise import dequantised
from obverse.likelihood.divergence import directions, traces

__all__ = ["LogDensity", "dequantised", "directions", "log_density", "traces"]

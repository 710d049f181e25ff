"""Metrics: how far samples are from data, beside how far data are from data. Knows no diffusion."""

from obverse.metrics.compare import MMD, Energy, Frechet, Measured, Metric, SlicedW2, against
from obverse.metrics.distances import energy_distance, frechet, mmd, sliced_w2
from obverse.metrics.neighbours import Nearest, nearest, nearest_neighbour_accuracy, novelty

__all__ = [
    "MMD",
    "Energy",
    "Frechet",
    "Measured",
    "Metric",
    "Nearest",
    "SlicedW2",
    "against",
    "energy_distance",
    "frechet",
    "mmd",
    "nearest",
    "nearest_neighbour_accuracy",
    "novelty",
    "sliced_w2",
]

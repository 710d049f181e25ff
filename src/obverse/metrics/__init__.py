"""Metrics: how far samples are from data, beside how far data are from data. Knows no diffusion."""

from obverse.metrics.compare import Measured, against
from obverse.metrics.distances import energy_distance, frechet, kid, mmd
from obverse.metrics.fashion import FashionNetwork, class_accuracy
from obverse.metrics.features import Called, Fashion, Features, Inception, Pairs, Raw, Spectra
from obverse.metrics.manifold import coverage, density, precision, recall
from obverse.metrics.metric import KID, MMD, W2, Coverage, Density, Energy, Frechet, Metric, Precision, Recall, SlicedW2
from obverse.metrics.neighbours import Nearest, memorisation, nearest, nearest_neighbour_accuracy, novelty
from obverse.metrics.trajectory import ByLevel, curvature, normalised_path_energy, path_energy, straightness
from obverse.metrics.transport import sliced_w2, w2

__all__ = [
    "KID",
    "MMD",
    "W2",
    "ByLevel",
    "Called",
    "Coverage",
    "Density",
    "Energy",
    "Fashion",
    "FashionNetwork",
    "Features",
    "Frechet",
    "Inception",
    "Measured",
    "Metric",
    "Nearest",
    "Pairs",
    "Precision",
    "Raw",
    "Recall",
    "SlicedW2",
    "Spectra",
    "against",
    "class_accuracy",
    "coverage",
    "curvature",
    "density",
    "energy_distance",
    "frechet",
    "kid",
    "memorisation",
    "mmd",
    "nearest",
    "nearest_neighbour_accuracy",
    "normalised_path_energy",
    "novelty",
    "path_energy",
    "precision",
    "recall",
    "sliced_w2",
    "straightness",
    "w2",
]

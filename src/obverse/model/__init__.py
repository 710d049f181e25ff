"""Models: networks, exact oracles, and models around models."""

from obverse.model.clamp import Clamped, Dynamic, Thresholded
from obverse.model.inputs import Precondition, TimeInput
from obverse.model.microbatched import Microbatched
from obverse.model.model import SUSPECTS, Around, Call, Cond, Model, Rescheduled, check_model, check_place
from obverse.model.network import InTraining, Network
from obverse.model.oracles import Empirical, Gaussian, Mixture, Oracle
from obverse.model.readings import Fit
from obverse.model.recall import SelfConditioned
from obverse.model.words import Fits, fits

__all__ = [
    "SUSPECTS",
    "Around",
    "Call",
    "Clamped",
    "Cond",
    "Dynamic",
    "Empirical",
    "Fit",
    "Fits",
    "Gaussian",
    "InTraining",
    "Microbatched",
    "Mixture",
    "Model",
    "Network",
    "Oracle",
    "Precondition",
    "Rescheduled",
    "SelfConditioned",
    "Thresholded",
    "TimeInput",
    "check_model",
    "check_place",
    "fits",
]

"""Data: from a path or a name to scaled batches whose order is a function of (seed, step)."""

from obverse.data.arrays import from_array
from obverse.data.augment import Augmentation, augmentations, augmented
from obverse.data.cells import from_columns
from obverse.data.clouds import clouds
from obverse.data.damage import Damage
from obverse.data.dataset import Batch, Dataset
from obverse.data.flipbook import flipbook
from obverse.data.latents import Autoencoder, encoded
from obverse.data.mixed import Schema
from obverse.data.order import batches, evenly, order
from obverse.data.pictures import contact, film, png, sheet, video
from obverse.data.scaling import Scaling
from obverse.data.signals import wav
from obverse.data.sources import load

__all__ = [
    "Augmentation",
    "Autoencoder",
    "Batch",
    "Damage",
    "Dataset",
    "Scaling",
    "Schema",
    "augmentations",
    "augmented",
    "batches",
    "clouds",
    "contact",
    "encoded",
    "evenly",
    "film",
    "flipbook",
    "from_array",
    "from_columns",
    "load",
    "order",
    "png",
    "sheet",
    "video",
    "wav",
]

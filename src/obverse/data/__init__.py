"""Data: from a path or a name to scaled batches whose order is a function of (seed, step)."""

from obverse.data.arrays import from_array
from obverse.data.damage import Damage
from obverse.data.dataset import Batch, Dataset
from obverse.data.order import batches, order
from obverse.data.pictures import contact, film, png, sheet, video
from obverse.data.scaling import Scaling
from obverse.data.sources import load

__all__ = [
    "Batch",
    "Damage",
    "Dataset",
    "Scaling",
    "batches",
    "contact",
    "film",
    "from_array",
    "load",
    "order",
    "png",
    "sheet",
    "video",
]

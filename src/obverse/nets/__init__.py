"""Small networks for x_t, a real number t and conditions: MLP, U-Net, DiT; nothing in here knows diffusion."""

from obverse.nets.architecture import Architecture
from obverse.nets.condition import UNCONDITIONAL, Cond, Conditions, drop
from obverse.nets.cost import Cost, cost
from obverse.nets.dit import DiT, DiTArchitecture
from obverse.nets.mlp import MLP, MLPArchitecture
from obverse.nets.seeing import Seeing
from obverse.nets.unet import UNet, UNetArchitecture

__all__ = [
    "MLP",
    "UNCONDITIONAL",
    "Architecture",
    "Cond",
    "Conditions",
    "Cost",
    "DiT",
    "DiTArchitecture",
    "MLPArchitecture",
    "Seeing",
    "UNet",
    "UNetArchitecture",
    "cost",
    "drop",
]

"""The Schrödinger bridge: pairs of entropic transport, with the noise of a Brownian bridge between the two of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from obverse.ground import noise
from obverse.ground.numerics import divide, exact
from obverse.ground.shapes import against
from obverse.objective.couplings.costs import Cost, Squared
from obverse.objective.couplings.entropic import Plan, entropic, positive
from obverse.path import Level


@dataclass(frozen=True)
class SchrodingerBridge(Plan, name="schrodinger-bridge"):
    """SB-CFM: the pairs and the paths of the most likely way from source to data of Brownian motion.

    Pairs are those of entropic transport with regularisation 2 bridge², in units of the data; between the two of a pair
    the state has the noise of a Brownian bridge. The flow that is learnt carries source to data as ever.

    Args:     bridge: strength of the motion over the whole path, in units of the data; towards 0 it is `exact-ot`.
              cost: as of `exact-ot`.
    Raises:   InvalidArgument where bridge is too small for the sweeps to converge.

    Source:   Tong et al. (2024), section 3.2.4.
    """

    bridge: float = 0.5
    cost: Cost = field(default_factory=Squared)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self.name, "bridge", self.bridge, 0.5)

    def plan(self, cost: Tensor) -> Tensor:
        return entropic(cost, 2 * self.bridge**2, f"{self.name}: with bridge={self.bridge}", "a larger bridge")


def bridged(
    x: Tensor, eps: Tensor, strength: float, level: Level, *, seed: int, step: int, samples: Sequence[int] | Tensor
) -> tuple[Tensor, Tensor]:
    """The pair whose straight state and slope are those of a Brownian bridge between x and eps at these levels.

    With tau = s (alpha sigma)^(1/2), the bridge in flow's clock on any path, and xi normal,

        alpha x' + sigma eps' = alpha x + sigma eps + tau xi         x'   = x   + s/2 (sigma / alpha)^(1/2) xi
        and the same with all derivatives in t:                      eps' = eps + s/2 (alpha / sigma)^(1/2) xi

    so that every face, row and conversion stays as it is.

    Args:     x, eps: the two of each pair; (batch *data).
              strength: s, >= 0.
              level: of each sample.
              seed, step, samples: whose draws.
    """
    xi = noise.normal(
        tuple(x.shape), seed=seed, purpose="bridge", step=step, samples=samples, dtype=x.dtype, device=x.device
    )
    root = exact(level.nsr).sqrt()
    to_data, to_noise = (against(strength / 2 * share, x) for share in (root, divide(1.0, root)))
    return x + to_data * xi, eps + to_noise * xi

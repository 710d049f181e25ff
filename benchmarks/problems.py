"""Exact problems on which samplers are compared, and where their probability flow ends.

gmm2 and gmm64 are Gaussian mixtures in 2 and 64 dimensions, digits is the empirical distribution of scikit-learn's
digits. All have a root mean square near 1 per coordinate. The reference integrates dy/dtheta = v in the angle, where
it is smooth to both ends, with DOP853 at tolerance 1e-10 in float64; `main` compares it with 1e-8.

Command: python benchmarks/problems.py [--cache DIR]
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import obverse as ob
from obverse.ground import noise
from obverse.model.oracles import Oracle, Posterior

SCHEDULES: dict[str, ob.schedules.Schedule] = {
    "vp-linear": ob.schedules.VP(),
    "vp-cosine": ob.schedules.Cosine(),
    "edm": ob.schedules.EDM(),
    "condot": ob.schedules.Linear(),
}
CACHE = Path(tempfile.gettempdir()) / "obverse-references"
NEAR = 1e-3  # radians: closer to the data than this, a posterior on separate points is one point
FLIPPED = 0.3  # root mean square per coordinate beyond which a sample has gone to another mode


@dataclass(frozen=True, eq=False)
class Problem:
    """A distribution, exact at every level, and test noise.

    Args:     name: of the problem.
              oracle: the distribution.
              count: how many test samples.
              points: whether the distribution sits on separate points.
    """

    name: str
    oracle: Oracle
    count: int
    points: bool = False

    def model(self, schedule: str) -> ob.Model:
        """The exact model on one of SCHEDULES."""
        return self.oracle.on(SCHEDULES[schedule])

    def eps(self, count: int | None = None, seed: int = 0) -> Tensor:
        """Test noise, float64; (count, d)."""
        shape = (self.count if count is None else count, *self.oracle.shape)
        return noise.normal(shape, seed=seed, purpose="benchmark", dtype=torch.float64)

    def posterior(self, x_t: Tensor, alpha: float, sigma: float) -> Posterior:
        """What is known of data and noise at x_t = alpha x + sigma eps; float64 (batch, d)."""
        fields = (torch.tensor(value, dtype=torch.float64) for value in (0.0, alpha, sigma, 0.0, 0.0))
        return self.oracle.posterior(x_t, ob.Level(*fields))

    def v(self, theta: float, y: Tensor) -> Tensor:
        """The velocity on the circle: cos(theta) E[eps] - sin(theta) E[x]."""
        alpha, sigma = circle(theta)
        known = self.posterior(y, alpha, sigma)
        return alpha * known.noise - sigma * known.data

    def end(self, eps: Tensor, theta: float, tolerance: float = 1e-10) -> Tensor:
        """Where the probability flow takes sigma eps from an angle, not cached; (batch, d)."""

        def slope(angle: float, y: object) -> object:
            state = torch.as_tensor(y, dtype=torch.float64).reshape(eps.shape)
            return self.v(angle, state).flatten().numpy()

        stop = NEAR if self.points else 0.0
        start = (circle(theta)[1] * eps).flatten().numpy()
        run = solve_ivp(slope, (theta, stop), start, "DOP853", rtol=tolerance, atol=tolerance, t_eval=[stop])
        y = torch.as_tensor(run.y[:, -1], dtype=torch.float64).reshape(eps.shape)
        return self.posterior(y, *circle(stop)).data if self.points else y

    def reference(self, eps: Tensor, theta: float, cache: Path = CACHE) -> Tensor:
        """As `end`, kept in a file named by everything it depends on."""
        probe = self.v(1.0, eps[:4])  # the distribution's fingerprint
        key = hashlib.sha256(repr((self.name, round(theta, 14))).encode())
        key.update(eps.numpy().tobytes() + probe.round(decimals=9).numpy().tobytes())
        file = cache / f"{self.name}-{key.hexdigest()[:16]}.pt"
        if not file.exists():
            cache.mkdir(parents=True, exist_ok=True)
            torch.save(self.end(eps, theta), file)
        loaded: Tensor = torch.load(file)
        return loaded


def circle(theta: float) -> tuple[float, float]:
    """(alpha, sigma) at an angle; exactly (0, 1) at pi/2."""
    return (0.0, 1.0) if theta >= math.pi / 2 else (math.cos(theta), math.sin(theta))


def errors(x: Tensor, truth: Tensor) -> Tensor:
    """Root mean square per coordinate, sample by sample; what is not finite counts as 10; (batch,)."""
    return (x - truth).square().flatten(1).mean(1).sqrt().nan_to_num(10.0, 10.0, 10.0).clamp(max=10.0)


def scores(x: Tensor, truth: Tensor) -> dict[str, float]:
    """Root mean square, median and share of flipped samples."""
    each = errors(x, truth)
    return {
        "rms": float(each.square().mean().sqrt()),
        "median": float(each.quantile(0.5)),
        "flipped": float((each > FLIPPED).double().mean()),
    }


@functools.cache
def problem(name: str) -> Problem:
    """A problem by name: gmm2, gmm64 or digits."""
    return {"gmm2": gmm2, "gmm64": gmm64, "digits": digits}[name]()


def gmm2() -> Problem:
    """Six narrow Gaussians in the plane."""
    return Problem("gmm2", random_mixture(2, 6, within=0.03, stretch=0.7, seed=2), 256)


def gmm64() -> Problem:
    """Eight Gaussians in 64 dimensions, a tenth of the variance inside them."""
    return Problem("gmm64", random_mixture(64, 8, within=0.1, stretch=0.5), 256)


def random_mixture(size: int, count: int, within: float, stretch: float, seed: int = 0) -> ob.oracles.Mixture:
    """A mixture with mean 0 and root mean square 1 per coordinate: normal means, covariances stretched along axes.

    Args:     size, count: dimensions, components.
              within: the share of the variance that lies inside the components.
              stretch: eigenvalues of a covariance are log-normal with this spread, its axes random.
              seed: of all draws.
    """
    draw = functools.partial(noise.normal, seed=seed, dtype=torch.float64)
    means = draw((count, size), purpose="means")
    means = means - means.mean(0)
    means = means * math.sqrt((1 - within) / float(means.square().mean()))
    variances = (stretch * draw((count, size), purpose="variances")).exp()
    variances = variances * within / variances.mean()
    axes = torch.linalg.qr(draw((count, size, size), purpose="axes")).Q
    covariances = (axes * variances[:, None]) @ axes.mT
    return ob.oracles.Mixture(means, (covariances + covariances.mT) / 2, None, "linear")


def digits() -> Problem:
    """The digits, pixels scaled to a mean of 0 and a root mean square of 1."""
    from sklearn.datasets import load_digits

    data = torch.as_tensor(load_digits().data, dtype=torch.float64)
    data = data - data.mean()
    return Problem("digits", ob.oracles.Empirical(data / data.square().mean().sqrt(), "linear"), 256, points=True)


def main() -> None:
    """Compute all references, and print how far tolerances 1e-10 and 1e-8 are apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("gmm2", "gmm64", "digits"):
        one = problem(name)
        eps = one.eps()
        for schedule, path in SCHEDULES.items():
            theta = float(path.at(1.0).theta)
            fine, coarse = one.reference(eps, theta, options.cache), one.end(eps, theta, 1e-8)
            print(f"{name:7}{schedule:10} starts at {theta:.6f}; 1e-10 against 1e-8: {scores(coarse, fine)['rms']:.1e}")


if __name__ == "__main__":
    main()

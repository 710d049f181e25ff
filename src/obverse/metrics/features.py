"""What distances between samples are measured on: the numbers themselves, or what a map or a network makes of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from obverse.ground.errors import InvalidArgument, require
from obverse.ground.extras import load
from obverse.ground.families import Family
from obverse.metrics import fashion


class Features(Family, family="features"):
    """A fixed map from samples to vectors; a metric's number belongs to it, and so does the metric's name.

    Example:
        >>> Features.of("fashion")(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 128])
    """

    batch: ClassVar[int] = 256  # samples seen at once
    short: ClassVar[str] = ""  # what the names of metrics on them begin with, where that is not their own name

    @abstractmethod
    def see(self, x: Tensor) -> Tensor:
        """Vectors of one batch; (batch *data) -> (batch, features)."""

    def title(self, metric: str) -> str:
        """What a metric on these features is called."""
        return f"{self.short or self.name}-{_SHORT.get(metric, metric)}"

    def __call__(self, x: Tensor) -> Tensor:
        """Vectors of all samples, in batches and without gradients; (n *data) -> (n, features)."""
        with torch.no_grad():
            return torch.cat([self.see(some) for some in torch.split(x, self.batch)])


class Raw(Features, name="raw"):
    """The numbers of the data themselves."""

    def see(self, x: Tensor) -> Tensor:
        return x

    def title(self, metric: str) -> str:
        return metric

    def __call__(self, x: Tensor) -> Tensor:
        return x


class Pairs(Features, name="pairs"):
    """How far a cloud's points are from each other, in order of size: blind to their order and to turns of the whole.

    Each of 64 numbers is the mean of as many distances, the first of the smallest; metrics are called pairs-....

    Source:   Osada, Funkhouser, Chazelle & Dobkin (2002), "Shape distributions", the measure D2.
    """

    def see(self, x: Tensor) -> Tensor:
        require(
            x.ndim == 3 and x.shape[2] > 1,
            f"pairs sees clouds (n, coordinates, points), points >= 2; got the shape {tuple(x.shape)}.",
        )
        above = torch.ones(x.shape[2], x.shape[2], dtype=torch.bool, device=x.device).triu(1)
        apart = torch.cdist(x.mT, x.mT, compute_mode="donot_use_mm_for_euclid_dist")[:, above].sort(1).values
        return adaptive_avg_pool1d(apart[:, None], _PAIRS)[:, 0]


class Spectra(Features, name="spectra"):
    """How loud a sound is in 15 half octaves and in each quarter of its time, in decibels: blind to polarity and phase.

    The powers of windows of 512 values are averaged over time and band, so that white noise of deviation 1 is at 0 dB;
    silence is at -30 dB. The lowest band ends at 1/128 of the highest frequency. Metrics are called spectra-....

    Source:   Welch (1967), "The use of fast Fourier transform for the estimation of power spectra".
    """

    def see(self, x: Tensor) -> Tensor:
        require(x.ndim == 3, f"spectra see sounds (n, channels, length); got the shape {tuple(x.shape)}.")
        window = torch.hann_window(_WINDOW, device=x.device, dtype=x.dtype)
        seen = torch.stft(
            x.flatten(0, 1), _WINDOW, _WINDOW // 4, window=window, pad_mode="constant", return_complex=True
        )
        power = seen.abs().square() / window.square().sum()
        spans = adaptive_avg_pool1d(power, _SPANS)
        by_time = spans.reshape(len(x), -1, *spans.shape[1:]).mean(1)  # channels averaged; (n, bins, spans)
        means = [by_time[:, low:high].mean(1) for low, high in pairwise(_EDGES)]
        return 10 * (torch.stack(means, 2) + _SILENCE).log10().flatten(1)


class Fashion(Features, name="fashion"):
    """128 numbers for a 28 x 28 grey image, from a small network trained on Fashion-MNIST; metrics are called F-...."""

    short: ClassVar[str] = "F"

    def see(self, x: Tensor) -> Tensor:
        x = fashion.images(x)
        return fashion.network(x.device).features(x)


class Inception(Features, name="inception"):
    """2,048 numbers for an image, from the Inception-v3 that FID is defined by; needs torch-fidelity."""

    batch: ClassVar[int] = 32

    def see(self, x: Tensor) -> Tensor:
        require(
            x.ndim == 4 and x.shape[1] in (1, 3),
            f"inception sees images (n 1 H W) or (n 3 H W) in [-1, 1], got the shape {tuple(x.shape)}.",
        )
        bytes_of = ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        vectors: Tensor = _inception(x.device)(bytes_of.expand(-1, 3, -1, -1))[0]
        return vectors

    def title(self, metric: str) -> str:
        return {"frechet": "FID", "kid": "KID"}.get(metric, f"Inception-{metric}")


@dataclass(frozen=True, eq=False)
class Called(Features):
    """Any function of a batch of samples: a network of your own.

    Args:     function: (batch *data) -> (batch, features); a module is run as it is, so put it in eval mode.
              called: a word that the metrics' names begin with; default the function's own name.
    Example:
        >>> Called(torch.sin).title("frechet"), Called(torch.sin, "wave").title("kid")
        ('sin-FD', 'wave-KD')
    """

    name: ClassVar[str] = "called"  # no member: a function cannot be written in a spec
    function: Callable[[Tensor], Tensor]
    called: str = ""

    def see(self, x: Tensor) -> Tensor:
        vectors = self.function(x)
        require(
            isinstance(vectors, Tensor) and len(vectors) == len(x) and vectors.is_floating_point(),
            f"features are one vector for each sample: {self.title('features')} made "
            f"{tuple(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__} of {tuple(x.shape)}.",
        )
        return vectors.flatten(1)

    def title(self, metric: str) -> str:
        own = self.called or getattr(self.function, "__name__", type(self.function).__name__)
        return f"{own}-{_SHORT.get(metric, metric)}"


def features_of(asked: str | Features | Callable[[Tensor], Tensor]) -> Features:
    """Features from a name, a member or any function of a batch.

    Raises:   UnknownName for a name that no member carries; InvalidArgument for anything else.
    """
    if isinstance(asked, str | Features):
        return Features.of(asked)
    if not callable(asked):
        raise InvalidArgument(
            f"features are a name ({', '.join(Features.members)}) or a function of a batch, got {asked!r}."
        )
    return Called(asked)


_PAIRS = 64  # numbers of a cloud: its 8,128 distances of 128 points, smoothed as a histogram's bins would
_WINDOW = 512  # values: 64 ms at 8,000 a second, bins of 16 Hz
_SPANS = 4  # of a sound, averaged over: when it was, but not to the value
_EDGES = (0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, _WINDOW // 2 + 1)  # bins at which bands begin
_SILENCE = 1e-3  # power that is always there: 30 dB below a data set's mean, some 60 below a drum's first blow
_SHORT = {"frechet": "FD", "kid": "KD"}  # FID and KID are the names of Inception's alone


@cache
def _inception(device: torch.device) -> nn.Module:
    module = load("torch_fidelity.feature_extractor_inceptionv3", extra="fid")
    network: nn.Module = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    return network.to(device)

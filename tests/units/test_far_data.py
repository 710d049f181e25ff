"""Data, encoders and known laws on another device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from far import FAR
from torch import Tensor, nn

from obverse.data import Autoencoder, Dataset, Scaling, augmentations, augmented, batches, encoded
from obverse.model import Empirical, Gaussian, Mixture, Oracle
from obverse.path import Linear

CPU = torch.device("cpu")


def test_data_may_be_there() -> None:
    def drawn(device: torch.device | str) -> Sequence[Tensor]:
        values = torch.arange(768, dtype=torch.uint8).reshape(12, 1, 8, 8).to(device)
        data = Dataset("there", values, torch.arange(12).to(device) % 3, ("a", "b", "c"), Scaling.of_range(0, 255))
        batch = next(batches(data.split(0.25, seed=0)[0], 4, seed=0, augment="flip+crop+jitter"))
        assert batch.label is not None
        return batch.x, batch.label

    for there, here in zip(drawn(FAR), drawn(CPU), strict=True):
        assert there.device == FAR and torch.equal(there.cpu(), here)


def test_images_are_changed_there() -> None:
    def changed(device: torch.device | str) -> Tensor:
        x = torch.rand(5, 1, 8, 8, generator=torch.manual_seed(1)).to(device)
        return augmented(x, augmentations("flip+crop+jitter"), seed=0, step=0, samples=torch.arange(5))

    assert torch.equal(changed(FAR).cpu(), changed(CPU))


class Coder(nn.Module):
    """An encoder, as diffusers has them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down, self.up = nn.Conv2d(1, 2, 2, 2), nn.ConvTranspose2d(2, 1, 2, 2)
        self.config = SimpleNamespace(in_channels=1)

    def encode(self, x: Tensor) -> Any:
        """A belief."""
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: self.down(x)))

    def decode(self, z: Tensor) -> Any:
        """An image."""
        return SimpleNamespace(sample=self.up(z))


class Own(Coder):
    """One's own, which says latents."""

    def encode(self, x: Tensor) -> Tensor:
        """Latents."""
        latents: Tensor = self.down(x)
        return latents


ENCODERS: dict[str, Callable[[torch.device], Any]] = {
    "of diffusers": lambda device: Autoencoder(Coder().to(device)),
    "one's own": lambda device: Own().to(device),
}


@pytest.mark.parametrize("whose", ENCODERS)
def test_encoders(whose: str, tmp_path: Path) -> None:
    data = Dataset("images", torch.rand(6, 1, 8, 8, generator=torch.manual_seed(1)), kind="images")
    there, here = (
        encoded(data, ENCODERS[whose](device), tmp_path / f"{device.type}.npy").rows(torch.arange(6)).x
        for device in (FAR, CPU)
    )
    assert torch.allclose(there, here, atol=1e-5)


def test_latents_are_decoded_where_they_are() -> None:
    latents = torch.randn(2, 2, 4, 4)
    there, here = (Autoencoder(Coder().to(device)).decode(latents) for device in (FAR, CPU))
    assert there.device == CPU and torch.allclose(there, here)


X, TIMES = torch.randn(5, 2, generator=torch.manual_seed(1)), torch.linspace(0.1, 0.9, 5)
LAWS: dict[str, Callable[[torch.device], Oracle]] = {
    "a Gaussian": lambda device: Gaussian(X[0].to(device), torch.eye(2).to(device), "linear"),
    "a mixture": lambda device: Mixture(X.to(device), 0.1, torch.ones(5).to(device), "linear"),
    "the data": lambda device: Empirical(X.to(device), "linear"),
}


@pytest.mark.parametrize("law", LAWS)
def test_a_known_law_is_told_there_and_asked_there(law: str) -> None:
    (there, at), (here, near) = (
        (LAWS[law](device)(X.to(device), TIMES.to(device)).data, LAWS[law](device).log_prob(X.to(device), level))
        for device in (FAR, CPU)
        for level in [Linear().at(TIMES.to(device))]
    )
    assert there.device == FAR and torch.equal(there.cpu(), here) and torch.equal(at, near)

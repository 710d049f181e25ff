"""Latents: those of the encoder, computed once, scaled, and decoded to what the encoder would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from obverse.data import Autoencoder, encoded, from_array
from obverse.ground.errors import DataError, NonFinite
from obverse.recipes import Recipe, Trained, build, fit
from obverse.recipes.sampling import Sampling
from obverse.train import Training

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    blocks: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    }
    net = diffusers.AutoencoderKL(**blocks, block_out_channels=(8, 8), latent_channels=4, norm_num_groups=4)
    place = tmp_path_factory.mktemp("autoencoder")
    net.save_pretrained(place)
    return place


def test_latents_are_the_means_of_diffusers_own_encoder_scaled(folder: Path, tmp_path: Path) -> None:
    import diffusers

    data, theirs = from_array(IMAGES), diffusers.AutoencoderKL.from_pretrained(folder)
    latents = encoded(data, Autoencoder.open(folder), tmp_path / "z.npy", batch=4)
    with torch.no_grad():
        wanted = theirs.encode(torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mean
        images = theirs.decode(wanted).sample.clamp(-1, 1)
    x = latents.rows(torch.arange(11)).x
    assert latents.shape == (4, 8, 8) and len(latents) == 11 and "latents of images" in latents.summary()
    assert torch.allclose(latents.scaling.undo(x).float(), wanted, atol=1e-4)
    flat = x.transpose(0, 1).flatten(1)
    assert torch.allclose(flat.mean(1), torch.zeros(4), atol=1e-5)
    assert torch.allclose(flat.std(1, correction=0), torch.ones(4), atol=1e-5)
    assert torch.allclose(Autoencoder.open(folder).decode(wanted), images, atol=1e-4)


class Counting(nn.Module):
    """A linear encoder that counts what it is shown."""

    def __init__(self, gain: float = 2.0) -> None:
        super().__init__()
        self.gain, self.seen = nn.Parameter(torch.tensor(gain)), 0

    def encode(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return x.mean(1, keepdim=True) * self.gain

    def decode(self, z: Tensor) -> Tensor:
        return z / self.gain


def test_a_sample_is_encoded_once_until_samples_or_weights_change(tmp_path: Path) -> None:
    net, path = Counting(), tmp_path / "deep" / "z.npy"
    first = encoded(from_array(IMAGES), net, path)
    again = encoded(from_array(IMAGES), net, path)
    assert net.seen == 11 and torch.equal(first.values[:], again.values[:])
    other = IMAGES.copy()
    other[7, 3, 3, 0] ^= 1
    encoded(from_array(other), net, path)
    assert net.seen == 22
    changed = encoded(from_array(other), Counting(3.0), path)
    assert torch.allclose(changed.values[:] * 2 / 3, first.values[:], atol=0.02)
    assert sorted(file.name for file in path.parent.iterdir()) == ["z.json", "z.npy"]


def test_labels_stay_and_a_torn_encoding_leaves_nothing(tmp_path: Path) -> None:
    data = from_array(IMAGES, labels=np.arange(11) % 2)
    assert encoded(data, Counting(), tmp_path / "z.npy").classes == ("0", "1")
    with pytest.raises(NonFinite, match="not finite"):
        encoded(data, Counting(float("nan")), tmp_path / "y.npy")
    assert not list(tmp_path.glob("*.part")) and not (tmp_path / "y.npy").exists()


def test_what_is_no_autoencoder_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="there is no config"):
        Autoencoder.open(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="holds no AutoencoderKL"):
        Autoencoder.open(tmp_path)
    with pytest.raises(DataError, match="does not take samples"):
        encoded(from_array(IMAGES[..., 0].astype("f4")), Autoencoder.open(folder), tmp_path / "z.npy")


def test_a_recipe_trains_on_latents_and_its_samples_are_shown_as_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.save(tmp_path / "a.npy", IMAGES)
    settings = Training(steps=2, batch=4)
    recipe = Recipe(data=str(tmp_path / "a.npy"), encoder=str(folder), net="unet:width=8", training=settings)
    assert len(list(fit(recipe, tmp_path / "run").steps)) == 2
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 1
    trained = Trained.open(tmp_path / "run")
    latents = trained.sampled(3, Sampling(steps=2)).x
    facts, images = build.shown(trained.recipe, trained.facts, latents)
    wanted = Autoencoder.open(folder).decode(trained.facts.scaling.undo(latents).float())
    assert (facts.kind, facts.shape, tuple(latents.shape)) == ("images", (3, 16, 16), (3, 4, 8, 8))
    assert torch.equal(images, wanted) and images.abs().max() <= 1

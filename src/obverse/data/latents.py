"""Latents: what an encoder makes of a data set, computed once and kept in a mapped file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from obverse.data.damage import in_words, printable
from obverse.data.dataset import Dataset
from obverse.data.rows import Mapped, chunks
from obverse.data.scaling import Scaling
from obverse.ground import extras
from obverse.ground.errors import DataError, NonFinite


class Encoder(Protocol):
    """Anything with these two, such as a module of yours."""

    def encode(self, x: Tensor) -> Tensor:
        """Network units to latents; (batch *data) -> (batch *latent)."""

    def decode(self, z: Tensor) -> Tensor:
        """Back."""


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """An AutoencoderKL of diffusers; a latent is the mean of what it believes.

    Args:     net: the module, on any device: samples are carried there and back.
    """

    net: nn.Module

    @classmethod
    def open(cls, folder: str | Path) -> Autoencoder:
        """The one that `save_pretrained` wrote; nothing is downloaded. Needs diffusers.

        Raises:   DataError when there is none.
        """
        made = extras.load("diffusers", extra="diffusers").AutoencoderKL
        if not (Path(folder) / "config.json").is_file():
            raise DataError(f"{printable(folder)} holds no AutoencoderKL: there is no config.json in it.")
        try:
            net = made.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
        except Exception as error:  # whatever it meets in foreign files
            raise DataError(f"{printable(folder)} holds no AutoencoderKL: {in_words(error)}.") from error
        return cls(net.eval().requires_grad_(False))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """See `Encoder`; grey images are shown to a net of colours as such."""
        coder: Any = self.net
        images = x.expand(-1, coder.config.in_channels, -1, -1) if x.shape[1] == 1 else x
        latents: Tensor = coder.encode(images.to(_place(self))).latent_dist.mode()
        return latents.to(x.device)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """See `Encoder`."""
        coder: Any = self.net
        images: Tensor = coder.decode(z.to(_place(self))).sample
        return images.clamp(-1, 1).to(z.device)


def encoded(
    data: Dataset,
    encoder: Encoder,
    path: str | Path,
    *,
    batch: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The latents of a data set, one file of float32 at `path`, scaled to mean 0 and deviation 1 a channel.

    What is in the file already, of the same samples by the same encoder, is not computed again.

    Args:     data: samples that the encoder takes.
              encoder: see `Encoder`; its latents must not depend on the batch.
              path: the .npy file; what it was made of stands beside it, in .json.
              batch: samples that are encoded together.
              progress: called with (samples done, samples in all).
    Raises:   NonFinite when a latent is not finite; DataError for samples that the encoder does not take.
    Example:
        >>> import tempfile
        >>> from types import SimpleNamespace
        >>> halved = SimpleNamespace(encode=lambda x: x[..., ::2], decode=lambda z: z.repeat_interleave(2, -1))
        >>> data = Dataset("ten", torch.arange(40.0).reshape(10, 1, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     encoded(data, halved, f"{folder}/latents.npy").shape
        (1, 2)
    """
    path = Path(path)
    beside, about = path.with_suffix(".json"), {"data": _digest_of(data), "encoder": _digest_of_weights(encoder)}
    if not (path.is_file() and beside.is_file() and json.loads(beside.read_bytes()) == about):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            _encode(data, encoder, part, batch, progress)
            beside.unlink(missing_ok=True)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        beside.write_text(json.dumps(about))
    values = Mapped(np.load(path, mmap_mode="r"))
    size = " x ".join(map(str, data.shape))
    notes = (*data.notes, f"latents of {data.kind} of {size}")
    return replace(data, values=values, scaling=Scaling.standard(values), kind="arrays", columns=(), notes=notes)


def _encode(
    data: Dataset, encoder: Encoder, path: Path, batch: int, progress: Callable[[int, int], None] | None
) -> None:
    file: Any = None
    place = _place(encoder)
    for start in range(0, len(data), batch):
        index = torch.arange(start, min(start + batch, len(data)))
        x = data.rows(index).x.to(place)
        try:
            latents = encoder.encode(x).detach().float().cpu().numpy()
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError(f"{data.name}: the encoder does not take samples of {data.shape}: {error}") from error
        if not np.isfinite(latents).all():
            raise NonFinite(f"{data.name}: the latent of sample {start} or of the {batch - 1} after it is not finite.")
        if file is None:
            shape = (len(data), *latents.shape[1:])
            file = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        file[start : start + len(index)] = latents
        if progress:
            progress(start + len(index), len(data))
    file.flush()


def _place(encoder: Encoder) -> torch.device:
    """Where an encoder computes: where its weights are, if it has any."""
    net = getattr(encoder, "net", encoder)
    weight = next(net.parameters(), None) if isinstance(net, nn.Module) else None
    return torch.device("cpu") if weight is None else weight.device


def _digest_of(data: Dataset) -> str:
    """Of every sample as the encoder sees it."""
    found = hashlib.sha256(repr((len(data), data.shape, data.scaling)).encode())
    for chunk in chunks(data.values):
        found.update(chunk.contiguous().numpy().tobytes())
    return found.hexdigest()


def _digest_of_weights(encoder: Encoder) -> str:
    net = getattr(encoder, "net", encoder)
    found = hashlib.sha256(f"{type(encoder).__module__}.{type(encoder).__qualname__}".encode())
    for name, weight in net.state_dict().items() if isinstance(net, nn.Module) else ():
        found.update(name.encode() + weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()

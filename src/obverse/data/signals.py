"""Signals: a folder of sounds, of series or of point clouds, one file each, brought to one length; sounds as files.

| files                         | a sample                                                                            |
|-------------------------------|-------------------------------------------------------------------------------------|
| .wav, .flac                   | (channels, length) in [-1, 1]; a longer file is cut, a shorter one ends in silence  |
| .npy, .npz of (n, c) or (n,)  | with `length`: (c, length), cut and ended in zeros alike                            |
|                               | with `points`: (c, points), so many of them drawn; a file of fewer has some again   |

Where a file is cut and which points are drawn is a function of its number in the listing, the same in every run.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obverse.data.damage import Ledger, in_words, printable, refuse_bomb
from obverse.data.dataset import Dataset, encode
from obverse.data.listing import Listing, Progress
from obverse.data.rows import floats
from obverse.data.scaling import Scaling
from obverse.ground import extras, noise
from obverse.ground.errors import DataError, MissingExtra

SOUNDS, SERIES = (".wav", ".flac"), (".npy", ".npz")
Signal = NDArray[Any]  # float32, or float64 where that is needed


def read_signals(
    path: Path,
    listing: Listing,
    ledger: Ledger,
    length: int | None,
    points: int | None,
    progress: Progress | None = None,
) -> Dataset:
    """The signals of a listing; subfolders are classes."""
    where, found, kept, rate = printable(path), list[Signal](), list[int](), 0
    for number in range(len(listing)):
        name = printable(listing.names[number])
        try:
            signal, its_rate = _read(listing, number)
        except MissingExtra:
            raise
        except Exception as error:  # decoders raise anything on hostile bytes
            ledger.drop(name, in_words(error))
            continue
        finally:
            if progress:
                progress(number + 1, len(listing))
        rate = rate or its_rate
        if its_rate != rate:
            raise DataError(f"{name} has {its_rate:,} samples a second, others {rate:,}; resample them to one rate.")
        if found and len(signal) != len(found[0]):
            raise DataError(f"{name} has {len(signal)} channels, others {len(found[0])}; bring them to one number.")
        found.append(signal)
        kept.append(number)
    ledger.require_samples(len(kept), where)
    values = torch.from_numpy(np.stack(_fitted(where, found, kept, length, points)))
    words = listing.classes(kept, where)
    labels, classes = encode(words) if words else (None, tuple[str, ...]())
    notes = (f"{rate:,} samples a second",) if rate else ()
    scaling, entries = Scaling.standard(values), tuple(ledger.entries)
    name = printable(path.resolve().name)
    return Dataset(name, values, labels, classes, scaling, entries, kind="arrays", notes=notes, rate=rate)


def wav(x: Tensor, rate: int) -> bytes:
    """The bytes of a WAV file of 16-bit PCM, which every player reads; what lies outside [-1, 1] is cut.

    Args:     x: raw units; (channels, length).
              rate: samples a second.
    Example:
        >>> wav(torch.zeros(1, 8), rate=8_000)[:4]
        b'RIFF'
    """
    from scipy.io import wavfile

    file, most = io.BytesIO(), 2**15
    wavfile.write(file, rate, (x * most).round().clamp(-most, most - 1).short().T.numpy())
    return file.getvalue()


def _read(listing: Listing, number: int) -> tuple[Signal, int]:
    """A signal as (channels, length), and how many samples a second it has; 0 if that is not said."""
    suffix, source = Path(listing.names[number]).suffix.lower(), listing.open(number)
    signal, rate = _sound(source, suffix) if suffix in SOUNDS else (_series(source), 0)
    if not signal.size:
        raise ValueError("it is empty")
    if not np.isfinite(signal).all():
        raise ValueError("it holds NaN or infinity")
    return np.ascontiguousarray(signal.T, np.float32 if rate else floats(signal[:0]).dtype), rate


def _sound(source: str | io.BytesIO, suffix: str) -> tuple[NDArray[Any], int]:
    if suffix == ".flac":
        values, rate = extras.load("soundfile", extra="audio").read(source, dtype="float32", always_2d=True)
        return values, int(rate)
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("error", wavfile.WavFileWarning)
        warnings.filterwarnings("ignore", message=".*not understood")  # a piece of a file that holds no sound
        rate, values = wavfile.read(source)
    if values.dtype.kind in "iu":
        middle = 128 if values.dtype == np.uint8 else 0
        values = (values.astype(np.float64) - middle) / (128 if middle else -float(np.iinfo(values.dtype).min))
    return values[:, None] if values.ndim == 1 else values, int(rate)


def _series(source: str | io.BytesIO) -> NDArray[Any]:
    loaded = np.load(source, allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        with loaded:
            if len(loaded.files) != 1:
                raise ValueError(f"it holds {len(loaded.files)} arrays; one is a sample")
            entry = loaded.zip.infolist()[0]
            refuse_bomb("its array", entry.file_size, entry.compress_size)
            loaded = loaded[loaded.files[0]]
    if loaded.dtype.kind not in "biuf" or loaded.ndim not in (1, 2):
        raise ValueError(f"it holds {loaded.dtype} of shape {loaded.shape}, not numbers of shape (n,) or (n, c)")
    series: NDArray[Any] = loaded
    return series[:, None] if series.ndim == 1 else series


def _fitted(
    where: str, found: list[Signal], numbers: list[int], length: int | None, points: int | None
) -> list[Signal]:
    """All of one length."""
    lengths = sorted({signal.shape[1] for signal in found})
    if length is None and points is None:
        if len(lengths) > 1:
            raise DataError(
                f"{where}: lengths run from {lengths[0]:,} to {lengths[-1]:,}; length={lengths[len(lengths) // 2]} "
                "cuts and pads them, points=1024 draws so many points of each."
            )
        return found
    if points is not None:
        pairs = zip(found, numbers, strict=True)
        return [signal[:, _drawn(signal.shape[1], points, number)] for signal, number in pairs]
    return [_cut(signal, length or 0, number) for signal, number in zip(found, numbers, strict=True)]


def _cut(signal: Signal, length: int, number: int) -> Signal:
    spare = signal.shape[1] - length
    if spare <= 0:
        return np.pad(signal, ((0, 0), (0, -spare)))
    start = int(noise.bits(1, seed=0, purpose="cut", samples=[number])[0, 0] % (spare + 1))
    return signal[:, start : start + length]


def _drawn(there: int, points: int, number: int) -> NDArray[np.int64]:
    """Which points: each once before any is taken twice."""
    rounds = -(-points // there)
    keys = noise.bits(rounds * there, seed=0, purpose="points", samples=[number])[0].reshape(rounds, there)
    order: NDArray[np.int64] = keys.argsort(dim=1, stable=True).flatten()[:points].numpy()
    return order

"""One-shots: Debian's sonic-pi-samples, of which the short percussive sounds are read, each once and as it is.

| what                 | how                                                                                        |
|----------------------|--------------------------------------------------------------------------------------------|
| files                | whose names begin with bd, drum, elec, hat, perc, sn or tabla, and that last a second      |
|                      | or less between the first and the last value above a hundredth of the largest              |
| values               | the mean of the channels at 8,000 a second (above 4 kHz nothing is left: of cymbals little) |
| length               | 4,096 values, 0.512 s; a longer sound fades out over its last 32 ms, a shorter one ends in 0 |
| level                | the largest value is 0.5, which leaves room for samples to be louder                       |
| classes              | the name's beginning; those of fewer than 8 sounds are "other"                             |

There are 78: enough to see a model of sounds work, far too few to learn what percussion is. They are not multiplied,
because changed copies of one sound would lie on both sides of the split into training and held-out data.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from obverse.data.damage import Ledger, in_words, printable
from obverse.data.dataset import Dataset, encode
from obverse.data.scaling import Scaling
from obverse.ground import extras
from obverse.ground.errors import DataError, MissingExtra

ONE_SHOTS = Path("/usr/share/sonic-pi/samples")  # where Debian's sonic-pi-samples puts them
RATE = 8_000  # samples a second, a telephone's: what a processor can learn in minutes
LENGTH = 4_096  # half a second: whole for seven in ten
PREFIXES = ("bd", "drum", "elec", "hat", "perc", "sn", "tabla")  # bass drums, drum kit, electronic, hats ...
_LONGEST = RATE  # values between the trimmed ends, a second
_QUIET = 0.01  # of the largest value, 40 dB below: where a sound begins and ends
_FADE = 256  # values over which a cut sound fades, 32 ms: no click
_LEVEL = 0.5
_FEW = 8  # sounds below which a prefix is no class of its own
Sound = NDArray[np.float64]


def one_shots(damaged: str) -> Dataset:
    """Short drums and other percussion of Sonic Pi, in the public domain (CC0)."""
    paths = [path for path in sorted(ONE_SHOTS.glob("*.flac")) if _prefix(path) in PREFIXES]
    if not paths:
        raise DataError(
            f"one-shots are not in {ONE_SHOTS}: apt install sonic-pi-samples, or give the path of a folder of sounds "
            "of your own."
        )
    ledger, found, words = Ledger(damaged), list[Sound](), list[str]()
    for path in paths:
        try:
            sound = _read(path)
        except MissingExtra:
            raise
        except Exception as error:  # a decoder raises anything on torn bytes
            ledger.drop(printable(path), in_words(error))
            continue
        if len(sound) <= _LONGEST:
            found.append(_fitted(sound))
            words.append(_prefix(path))
    ledger.require_samples(len(found), printable(ONE_SHOTS))
    values = torch.from_numpy(np.stack(found)[:, None]).float()
    counts = Counter(words)
    labels, classes = encode(word if counts[word] >= _FEW else "other" for word in words)
    scaling, entries, notes = Scaling.standard(values), tuple(ledger.entries), (f"{RATE:,} samples a second",)
    return Dataset("one-shots", values, labels, classes, scaling, entries, kind="arrays", notes=notes, rate=RATE)


def _prefix(path: Path) -> str:
    return path.name.partition("_")[0]


def _read(path: Path) -> Sound:
    """A sound at the rate of all, without what is quiet before and after it."""
    from scipy.signal import resample_poly

    values, rate = extras.load("soundfile", extra="audio").read(path, dtype="float64", always_2d=True)
    common = math.gcd(RATE, rate)
    sound: Sound = resample_poly(values.mean(1), RATE // common, rate // common)
    if not np.isfinite(sound).all() or not sound.any():
        raise ValueError("it is silent, or holds NaN or infinity")
    loud = np.flatnonzero(np.abs(sound) > _QUIET * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1]


def _fitted(sound: Sound) -> Sound:
    """Of the length and the level of all."""
    short = np.pad(sound[:LENGTH], (0, max(0, LENGTH - len(sound))))
    if len(sound) > LENGTH:
        short[-_FADE:] *= np.linspace(1, 0, _FADE)
    return short * (_LEVEL / float(np.abs(short).max()))

"""One-shots: files that a test wrote come back as short, loud, mono sounds of one rate; so do Debian's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from obverse.data import Dataset, load
from obverse.data.oneshots import LENGTH, ONE_SHOTS, RATE
from obverse.ground import noise
from obverse.ground.errors import DataError, InvalidArgument
from obverse.metrics import against

soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed (extra audio)")
there = pytest.mark.skipif(not ONE_SHOTS.is_dir(), reason="sonic-pi-samples is not installed")
STUDIO = 44_100  # samples a second of Debian's files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("obverse.data.oneshots.ONE_SHOTS", tmp_path)
    return tmp_path


def tone(hertz: float, seconds: float, rate: int = STUDIO) -> NDArray[np.float64]:
    """Even in level from its first value to its last."""
    return 0.3 * np.cos(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(folder: Path, name: str, sound: NDArray[np.float64], rate: int = STUDIO) -> None:
    soundfile.write(folder / f"{name}.flac", sound, rate, subtype="PCM_24")


def test_a_sound_is_trimmed_brought_to_the_rate_and_to_one_level(folder: Path) -> None:
    still = np.zeros(STUDIO // 10)
    write(folder, "bd_a", np.concatenate([still, tone(440, 0.25), still]))
    write(folder, "bd_b", tone(1000, 0.25, 48_000), 48_000)
    data = load("one-shots")
    assert (data.name, data.kind, data.rate, data.shape) == ("one-shots", "arrays", RATE, (1, LENGTH))
    for sound, hertz in zip(data.values[:, 0], (440, 1000), strict=True):
        assert float(sound.abs().max()) == pytest.approx(0.5, abs=1e-6)
        heard = sound.nonzero()[:, 0]
        assert heard[0] == 0 and abs(len(heard) - 0.25 * RATE) < 0.01 * RATE
        spectrum = torch.fft.rfft(sound[: RATE // 4]).abs()
        assert abs(4 * int(spectrum.argmax()) - hertz) <= 4  # a bin is 4 Hz wide


def test_what_lies_above_half_the_rate_is_gone_and_does_not_fold_back(folder: Path) -> None:
    low = tone(1000, 0.25)
    write(folder, "bd_a", low)
    write(folder, "bd_b", low + tone(7000, 0.25))  # taken at 8,000 a second it would sound like 1,000 Hz
    one, other = load("one-shots").values[:, 0]
    inside = slice(100, 1900)
    assert (one - other)[inside].abs().max() < 0.01


def test_two_channels_become_their_mean(folder: Path) -> None:
    left, right = tone(500, 0.2), tone(1200, 0.2)
    write(folder, "bd_a", np.stack([left, right], 1))
    write(folder, "bd_b", (left + right) / 2)
    one, other = load("one-shots").values
    assert torch.allclose(one, other, atol=1e-5)


def test_a_sound_above_half_a_second_fades_and_one_above_a_second_is_left_out(folder: Path) -> None:
    write(folder, "bd_long", tone(440, 0.9))
    write(folder, "bd_roll", tone(440, 1.1))
    data = load("one-shots")
    assert len(data) == 1
    sound = data.values[0, 0].abs()
    assert sound[-300:-256].max() > 0.45 > 0.3 > sound[-64:].max() > 0.05 and sound[-1] == 0  # no click at the end


def test_prefixes_are_classes_small_ones_are_other_and_other_sounds_are_none(folder: Path) -> None:
    sound = tone(440, 0.05)
    for prefix, count in {"bd": 8, "elec": 9, "sn": 7, "perc": 1, "ambi": 8, "loop": 1, "guit": 2}.items():
        for number in range(count):
            write(folder, f"{prefix}_{number}", sound)
    data = load("one-shots")
    assert data.classes == ("bd", "elec", "other") and data.labels is not None
    assert data.labels.bincount().tolist() == [8, 9, 8]


def test_damaged_and_silent_files_are_named_refused_or_left_out(folder: Path) -> None:
    write(folder, "bd_a", tone(440, 0.05))
    write(folder, "bd_still", np.zeros(500))
    with pytest.raises(DataError, match=r"bd_still\.flac: it is silent"):
        load("one-shots")
    (folder / "bd_torn.flac").write_bytes((folder / "bd_a.flac").read_bytes()[:60])
    data = load("one-shots", damaged="skip")
    assert len(data) == 1 and [Path(one.where).name for one in data.damage] == ["bd_still.flac", "bd_torn.flac"]


@pytest.mark.usefixtures("folder")
def test_without_the_package_it_is_said_how_to_get_it() -> None:
    with pytest.raises(DataError, match="apt install sonic-pi-samples"):
        load("one-shots")
    with pytest.raises(InvalidArgument, match="length is >= 1, for a folder of sounds"):
        load("one-shots", length=64)


@pytest.fixture(scope="module")
def real() -> Dataset:
    return load("one-shots")


@there
def test_debians_one_shots_are_few_short_and_of_known_kinds(real: Dataset) -> None:
    names = [path.stem for path in ONE_SHOTS.glob("*.flac")]
    assert real.labels is not None and {"bd", "drum", "elec", "tabla", "other"} <= set(real.classes)
    counts = dict(zip(real.classes, real.labels.bincount().tolist(), strict=True))
    for prefix in ("bd", "drum", "elec", "tabla"):
        lasting = [name for name in names if name.startswith(prefix) and _lasts(name) <= 1]
        assert len(lasting) <= counts[prefix] <= len([name for name in names if name.startswith(prefix)])
    assert 60 <= len(real) <= 110 and real.values[:].isfinite().all()
    assert torch.allclose(real.values[:].abs().amax((1, 2)), torch.tensor(0.5), atol=1e-6)
    x = real.rows(torch.arange(len(real))).x
    assert float(x.mean()) == pytest.approx(0, abs=1e-5) and float(x.std(correction=0)) == pytest.approx(1, abs=1e-5)


@there
def test_spectra_tell_debians_drums_from_white_noise_where_waveforms_do_not(real: Dataset) -> None:
    x = real.rows(torch.arange(len(real))).x
    held = torch.arange(len(real)) % 3 == 0
    white = noise.normal((int(held.sum()), 1, LENGTH), seed=0, purpose="test")
    by = {
        name: against(white, x[held], x[~held], metrics=["sliced-w2"], features=name, bootstrap=2)[0].ratio
        for name in ("raw", "spectra")
    }
    assert by["raw"] < 1.5 < 3 < by["spectra"]


def _lasts(name: str) -> float:
    return float(soundfile.info(ONE_SHOTS / f"{name}.flac").duration)

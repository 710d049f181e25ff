"""Sounds, series and point clouds: what is in a file, cut or drawn alike in every run."""

from __future__ import annotations

import pickle
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from obverse.data import load, wav
from obverse.ground.errors import DataError, InvalidArgument, MissingExtra

RNG = np.random.default_rng(2)


def sound(path: Path, values: np.ndarray, rate: int = 8000, width: int = 2) -> Path:
    """Written by the standard library, which knows nothing of SciPy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = np.round(values.reshape(len(values), -1) * 2 ** (8 * width - 1)).astype(np.int32)
    raw = (whole + 128).astype("u1").tobytes() if width == 1 else b""
    if width > 1:
        raw = whole.astype("<i4").view("u1").reshape(-1, 4)[:, :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(whole.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sounds_of_every_width_are_what_was_written(tmp_path: Path, width: int) -> None:
    values = RNG.integers(-100, 100, (50, 2)) / 128
    sound(tmp_path / "a.wav", values, width=width)
    data = load(tmp_path)
    assert (data.kind, data.shape) == ("arrays", (2, 50)) and "8,000 samples a second" in data.summary()
    assert np.array_equal(data.values[0].numpy(), values.T.astype("f4"))


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_a_sound_of_16_bits_is_written_as_it_was_read(tmp_path: Path, rate: int) -> None:
    whole = RNG.integers(-(2**15), 2**15, (40, 2))
    whole[:2] = [[-(2**15), 2**15 - 1], [0, -1]]
    before = sound(tmp_path / "a.wav", whole / 2**15, rate).read_bytes()
    data = load(tmp_path)
    assert wav(data.scaling.undo(data.rows(torch.arange(1)).x)[0], data.rate) == before


def test_what_is_louder_than_a_file_can_say_is_cut(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(torch.tensor([[-7.0, -1.0, 0.25, 1.0, 7.0]]), 8_000))
    assert load(tmp_path).values[0].tolist() == [[-1, -1, 0.25, 1 - 2**-15, 1 - 2**-15]]


def test_subfolders_of_sounds_are_classes_and_scaled_back(tmp_path: Path) -> None:
    for name in ("drum/a", "drum/b", "bell/a"):
        sound(tmp_path / f"{name}.wav", RNG.integers(-99, 99, 30) / 128)
    data = load(tmp_path)
    assert data.classes == ("bell", "drum") and data.labels is not None and data.labels.tolist() == [0, 1, 1]
    batch = data.rows(torch.arange(3))
    assert torch.allclose(data.scaling.undo(batch.x), data.values[:].double(), atol=1e-6)


def test_longer_sounds_are_cut_and_shorter_ones_end_in_silence(tmp_path: Path) -> None:
    long, short = RNG.integers(-99, 99, 300) / 128, RNG.integers(1, 99, 5) / 128
    for number in range(6):
        sound(tmp_path / f"{number}.wav", long)
    sound(tmp_path / "short.wav", short)
    with pytest.raises(DataError, match=r"lengths run from 5 to 300; length="):
        load(tmp_path)
    values = load(tmp_path, length=20).values[:].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(long.astype("f4"), 20)
    starts = [int(np.flatnonzero((windows == row[0]).all(1))[0]) for row in values[:6]]
    assert len(set(starts)) > 2
    assert np.array_equal(values[6, 0], np.r_[short, np.zeros(15)].astype("f4"))
    assert np.array_equal(load(tmp_path, length=20).values[:].numpy(), values)


def test_sounds_of_two_rates_or_channels_are_refused_by_name(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", np.zeros(9))
    sound(tmp_path / "b.wav", np.zeros(9), rate=44_100)
    with pytest.raises(DataError, match=r"b\.wav has 44,100 samples a second, others 8,000; resample"):
        load(tmp_path)
    sound(tmp_path / "b.wav", np.zeros((9, 2)))
    with pytest.raises(DataError, match=r"b\.wav has 2 channels, others 1"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"hello", "torn"])
def test_a_damaged_sound_is_refused_or_skipped(tmp_path: Path, content: bytes | str) -> None:
    good = sound(tmp_path / "a.wav", np.zeros(99)).read_bytes()
    (tmp_path / "b.wav").write_bytes(good[:-50] if isinstance(content, str) else content)
    with pytest.raises(DataError, match=r"b\.wav: .*damaged='skip'"):
        load(tmp_path)
    assert len(load(tmp_path, damaged="skip")) == 1


def test_nobody_is_told_to_unpickle_what_is_no_series(tmp_path: Path) -> None:
    for content in (b"not an array", pickle.dumps({"a": 1})):
        (tmp_path / "a.npy").write_bytes(content)
        for place in (tmp_path, tmp_path / "a.npy"):
            with pytest.raises(DataError, match="nothing is ever unpickled") as refusal:
                load(place)
            assert "allow_pickle" not in str(refusal.value)


def test_flac_is_read_by_the_extra_or_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    try:
        import soundfile
    except ImportError:
        with pytest.raises(MissingExtra, match=r"obverse\[audio\]"):
            load(tmp_path)
        return
    values = RNG.integers(-99, 99, (40, 2)) / 128
    soundfile.write(tmp_path / "a.flac", values, 8000, subtype="PCM_16")
    assert np.array_equal(load(tmp_path).values[0].numpy(), values.T.astype("f4"))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_points_are_drawn_once_each_before_any_twice(tmp_path: Path, suffix: str) -> None:
    clouds = [RNG.normal(size=(count, 3)).astype("f4") for count in (40, 7)]
    for number, cloud in enumerate(clouds):
        (np.save if suffix == ".npy" else np.savez)(tmp_path / f"{number}{suffix}", cloud)
    data = load(tmp_path, points=16)
    assert (data.shape, len(data)) == ((3, 16), 2)
    for cloud, drawn in zip(clouds, data.values[:].numpy(), strict=True):
        places = [int(np.flatnonzero((cloud == point).all(1))[0]) for point in drawn.T]
        often = np.bincount(places, minlength=len(cloud))
        assert often.max() - often.min() <= 1 and places != sorted(places)


def test_series_in_files_and_in_one_array_have_time_last(tmp_path: Path) -> None:
    series = RNG.normal(size=(4, 9, 2)).astype("f4")
    (tmp_path / "many").mkdir()
    for number, one in enumerate(series):
        np.save(tmp_path / "many" / f"{number}.npy", one)
    np.save(tmp_path / "one.npy", series)
    many, one = load(tmp_path / "many"), load(tmp_path / "one.npy", length=9)
    assert many.shape == one.shape == (2, 9) and torch.equal(many.values[:], one.values[:])
    assert torch.equal(many.rows(torch.tensor([3, 1])).x, one.rows(torch.tensor([3, 1])).x)
    with pytest.raises(InvalidArgument, match="length is that of signals"):
        load(tmp_path / "one.npy", length=5)


@pytest.mark.parametrize("times", [1.7e9 + np.arange(6.0), 1e300 * np.arange(6.0), 2**53 - np.arange(6)], ids=str)
def test_numbers_of_series_that_single_precision_cannot_hold_are_kept(tmp_path: Path, times: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", times)
    np.save(tmp_path / "b.npy", np.float32(RNG.normal(size=6)))
    data = load(tmp_path, length=6)
    assert data.values[0, 0].tolist() == times.tolist() and data.rows(torch.arange(2)).x.isfinite().all()


def test_an_option_is_for_the_files_that_have_a_use_for_it(tmp_path: Path) -> None:
    sound(tmp_path / "sounds/a.wav", np.zeros(50))
    with pytest.raises(DataError, match=r"\(as a folder of \.npy \.npz\) holds no samples"):
        load(tmp_path / "sounds", points=8)
    with pytest.raises(DataError, match=r"\.webp\) holds no samples"):
        load(tmp_path / "sounds", image_size=8)
    np.save(tmp_path / "a.npy", np.zeros((9, 3)))
    for also in ({"points": 4}, {"image_size": 4}):
        with pytest.raises(InvalidArgument, match="image_size, length and points are each"):
            load(tmp_path, length=4, **also)  # type: ignore[arg-type]


def test_lengths_and_points_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 2)))
    with pytest.raises(InvalidArgument, match="points is >= 1"):
        load(tmp_path / "a.npy", points=4)
    with pytest.raises(InvalidArgument, match="length is >= 1"):
        load(tmp_path, length=0)
    with pytest.raises(InvalidArgument, match="length is >= 1"):
        load("digits", length=4)

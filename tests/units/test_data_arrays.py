"""Arrays in memory and in .npy, .npz and IDX files: how they are read, and every way in which they can be bad."""

from __future__ import annotations

import gzip
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from obverse.data import from_array, load
from obverse.data.sources import FASHION_MNIST
from obverse.ground.errors import DataError, UnknownName

RNG = np.random.default_rng(0)


def save(path: Path, array: object) -> Path:
    np.save(path, array)  # type: ignore[arg-type]
    return path


def idx(path: Path, array: np.ndarray, code: int = 8) -> Path:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    body = head + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return path


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "stored"),
    [
        ((5,), "float32", "vectors", (1,)),
        ((5, 2), "float64", "vectors", (2,)),
        ((5, 2), "uint8", "vectors", (2,)),
        ((5, 4, 6), "uint8", "images", (1, 4, 6)),
        ((5, 4, 6, 3), "uint8", "images", (3, 4, 6)),
        ((5, 4, 6, 4), "uint8", "images", (4, 4, 6)),
        ((5, 3, 4, 6), "uint8", "images", (3, 4, 6)),
        ((5, 4, 6, 1), "float32", "images", (1, 4, 6)),
        ((5, 4, 6, 3), "int64", "images", (3, 4, 6)),
        ((5, 4, 6, 1), "uint16", "images", (1, 4, 6)),
        ((5, 4, 6), "float32", "arrays", (4, 6)),
        ((5, 2, 64), "int16", "arrays", (2, 64)),
        ((5, 3, 4, 6), "float32", "arrays", (3, 4, 6)),
        ((5, 2, 3, 4, 5), "float64", "arrays", (2, 3, 4, 5)),
    ],
)
def test_dtype_and_shape_decide_what_an_array_holds(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, kind: str, stored: tuple[int, ...]
) -> None:
    data = load(save(tmp_path / "a.npy", RNG.integers(0, 100, shape).astype(dtype)))
    assert (data.kind, data.shape, len(data)) == (kind, stored, 5)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "float16", "bool", "int64", ">u2", "uint8"])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_every_number_survives_whatever_its_dtype_byte_order_and_layout(
    tmp_path: Path, dtype: str, layout: Any
) -> None:
    array = RNG.integers(0, 200, (7, 3)).astype(dtype)
    data = load(save(tmp_path / "a.npy", layout(array)))
    assert np.array_equal(data.values.numpy(), array.astype(float))


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2", "longdouble", "int64", ">u2", "bool", "uint8"])
def test_images_survive_whatever_their_dtype_and_byte_order(tmp_path: Path, dtype: str) -> None:
    pixels = RNG.integers(0, 2 if dtype == "bool" else 200, (5, 4, 6, 3)).astype(dtype)
    for data in (from_array(pixels), load(save(tmp_path / "a.npy", pixels))):
        assert np.array_equal(data.values.numpy(), pixels.transpose(0, 3, 1, 2).astype(float))
        x = data.rows(torch.arange(5)).x
        assert x.dtype == torch.float32 and -1 <= x.min() < x.max() <= 1


@pytest.mark.parametrize("number", [2**40 + 1, 1 / 3, 2.0**-1070], ids=str)
def test_numbers_that_single_precision_cannot_hold_are_kept(number: float) -> None:
    assert from_array([[float(number)], [0.0]]).values[0].item() == number


def test_channel_last_pixels_keep_their_place() -> None:
    pixels = RNG.integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    assert from_array(pixels).values[1, 2, 3, 5] == pixels[1, 3, 5, 2]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-7.0, 90.0)])
def test_float_images_of_any_range_fill_minus_one_to_one(low: float, high: float) -> None:
    data = from_array(np.linspace(low, high, 2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 1))
    x = data.rows(torch.arange(2)).x
    assert abs(x.min() + 1) < 1e-6 and abs(x.max() - 1) < 1e-6


def test_tensors_are_taken_in_any_precision() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert from_array(values.to(dtype)).values.tolist() == [[1, 2], [3, 5]]


def test_the_file_can_change_after_loading(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.zeros((3, 4, 4), np.uint8))
    data = load(path)
    save(path, np.ones((3, 4, 4), np.uint8))
    assert data.values.sum() == 0


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_a_row_that_is_not_finite_is_refused_or_skipped(tmp_path: Path, bad: float, word: str) -> None:
    array = np.arange(12.0).reshape(4, 3)
    array[2, 1] = bad
    path = save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=rf"a\.npy row 2: {word} at place 1.*damaged='skip'"):
        load(path)
    data = load(path, damaged="skip")
    assert data.values[:, 0].tolist() == [0, 3, 9] and len(data.damage) == 1 and "row 2" in data.summary()


def test_labels_stay_with_their_rows_when_some_are_skipped() -> None:
    data = from_array([[0.0], [np.nan], [2.0]], labels=["a", "b", "c"], damaged="skip")
    assert data.classes == ("a", "c") and data.labels is not None and data.labels.tolist() == [0, 1]


class Trap:
    sprung = False

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return (Trap.spring, ())

    @staticmethod
    def spring() -> None:
        Trap.sprung = True


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_an_array_of_objects_is_refused_and_never_unpickled(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    objects = np.array([Trap(), [1, 2]], dtype=object)
    if suffix == "npy":
        np.save(path, objects, allow_pickle=True)
    else:
        np.savez(path, x=objects)
    with pytest.raises(DataError, match="never unpickled"):
        load(path, damaged="skip")
    assert not Trap.sprung


def test_a_pickle_under_the_suffix_of_an_array_is_refused_and_never_unpickled(tmp_path: Path) -> None:
    for suffix in ("npy", "npz"):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(pickle.dumps(Trap()))
        with pytest.raises(DataError, match=rf"a\.{suffix}"):
            load(path)
    assert not Trap.sprung


def test_ragged_rows_in_memory_are_refused() -> None:
    with pytest.raises(DataError, match="rows"):
        from_array([[1.0, 2.0], [3.0]], name="rows")


@pytest.mark.parametrize(
    "array", [np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((0, 8, 8), np.uint8), np.float64(1.0)], ids=str
)
def test_an_array_without_samples_is_refused(tmp_path: Path, array: object) -> None:
    with pytest.raises(DataError, match=r"a\.npy.* no samples"):
        load(save(tmp_path / "a.npy", array))


@pytest.mark.parametrize("array", [np.array(["a", "b"]), np.array([1j]), np.array(["2020-01-01"], "datetime64[D]")])
def test_what_is_not_a_real_number_is_refused_by_its_dtype(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(DataError, match="not real numbers"):
        load(save(tmp_path / "a.npy", array))


@pytest.mark.parametrize("left", [0, 3, 60, 200])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, left: int, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    (np.save if suffix == "npy" else np.savez)(path, RNG.normal(size=(50, 3)))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match=rf"a\.{suffix}"):
        load(path)


def test_one_sample_is_a_data_set() -> None:
    data = from_array([[3.0, 0.1]])
    x = data.rows(torch.tensor([0])).x
    assert len(data) == 1 and x.isfinite().all() and torch.equal(data.scaling.undo(x), data.values.double())


@pytest.mark.parametrize("key", ["x", "data", "images", "arr_0", "anything"])
@pytest.mark.parametrize("label", ["y", "label", "labels"])
def test_an_npz_finds_its_values_and_labels_by_the_usual_names(tmp_path: Path, key: str, label: str) -> None:
    arrays: dict[str, Any] = {key: np.arange(6.0).reshape(3, 2), label: np.array([7, 5, 7])}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    data = load(tmp_path / "a.npz")
    assert data.shape == (2,) and data.classes == ("5", "7")
    assert data.labels is not None and data.labels.tolist() == [1, 0, 1] and data.labels.dtype == torch.int64


def test_an_npz_takes_the_label_key_that_is_asked_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)), y=np.zeros(2), kind=np.array(["cat", "dog"]))
    assert load(tmp_path / "a.npz", label="kind").classes == ("cat", "dog")
    with pytest.raises(UnknownName, match="did you mean 'kind'"):
        load(tmp_path / "a.npz", label="kinds")


def test_an_npz_with_several_candidates_is_refused_with_their_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train=np.zeros((2, 2)), test=np.zeros((2, 2)))
    with pytest.raises(DataError, match="train, test: call the one to learn from 'x'"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("labels", [np.zeros(3), np.zeros((2, 2)), np.array([0.5, 1.0]), np.array([np.nan, 1.0])])
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)), y=labels)
    with pytest.raises(DataError, match=r"a\.npz: (labels are|2 samples need as many labels)"):
        load(tmp_path / "a.npz")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    size = 80 * 2**20
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (size,)})
        for _ in range(80):
            file.write(bytes(2**20))
    with pytest.raises(DataError, match="or a bomb"):
        load(tmp_path / "a.npz")
    (tmp_path / "a.idx").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**15, 2**15))
    with pytest.raises(DataError, match="or a bomb"):
        load(tmp_path / "a.idx")


@pytest.mark.parametrize(("code", "dtype"), [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")])
@pytest.mark.parametrize("suffix", [".idx", ".idx.gz"])
def test_idx_files_of_every_type_hold_what_was_written(tmp_path: Path, code: int, dtype: str, suffix: str) -> None:
    array = RNG.integers(0, 100, (4, 3)).astype(dtype)
    data = load(idx(tmp_path / f"a{suffix}", array, code))
    assert np.array_equal(data.values.numpy(), array)


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_folder_of_idx_files_is_images_with_labels(tmp_path: Path, packed: str) -> None:
    images = RNG.integers(0, 256, (5, 4, 6), dtype=np.uint8)
    idx(tmp_path / f"train-images-idx3-ubyte{packed}", images)
    idx(tmp_path / "train-labels-idx1-ubyte.gz", np.array([3, 1, 3, 3, 1], np.uint8))
    data = load(tmp_path)
    assert np.array_equal(data.values[:, 0].numpy(), images) and data.name == tmp_path.name
    assert data.classes == ("1", "3") and data.labels is not None and data.labels.tolist() == [1, 0, 1, 1, 0]


def test_idx_files_that_are_damaged_are_refused_by_name(tmp_path: Path) -> None:
    whole = idx(tmp_path / "a.idx", np.zeros((4, 3), np.uint8)).read_bytes()
    packed = gzip.compress(whole)
    flipped = packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:]  # the checksum
    cases = {"short.idx": whole[:-1], "long.idx": whole + b"0", "empty.idx": b"", "head.idx": whole[:6]}
    cases |= {"alien.idx": b"\x89PNG1234", "torn.idx.gz": packed[:-9], "plain.idx.gz": whole, "flipped.idx.gz": flipped}
    said = {"short.idx": "is truncated", "long.idx": "is longer than its header", "alien.idx": "is not an IDX file"}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} {said.get(name, '')}") as refusal:
            load(tmp_path / name)
        assert str(refusal.value).count(name) == 1


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_sixty_thousand_named_garments() -> None:
    data = load("fashion-mnist")
    assert (len(data), data.shape, data.classes[9]) == (60_000, (1, 28, 28), "Ankle boot")
    assert data.labels is not None and data.labels.bincount().tolist() == [6_000] * 10


def test_fashion_mnist_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obverse.data.sources.FASHION_MNIST", tmp_path)
    with pytest.raises(DataError, match="apt install dataset-fashion-mnist"):
        load("fashion-mnist")
    idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((20, 2, 2), np.uint8))
    idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(20, dtype=np.uint8) % 10)
    assert load("fashion-mnist").classes[:2] == ("T-shirt/top", "Trouser")


def test_no_flipped_byte_of_an_array_escapes_as_a_foreign_error(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 3)))
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3)))
    idx(tmp_path / "a.idx.gz", np.zeros((4, 3), np.uint8))
    for name in ("a.npy", "a.npz", "a.idx.gz"):
        good = (tmp_path / name).read_bytes()
        for _ in range(60):
            bad = bytearray(good)
            for place in RNG.integers(0, min(len(bad), 300), 2):
                bad[place] ^= int(RNG.integers(1, 256))
            (tmp_path / name).write_bytes(bad)
            try:
                load(tmp_path / name, damaged="skip")
            except DataError as refusal:
                assert name in str(refusal)  # noqa: PT017

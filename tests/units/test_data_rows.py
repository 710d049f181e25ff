"""Rows that stay in their file: the same samples, scaling and refusals as in memory, at the price of a few of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from sklearn.preprocessing import StandardScaler

from obverse.data import Dataset, Scaling, load
from obverse.data.arrow import Columns
from obverse.data.rows import Mapped, Part, Rows, chunks
from obverse.ground.errors import DataError

RNG = np.random.default_rng(3)


@pytest.fixture
def everything_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file were large, and every chunk small."""
    for place in ("containers", "arrow"):
        monkeypatch.setattr(f"obverse.data.{place}.MAPPED", 0)
    monkeypatch.setattr("obverse.data.rows._CHUNK", 50)


def npy(path: Path, array: np.ndarray) -> Path:
    np.save(path / "a.npy", array)
    return path / "a.npy"


def npz(path: Path, array: np.ndarray) -> Path:
    np.savez(path / "a.npz", labels=np.arange(len(array)) % 3, x=array)
    return path / "a.npz"


def safetensors(path: Path, array: np.ndarray) -> Path:
    save_file({"y": np.arange(len(array)) % 3, "x": np.ascontiguousarray(array)}, path / "a.safetensors")
    return path / "a.safetensors"


def arrow(path: Path, array: np.ndarray) -> Path:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({str(i): array[:, i] for i in range(array.shape[1])})
    with pa.OSFile(str(path / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return path / "a.arrow"


TABLE = RNG.normal([1, -2e3, 3e-2], [5, 10, 1e-3], (40, 3))
ARRAYS = {
    "doubles": TABLE,
    "floats": TABLE.astype("f4"),
    "halves": TABLE.astype("f2"),
    "big end first": TABLE.astype(">f8"),
    "whole": RNG.integers(-9, 9, (40, 2)),
    "columns first": np.asfortranarray(TABLE),
    "grey": RNG.integers(0, 256, (40, 5, 4), dtype=np.uint8),
    "colour": RNG.integers(0, 256, (40, 5, 4, 3), dtype=np.uint8),
    "colour floats": RNG.random((40, 5, 4, 3)).astype("f4"),
    "signals": RNG.normal(size=(40, 2, 6)).astype(">f4"),
}


@pytest.mark.parametrize("write", [npy, npz, safetensors])
@pytest.mark.parametrize("what", ARRAYS)
def test_a_mapped_file_gives_the_batches_of_the_same_file_in_memory(
    tmp_path: Path, write: Callable[[Path, np.ndarray], Path], what: str, request: pytest.FixtureRequest
) -> None:
    array = ARRAYS[what]
    if write is safetensors:
        array = array.astype(array.dtype.newbyteorder("="))
    path = write(tmp_path, array)
    before = load(path)
    request.getfixturevalue("everything_mapped")
    after = load(path)
    assert isinstance(before.values, torch.Tensor) and isinstance(after.values, Mapped)
    assert (after.shape, after.kind, after.classes, len(after)) == (before.shape, before.kind, before.classes, 40)
    index = torch.tensor([39, 0, 7, 7])
    one, other = before.rows(index), after.rows(index)
    assert after.values[index].dtype == before.values.dtype and torch.equal(after.values[index], before.values[index])
    assert torch.allclose(one.x, other.x, atol=1e-6)
    assert one.label is other.label is None or torch.equal(one.label, other.label)  # type: ignore[arg-type]
    for part, again in zip(before.split(0.25, seed=1), after.split(0.25, seed=1), strict=True):
        assert torch.equal(part.values[:], again.values[:])


@pytest.mark.usefixtures("everything_mapped")
def test_an_arrow_file_of_many_pieces_gives_its_rows(tmp_path: Path) -> None:
    for dtype, wanted in (("f4", torch.float32), ("f8", torch.float64), ("i8", torch.float64), ("i2", torch.float32)):
        array = (TABLE * 10).astype(dtype)
        data = load(arrow(tmp_path, array))
        index = torch.tensor([39, 0, 7, 7])
        assert not isinstance(data.values, torch.Tensor) and data.values[index].dtype == wanted
        assert np.array_equal(data.values[index].numpy(), array[index])
        assert np.array_equal(data.values[3:30].numpy(), array[3:30]) and data.columns == ("0", "1", "2")


@pytest.mark.usefixtures("everything_mapped")
def test_scaling_in_pieces_is_scikit_learns_of_the_whole() -> None:
    for table in (TABLE, TABLE * 1e160, np.c_[TABLE, np.full(40, 0.1)], TABLE[:1]):
        theirs = StandardScaler().fit(table / np.abs(table).max(0))
        scaling = Scaling.standard(torch.from_numpy(table))
        assert np.allclose(scaling.shift, theirs.mean_ * np.abs(table).max(0), rtol=1e-12)
        varies = [column for column in range(table.shape[1]) if column not in scaling.constant]
        assert np.allclose(np.take(scaling.scale, varies), (theirs.scale_ * np.abs(table).max(0))[varies], rtol=1e-9)
    assert Scaling.standard(torch.full((40, 1), 0.1, dtype=torch.float64)).shift == (0.1,)


@pytest.mark.usefixtures("everything_mapped")
@pytest.mark.parametrize("kind", ["int16", "int64", "float32", "bool", "decimal"])
def test_what_is_missing_in_one_piece_of_an_arrow_file_is_found_there(tmp_path: Path, kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    some = pa.array([True, False, True, True]) if kind == "bool" else pa.array([1, 0, 1, 1])
    kind = pa.decimal128(21, 2) if kind == "decimal" else kind
    pieces = [some.cast(kind), pa.concat_arrays([some[:2].cast(kind), pa.nulls(1, kind), some[:1].cast(kind)])]
    table = pa.table({"a": pa.chunked_array(pieces), "b": pa.array(range(8), pa.float32())})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match="row 6: NaN in column 'a'"):
        load(tmp_path / "a.arrow")
    kept = load(tmp_path / "a.arrow", damaged="skip").values[:]
    assert kept.tolist() == [[1, 0], [0, 1], [1, 2], [1, 3], [1, 4], [0, 5], [1, 7]]


def test_pieces_that_lie_anywhere_are_one_column() -> None:
    pa = pytest.importorskip("pyarrow")
    numbers = np.arange(12.0)
    for shift in (0, 4):  # the second half lies before the first in memory, and at 4 not at a multiple of 8 from it
        place = np.zeros(128, np.uint8)
        begins, pieces = (64 + shift, 0), []
        for begin, half in zip(begins, (numbers[:6], numbers[6:]), strict=True):
            place[begin : begin + 48] = half.view(np.uint8)
            buffer = pa.py_buffer(place[begin : begin + 48])
            pieces.append(pa.Array.from_buffers(pa.float64(), 6, [None, buffer]))
        rows = Columns("two pieces", pa.table({"a": pa.chunked_array(pieces)}))
        assert rows[:].flatten().tolist() == numbers.tolist()
        assert rows[torch.tensor([7, 5, 11, 0])].flatten().tolist() == [7, 5, 11, 0]


def test_a_slice_of_rows_counts_out_no_others() -> None:
    class Endless(Rows):
        shape = (10**13, 1)

        def take(self, index: torch.Tensor) -> torch.Tensor:
            return index[:, None]

    rows = Endless()
    assert rows[5:8].flatten().tolist() == [5, 6, 7] and rows[-2:].flatten().tolist() == [10**13 - 2, 10**13 - 1]
    assert len(rows[8:5]) == 0 and len(rows[10**14 :]) == 0


@pytest.mark.usefixtures("everything_mapped")
@pytest.mark.parametrize("write", [npy, npz, safetensors, arrow])
def test_a_row_of_a_mapped_file_that_is_not_finite_is_refused_or_skipped(
    tmp_path: Path, write: Callable[[Path, np.ndarray], Path]
) -> None:
    array = TABLE.copy()
    array[33, 1] = np.nan
    path = write(tmp_path, array)
    with pytest.raises(DataError, match=r"a\.\w+ row 33: NaN"):
        load(path)
    data = load(path, damaged="skip")
    assert isinstance(data.values, Part) and len(data) == 39 and len(data.damage) == 1
    assert np.array_equal(data.values[:].numpy(), np.delete(array, 33, 0))
    assert data.labels is None or data.labels[33] == 34 % 3


@pytest.mark.usefixtures("everything_mapped")
def test_a_compressed_npz_says_that_it_was_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=TABLE)
    assert "unpacked into memory" in load(tmp_path / "a.npz").summary()


@pytest.mark.usefixtures("everything_mapped")
def test_a_torn_member_of_an_npz_is_refused_by_name(tmp_path: Path) -> None:
    path = npz(tmp_path, TABLE)
    good = path.read_bytes()
    path.write_bytes(good.replace(b"(40, 3)", b"(99, 3)"))
    with pytest.raises(DataError, match=r"a\.npz, array 'x' is truncated"):
        load(path)


@pytest.mark.usefixtures("everything_mapped")
def test_arrays_of_objects_in_large_files_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([1, "b"] * 9, dtype=object))
    with pytest.raises(DataError, match="never unpickled"):
        load(tmp_path / "a.npz")


def test_halves_of_another_kind_are_refused_with_the_fix(tmp_path: Path) -> None:
    from safetensors.torch import save_file as save

    save({"x": torch.zeros(3, 2, dtype=torch.bfloat16)}, tmp_path / "a.safetensors")
    with pytest.raises(DataError, match="holds BF16; save it as F32"):
        load(tmp_path / "a.safetensors")


def test_a_part_of_a_part_is_a_part_of_the_whole() -> None:
    whole = torch.arange(20.0)[:, None]
    part = Part(Part(whole, torch.arange(0, 20, 2)), torch.tensor([9, 3, 0]))
    assert part[:].flatten().tolist() == [18, 6, 0] and len(part) == 3 and part.shape == (3, 1)


@pytest.mark.usefixtures("everything_mapped")
def test_chunks_are_the_whole() -> None:
    seen: list[Any] = list(chunks(torch.arange(300).reshape(100, 3)))
    assert len(seen) > 5 and torch.equal(torch.cat(seen), torch.arange(300).reshape(100, 3))


def test_a_data_set_of_rows_is_summarised_like_one_in_memory() -> None:
    rows = Mapped(np.zeros((5, 2)))
    assert Dataset("five", rows).summary() == Dataset("five", rows[:]).summary()


_WITHIN = """
import sys
from pathlib import Path
import torch
from obverse.data import batches, load

def held(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

small, large = sys.argv[1:]
next(batches(load(small).split(0.1, 0)[0], 256, seed=0))
before = held("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
stream = batches(load(large).split(0.1, 0)[0], 256, seed=0)
total = sum(float(next(stream).x.sum()) for _ in range(3000))
print(held("VmHWM") - before, total, "pandas" in sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_was_freed_goes_back_to_the_system() -> None:
    script = """
import torch
from obverse.data.rows import trim

def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

torch.zeros(2**22)  # freed, from where on the C library keeps what is as large
made = [torch.zeros(2**16) for _ in range(800)]
pin = torch.zeros(2**15)  # above all of them, so that the heap cannot shrink
del made
before = held()
trim()
print(before - held())
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(done.stdout) > 100 * 2**20


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's count of pages")
@pytest.mark.parametrize("suffix", ["npy", "arrow", "parquet"])
def test_an_epoch_of_a_large_table_holds_at_most_one_and_a_half_times_its_size(tmp_path: Path, suffix: str) -> None:
    if suffix != "npy":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for name, rows in (("small", 1000), ("large", 600_000)):
        array, path = np.random.default_rng(0).random((rows, 32), dtype=np.float32), tmp_path / f"{name}.{suffix}"
        if suffix == "npy":
            np.save(path, array)
            continue
        table = pa.table({str(place): array[:, place] for place in range(32)})
        if suffix == "parquet":
            parquet.write_table(table, path)
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=2**16)
    words = [sys.executable, "-c", _WITHIN, str(tmp_path / f"small.{suffix}"), str(tmp_path / f"large.{suffix}")]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    more, _, pandas = done.stdout.split()
    assert 0.2 < float(more) / array.nbytes < 1.5
    assert pandas == "False"  # 44 MB that reading has no need of

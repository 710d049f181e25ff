"""Folders that `datasets` wrote: read lazily, where the extra is there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from obverse.data import load, png
from obverse.ground.errors import DataError, MissingExtra

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)


def test_a_folder_of_datasets_says_how_to_get_them(tmp_path: Path) -> None:
    try:
        import datasets  # noqa: F401
    except ImportError:
        (tmp_path / "dataset_info.json").write_text("{}")
        (tmp_path / "state.json").write_text("{}")
        with pytest.raises(MissingExtra, match=r"obverse\[datasets\]"):
            load(tmp_path)


def test_images_and_classes_are_those_that_were_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "kind": datasets.ClassLabel(names=["cat", "ant"]),
            "text": datasets.Value("string"),
        }
    )
    rows = {"picture": [Image.fromarray(p) for p in PIXELS], "kind": [0, 1] * 6, "text": ["a"] * 12}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features)}).save_to_disk(str(tmp_path / "pets"))
    at_once = load(tmp_path / "pets")
    monkeypatch.setattr("obverse.data.images.IN_MEMORY", 0)
    later = load(tmp_path / "pets")
    for data in (at_once, later):
        assert (data.classes, data.kind, data.shape) == (("cat", "ant"), "images", (3, 5, 4))
        assert data.labels is not None and data.labels.tolist() == [0, 1] * 6
        assert np.array_equal(data.values[:].numpy(), PIXELS.transpose(0, 3, 1, 2))


class Saved:
    """What `load_from_disk` returns, as far as it is asked: four rows, of which two have no class."""

    _indices = None

    def __init__(self, values: list[object], kind: object) -> None:
        self.columns = {"x": values, "kind": [1, -1, None, 0]}
        self.features = {"x": kind, "kind": SimpleNamespace(names=["cat", "ant"])}

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(table=pytest.importorskip("pyarrow").table(self.columns))

    def __getitem__(self, key: str | int) -> object:
        return self.columns[key] if isinstance(key, str) else {name: cells[key] for name, cells in self.columns.items()}

    def __len__(self) -> int:
        return 4

    def cast_column(self, *_: object) -> Saved:
        return self


class Picture:
    def __init__(self, decode: bool = True) -> None: ...


@pytest.mark.parametrize("kind", ["vectors", "images"])
def test_a_row_without_a_class_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """-1 is how `datasets` writes that a row has no class."""
    cells = [{"bytes": png(Image.fromarray(pixels)), "path": None} for pixels in PIXELS[:4]]
    saved = Saved(cells, Picture()) if kind == "images" else Saved([0.0, 1.0, 2.0, 3.0], None)
    fake = SimpleNamespace(load_from_disk=lambda _: saved, Image=Picture, ClassLabel=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    (tmp_path / "dataset_dict.json").write_text("{}")
    with pytest.raises(DataError, match="row 1: no class in column 'kind'"):
        load(tmp_path)
    data = load(tmp_path, damaged="skip")
    assert (data.kind, data.classes, len(data), len(data.damage)) == (kind, ("cat", "ant"), 2, 2)
    assert data.labels is not None and data.labels.tolist() == [1, 0]
    if kind == "images":
        assert np.array_equal(data.values[:].numpy(), PIXELS[[0, 3]].transpose(0, 3, 1, 2))


def test_numbers_are_a_table(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"a": [1.0, 2.0, 3.0], "b": [3, 4, 5], "kind": ["x", "y", "x"]}
    datasets.Dataset.from_dict(rows).select([2, 0]).save_to_disk(str(tmp_path / "table"))
    data = load(tmp_path / "table", label="kind")
    assert data.columns == ("a", "b") and data.values[:].tolist() == [[3, 5], [1, 3]] and data.classes == ("x",)
    assert torch.isfinite(data.rows(torch.arange(2)).x).all()
    with pytest.raises(DataError, match="column 'kind' holds 'x'"):
        load(tmp_path / "table")

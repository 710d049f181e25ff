"""Folders that `datasets` wrote: read lazily, where the extra is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from obverse.data import load
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
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features)}).save_to_disk(tmp_path / "pets")
    at_once = load(tmp_path / "pets")
    monkeypatch.setattr("obverse.data.images.IN_MEMORY", 0)
    later = load(tmp_path / "pets")
    for data in (at_once, later):
        assert (data.classes, data.kind, data.shape) == (("cat", "ant"), "images", (3, 5, 4))
        assert data.labels is not None and data.labels.tolist() == [0, 1] * 6
        assert np.array_equal(data.values[:].numpy(), PIXELS.transpose(0, 3, 1, 2))


def test_numbers_are_a_table(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"a": [1.0, 2.0, 3.0], "b": [3, 4, 5], "kind": ["x", "y", "x"]}
    datasets.Dataset.from_dict(rows).select([2, 0]).save_to_disk(tmp_path / "table")
    data = load(tmp_path / "table", label="kind")
    assert data.columns == ("a", "b") and data.values[:].tolist() == [[3, 5], [1, 3]] and data.classes == ("x",)
    assert torch.isfinite(data.rows(torch.arange(2)).x).all()
    with pytest.raises(DataError, match="column 'kind' holds 'x'"):
        load(tmp_path / "table")

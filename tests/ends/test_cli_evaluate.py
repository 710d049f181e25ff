"""`obverse evaluate`: the metrics asked for, on the features that suit the data, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from obverse.cli import main
from obverse.data import Dataset, load
from obverse.data.sources import FASHION_MNIST
from obverse.metrics import fashion
from obverse.recipes import Sampling, Trained
from obverse.recipes.evaluation import look
from obverse.report.subject import Subject
from obverse.report.summary import sentence

FAST = ["--steps", "2", "--batch", "8", "--sample-every", "0", "--quiet"]
DRAW = ["--steps", "2", "--bootstrap", "2", "--count", "24"]
Told = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of two steps, on grey images of 28 x 28 with the classes of Fashion-MNIST, and on points."""
    folder = tmp_path_factory.mktemp("runs")
    random = np.random.default_rng(0)
    garments = np.array(fashion.classes())[np.arange(240) % 10]
    np.savez(folder / "images.npz", x=random.integers(0, 256, (240, 28, 28), dtype=np.uint8), y=garments)
    np.savez(folder / "points.npz", x=random.normal(size=(240, 2)))
    net = ["--net", "mlp:width=8,depth=1"]
    for name in ("images", "points"):
        argv = ["train", str(folder / f"{name}.npz"), "--out", str(folder / name), "--holdout", "0.2", *net, *FAST]
        assert main(argv) == 0
    return {name: folder / name for name in ("images", "points")}


def test_grey_images_of_28_by_28_are_measured_on_features_and_that_is_said(
    runs: dict[str, Path], told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(["evaluate", str(runs["images"]), "--metrics", "frechet", "kid", "recall:k=2", *DRAW])
    assert [one["name"] for one in said["measured"]] == ["F-FD", "F-KD", "F-recall:k=2"]
    assert [one["better"] for one in said["measured"]] == ["lower", "lower", "higher"]
    assert said["features"] == "fashion"
    capsys.readouterr()
    assert main(["evaluate", str(runs["images"]), "--metrics", "frechet", *DRAW, "--quiet"]) == 0
    words = capsys.readouterr().out
    assert "small network trained on Fashion-MNIST" in words and "F-FD" in words and "FID" not in words


def test_other_data_and_features_asked_for_are_measured_as_they_are(runs: dict[str, Path], told: Told) -> None:
    said = told(["evaluate", str(runs["points"]), "--metrics", "w2", "density", *DRAW])
    assert [one["name"] for one in said["measured"]] == ["w2", "density"] and said["features"] == "raw"
    said = told(["evaluate", str(runs["images"]), "--features", "raw", "--metrics", "frechet", *DRAW])
    assert [one["name"] for one in said["measured"]] == ["frechet"] and said["features"] == "raw"
    assert said["memorisation"]["low"] <= said["memorisation"]["value"] == said["novelty"]


def test_the_classes_of_fashion_mnist_are_read_by_its_network(runs: dict[str, Path], told: Told) -> None:
    said = told(["evaluate", str(runs["images"]), "--metrics", "energy", *DRAW])
    assert 0 <= said["garments"] <= 1 and 0 <= said["garments_of_real"] < 0.5  # noise is no garment
    assert told(["evaluate", str(runs["points"]), "--metrics", "energy", *DRAW])["garments"] is None


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_garments_are_found_by_their_names_whatever_their_numbers(tmp_path: Path, told: Told) -> None:
    data = load(FASHION_MNIST / "t10k-images-idx3-ubyte.gz").rows(torch.arange(1000))
    assert data.label is not None
    kept = data.label > 4
    images = (127.5 * (data.x[kept, 0] + 1)).round().byte().numpy()
    names = np.array(fashion.classes())[data.label[kept].numpy()]  # numbered anew, in the order of the alphabet
    np.savez(tmp_path / "some.npz", x=images, y=names)
    argv = ["train", str(tmp_path / "some.npz"), "--out", str(tmp_path / "run"), "--holdout", "0.4"]
    assert main([*argv, "--net", "mlp:width=8,depth=1", *FAST]) == 0
    said = told(["evaluate", str(tmp_path / "run"), "--metrics", "energy", *DRAW])
    assert said["garments_of_real"] > 0.8 > 0.4 > said["garments"]  # held-out garments, and what two steps have learnt


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--metrics", "freche"], "frechet"),
        (["--metrics", "recall:k=x"], "whole number"),
        (["--features", "fashions"], "fashion"),
        (["--features", "fashion"], "(n 1 28 28)"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    wrong: list[str], words: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(runs["points"]), *wrong, *DRAW, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_a_set_too_large_to_hold_is_looked_at_in_part_and_that_is_said(
    runs: dict[str, Path],
    tmp_path: Path,
    told: Told,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    rows = Dataset.rows
    monkeypatch.setattr(Dataset, "rows", lambda self, index, **k: (asked.append(len(index)), rows(self, index, **k))[1])
    assert told(["evaluate", str(runs["points"]), *DRAW])["looked"] == [192, 192]
    monkeypatch.setattr("obverse.recipes.evaluation._HELD", 2 * 100)
    asked.clear()
    assert told(["evaluate", str(runs["points"]), *DRAW])["looked"] == [100, 192]
    assert asked == [100, 48]
    assert main(["evaluate", str(runs["points"]), *DRAW, "--quiet"]) == 0
    assert "100 of 192 training samples were looked at, evenly spread" in capsys.readouterr().out
    assert main(["report", str(runs["points"]), "--out", str(tmp_path / "page.html"), "--steps", "2", "--quiet"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "192 vectors of 2" in page and "48 others were held out" in page and "Here 192 of them" not in page
    said = sentence(Subject(Trained.open(runs["points"]), Sampling(), count=50))
    assert "192 vectors of 2" in said and "Here 100 of them, evenly spread, stand for all." in said


@pytest.mark.parametrize(("count", "held", "want"), [(3, 1, 3), (3, 28, 7), (3, 10**9, 100), (500, 1, 100)])
def test_what_is_looked_at_spreads_over_the_whole_set(
    count: int, held: int, want: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("obverse.recipes.evaluation._HELD", held)
    x = look(Dataset("hundred", torch.arange(400.0).reshape(100, 4)), count).x[:, 0] / 4
    assert len(x) == want and x[0] == 0 and x[-1] == 99
    assert x.diff().max() - x.diff().min() <= 1

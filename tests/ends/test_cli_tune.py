"""Tuning and advice as people use them: on a run, on the command line, with typing errors."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from obverse.cli import main
from obverse.sampler import Tableau

Told = Callable[..., dict[str, Any]]
FEW = ["--noises", "18", "--methods", "2", "--iterations", "3", "--quiet"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two classes of points in the plane, and a table fitted to it."""
    place = tmp_path_factory.mktemp("tune")
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    np.savez(place / "points.npz", x=x, label=np.arange(64) % 2)
    small = ["--net", "mlp:width=16,depth=1", "--steps", "3", "--batch", "8", "--sample-every", "0", "--quiet"]
    folder = place / "run"
    assert main(["train", str(place / "points.npz"), "--label", "label", "--out", str(folder), *small]) == 0
    assert main(["tune", str(folder), "--steps", "4", *FEW]) == 0
    return folder


def test_a_fitted_table_lies_in_the_run_with_its_picture(run: Path) -> None:
    table = run / "tableaux" / "4.json"
    assert Tableau.load(table).calls == 4
    found = json.loads(table.read_text())["tuned"]
    assert found["errors"]["rms"] <= found["start"]["curve"][0]["rms"]
    assert found["guidance"] == 1
    assert ElementTree.parse(table.with_suffix(".svg")).getroot().tag.endswith("svg")


def test_samples_are_drawn_with_a_fitted_table(run: Path, tmp_path: Path, told: Told) -> None:
    how = ["sample", str(run), "--tableau", str(run / "tableaux" / "4.json"), "-n", "5", "--quiet"]
    assert told([*how, "--out", str(tmp_path / "a")])["calls"] == 4
    assert main(["sample", str(run), "--steps", "4", "-n", "5", "--quiet", "--out", str(tmp_path / "b")]) == 0
    one, two = (np.load(tmp_path / f"{name}.npz")["x"] for name in "ab")
    assert one.shape == two.shape == (5, 2)
    assert not np.allclose(one, two)


def test_a_table_is_fitted_to_the_guided_model_on_another_schedule(run: Path) -> None:
    how = ["--guidance", "2", "--schedule", "cosine"]
    assert main(["tune", str(run), "--steps", "3", *how, *FEW]) == 0
    file = run / "tableaux" / "3-guidance-2-cosine.json"
    assert file.exists()
    assert main(["sample", str(run), "-n", "3", "--tableau", str(file), *how, "--quiet"]) == 0


def test_a_table_for_another_schedule_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(run / "tableaux" / "4.json")
    assert main(["sample", str(run), "-n", "3", "--tableau", file, "--schedule", "vp", "--quiet"]) == 2
    assert "another schedule" in capsys.readouterr().err


def test_advice_ranks_methods_and_fitted_tables(run: Path, told: Told) -> None:
    found = told(["advise", str(run), "--calls", "2", "5", "--noises", "16", "--quiet"])
    assert [one["calls"] for one in found["front"]] == sorted(one["calls"] for one in found["front"])
    assert str(run / "tableaux" / "4.json") in found["tuned"]
    assert json.loads((run / "advice.json").read_text())["tried"] == found["tried"]
    assert ElementTree.parse(run / "advice.svg").getroot().tag.endswith("svg")


def test_the_advice_can_be_followed_word_by_word(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["advise", str(run), "--calls", "5", "--noises", "8", "--quiet"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "--solver" in line)
    how = line[line.index("--solver") :].split()
    assert main(["sample", str(run), "-n", "2", *how, "--quiet"]) == 0


def test_the_advice_for_a_guided_model_on_another_schedule_asks_for_both(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["--guidance", "2", "--schedule", "cosine"]
    assert main(["advise", str(run), "--calls", "4", "--noises", "8", *how, "--quiet"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "--solver" in line or "--tableau" in line]
    assert lines and all(line.endswith("--guidance 2 --schedule cosine") for line in lines)


def test_a_dry_run_writes_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(run.rglob("*"))
    assert main(["tune", str(run), "--steps", "7", "--dry-run"]) == 0
    assert "7 network calls" in capsys.readouterr().out
    assert main(["advise", str(run), "--dry-run"]) == 0
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["tune", "RUN", "--steps", "0"], "--steps >= 1"),
        (["tune", "RUN", "--noises", "3"], "--noises >= 12"),
        (["tune", "RUN", "--iterations", "-1"], "iterations"),
        (["tune", "RUN", "--methods", "0"], "starts >= 1"),
        (["tune", "RUN", "--schedule", "nothing"], "nothing"),
        (["tune", "nowhere"], "nowhere"),
        (["advise", "RUN", "--calls", "0"], "budgets"),
        (["advise", "RUN", "--noises", "1"], "--noises >= 2"),
        (["sample", "RUN", "--tableau", "none.json"], "No tableau at none.json"),
        (["sample", "RUN", "--tableau", "RUN/config.json"], "no tableau"),
        (["sample", "RUN", "--tableau", "RUN/tableaux/4.json", "--solver", "ddim"], "leave solver out"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    run: Path, asked: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.replace("RUN", str(run)) for word in asked]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["tune", "advise"])
def test_help_says_what_is_written_and_where(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert "Writes RUN/" in text
    assert "guidance" in text

"""The demo, whole: what the README promises of it."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from obverse.cli import main
from obverse.recipes import Recipe


@pytest.mark.slow
def test_the_demo_makes_digits_that_pass_every_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(2)  # what a machine of two cores gives it
    assert main(["demo"]) == 0  # which says how long it took; beside other tests that is no measure
    page = Path("report.html").read_text()
    numbers = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S)[1])
    assert len(numbers["marks"]) == 4
    assert all(mark["passed"] for mark in numbers["marks"]), numbers["marks"]
    assert numbers["distances"]["accuracy"] >= 0.98
    assert numbers["distances"]["novelty"] >= 0.9
    (frechet,) = (m for m in numbers["distances"]["measured"] if m["name"] == "frechet")
    assert frechet["sizes"] == [898, 898] and frechet["ratio"] <= 1.5
    with Image.open("runs/demo/samples/flip.gif") as book:
        assert book.n_frames == 8
        pages = []
        for number in range(8):
            book.seek(number)
            pages.append(np.asarray(book.convert("L"), float))
    apart = [np.abs(one - other).mean() for one, other in pairwise(pages)]
    assert max(apart) > 4 * apart[-1] > 0  # the picture comes to rest


@pytest.mark.parametrize("words", [[], ["--steps", "200"]])
def test_the_flip_book_of_the_demo_has_eight_pages_however_long_it_is(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--dry-run", "--json", *words]) == 0
    training = Recipe.from_json(json.loads(capsys.readouterr().out)["recipe"]).training
    assert sum(map(training.draws_at, range(training.steps + 1))) == 8

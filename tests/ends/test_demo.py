"""The demo, whole: what the README promises of it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import torch

from obverse.cli import main


@pytest.mark.slow
def test_the_demo_makes_digits_that_pass_every_mark_in_three_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(2)  # what a machine of two cores gives it
    begun = time.monotonic()
    assert main(["demo"]) == 0
    seconds = time.monotonic() - begun
    page = Path("report.html").read_text()
    numbers = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S)[1])
    assert len(numbers["marks"]) == 4
    assert all(mark["passed"] for mark in numbers["marks"]), numbers["marks"]
    assert numbers["distances"]["accuracy"] >= 0.98
    assert numbers["distances"]["novelty"] >= 0.9
    (frechet,) = (m for m in numbers["distances"]["measured"] if m["name"] == "frechet")
    assert frechet["sizes"] == [898, 898] and frechet["ratio"] <= 1.5
    assert seconds <= 180

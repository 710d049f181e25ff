"""kill -9 at random moments of `obverse train`: what is resumed ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from obverse.cli import main

KILLS = 20
TRAIN = ["--net", "unet:width=8", "--steps", "400", "--batch", "16", "--save-every", "25", "--sample-every", "100"]


def digests(run: Path) -> dict[str, str]:
    """Every file that is a function of the recipe: the last checkpoint's tensors, the metrics, the sample grids."""
    files = [run / "metrics.jsonl", *sorted(run.glob("samples/*.png"))]
    files += sorted((run / "checkpoints").glob("*400/*.safetensors"))
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_every_resume_after_kill_9_ends_in_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "digits", "--out", "whole", *TRAIN, "--quiet"]) == 0
    chance, kills = random.Random(0), 0
    command = [sys.executable, "-m", "obverse", "train", "digits", "--out", "broken", *TRAIN, "--quiet", "--resume"]
    while kills < KILLS:
        process = subprocess.Popen(command)
        before = len(list(Path("broken/checkpoints").glob("step-*")))
        time.sleep(chance.uniform(2.0, 6.0))
        if process.poll() is not None:  # it got to the end: begin again, there are kills left
            assert process.returncode == 0
            assert digests(Path("broken")) == digests(Path("whole"))
            subprocess.run(["rm", "-rf", "broken"], check=True)
            continue
        process.kill()
        process.wait()
        kills += 1
        assert len(list(Path("broken/checkpoints").glob("step-*"))) >= min(before, 1)  # none was lost
    assert subprocess.run(command, check=False).returncode == 0
    assert digests(Path("broken")) == digests(Path("whole"))
    assert main(["sample", "broken", "-n", "20", "--out", "one", "--quiet"]) == 0
    assert main(["sample", "whole", "-n", "20", "--out", "two", "--quiet"]) == 0
    assert Path("one.png").read_bytes() == Path("two.png").read_bytes()

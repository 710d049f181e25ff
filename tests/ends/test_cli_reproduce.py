"""A run is made again from its folder alone; what differs is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from obverse.cli import main
from obverse.train.session import SESSIONS

pytestmark = pytest.mark.usefixtures("elsewhere")
SMALL = ["--net", "unet:width=8", "--steps", "6", "--batch", "8", "--sample-every", "2", "--save-every", "3", "--quiet"]
LINES = ["--log-every", "1", "--threads", "1"]
Told = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was broken off and went on."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "digits", "--out", str(out), *SMALL, *LINES, "--until", "4"]) == 0
    assert sorted(path.name[-1] for path in (out / "checkpoints").iterdir()) == ["3", "4"]
    assert main(["train", "--resume", "--out", str(out), "--quiet", "--threads", "1"]) == 0
    return out


@pytest.fixture
def run(trained: Path) -> Path:
    return Path(shutil.copytree(trained, "run"))


def test_a_run_is_reproduced_to_the_last_byte(run: Path, told: Told) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found = told(["reproduce", "run"])
    assert found["same"] and found["elsewhere"] == []
    assert {"metrics.jsonl", "samples/step-00000004.png", "samples/step-00000006.png"} <= found["parts"].keys()
    assert {"step-00000006/net.safetensors", "step-00000006/ema.safetensors"} <= found["parts"].keys()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert not set(map(str, Path().iterdir())) - {"run"}


def test_metrics_that_are_gone_are_not_the_same(run: Path, told: Told) -> None:
    (run / "metrics.jsonl").write_bytes(b"")
    assert told(["reproduce", "run"], 1)["parts"]["metrics.jsonl"]


def test_an_earlier_step_is_reproduced_without_its_checkpoint(run: Path, told: Told) -> None:
    found = told(["reproduce", str(run), "--step", "3", "--out", "again"])
    assert set(found["parts"]) == {"metrics.jsonl", "samples/step-00000002.png"}
    assert json.loads(Path("again/config.json").read_text()) == json.loads(Path("run/config.json").read_text())


def test_samples_are_drawn_again_from_a_checkpoint(run: Path, told: Told) -> None:
    for step in ("4", "6"):
        found = told(["reproduce", str(run), "--samples-only", "--step", step])
        assert found["parts"] == {f"samples/step-0000000{step}.png": ""}
    shutil.copy("run/samples/step-00000002.png", "run/samples/step-00000006.png")
    assert not told(["reproduce", "run", "--samples-only"], 1)["same"]


def test_what_is_not_what_the_recipe_makes_is_named(run: Path, told: Told) -> None:
    other = [word if word != "8" else "16" for word in SMALL]
    assert main(["train", "digits", "--out", "other", *other, *LINES]) == 0
    for name in ("samples/step-00000002.png", "metrics.jsonl"):
        shutil.copy(Path("other") / name, run / name)
    shutil.rmtree(run / "checkpoints/step-00000006")
    shutil.copytree("other/checkpoints/step-00000006", run / "checkpoints/step-00000006")
    found = told(["reproduce", "run"], 1)
    apart = {name for name, words in found["parts"].items() if words}
    assert {"metrics.jsonl", "samples/step-00000002.png", "step-00000006/net.safetensors"} <= apart
    assert found["parts"]["samples/step-00000004.png"] == ""
    assert found["parts"]["metrics.jsonl"] == "from step 1 on"
    assert "by up to" in found["parts"]["step-00000006/net.safetensors"]


def test_what_has_changed_since_is_said(run: Path, told: Told) -> None:
    lines = [json.loads(line) for line in (run / SESSIONS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 4]
    for line in lines:
        line |= {"torch": "2.0.0", "data": "0" * 64}
    lines[0]["threads"] = 64
    (run / SESSIONS).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    said = " ".join(told(["reproduce", "run"])["elsewhere"])
    assert "CPU threads 64 -> 1 when it went on from step 4" in said
    assert "version of torch 2.0.0 ->" in said and "the data has changed" in said


def test_data_is_found_whatever_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    np.savez("points.npz", x=np.random.default_rng(0).normal(size=(60, 2)))
    each = ["--net", "mlp:width=16,depth=1", "--steps", "3", "--batch", "8", "--sample-every", "0", "--quiet"]
    assert main(["train", "points.npz", "--out", "run", *each]) == 0
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert told(["reproduce", "../run"])["same"]
    np.savez("../points.npz", x=np.random.default_rng(1).normal(size=(60, 2)))
    assert "the data has changed since" in told(["reproduce", "../run"], 1)["elsewhere"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere"], "nowhere"),
        (["run", "--step", "9"], "1 ... 6"),
        (["run", "--step", "0"], "1 ... 6"),
        (["run", "--samples-only", "--step", "2"], "kept: 4, 6"),
        (["run", "--samples-only", "--step", "5"], "kept:"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    argv: list[str], words: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.exists()
    assert main(["reproduce", *argv]) == 2
    errors = capsys.readouterr().err
    assert words in errors and len(errors.strip().splitlines()) <= 3


def test_going_on_with_other_threads_is_said_before_it_is_done(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = json.loads((run / SESSIONS).read_text().splitlines()[-1]) | {"threads": 64}
    (run / SESSIONS).write_text(f"{json.dumps(line)}\n")
    shutil.rmtree(run / "checkpoints/step-00000006")
    assert main(["train", "--resume", "--out", "run", "--quiet", "--threads", "1"]) == 0
    said = capsys.readouterr().err
    assert "threads 64 -> 1" in said and "--threads 64" in said and "rounding" in said


def test_two_trainings_do_not_share_a_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from obverse.train.lock import alone

    shutil.rmtree(run / "checkpoints/step-00000006")
    again = ["train", "--resume", "--out", "run", "--quiet", "--threads", "1"]
    with alone(run):
        assert main(again) == 2
    errors = capsys.readouterr().err
    assert f"process {os.getpid()} on" in errors and len(errors.strip().splitlines()) <= 3
    holder = "import os, sys; from pathlib import Path; from obverse.train.lock import alone\n"
    holder += "held = alone(Path('run')); held.__enter__(); print(os.getpid(), flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        assert main(again) == 2
        assert f"process {pid} on" in capsys.readouterr().err
        process.kill()
    assert main(again) == 0  # a killed process holds nothing
    assert not (run / ".training").exists()


def test_the_best_checkpoint_stays_beside_the_newest(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "digits", "--out", "run", *SMALL, *LINES, "--lr", "0.02", "--save-every", "1", "--steps", "12"]
    assert main([*argv, "--holdout", "0", "--keep-best", "1"]) == 2
    assert "holdout" in capsys.readouterr().err
    assert main([*argv, "--keep-best", "2", "--until", "9"]) == 0
    assert main(["train", "--resume", "--out", "run", "--quiet", "--until", "9"]) == 2
    assert "beyond 9" in capsys.readouterr().err
    assert main(["train", "--resume", "--out", "run", "--quiet"]) == 0  # keeps as many
    from obverse.train import checkpoint

    folder = Path("run/checkpoints")
    scores = {path: checkpoint.load(path).about["score"] for path in folder.iterdir()}
    assert 2 <= len(scores) <= 4 and len(set(scores.values())) == len(scores)
    assert checkpoint.best(folder) == min(scores, key=lambda path: scores[path])

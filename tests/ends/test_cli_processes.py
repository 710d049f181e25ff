"""`obverse train --processes 2`: the training of one process, shared."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch

from obverse.cli import main
from obverse.train.session import read

pytestmark = pytest.mark.usefixtures("elsewhere")
SMALL = ["--net", "unet:width=8", "--steps", "6", "--batch", "8", "--accumulate", "2", "--sample-every", "3", "--quiet"]
EACH = ["--save-every", "3", "--log-every", "1", "--threads", "1"]
OURS = [sys.executable, "-m", "obverse", "train", "digits", "--processes", "2"]
TORCHS = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "obverse"]


def launched(command: list[str], code: int = 0) -> str:
    """What it says on the side of errors."""
    found = subprocess.run(command, timeout=300, check=False, capture_output=True, text=True)
    assert found.returncode == code, found.stderr
    return found.stderr


def digests(run: str) -> dict[str, str]:
    """Every file that is a function of the recipe and the processes."""
    files = [Path(run, "metrics.jsonl"), *Path(run).glob("samples/*.png"), *Path(run).glob("checkpoints/*6/*.safe*")]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def apart(one: str, two: str) -> float:
    nets = [safetensors.torch.load_file(Path(run, "checkpoints/step-00000006/net.safetensors")) for run in (one, two)]
    return max(float((nets[0][name] - nets[1][name]).abs().max()) for name in nets[0])


def test_two_processes_train_as_one_does_and_choose_one_folder() -> None:
    launched([*OURS, *SMALL, *EACH])
    assert [path.name for path in Path("runs").iterdir()] == ["digits"]
    (session,) = read(Path("runs/digits"))
    assert (session["processes"], session["threads"]) == (2, 1)
    assert main(["train", "digits", "--out", "one", *SMALL, *EACH]) == 0
    assert apart("one", "runs/digits") <= 1e-6


@pytest.mark.slow
def test_processes_resume_to_the_last_bit_reproduce_and_equal_torchruns() -> None:
    launched([*OURS, *SMALL, *EACH, "--out", "whole"])
    launched([*OURS, *SMALL, *EACH, "--out", "parts", "--until", "4"])
    launched([*OURS, "--resume", "--out", "parts", *SMALL, *EACH])
    launched([*TORCHS, "train", "digits", *SMALL, *EACH, "--out", "torchs"])
    assert len(digests("whole")) >= 7
    assert digests("whole") == digests("torchs") == digests("parts")
    assert main(["reproduce", "parts"]) == 0


@pytest.mark.slow
@pytest.mark.needs("torch.cpu:Stream.record_event")
def test_a_net_in_shards_resumes_to_the_last_bit_reproduces_and_goes_on_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launched([*OURS, "--shard", *SMALL, *EACH, "--out", "whole"])
    launched([*OURS, "--shard", *SMALL, *EACH, "--out", "parts", "--until", "4"])
    said = launched([*OURS, "--shard", "--resume", "--out", "parts", *SMALL, *EACH])
    assert len(digests("whole")) >= 7
    assert digests("whole") == digests("parts") and "Going on" not in said
    assert main(["reproduce", "parts"]) == 0
    launched([*OURS, "--shard", *SMALL, *EACH, "--out", "apart", "--until", "3"])
    assert main(["train", "digits", "--resume", "--out", "apart", *SMALL, *EACH]) == 0
    assert main(["train", "digits", "--out", "one", *SMALL, *EACH]) == 0
    assert max(apart("one", "apart"), apart("one", "whole")) <= 1e-6
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # as `accelerate launch --use_fsdp` does
    monkeypatch.setenv("FSDP_VERSION", "2")
    launched([*TORCHS, "train", "digits", *SMALL, *EACH, "--out", "accelerates"])
    assert digests("accelerates") == digests("whole")


def test_one_process_cannot_share_its_net_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--shard"]) == 2
    assert "--processes 2" in capsys.readouterr().err


@pytest.mark.slow
def test_going_on_with_another_number_of_processes_agrees_to_rounding() -> None:
    assert main(["train", "digits", "--out", "one", *SMALL, *EACH]) == 0
    assert main(["train", "digits", "--out", "more", *SMALL, *EACH, "--until", "3"]) == 0
    said = launched([*OURS, "--resume", "--out", "more", *SMALL, *EACH])
    assert said.count("processes 1 -> 2") == 1
    launched([*OURS, "--out", "fewer", *SMALL, *EACH, "--until", "3"])
    assert main(["train", "digits", "--resume", "--out", "fewer", *SMALL, *EACH]) == 0
    assert max(apart("one", "more"), apart("one", "fewer")) <= 1e-6


@pytest.mark.slow
def test_what_is_refused_is_refused_by_all_without_a_traceback() -> None:
    for words, said in ((["--batch", "7", "--accumulate", "1"], "multiple"), (["--accumulate", "8"], "accumulate")):
        errors = launched([*OURS, *SMALL, *words, "--out", "run"], 2)
        assert said in errors and "Traceback" not in errors
        assert not Path("run").exists()  # so that a second try need not begin by clearing up
    Path("thesis").mkdir()
    Path("thesis/chapter").touch()
    errors = launched([*OURS, *SMALL, "--out", "thesis"], 2)  # found by the first, who alone looks
    assert "not empty" in errors and "Traceback" not in errors
    errors = launched([*TORCHS, "train", "digits", "--processes", "3", *SMALL], 1)
    assert "--processes 3 in one of 2 processes" in errors


def test_a_dry_run_starts_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--processes", "2", "--dry-run"]) == 0
    assert "would train" in capsys.readouterr().out
    assert main(["train", "digits", "--processes", "0"]) == 2
    assert "processes" in capsys.readouterr().err

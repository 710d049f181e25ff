"""Every signal, at every kind of moment: the exit code is 128 + n, and what is resumed ends as if nothing happened."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from obverse.train import Run

SHARDS = pytest.mark.needs("torch.cpu:Stream.record_event")

# One process imports everything once; each line it reads is the moment, the signal and the words of a verb.
SCRIPT = """
import os, sys, time, warnings
import accelerate, safetensors.torch, sklearn.datasets, torch, torch._dynamo
import obverse.cli, obverse.cli.pictures, obverse.cli.train, obverse.recipes.fitting
import obverse.train.loop, obverse.train.state
import PIL.Image

torch.set_num_threads(1)
obverse.data.load("digits")

def strike(place, name, signum, nth=1, times=1):
    real, calls = getattr(place, name), [0]
    def instead(*args, **kwargs):
        calls[0] += 1
        if calls[0] == nth:
            with open("struck", "w") as file:
                file.write(str(time.monotonic()))
            for _ in range(times):
                os.kill(os.getpid(), signum)
        return real(*args, **kwargs)
    setattr(place, name, instead)

PLACES = {
    "reading": lambda n: strike(obverse.recipes.build, "load", n),
    "first step": lambda n: strike(obverse.train.state.State, "advance", n),
    "between parts": lambda n: strike(obverse.objective.Objective, "on", n, nth=4),
    "picture": lambda n: strike(obverse.cli.pictures, "picture", n),
    "last picture": lambda n: strike(obverse.cli.pictures, "picture", n, nth=3),
    "saving": lambda n: strike(os, "fsync", n, nth=9),
    "saving, twice": lambda n: strike(os, "fsync", n, nth=9, times=2),
    "nowhere": lambda n: None,
}

for line in sys.stdin:
    moment, signum, *argv = line.strip().split("\\t")
    child = os.fork()
    if child == 0:
        PLACES[moment](int(signum))
        try:
            code = obverse.cli.main(argv)
        except SystemExit as stop:
            code = stop.code
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
TRAIN = ["--net", "unet:width=8", "--steps", "6", "--batch", "8", "--accumulate", "2", "--log-every", "1", "--quiet"]
EACH = ["--save-every", "2", "--sample-every", "2"]
Verb = Callable[..., int]


@pytest.fixture(scope="module")
def verb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verb]:
    """Runs a verb in a process that is sent a signal at some moment; its exit code."""
    place = tmp_path_factory.mktemp("signals")
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdin=-1, stdout=-1, text=True, cwd=place) as process:
        assert process.stdin and process.stdout
        orders, answers = process.stdin, process.stdout

        def run(*argv: str, moment: str = "nowhere", signum: int = 0) -> int:
            (place / "struck").unlink(missing_ok=True)
            orders.write("\t".join([moment, str(int(signum)), *argv]) + "\n")
            orders.flush()
            while not (line := answers.readline()).strip().lstrip("-").isdecimal():
                assert line, "the process of all processes has ended"  # the rest is what verbs say
            if moment != "nowhere":
                assert time.monotonic() - float((place / "struck").read_text()) < 10
            return int(line)

        yield run
        orders.close()


@pytest.fixture(scope="module")
def whole(verb: Verb, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert verb("train", "digits", "--out", str(out), *TRAIN, *EACH) == 0
    return digests(out)


def digests(run: Path) -> dict[str, str]:
    """Every file that is a function of the recipe."""
    files = [run / "metrics.jsonl", *run.glob("samples/*.png"), *run.glob("checkpoints/*6/*.safetensors")]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


slow = pytest.mark.slow
MOMENTS = ["reading", "first step", "between parts", "picture", "last picture", "saving", "saving, twice"]
CASES = [
    pytest.param(name, moment, marks=() if name == "SIGTERM" or moment in ("first step", "saving, twice") else slow)
    for name in ("SIGTERM", "SIGINT", "SIGHUP")
    for moment in MOMENTS
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("name", "moment"), CASES)
def test_a_signal_ends_in_its_exit_code_and_costs_no_bit(
    name: str, moment: str, verb: Verb, whole: dict[str, str], tmp_path: Path
) -> None:
    out, signum = tmp_path / "run", getattr(signal, name)
    code = verb("train", "digits", "--out", str(out), *TRAIN, *EACH, moment=moment, signum=signum)
    assert code == (0 if moment == "last picture" else 128 + signum)  # nothing was left to stop
    if moment == "reading":
        assert not out.exists()
    elif moment == "saving, twice":
        assert not list(out.rglob(".writing-*"))
    else:
        assert Run.open(out).newest() is not None
        if moment == "picture":  # saving comes first; going on draws it
            assert not list(out.rglob("*.png"))
    assert verb("train", "digits", "--resume", "--out", str(out), *TRAIN, *EACH) == 0
    assert digests(out) == whole


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended may wait for a parent to ask how."""
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] not in "ZX"


def wait_for(there: Callable[[], bool]) -> None:
    for _ in range(1200):
        if there():
            return
        time.sleep(0.1)
    pytest.fail("waited for two minutes")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc here")
@pytest.mark.parametrize(
    ("who", "name", "code", "shards"),
    [
        ("launcher", "SIGTERM", 143, False),
        ("launcher", "SIGINT", 130, False),
        ("launcher", "SIGHUP", 129, False),
        ("launcher", "SIGKILL", -9, False),
        ("second", "SIGTERM", 143, False),
        ("first", "SIGINT", 130, False),
        ("second", "SIGKILL", 137, False),
        ("first", "SIGKILL", 137, False),
        pytest.param("launcher", "SIGTERM", 143, True, marks=SHARDS),
        pytest.param("second", "SIGTERM", 143, True, marks=SHARDS),
        pytest.param("second", "SIGKILL", 137, True, marks=SHARDS),
    ],
)
def test_a_signal_to_one_of_two_processes_ends_both_and_costs_no_bit(
    who: str, name: str, code: int, shards: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["digits", "--net", "unet:width=8", "--batch", "8", "--steps", "30", "--save-every", "5", "--quiet"]
    argv += ["--sample-every", "10", "--log-every", "1", "--processes", "2", *["--shard"][: int(shards)]]
    command = [sys.executable, "-m", "obverse", "train", *argv]
    subprocess.run([*command, "--out", "whole"], check=True, timeout=300)
    process = subprocess.Popen([*command, "--out", "run"], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(Path("run/checkpoints").glob("step-*")))
    main = Run.open(Path("run"))
    from obverse.train.session import read

    first = read(main.folder)[-1]["pid"]
    (second,) = [pid for pid in children(process.pid) if pid != first]
    begun = time.monotonic()
    os.kill({"launcher": process.pid, "first": first, "second": second}[who], getattr(signal, name))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    if name != "SIGKILL" or who == "launcher":
        assert time.monotonic() - begun < 10
        assert errors.count("resume") == 2 and "Traceback" not in errors  # said once, with the command
    assert not any(alive(pid) for pid in (first, second))
    subprocess.run([*command, "--out", "run", "--resume"], check=True, timeout=300)
    names = [path.relative_to("whole") for path in sorted(Path("whole").rglob("*.png"))]
    names += [path.relative_to("whole") for path in Path("whole/checkpoints/step-00000030").glob("*.safetensors")]
    assert len(names) >= 7
    for path in (Path("metrics.jsonl"), *names):
        assert (Path("whole") / path).read_bytes() == (Path("run") / path).read_bytes()

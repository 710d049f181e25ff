"""The command line as people use it: on their files, on bad files, with typing errors."""

from __future__ import annotations

import csv
import gzip
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from obverse.cli import VERBS, main
from obverse.ground.families import Family

pytestmark = pytest.mark.usefixtures("elsewhere")
FAST = ["--steps", "3", "--batch", "8", "--sample-every", "0", "--quiet"]
SMALL_UNET, SMALL_MLP = ["--net", "unet:width=8"], ["--net", "mlp:width=16,depth=1"]
Told = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A digits run of a few steps, shared by the verbs that only read."""
    run = tmp_path_factory.mktemp("digits") / "run"
    assert main(["train", "digits", "--out", str(run), *SMALL_UNET, *FAST]) == 0
    return run


def shapes(out: str) -> tuple[int, ...]:
    with np.load(out) as arrays:
        return tuple(arrays["x"].shape)


def grey(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (12, 12), dtype=np.uint8)).save(path)


def test_an_image_folder_with_classes_is_trained_on_and_sampled() -> None:
    for kind in ("cat", "dog"):
        for i in range(8):
            grey(Path(f"pets/{kind}/{i}.png"), i)
    assert main(["train", "pets", "--out", "run", *SMALL_UNET, *FAST]) == 0
    assert main(["sample", "run", "-n", "5", "--class", "dog", "--steps", "2", "--out", "drawn"]) == 0
    assert shapes("drawn.npz") == (5, 1, 12, 12)
    with np.load("drawn.npz") as arrays:
        assert set(arrays["label"]) == {1}
    assert Image.open("drawn.gif").n_frames >= 2
    assert Image.open("drawn.png").width > 12


def test_idx_files_are_trained_on() -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 10, 10), dtype=np.uint8)
    Path("train-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(struct.pack(">IIII", 2051, 40, 10, 10) + images.tobytes())
    )
    labels = (np.arange(40) % 4).astype(np.uint8)
    Path("train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(struct.pack(">II", 2049, 40) + labels.tobytes()))
    assert main(["train", "train-images-idx3-ubyte.gz", "--out", "run", *SMALL_UNET, *FAST]) == 0
    config = json.loads(Path("run/config.json").read_text())
    assert config["data"]["shape"] == [1, 10, 10] and len(config["data"]["classes"]) == 4


def test_vectors_in_an_npz_are_trained_on_and_come_back_in_their_units() -> None:
    np.savez("points.npz", x=np.random.default_rng(0).normal(500.0, 3.0, (60, 2)))
    assert main(["train", "points.npz", "--out", "run", *SMALL_MLP, *FAST]) == 0
    assert main(["sample", "run", "-n", "30", "--steps", "3", "--out", "drawn"]) == 0
    with np.load("drawn.npz") as arrays:
        assert abs(arrays["x"].mean() - 500.0) < 20.0


def test_data_of_a_shape_that_has_no_picture_is_trained_on_and_sampled(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("fields.npz", x=np.random.default_rng(0).normal(size=(40, 2, 6, 6)))
    each = ["--steps", "2", "--batch", "8", "--sample-every", "1"]
    assert main(["train", "fields.npz", "--out", "run", *SMALL_UNET, *each]) == 0
    assert "no picture of step 1" in capsys.readouterr().out
    assert main(["sample", "run", "-n", "3", "--steps", "2", "--out", "drawn"]) == 0
    assert shapes("drawn.npz") == (3, 2, 6, 6)


def test_a_table_is_trained_on_and_sampled_as_a_table() -> None:
    rows = "\n".join(f"{i * 0.1},{1000 + i},5" for i in range(50))
    Path("table.csv").write_text(f"width,height,constant\n{rows}\n")
    assert main(["train", "table.csv", "--out", "run", *SMALL_MLP, *FAST]) == 0
    assert main(["sample", "run", "-n", "4", "--steps", "2", "--out", "drawn"]) == 0
    lines = Path("drawn.csv").read_text().splitlines()
    assert lines[0] == "width,height,constant" and len(lines) == 5
    assert all(line.endswith(",5") for line in lines[1:])  # what never varied comes back exactly


def test_the_lines_of_a_table_are_its_numbers_to_the_last_digit_and_their_class() -> None:
    rows = "\n".join(f"{1700000000 + i},1234567890.12345,{'ab'[i % 2]},{i % 7}" for i in range(50))
    Path("table.csv").write_text(f"time,constant,kind,day\n{rows}\n")
    assert main(["train", "table.csv", "--label", "kind", "--out", "run", *SMALL_MLP, *FAST]) == 0
    assert main(["sample", "run", "-n", "4", "--steps", "2", "--out", "drawn"]) == 0
    head, *lines = csv.reader(Path("drawn.csv").read_text().splitlines())
    assert head == ["time", "constant", "day", "kind"] and [line[1] for line in lines] == ["1234567890.12345"] * 4
    with np.load("drawn.npz") as drawn:
        assert [[float(cell) for cell in line[:3]] for line in lines] == drawn["x"].tolist()
        assert [line[3] for line in lines] == ["ab"[label] for label in drawn["label"]]


def test_a_run_finds_its_data_from_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("data.npy", np.random.default_rng(0).normal(size=(100, 2)))
    assert main(["train", "data.npy", "--out", "run", *SMALL_MLP, *FAST]) == 0
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert main(["evaluate", "../run", "--steps", "2", "--quiet"]) == 0


def test_samples_of_a_model_that_is_not_told_classes_have_none(capfd: pytest.CaptureFixture[str]) -> None:
    rows = "\n".join(f"{i * 0.1},{'ab'[i % 2]}" for i in range(50))
    Path("table.csv").write_text(f"width,kind\n{rows}\n")
    assert main(["train", "table.csv", "--label", "kind", "--no-conditional", "--out", "run", *SMALL_MLP, *FAST]) == 0
    assert main(["sample", "run", "-n", "4", "--steps", "2", "--out", "drawn"]) == 0
    with np.load("drawn.npz") as drawn:
        assert "label" not in drawn
    assert Path("drawn.csv").read_text().startswith("width\n")
    assert main(["sample", "run", "--class", "b"]) == 2 and "is told no class" in capfd.readouterr().err


def test_a_sample_is_the_same_whatever_it_is_drawn_with(digits: Path) -> None:
    many = ["sample", str(digits), "--solver", "sde", "--steps", "4", "--seed", "3", "--quiet"]
    assert main([*many, "-n", "21", "--out", "many"]) == 0
    assert main([*many, "-n", "2", "--first", "17", "--out", "two"]) == 0
    with np.load("many.npz") as a, np.load("two.npz") as b:
        assert (a["x"][17:19] == b["x"]).all()
        assert b["sample"].tolist() == [17, 18]


def test_two_processes_draw_the_same_bits_as_one(digits: Path) -> None:
    common = ["--solver", "sde", "--steps", "3", "--quiet"]
    assert main(["sample", str(digits), *common, "-n", "12", "--out", "one"]) == 0
    halves = [("0", "7"), ("7", "5")]
    command = [sys.executable, "-m", "obverse", "sample", str(digits), *common]
    running = [subprocess.Popen([*command, "--first", a, "-n", n, "--out", f"part{a}"]) for a, n in halves]
    assert [process.wait(120) for process in running] == [0, 0]
    with np.load("one.npz") as one, np.load("part0.npz") as first, np.load("part7.npz") as second:
        assert (one["x"] == np.concatenate([first["x"], second["x"]])).all()


def test_a_resumed_run_ends_where_an_unbroken_one_does() -> None:
    common = [*SMALL_UNET, "--batch", "8", "--sample-every", "4", "--save-every", "4", "--quiet"]
    assert main(["train", "digits", "--out", "whole", "--steps", "8", *common]) == 0
    argv = ["train", "digits", "--out", "broken", "--steps", "8", *common]
    script = f"from obverse.cli import main; main({argv!r})"
    killer = "import os; from obverse.train import Run; save = Run.save\n"
    killer += "def dying(self, step, *rest):\n    save(self, step, *rest)\n    os.kill(os.getpid(), 9)\n"
    killed = subprocess.run([sys.executable, "-c", f"{killer}Run.save = dying\n{script}"], timeout=120)
    assert killed.returncode == -9
    assert main(["train", "--resume", "--out", "broken", "--quiet"]) == 0
    for name in ("net.safetensors", "ema.safetensors", "optimizer.safetensors"):
        (one,) = Path("whole").glob(f"checkpoints/*8/{name}")
        (two,) = Path("broken").glob(f"checkpoints/*8/{name}")
        assert one.read_bytes() == two.read_bytes()
    for name in ("metrics.jsonl", "samples/step-00000004.png", "samples/step-00000008.png"):
        assert (Path("whole") / name).read_bytes() == (Path("broken") / name).read_bytes()


def test_ctrl_c_saves_and_exits_130() -> None:
    out = ["train", "digits", "--out", "run", *SMALL_UNET, "--steps", "100000", "--batch", "8", "--log-every", "1"]
    process = subprocess.Popen([sys.executable, "-m", "obverse", *out], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    import signal
    import time

    for _ in range(600):
        if Path("run/metrics.jsonl").exists() and Path("run/metrics.jsonl").read_text():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors and b"--resume" in errors
    assert list(Path("run/checkpoints").glob("step-*"))


def test_a_recipe_file_is_read_and_the_command_line_changes_it() -> None:
    Path("mine.toml").write_text(
        'data = "digits"\nnet = "unet:width=8"\nschedule = "cosine"\n[training]\nsteps = 2\nbatch = 8\n'
    )
    assert main(["train", "--config", "mine.toml", "--out", "run", "--predicts", "v", "--quiet"]) == 0
    recipe = json.loads(Path("run/config.json").read_text())["recipe"]
    assert (recipe["schedule"], recipe["predicts"], recipe["training"]["steps"]) == ("cosine", "v", 2)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["trian"], "train"),
        (["train", "nowhere"], "nowhere"),
        (["train", "digits", "--schedule", "cosin"], "cosine"),
        (["train", "digits", "--net", "unet:widht=8"], "width"),
        (["train", "digits", "--holdout", "2"], "holdout"),
        (["train", "digits", "--steps", "many"], "--steps"),
        (["sample"], "RUN"),
        (["train", "--config", "missing.toml"], "missing.toml"),
        (["train", "--recipe", "digit"], "digits"),
        (["sample", "nowhere"], "nowhere"),
        (["inspect", "lineer"], "linear"),
        (["inspect", "vp", "cosine"], "obverse inspect weighting vp cosine"),
        (["inspect", "weighting"], "one to four recipes, got 0"),
        (["inspect", "weighting", "flow-machting"], "flow-matching"),
        (["inspect", "weighting", "schedule=liner"], "linear"),
        (["list", "solvers"], "solver"),
        (["check", "solver/huen"], "heun"),
    ],
)
def test_a_mistake_is_answered_in_three_lines_with_the_way_out(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.strip().splitlines()) <= 3


@pytest.mark.parametrize(
    ("text", "words"), [("stpes = 3", "steps"), ("[training]\nsteps = 'many'", "whole number"), ("= 3", "mine.toml")]
)
def test_an_unknown_key_or_value_in_a_file_is_refused(
    text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.toml").write_text(text if "training" in text else f"[training]\n{text}")
    assert main(["train", "--config", "mine.toml"]) == 2
    assert words in capsys.readouterr().err


def test_an_unknown_option_exits_2_and_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--shedule", "vp"]) == 2
    assert "--schedule" in capsys.readouterr().err


def test_a_broken_image_is_named_then_skipped_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(12):
        grey(Path(f"photos/{i}.png"), i)
    Path("photos/bad.png").write_bytes(Path("photos/1.png").read_bytes()[:60])
    assert main(["train", "photos", "--out", "run", *SMALL_UNET, *FAST]) == 2
    assert "bad.png" in capsys.readouterr().err
    assert not Path("run").exists()
    assert main(["train", "photos", "--damaged", "skip", "--out", "run", *SMALL_UNET, *FAST]) == 0


def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        with pytest.raises(SystemExit) as stop:
            main([verb, "--help"])
        assert stop.value.code == 0
        assert "usage" in capsys.readouterr().out


def test_a_dry_run_refuses_what_a_training_would(capfd: pytest.CaptureFixture[str]) -> None:
    np.save("rows.npy", np.random.default_rng(0).normal(size=(64, 2)))
    assert main(["train", "rows.npy", "--coupling", "within", "--dry-run"]) == 2
    assert "within needs labels" in capfd.readouterr().err


@pytest.mark.parametrize("verb", ["train", "sample", "evaluate", "report"])
def test_a_dry_run_writes_nothing(verb: str, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(digits.rglob("*"))
    assert main([verb, "digits" if verb == "train" else str(digits), "--dry-run"]) == 0
    assert "would" in capsys.readouterr().out
    assert sorted(digits.rglob("*")) == before
    assert not list(Path().iterdir())


def test_a_terminal_that_lacks_letters_is_told_their_numbers() -> None:
    command = [sys.executable, "-m", "obverse", "list"]
    shown = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=120)
    assert shown.returncode == 0 and b"\\xb2" in shown.stdout, shown.stderr.decode()


def test_json_is_one_value_a_line(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(digits), "--steps", "2", "--count", "40", "--bootstrap", "2", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"frechet", "mmd", "sliced-w2", "energy"} == {m["name"] for m in lines[-1]["measured"]}
    assert 0 <= lines[-1]["accuracy"] <= 1
    for argv in (["list"], ["inspect", "vp"], ["inspect", str(digits)]):
        assert main([*argv, "--json"]) == 0
        json.loads(capsys.readouterr().out)


def test_guidance_and_other_schedules_are_options_of_sampling(digits: Path) -> None:
    argv = ["sample", str(digits), "-n", "3", "--steps", "3", "--quiet"]
    assert main([*argv, "--out", "plain"]) == 0
    assert main([*argv, "--guidance", "3", "--out", "guided"]) == 0
    assert main([*argv, "--schedule", "vp", "--grid", "logsnr", "--out", "vp"]) == 0
    assert shapes("guided.npz") == shapes("vp.npz") == (3, 1, 8, 8)
    with np.load("plain.npz") as plain, np.load("guided.npz") as guided:
        assert abs(plain["x"] - guided["x"]).max() > 0


@pytest.mark.parametrize(("show", "columns"), [("state", 4), ("data", 5), ("noise", 4)])
def test_a_contact_sheet_shows_what_was_asked_for_on_the_way(show: str, columns: int, digits: Path, told: Told) -> None:
    argv = ["sample", str(digits), "-n", "3", "--steps", "4", "--film", "sheet", "--show", show, "--out", "drawn"]
    assert len(told(argv)["logsnr"]) == columns
    film, samples = np.asarray(Image.open("drawn-sheet.png")), np.asarray(Image.open("drawn.png"))
    side = samples.shape[0]  # of one tile: three samples are side by side
    assert film.shape[1] // side == columns and film.shape[0] // side == 3
    assert (film[:side, -side:] == samples[:, :side]).all() == (show != "noise")


def test_the_one_data_estimate_of_one_step_is_the_sample(digits: Path) -> None:
    argv = ["sample", str(digits), "-n", "3", "--solver", "ddim", "--steps", "1", "--film", "sheet", "--show", "data"]
    assert main([*argv, "--out", "drawn"]) == 0
    film = np.asarray(Image.open("drawn-sheet.png")).astype(int)
    side = np.asarray(Image.open("drawn.png")).shape[0]
    assert abs(film[:, :side] - film[:, -side:]).max() <= 1 < film.std()


def test_a_film_can_be_left_out(digits: Path) -> None:
    assert main(["sample", str(digits), "-n", "2", "--steps", "2", "--film", "none", "--out", "drawn"]) == 0
    assert {path.name for path in Path().iterdir()} == {"drawn.npz", "drawn.png"}


def test_the_ledger_counts_guidances_second_pass(digits: Path, told: Told) -> None:
    argv = ["sample", str(digits), "-n", "3", "--steps", "5", "--guidance", "2", "--out", "drawn"]
    assert told(argv)["ledger"] == {"rounds": 5, "calls": 10, "evaluations": 30}
    assert told([*argv, "--dry-run"])["calls"] == 10
    adaptive = told([*argv[:4], "--solver", "adaptive:rtol=1e-2", "--guidance", "2", "--out", "drawn"])
    assert adaptive["ledger"]["evaluations"] == 3 * adaptive["calls"] == 6 * adaptive["ledger"]["rounds"]


def drawn(digits: Path, *options: str) -> np.ndarray:
    assert main(["sample", str(digits), "-n", "3", *options, "--film", "none", "--quiet", "--out", "drawn"]) == 0
    with np.load("drawn.npz") as arrays:
        return np.array(arrays["x"])


def test_an_adaptive_solver_leads_where_many_steps_lead(digits: Path) -> None:
    argv = ["--guidance", "40", "--solver"]
    many, few = drawn(digits, *argv, "heun", "--steps", "100"), drawn(digits, *argv, "ddim", "--steps", "2")
    found = drawn(digits, *argv, "adaptive:rtol=1e-4")
    assert abs(found - many).max() < 0.002 and 4 * abs(found - many).max() < abs(few - many).max()  # ways are straight


def test_calls_in_parallel_lead_to_the_same_samples_in_fewer_rounds(digits: Path, told: Told) -> None:
    argv = ["--solver", "sde", "--eta", "0.5", "--steps", "32", "--seed", "2"]
    assert abs(drawn(digits, *argv) - drawn(digits, *argv, "--parallel")).max() < 1e-3
    ledger = told(["sample", str(digits), "-n", "3", "--steps", "32", "--parallel", "--out", "drawn"])["ledger"]
    assert ledger["rounds"] < 16 and ledger["calls"] > 32


@pytest.mark.parametrize("threshold", ["static", "dynamic"])
def test_a_threshold_keeps_samples_within_the_range_of_the_data(threshold: str, digits: Path) -> None:
    argv = ["--solver", "ddim", "--steps", "3", "--guidance", "40"]
    assert abs(drawn(digits, *argv) - 8).max() > 8.5
    assert abs(drawn(digits, *argv, "--threshold", threshold) - 8).max() <= 8 + 1e-4


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--solver", "adaptive", "--steps", "9"], "leave steps out"),
        (["--solver", "adaptive:rtol=2"], "rtol"),
        (["--solver", "adaptive", "--show", "data"], "--show state"),
        (["--solver", "adaptive", "--parallel"], "dpmpp-2m"),
        (["--parallel", "--film", "sheet"], "--film sheet"),
        (["--parallel", "--microbatch", "2"], "--microbatch 2"),
        (["--threshold", "soft"], "dynamic"),
        (["--film", "avi"], "sheet"),
        (["--solver", "ddim", "--eta", "1"], "eta"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_any_work(
    argv: list[str], words: str, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(digits), *argv, "--out", "drawn"]) == 2
    errors = capsys.readouterr().err
    assert words in errors and len(errors.strip().splitlines()) <= 3
    assert not list(Path().iterdir())


def test_data_of_no_known_range_has_no_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("points.npz", x=np.random.default_rng(0).normal(500.0, 3.0, (60, 2)))
    assert main(["train", "points.npz", "--out", "run", *SMALL_MLP, *FAST]) == 0
    assert main(["sample", "run", "--threshold", "static"]) == 2
    assert "threshold" in capsys.readouterr().err
    assert main(["sample", "run", "--steps", "3", "--film", "sheet", "--out", "drawn"]) == 0
    assert Image.open("drawn-sheet.png").width > 2 * Image.open("drawn-sheet.png").height


def test_every_family_is_listed(told: Told) -> None:
    listed = told(["list"])
    ours = [base for base in Family.__subclasses__() if base.__module__.startswith("obverse.")]
    assert len(ours) >= 15
    for base in ours:
        assert set(listed[base.family]) >= {n for n, m in base.members.items() if m.__module__.startswith("obverse.")}


def test_check_accepts_a_member_and_rejects_a_wrong_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "schedule/cosine"]) == 0
    assert "log-SNR falls in t\n        from inf to -inf\n" in capsys.readouterr().out  # what holds has numbers too
    Path("mine.py").write_text(
        "from obverse.path import Schedule\n"
        "class Wrong(Schedule, name='wrong-slope'):\n"
        "    def alpha(self, t): return 1 - t\n"
        "    def sigma(self, t): return t\n"
        "    def alpha_dot(self, t): return 0 * t - 2\n"
    )
    capsys.readouterr()
    assert main(["check", "mine.py:Wrong"]) == 1
    assert "BROKEN" in capsys.readouterr().out


OWN = """
from obverse.path import Schedule
from obverse.sampler import Solver
class Path(Schedule, name="own-path"):
    "My path."
    def alpha(self, t): return 1 - t**2
    def sigma(self, t): return t**2
class Method(Solver, name="own-method"):
    "My method."
    order = 1
    def step(self, trace, x_t, t, s):
        e = trace.call(x_t, t)
        return s.alpha * e.data + s.sigma * e.noise
"""


def test_ones_own_members_have_names_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(OWN)
    own = ["--own", "mine.py"]
    assert main(["compare", "own-method", "ddim", "--schedule", "own-path", *own]) == 0
    assert main(["inspect", "own-path", *own]) == 0
    assert "My path." in capsys.readouterr().out
    words = ["--schedule", "own-path", "--until", "2", *SMALL_MLP, *FAST, *own]
    assert main(["train", "digits", "--out", "run", *words]) == 0
    assert main(["train", "--resume", "--out", "run", *own]) == 0
    assert main(["sample", "run", "-n", "2", "--solver", "own-method", "--steps", "2", "--out", "drawn", *own]) == 0
    assert main(["compare", "ddim", "euler", "--own", "theirs.py"]) == 2
    assert "There is no file theirs.py" in capsys.readouterr().err


RISING = """
from obverse.path import Schedule

class Rising(Schedule, name="rising-path"):
    def alpha(self, t): return t
    def sigma(self, t): return 1 - t
"""


def test_inspect_says_of_a_schedule_whose_logsnr_rises_that_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(RISING)
    said = {}
    for name in ("rising-path", "linear"):
        assert main(["inspect", name, "--own", "mine.py"]) == 0
        said[name] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BROKEN")]
    assert not said["linear"]
    (line,) = said["rising-path"]
    assert "log-SNR falls in t" in line and "from -inf at t = 0 to" in line and "obverse check" in line
    assert main(["inspect", "rising-path", "--own", "mine.py", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["falls"] is False


def test_curves_are_drawn_into_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert main(["inspect", "vp", "--out", str(tmp_path / "new" / "vp")]) == 0
    assert (tmp_path / "new" / "vp.path.svg").exists()

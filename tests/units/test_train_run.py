"""The run folder: complete by itself, and honest after a crash."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from obverse.ground.errors import CheckpointError, DataError, InvalidArgument
from obverse.train import Run, checkpoint
from obverse.train.session import SESSIONS, differences, read, record, session, warning


def lines(run: Run, count: int) -> bytes:
    for step in range(1, count + 1):
        run.log(10 * step, {"loss": 1 / step})
    return (run.folder / "metrics.jsonl").read_bytes()


def test_a_run_is_opened_as_it_was_created(tmp_path: Path) -> None:
    Run.create(tmp_path / "a" / "b", {"lr": 0.1, "betas": (0.9, 0.99)})
    assert Run.open(tmp_path / "a" / "b").config == {"lr": 0.1, "betas": [0.9, 0.99]}


def test_a_folder_in_use_is_refused_unless_it_is_resumed_with_the_same_configuration(tmp_path: Path) -> None:
    Run.create(tmp_path, {"net": {"width": 8, "betas": (0.9, 0.99)}})
    with pytest.raises(InvalidArgument, match="not empty"):
        Run.create(tmp_path, {"net": {"width": 8, "betas": (0.9, 0.99)}})
    assert Run.create(tmp_path, {"net": {"width": 8, "betas": (0.9, 0.99)}}, resume=True).config["net"]["width"] == 8
    with pytest.raises(InvalidArgument, match=r"net\.width was 8 and is 9"):
        Run.create(tmp_path, {"net": {"width": 9, "betas": (0.9, 0.99)}}, resume=True)


def test_resuming_what_was_never_begun_begins_it(tmp_path: Path) -> None:
    (tmp_path / ".writing-config.json").touch()
    assert Run.create(tmp_path, {"a": 1}, resume=True).newest() is None
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_of_something_else_is_never_begun(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for resume in (False, True):
        with pytest.raises(InvalidArgument, match=r"not empty and, without config\.json, no run"):
            Run.create(tmp_path, {}, resume=resume)
    with pytest.raises(DataError, match="not a run folder"):
        Run.open(tmp_path)


def test_a_torn_line_is_left_out_by_readers_and_cut_off_by_rewinding(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    whole = lines(run, 3)
    for torn in (b"{", b'{"step": 40, "lo', b'{"step": 40, "loss": 1}', b"\x00\x00\x00\n", b"4\n"):
        (tmp_path / "metrics.jsonl").write_bytes(whole + torn)
        assert [line["step"] for line in run.metrics()] == [10, 20, 30]
        run.rewind(40, keep=1)
        assert (tmp_path / "metrics.jsonl").read_bytes() == whole


@pytest.mark.parametrize(("step", "left"), [(0, 0), (9, 0), (10, 1), (29, 2), (30, 3)])
def test_rewinding_leaves_the_lines_up_to_the_step(tmp_path: Path, step: int, left: int) -> None:
    run = Run.create(tmp_path, {})
    lines(run, 3)
    run.rewind(step, keep=1)
    assert [line["step"] for line in run.metrics()] == [10, 20, 30][:left]


def test_a_checkpoint_holds_the_configuration(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {"seed": 3})
    run.save(5, {"net": {"weight": torch.ones(1)}}, {"note": "x"}, keep=1)
    found = run.newest()
    assert found is not None
    assert (found.step, found.about) == (5, {"note": "x", "config": {"seed": 3}})


def test_infinities_do_not_enter_files_that_json_readers_open(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a", {})
    with pytest.raises(InvalidArgument, match=r"metrics\.jsonl"):
        run.log(1, {"loss": float("nan")})
    with pytest.raises(InvalidArgument, match="config"):
        Run.create(tmp_path / "b", {"lr": float("inf")})
    assert run.metrics() == []


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    run.put("samples/step-1.png", b"old")
    assert run.put("samples/step-1.png", b"new").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step-1.png"]


def test_a_run_judges_its_checkpoints_by_their_tensors_alone(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    judged = replace(run, best=1, judge=lambda tensors: float(tensors["net"]["weight"]))
    for step, value in enumerate([3.0, 1.0, 2.0, math.nan, 4.0], 1):
        judged.save(step, {"net": {"weight": torch.tensor(value)}}, {}, keep=1)
    assert checkpoint.best(run.checkpoints) == run.checkpoints / "step-00000002"
    assert sorted(path.name[-1] for path in run.checkpoints.iterdir()) == ["2", "5"]
    judged.rewind(5, keep=1)
    assert sorted(path.name[-1] for path in run.checkpoints.iterdir()) == ["2", "5"]


def test_what_the_disk_refuses_is_one_error_with_the_file_and_the_way_on(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {})
    (tmp_path / "run/metrics.jsonl").mkdir()
    (tmp_path / "run/samples").touch()
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl could not be written: .*resume"):
        run.log(1, {"loss": 1.0})
    with pytest.raises(CheckpointError, match=r"step-1\.png could not be written: .*resume"):
        run.put("samples/step-1.png", b"")
    with pytest.raises(CheckpointError, match="could not be begun"):
        Run.create(tmp_path / "run/samples/below", {})


def test_sessions_are_a_line_each_and_survive_what_they_replace(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    record(tmp_path, 0, {"threads": 2})
    record(tmp_path, 50, {"threads": 1})
    assert read(tmp_path) == [{"step": 0, "threads": 2}, {"step": 50, "threads": 1}]
    for damage in ("{", "3\n", "\x00"):
        (tmp_path / SESSIONS).write_text(damage)
        with pytest.raises(DataError, match=SESSIONS):
            read(tmp_path)


def test_a_folder_may_be_named_in_words(tmp_path: Path) -> None:
    assert Run.create(str(tmp_path / "run"), {"a": 1}) == Run.open(str(tmp_path / "run"))


def test_only_what_the_last_bit_depends_on_counts_as_another_session() -> None:
    here = session()
    assert warning(here, {**here, "pid": 1, "host": "moon", "python": "3.99", "platform": "x"}) == ""
    for name, value in (("threads", 99), ("processes", 8), ("torch", "9.9"), ("device", "x"), ("instructions", "y")):
        assert len(differences(here, {**here, name: value})) == 1
    said = warning({**here, "threads": 99}, here)
    assert "99 -> " in said and "--threads 99" in said and "not in the same bits" in said

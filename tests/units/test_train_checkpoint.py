"""Checkpoints: whole or not there, and believed only when every bit is as it was written."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from failing import Disk
from torch import Tensor

from obverse.ground.errors import CheckpointError, InvalidArgument
from obverse.train import checkpoint
from obverse.train.manifest import Entry, Manifest

Groups = dict[str, dict[str, Tensor]]


def groups(value: float) -> Groups:
    shared = torch.full((2, 3), value)
    return {
        "net": {"weight": shared, "tied": shared, "turned": shared.T},
        "optimizer": {"step": torch.tensor(value), "half": torch.full((2,), value, dtype=torch.bfloat16)},
    }


def holds(path: Path, value: float) -> bool:
    found, wanted = checkpoint.load(path).tensors, groups(value)
    return all(torch.equal(found[group][name], wanted[group][name]) for group in wanted for name in wanted[group])


def forge(path: Path, data: bytes, tensors: dict[str, Tensor]) -> None:
    """A net.safetensors of these bytes, with a manifest that swears to it."""
    (path / "net.safetensors").write_bytes(data)
    entries = {"net.safetensors": Entry.of(data, tensors)}
    (path / "manifest.json").write_bytes(Manifest.new(10, entries, {}).render())
    (path / "optimizer.safetensors").unlink()


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1234, groups(0.1), {"lr": 0.1, "betas": (0.9, 0.99)})
    loaded = checkpoint.load(path)
    assert path.name == "step-00001234"
    assert holds(path, 0.1)
    assert (loaded.step, loaded.about) == (1234, {"lr": 0.1, "betas": [0.9, 0.99]})
    assert loaded.tensors["optimizer"]["half"].dtype == torch.bfloat16


def test_the_files_have_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = checkpoint.save(tmp_path, 1, groups(1.0), {})
    assert {file.stat().st_mode for file in path.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 10, groups(1.0), {})
    checkpoint.save(tmp_path, 10, groups(2.0), {})
    assert holds(tmp_path / "step-00000010", 2.0)
    assert len(list(tmp_path.iterdir())) == 1


def test_every_flipped_bit_is_detected(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 10, {"net": {"weight": torch.ones(2)}}, {"seed": 3})
    choose = random.Random(0)
    for file in path.iterdir():
        data = file.read_bytes()
        for place in range(len(data)):
            flipped = bytearray(data)
            flipped[place] ^= 1 << choose.randrange(8)
            file.write_bytes(flipped)
            with pytest.raises(CheckpointError, match=file.name):
                checkpoint.load(path)
        file.write_bytes(data)
    checkpoint.load(path)


@pytest.mark.parametrize("name", ["net.safetensors", "manifest.json"])
def test_every_truncation_is_detected(tmp_path: Path, name: str) -> None:
    path = checkpoint.save(tmp_path, 10, groups(1.0), {})
    size = (path / name).stat().st_size
    for length in range(size - 1, -1, -7):
        os.truncate(path / name, length)
        with pytest.raises(CheckpointError, match=name):
            checkpoint.verify(path)


def test_a_missing_an_extra_and_a_renamed_part_are_named(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 10, groups(1.0), {})
    (path / "pickle.pt").touch()
    with pytest.raises(CheckpointError, match=r"pickle\.pt is not of it"):
        checkpoint.load(path)
    (path / "pickle.pt").unlink()
    with pytest.raises(CheckpointError, match="holds step 10"):
        checkpoint.load(path.rename(tmp_path / "step-00000011"))
    (tmp_path / "step-00000011").rename(path)
    (path / "net.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"net\.safetensors is missing"):
        checkpoint.load(path)
    with pytest.raises(CheckpointError, match="no such folder"):
        checkpoint.load(tmp_path / "nowhere")


def test_a_newer_format_asks_to_upgrade(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 10, groups(1.0), {})
    content = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(content | {"format": 2, "novelty": 1}))
    with pytest.raises(CheckpointError, match="upgrade obverse"):
        checkpoint.load(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kind": "model", "format": 1}', "[" * 10**5, "\x00\xff"])
def test_a_foreign_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = checkpoint.save(tmp_path, 10, groups(1.0), {})
    (path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        checkpoint.load(path)


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return pytest.fail, ("a pickle was executed",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Bomb()),
        b"",
        b"\xff" * 8 + b"{}",
        (2**40).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (8).to_bytes(8, "little") + b'{"a": 1}',
    ],
    ids=["pickle", "empty", "endless header", "long header", "list", "no tensor"],
)
def test_a_file_that_is_no_safetensors_is_refused_even_if_its_manifest_swears(tmp_path: Path, data: bytes) -> None:
    path = checkpoint.save(tmp_path, 10, groups(1.0), {})
    forge(path, data, {})
    with pytest.raises(CheckpointError, match=r"net\.safetensors"):
        checkpoint.load(path)


def test_a_tensor_of_another_shape_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 10, {**groups(1.0), "net": {"weight": torch.ones(2, 3)}}, {})
    forge(path, (path / "net.safetensors").read_bytes(), {"weight": torch.ones(3, 2)})
    with pytest.raises(CheckpointError, match="'weight'"):
        checkpoint.load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 10, groups(1.0), {})
    (path / "net.safetensors").unlink()
    os.mkfifo(path / "net.safetensors")
    with pytest.raises(CheckpointError, match="not a plain file"):
        checkpoint.load(path)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="about"):
        checkpoint.save(tmp_path, 1, groups(1.0), {"lr": float("nan")})
    with pytest.raises(InvalidArgument, match="group"):
        checkpoint.save(tmp_path, 1, {"../net": {}}, {})
    assert not list(tmp_path.iterdir())


def test_newest_passes_over_what_is_damaged_and_says_so(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "nowhere") is None
    for step in (9, 10, 100):
        checkpoint.save(tmp_path, step, groups(step), {})
    os.truncate(tmp_path / "step-00000100" / "net.safetensors", 10)
    with pytest.warns(UserWarning, match="step-00000100"):
        assert checkpoint.newest(tmp_path) == tmp_path / "step-00000010"


def test_pruning_never_deletes_the_newest_that_is_whole(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        checkpoint.save(tmp_path, step, groups(step), {})
    for step in (3, 4):
        os.truncate(tmp_path / f"step-0000000{step}" / "manifest.json", 10)
    with pytest.warns(UserWarning, match="Passed over"):
        checkpoint.prune(tmp_path, keep=1)
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["2", "3", "4"]
    with pytest.raises(InvalidArgument, match="keep"):
        checkpoint.prune(tmp_path, keep=0)


def kept(folder: Path) -> list[int]:
    return sorted(int(path.name[-1]) for path in folder.iterdir())


def test_pruning_keeps_the_newest_and_those_with_the_lowest_score(tmp_path: Path) -> None:
    for step, score in enumerate([0.3, 0.1, 0.5, None, 0.2, 0.4], 1):
        checkpoint.save(tmp_path, step, groups(step), {} if score is None else {checkpoint.SCORE: score})
    checkpoint.prune(tmp_path, keep=2, best=2)
    assert kept(tmp_path) == [2, 5, 6]
    assert checkpoint.best(tmp_path) == tmp_path / "step-00000002"
    checkpoint.prune(tmp_path, keep=1, best=1)
    assert kept(tmp_path) == [2, 6]
    checkpoint.prune(tmp_path, keep=1)
    assert kept(tmp_path) == [6]
    with pytest.raises(InvalidArgument, match="best"):
        checkpoint.prune(tmp_path, keep=1, best=-1)


def test_the_best_one_is_deleted_only_when_a_better_one_has_been_read_back(tmp_path: Path) -> None:
    for step, score in ((1, 0.2), (2, 0.3), (3, 0.1)):
        checkpoint.save(tmp_path, step, groups(step), {checkpoint.SCORE: score})
    data = bytearray((tmp_path / "step-00000003" / "net.safetensors").read_bytes())
    data[-1] ^= 1  # as long as before, so that only reading every bit tells
    (tmp_path / "step-00000003" / "net.safetensors").write_bytes(data)
    with pytest.warns(UserWarning, match="step-00000003"):
        checkpoint.prune(tmp_path, keep=1, best=1)
    assert kept(tmp_path) == [1, 2, 3]
    with pytest.warns(UserWarning, match="step-00000003"):
        assert checkpoint.best(tmp_path) == tmp_path / "step-00000001"
    assert checkpoint.best(tmp_path / "nowhere") is None


def test_a_damaged_one_does_not_count_as_one_that_is_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        checkpoint.save(tmp_path, step, groups(step), {})
    os.truncate(tmp_path / "step-00000003" / "net.safetensors", 10)
    checkpoint.prune(tmp_path, keep=2)
    assert kept(tmp_path) == [2, 4]


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("step", [10, 20], ids=["replacing", "adding"])
def test_whichever_call_fails_a_whole_checkpoint_is_left_and_the_next_save_cleans_up(
    tmp_path: Path, step: int, error: str
) -> None:
    refusals = []
    for nth in count(1):
        disk, folder = Disk(nth, error), tmp_path / str(nth)
        checkpoint.save(folder, 10, groups(1.0), {})
        with disk.watched():
            try:
                checkpoint.save(folder, step, groups(2.0), {})
                checkpoint.prune(folder, keep=1)
            except CheckpointError as refusal:
                refusals.append(str(refusal))
        path = checkpoint.newest(folder)
        assert path is not None
        assert holds(path, 1.0) or holds(path, 2.0)
        checkpoint.save(folder, 30, groups(3.0), {})
        checkpoint.prune(folder, keep=1)
        assert [path.name for path in folder.iterdir()] == ["step-00000030"]
        shutil.rmtree(folder)
        if not disk.failed:  # nothing is left to fail
            break
    assert len(refusals) > 10
    assert all(os.strerror(getattr(errno, error)) in refusal for refusal in refusals)


def test_a_crash_between_the_two_renames_of_a_replacement_loses_nothing(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 10, groups(1.0), {})
    path.rename(tmp_path / ".replaced-step-00000010")
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert holds(found, 1.0)
    checkpoint.prune(tmp_path, keep=1)
    assert holds(path, 1.0)

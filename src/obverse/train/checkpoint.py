"""Checkpoints: folders that are complete or not there, checked bit by bit before they are believed.

    step-00001234/
        net.safetensors  ema.safetensors  optimizer.safetensors ...
        manifest.json    written last: size and SHA-256 of every file, shapes, configuration, its own hash

A folder is written under another name, synced, and only then renamed. Only safetensors and JSON are read: nothing in
a checkpoint is ever executed.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from obverse.ground.errors import CheckpointError, InvalidArgument
from obverse.train import files
from obverse.train.manifest import MANIFEST, Entry, Manifest

_STEP = re.compile(r"step-(\d{8,})")
_REPLACED = ".replaced-"  # the old folder of a step, while the new one takes its place
_SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What was saved.

    Args:     step: optimiser steps done.
              tensors: by group ("net", "ema" ...) and name; on the CPU.
              about: configuration and whatever else was said when saving; JSON values.
              path: the folder it came from.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]]
    about: dict[str, Any]
    path: Path


def save(folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], about: Mapping[str, Any]) -> Path:
    """Save one step; whatever fails, and whenever, the checkpoints already there stay as they are.

    Args:     folder: where the checkpoints of a run live; made when missing.
              step: optimiser steps done; a step already there is replaced.
              tensors: groups of tensors; a group becomes a file.
              about: anything JSON can hold.
    Returns:  the new folder, `step-00001234`.
    Raises:   CheckpointError when the disk refuses; InvalidArgument for what cannot be written.
    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as place:
        ...     path = save(Path(place), 20, {"net": {"weight": torch.ones(2)}}, about={"seed": 3})
        ...     path.name, load(path).tensors["net"]["weight"].tolist()
        ('step-00000020', [1.0, 1.0])
    """
    name = f"step-{step:08d}"
    aside = folder / (files.ASIDE + name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        aside.mkdir()
        entries = {}
        for group, values in tensors.items():
            data = _packed(group, values)
            files.write(aside / f"{group}{_SUFFIX}", data)
            entries[f"{group}{_SUFFIX}"] = Entry.of(data, values)
        files.write(aside / MANIFEST, Manifest.new(step, entries, about).render())
        files.sync(aside)
        _place(aside, folder / name)
    except OSError as error:
        raise CheckpointError(
            f"Step {step} could not be saved in {folder}: {error}. Earlier checkpoints are untouched; make room or "
            "choose another folder."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder / name


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, after checking every bit of it.

    Args:     path: a folder that `save` made.
    Raises:   CheckpointError naming the file and what is wrong with it.
    """
    manifest = _manifest(path)
    tensors = {name.removesuffix(_SUFFIX): _unpacked(path / name, entry) for name, entry in manifest.files.items()}
    return Checkpoint(manifest.step, tensors, manifest.about, path)


def verify(path: Path) -> None:
    """Check every bit of a checkpoint, without holding more than one of its files.

    Raises:   CheckpointError naming the file and what is wrong with it.
    """
    for name, entry in _manifest(path).files.items():
        entry.check(path / name)


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that is whole, or None; those passed over are named in warnings.

    Args:     folder: where the checkpoints of a run live.
    """
    for path in _found(folder):
        try:
            verify(path)
        except CheckpointError as error:
            warnings.warn(f"Passed over a damaged checkpoint: {error}", stacklevel=2)
        else:
            return path
    return None


def prune(folder: Path, keep: int) -> None:
    """Delete what a crash has left, and all but the newest whole checkpoint and the keep - 1 before it.

    Where none is whole, none is deleted.

    Args:     folder: where the checkpoints of a run live.
              keep: how many stay; at least 1.
    Raises:   CheckpointError when the disk refuses.
    """
    if keep < 1:
        raise InvalidArgument(f"keep is at least 1, got {keep}: the newest checkpoint is never deleted.")
    try:
        _tidy(folder)
        successor = newest(folder)
        if successor is not None:
            paths = _found(folder)
            for path in paths[paths.index(successor) + keep :]:
                shutil.rmtree(path)
    except OSError as error:
        raise CheckpointError(f"What is no longer needed in {folder} cannot be deleted: {error}.") from error


def _found(folder: Path) -> list[Path]:
    """All checkpoints by falling step; one being replaced comes after its successor."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _STEP.fullmatch(path.name.removeprefix(_REPLACED))
        if match and path.is_dir():
            found.append((int(match[1]), not path.name.startswith(_REPLACED), path))
    return [path for _, _, path in sorted(found, reverse=True)]


def _tidy(folder: Path) -> None:
    """Clear away what a crash has left: half-written folders, and replaced ones whose successor stands."""
    for path in list(folder.glob(f"{files.ASIDE}*")):
        shutil.rmtree(path)
    for path in list(folder.glob(f"{_REPLACED}*")):
        successor = path.with_name(path.name.removeprefix(_REPLACED))
        if successor.exists():
            shutil.rmtree(path)
        else:
            os.replace(path, successor)


def _place(aside: Path, final: Path) -> None:
    replaced = final.with_name(_REPLACED + final.name)
    if final.exists():
        os.replace(final, replaced)
    try:
        os.replace(aside, final)
    except OSError:
        if replaced.exists():
            os.replace(replaced, final)
        raise
    files.sync(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _manifest(path: Path) -> Manifest:
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a checkpoint: there is no such folder.")
    manifest = Manifest.read(path / MANIFEST)
    present = {name for name in os.listdir(path) if not name.startswith(".") and name != MANIFEST}
    for word, names in (
        ("is missing", manifest.files.keys() - present),
        ("is not of it", present - manifest.files.keys()),
    ):
        if names:
            raise CheckpointError(f"{path / min(names)} {word}, by its manifest; turn to an earlier checkpoint.")
    named = _STEP.fullmatch(path.name)
    if named and int(named[1]) != manifest.step:
        raise CheckpointError(f"{path} holds step {manifest.step}, by its manifest: it was renamed.")
    return manifest


def _packed(group: str, values: Mapping[str, Tensor]) -> bytes:
    from safetensors.torch import save as pack

    if not re.fullmatch(r"[A-Za-z0-9_-]+", group):
        raise InvalidArgument(f"A group becomes a file: letters, digits, - and _ name it, got {group!r}.")
    # copies: a snapshot, and tied weights are written under each of their names
    return pack({name: value.detach().to("cpu", copy=True).contiguous() for name, value in values.items()})


def _unpacked(path: Path, entry: Entry) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load as unpack

    try:
        tensors = unpack(entry.check(path))
    except (SafetensorError, KeyError, ValueError, AssertionError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}.") from error
    entry.check_shapes(path, tensors)
    return tensors

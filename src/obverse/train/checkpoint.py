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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from obverse.ground.errors import CheckpointError, InvalidArgument, require
from obverse.train import files
from obverse.train.manifest import MANIFEST, Entry, Manifest

_STEP = re.compile(r"step-(\d{8,})")
_REPLACED = ".replaced-"  # the old folder of a step, while the new one takes its place
_SUFFIX = ".safetensors"
SCORE = "score"  # in `about`: lower is better


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
        with files.refusals(f"Step {step} could not be saved in {folder}"):
            files.folder(folder)
            _tidy(folder)
            files.again(aside.mkdir)
            entries = {}
            for group, values in tensors.items():
                data = _packed(group, values)
                files.write(aside / f"{group}{_SUFFIX}", data)
                entries[f"{group}{_SUFFIX}"] = Entry.of(data, values)
            files.write(aside / MANIFEST, Manifest.new(step, entries, about).render())
            files.sync(aside)
            _place(aside, folder / name)
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


def whole(paths: Iterable[Path], what: str = "checkpoint") -> Iterator[Path]:
    """Those that are whole, one by one; those that are damaged are named in warnings."""
    for path in paths:
        try:
            verify(path)
        except CheckpointError as error:
            warnings.warn(f"Passed over a damaged {what}: {error}", stacklevel=3)
        else:
            yield path


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that is whole, or None; those passed over are named in warnings.

    Args:     folder: where the checkpoints of a run live.
    """
    return next(whole(_found(folder)), None)


def prune(folder: Path, keep: int, best: int = 0) -> None:
    """Delete what a crash has left, and every checkpoint that neither is among the newest nor among the best.

    Nothing is deleted before the newest one has been read back, bit by bit; where none is whole, none is.

    Args:     folder: where the checkpoints of a run live.
              keep: how many of the newest stay; at least 1.
              best: how many of those with the lowest score stay besides; see `SCORE`.
    Raises:   CheckpointError when the disk refuses.
    """
    require(keep >= 1, f"keep is at least 1, got {keep}: the newest checkpoint is never deleted.")
    require(best >= 0, f"best is at least 0, got {best} (best=1 keeps the one with the lowest score).")
    with files.refusals(f"What is no longer needed in {folder} cannot be deleted"):
        _tidy(folder)
        successor = newest(folder)
        if successor is None:
            return
        paths = _found(folder)
        older = paths[paths.index(successor) + 1 :]
        known = {path: about for path in [successor, *older] if (about := _about(path)) is not None}
        scored = sorted((path for path in known if SCORE in known[path]), key=lambda path: known[path][SCORE])
        kept = {*list(known)[:keep], *scored[:best]}
        for path in older:
            if path not in kept:
                files.again(shutil.rmtree, path)


def best(folder: Path) -> Path | None:
    """The whole checkpoint with the lowest score, or None; those passed over are named in warnings.

    Args:     folder: where the checkpoints of a run live.
    """
    scores = {path: about[SCORE] for path in _found(folder) if SCORE in (about := _about(path) or {})}
    return next(whole(sorted(scores, key=lambda path: scores[path])), None)


def _about(path: Path) -> dict[str, Any] | None:
    """What a checkpoint says of itself if its files are there and as long as they should be; else None."""
    try:
        manifest = _manifest(path)
        sizes = {name: (path / name).lstat().st_size for name in manifest.files}
    except (CheckpointError, OSError):
        return None
    return manifest.about if all(sizes[name] == entry.size for name, entry in manifest.files.items()) else None


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
        files.again(shutil.rmtree, path)
    for path in list(folder.glob(f"{_REPLACED}*")):
        successor = path.with_name(path.name.removeprefix(_REPLACED))
        if successor.exists():
            files.again(shutil.rmtree, path)
        else:
            files.again(os.replace, path, successor)


def _place(aside: Path, final: Path) -> None:
    replaced = final.with_name(_REPLACED + final.name)
    if final.exists():
        files.again(os.replace, final, replaced)
    try:
        files.again(os.replace, aside, final)
    except OSError:
        if replaced.exists():
            files.again(os.replace, replaced, final)
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

"""Files that are either whole or not there: written aside, synced, renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from obverse.ground.errors import CheckpointError, InvalidArgument

ASIDE = ".writing-"  # what is being written is called this and its name; left behind only by a crash
_TRIES = 100  # a signal interrupts one call, not a hundred in a row

T = TypeVar("T")


def again(call: Callable[..., T], *args: Any) -> T:
    """Call, and call again while a signal interrupts it: Python does so for reading and writing, not for renaming."""
    for _ in range(_TRIES - 1):
        try:
            return call(*args)
        except InterruptedError:
            continue
    return call(*args)


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """What the disk refuses, as a CheckpointError that says what is safe and how to go on.

    Args:     what: the beginning of a sentence, such as "runs/a/metrics.jsonl could not be written".
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{what}: {error}. Earlier checkpoints are untouched; make room and resume, or choose another folder."
        ) from error


def as_json(what: str, value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """A value as text; InvalidArgument, beginning with `what`, for one that JSON cannot hold."""
    try:
        return json.dumps(value, indent=indent, sort_keys=sort_keys, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"{what} holds text, finite numbers, lists and mappings by text: {error}.") from error


def folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there."""
    again(partial(path.mkdir, parents=True, exist_ok=True))


def write(path: Path, data: bytes) -> None:
    """Write and sync a file in place; the folder still has to be synced."""
    _put(path, data, "wb", settle=True)


def append(path: Path, data: bytes) -> None:
    """Add to a file; it is not synced."""
    _put(path, data, "ab", settle=False)


def settle(path: Path) -> None:
    """Sync what was appended to a file."""
    _put(path, b"", "ab", settle=True)


def put(path: Path, data: bytes) -> None:
    """Make or replace a file so that a crash at any moment leaves the old one or the new one."""
    aside = path.with_name(ASIDE + path.name)
    try:
        write(aside, data)
        again(os.replace, aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make what was created, renamed or deleted in a folder outlast a power cut."""
    if os.name == "nt":  # Windows cannot open a folder, and orders its own metadata
        return
    handle = again(os.open, folder, os.O_RDONLY)
    try:
        again(os.fsync, handle)
    except OSError as error:
        raise _named(error, folder) from None
    finally:
        os.close(handle)


def _put(path: Path, data: bytes, mode: str, *, settle: bool) -> None:
    try:
        with again(partial(open, path, mode, buffering=0)) as file:
            left = memoryview(data)
            while left:  # a disk may take a part only
                left = left[again(file.write, left) :]
            if settle:
                again(os.fsync, file.fileno())
    except OSError as error:
        raise _named(error, path) from None


def _named(error: OSError, path: Path) -> OSError:
    """The error with the file it is about, which writing and syncing do not know."""
    return error if error.filename else OSError(error.errno, error.strerror, str(path))

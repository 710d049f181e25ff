"""Files that are either whole or not there: written aside, synced, renamed."""

from __future__ import annotations

import os
from pathlib import Path

ASIDE = ".writing-"  # what is being written is called this and its name; left behind only by a crash


def write(path: Path, data: bytes) -> None:
    """Write and sync a file in place; the folder still has to be synced."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def put(path: Path, data: bytes) -> None:
    """Make or replace a file so that a crash at any moment leaves the old one or the new one."""
    aside = path.with_name(ASIDE + path.name)
    try:
        write(aside, data)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make what was created, renamed or deleted in a folder outlast a power cut."""
    if os.name == "nt":  # Windows cannot open a folder, and orders its own metadata
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

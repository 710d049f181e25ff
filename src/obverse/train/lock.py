"""One training at a time in a folder, whoever started the others."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from obverse.ground.errors import InvalidArgument
from obverse.train import files

_LOCK, _HOLDER = ".lock", ".training"  # the system's lock, gone with its process; who holds it, in words


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While this lasts, nobody else can train in this folder; a process that is killed holds nothing.

    Args:     folder: of the run; exists.
    Raises:   InvalidArgument naming the process that trains in it.
    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place, alone(Path(place)):
        ...     try:
        ...         alone(Path(place)).__enter__()
        ...     except InvalidArgument as error:
        ...         print(str(error).replace(place, "runs/a").split(" by ")[0])
        runs/a is being trained
    """
    from filelock import FileLock, Timeout  # torch brings it

    lock = FileLock(folder / _LOCK, timeout=0, thread_local=False)
    with files.refusals(f"{folder} could not be locked"):
        try:
            lock.acquire()
        except Timeout:
            raise InvalidArgument(
                f"{folder} is being trained by {_holder(folder)} (wait for it, stop it, or choose another folder)."
            ) from None
        try:
            files.put(folder / _HOLDER, json.dumps({"pid": os.getpid(), "host": platform.node()}).encode())
        except BaseException:
            lock.release()
            raise
    try:
        yield
    finally:
        with suppress(OSError):  # it names nobody once the lock is free
            (folder / _HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / _HOLDER).read_bytes())
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun, or just ended
        return "another process"

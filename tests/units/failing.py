"""A disk that fails at the call that is asked for."""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHANGES = ("open", "write", "fsync", "replace", "mkdir", "unlink", "rmdir", "truncate")


class Disk:
    """Counts the calls that change a disk, and refuses the nth of some of them; `persists` and all after it too."""

    def __init__(self, nth: int = 0, error: str = "", among: tuple[str, ...] = CHANGES, persists: bool = False) -> None:
        self.nth, self.error, self.among, self.persists = nth, error, among, persists
        self.calls: list[str] = []
        self.failed = 0

    def due(self, name: str) -> bool:
        if name not in self.among:
            return False
        self.calls.append(name)
        now = len(self.calls) == self.nth or (self.persists and 0 < self.nth <= len(self.calls))
        self.failed += now
        return now

    def refuse(self, name: str) -> None:
        if self.due(name):
            code = getattr(errno, self.error)
            raise OSError(code, os.strerror(code))

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        def failing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
            def instead(*args: Any, **kwargs: Any) -> Any:
                self.refuse(name)
                return call(*args, **kwargs)

            return instead

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if mode[0] == "r":
                return real(file, mode, *args, **kwargs)
            self.refuse("open")
            return Partial(real(file, mode, *args, **kwargs), self)

        real = builtins.open
        with pytest.MonkeyPatch.context() as patch:
            for name in CHANGES:
                if name not in ("open", "write"):
                    patch.setattr(os, name, failing(name, getattr(os, name)))
            patch.setattr(os, "open", failing("open", os.open))
            patch.setattr(builtins, "open", opened)
            yield self


class Partial:
    """A file whose disk takes half of a write: and says so, or refuses the rest."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self.file, self.disk = file, disk

    def write(self, data: bytes) -> int:
        if self.disk.due("write"):
            done = int(self.file.write(data[: len(data) // 2])) if self.disk.error != "EINTR" else 0
            if self.disk.error != "short":
                code = getattr(errno, self.disk.error)
                raise OSError(code, os.strerror(code))
            return done
        return int(self.file.write(data))

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

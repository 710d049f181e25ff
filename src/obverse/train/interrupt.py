"""Ctrl-C and friends: heard between two steps of a training, obeyed at once elsewhere."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType, TracebackType
from typing import Self

from obverse.ground.errors import ObverseError

_HEARD = ("SIGINT", "SIGTERM", "SIGHUP")  # what a terminal, a scheduler and a lost connection send

_ELASTIC = "TORCHELASTIC_RUN_ID"  # set by torch's launcher, which ours and Accelerate's are


class Stopped(ObverseError):
    """Training was asked to stop and did, after saving.

    Args:     signum: the signal; shells expect the exit code 128 + signum.
              step: optimiser steps done.
    """

    def __init__(self, signum: int, step: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(signum).name} after step {step}; resume to continue.")
        self.signum, self.step = signum, step


class Listening:
    """While this lasts, the first signal is noted in `heard`; a second one acts as it would have without.

    Processes that a launcher has started hear of its end, which nobody signals, as of a lost connection (SIGHUP).
    """

    def __init__(self) -> None:
        self._noted, self._launched = 0, False
        self.agreed: int | None = None  # what all processes know of the step, where there are several
        self._before: dict[int, object] = {}

    @property
    def heard(self) -> int:
        """The signal that has come; 0 for none."""
        if self._launched and not self._noted and os.getppid() != _launcher(os.getpid()):
            self._noted = getattr(signal, "SIGHUP", signal.SIGTERM)
        return self._noted

    def __enter__(self) -> Self:
        self._launched = _ELASTIC in os.environ
        if _hears():
            for signum in _signals():
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):  # nohup asks to ignore; None is not Python's
                    self._before[signum] = signal.signal(signum, self._note)
        _listening.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _listening.remove(self)
        self._restore()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self._noted = signum
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signum, handler = self._before.popitem()
            signal.signal(signum, handler)  # type: ignore[arg-type]


_listening: list[Listening] = []  # signals belong to the process, so this does too


def heard() -> int:
    """The signal that a training of this process has been sent and will act on after this step; 0 for none.

    For what a caller does between two steps and can leave out, such as a picture: a scheduler waits 10 s at times.
    """
    found = (each.heard if each.agreed is None else each.agreed for each in _listening)
    return max(found, default=0)


@contextmanager
def leaving() -> Iterator[None]:
    """While this lasts, SIGTERM and SIGHUP end the process as Ctrl-C does: what is open is closed, the code is 128 + n.

    Around the whole of a verb, so that it holds while data is read, before and after `Listening`.
    """
    before = {}
    _launcher(os.getpid())
    if _hears():
        for signum in _signals():
            if signum != signal.SIGINT and signal.getsignal(signum) is signal.SIG_DFL:
                before[signum] = signal.signal(signum, _leave)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@cache
def _launcher(pid: int) -> int:
    """Who has started this process: asked while it lives."""
    del pid
    return os.getppid()


def _leave(signum: int, frame: FrameType | None) -> None:
    del frame
    raise SystemExit(128 + signum)


def _hears() -> bool:
    return threading.current_thread() is threading.main_thread()  # Python hears signals nowhere else


def _signals() -> list[signal.Signals]:
    return [getattr(signal, name) for name in _HEARD if hasattr(signal, name)]

"""Ctrl-C and friends, heard between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

from obverse.ground.errors import ObverseError

_HEARD = ("SIGINT", "SIGTERM", "SIGHUP")  # what a terminal, a scheduler and a lost connection send


class Stopped(ObverseError):
    """Training was asked to stop and did, after saving.

    Args:     signum: the signal; shells expect the exit code 128 + signum.
              step: optimiser steps done.
    """

    def __init__(self, signum: int, step: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(signum).name} after step {step}; resume to continue.")
        self.signum, self.step = signum, step


class Listening:
    """While this lasts, the first signal is noted in `heard`; a second one acts as it would have without."""

    def __init__(self) -> None:
        self.heard = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python hears signals nowhere else
            for signum in (getattr(signal, name) for name in _HEARD if hasattr(signal, name)):
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):  # nohup asks to ignore; None is not Python's
                    self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self.heard = signum
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signum, handler = self._before.popitem()
            signal.signal(signum, handler)  # type: ignore[arg-type]

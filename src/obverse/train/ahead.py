"""The next batches, made on a second thread while a step runs."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """The same items in the same order; up to `depth` of them are made in advance, by one other thread.

    The thread gets its turns while tensors are computed, since torch lets go of the interpreter then. An error is
    raised where its item would have been.

    Args:     items: made one after the other, never two at a time.
              depth: at least 1.
    Example:
        >>> list(ahead(iter("abc")))
        ['a', 'b', 'c']
    """
    pool = ThreadPoolExecutor(1, "obverse-ahead", _deaf)
    waiting: deque[Future[T]] = deque()
    try:
        for _ in range(depth):
            waiting.append(pool.submit(next, items))
        while True:
            found = waiting.popleft()
            try:
                item = found.result()
            except StopIteration:
                return
            waiting.append(pool.submit(next, items))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def _deaf() -> None:
    """Signals are for the main thread, which would not wake up for one that this thread is handed."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

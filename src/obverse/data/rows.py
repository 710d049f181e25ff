"""Rows: samples that stay where they are, in a mapped file or undecoded, until a batch asks for some of them.

A tensor is rows too. Whatever is asked of all of them, such as their mean, is asked of one chunk after the other, so
that a data set of a hundred gigabytes needs no more memory than one of a megabyte.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obverse.ground import noise

MAPPED = 64 * 2**20  # bytes; a larger file is mapped, a smaller one is read, so that it may change afterwards
_CHUNK = 2**18  # numbers that are looked at together
_LARGE = 2**17  # rows that are shuffled in megabytes

Index: TypeAlias = Tensor | slice | list[int]


class Rows(ABC):
    """Samples in raw units, made when they are asked for.

    Args:     shape: (N *data).
    Example:
        >>> rows = Mapped(np.arange(6, dtype=">i2").reshape(3, 2))
        >>> rows[torch.tensor([2, 0])]
        tensor([[4., 5.],
                [0., 1.]])
    """

    shape: tuple[int, ...]
    threaded = False  # whether making rows is work, worth a thread of its own
    mapped: mmap.mmap | None = None  # the file that they lie in

    @abstractmethod
    def take(self, index: Tensor) -> Tensor:
        """The samples of these numbers; (batch,) -> (batch *data)."""

    def __getitem__(self, index: Index) -> Tensor:
        if isinstance(index, slice):  # of many rows, only those that are asked for are counted out
            return self.take(torch.from_numpy(np.arange(*index.indices(len(self)))))
        return self.take(index if isinstance(index, Tensor) else torch.arange(len(self))[index])

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Axes, the samples' own and the one of samples."""
        return len(self.shape)


class Mapped(Rows):
    """Rows of an array of any layout and byte order, most often one that is mapped from a file.

    Args:     array: (N *data).
              bytes_stay: whether numbers of 8 bits stay such (images); else all become floats.
    """

    def __init__(self, array: NDArray[Any], bytes_stay: bool = False) -> None:
        self._array, self.shape, self._stay = np.asarray(array), array.shape, bytes_stay
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        self.mapped = base if isinstance(base, mmap.mmap) else None

    def take(self, index: Tensor) -> Tensor:
        """See `Rows`."""
        rows = self._array[index.numpy()]
        return torch.from_numpy(np.ascontiguousarray(rows if self._stay else floats(rows)))

    def __getitem__(self, index: Index) -> Tensor:
        if not isinstance(index, slice):
            return super().__getitem__(index)
        rows = self._array[index]
        return torch.from_numpy(np.array(rows if self._stay else floats(rows), order="C"))


class Part(Rows):
    """Some rows of others, which are not copied.

    Args:     whole: the others.
              index: which; (N,).
    """

    def __init__(self, whole: Tensor | Rows, index: Tensor) -> None:
        self._whole: Tensor | Rows = whole._whole if isinstance(whole, Part) else whole
        wanted = whole._index[index] if isinstance(whole, Part) else index
        self._index: Tensor = wanted.to(_narrow(len(self._whole)))
        self.shape = (len(index), *whole.shape[1:])
        self.threaded = isinstance(self._whole, Rows) and self._whole.threaded

    def take(self, index: Tensor) -> Tensor:
        """See `Rows`."""
        return self._whole[self._index[index].long()]


class Turned(Rows):
    """Rows (N, a, b) as (N, b, a).

    Args:     whole: the others.
    """

    def __init__(self, whole: Tensor | Rows) -> None:
        self._whole, self.shape = whole, (whole.shape[0], whole.shape[2], whole.shape[1])

    def take(self, index: Tensor) -> Tensor:
        """See `Rows`."""
        return self._whole[index].transpose(1, 2).contiguous()


@dataclass(frozen=True)
class Made(Rows):
    """Rows that a function makes, several at a time on threads: files that are decoded.

    Args:     shape: (N *data).
              make: a sample's number to the sample; reads files, so it is called from several threads.
              workers: threads.
    """

    shape: tuple[int, ...]
    make: Callable[[int], NDArray[Any]]
    workers: int = 4
    threaded = True

    def take(self, index: Tensor) -> Tensor:
        """See `Rows`."""
        numbers = index.tolist()
        made = self._pool.map(self.make, numbers) if len(numbers) > 1 else map(self.make, numbers)
        return torch.from_numpy(np.stack(list(made)))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers, "decode")


def chunks(values: Tensor | Rows | NDArray[Any]) -> Iterator[Any]:
    """All rows, a few at a time; what has been looked at in a mapped file is not kept in memory.

    Example:
        >>> sum(len(chunk) for chunk in chunks(torch.zeros(1000, 3000)))
        1000
    """
    each = max(1, _CHUNK // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, values.shape[0], each):
        yield values[start : start + each]
        release(values)


def release(values: Any) -> None:
    """Lets go of the pages of a mapped file that have been read; they are read again when asked for."""
    whole = values
    while isinstance(whole, Part | Turned):
        whole = whole._whole
    if isinstance(whole, Rows) and whole.mapped is not None and hasattr(whole.mapped, "madvise"):
        whole.mapped.madvise(mmap.MADV_DONTNEED)


def trim() -> None:
    """Hands memory that was freed back to the system, where the C library (glibc) keeps it; elsewhere nothing."""
    if sys.platform == "linux":
        hand_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if hand_back is not None:
            hand_back(0)


def floats(array: NDArray[Any]) -> NDArray[Any]:
    """float32 if that holds every number of the dtype, else float64; in the machine's byte order."""
    exact = np.can_cast(array.dtype, np.float32)
    return array.astype(np.float32 if exact else np.float64, copy=False)


def shuffled(count: int, *, seed: int, purpose: str, step: int = 0) -> Tensor:
    """`noise.permutation` in half the memory: int32 where that is enough."""
    large = count >= _LARGE
    if large:  # of all that reading and training do, this asks for the most beside the rows
        trim()
    words = noise.bits(count, seed=seed, purpose=purpose, step=step, samples=[0])[0].numpy()
    places = torch.from_numpy(words.argsort(kind="stable")).to(_narrow(count))
    del words
    if large:
        trim()
    return places


def _narrow(count: int) -> torch.dtype:
    return torch.int32 if count < 2**31 else torch.int64

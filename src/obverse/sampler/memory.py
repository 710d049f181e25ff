"""Where a run keeps its registers: as rows of one matrix where that is faster, one by one elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from obverse.model import Microbatched, Model
from obverse.sampler.program import UNUSED, Program

SMALL = 2**10  # numbers of a sample up to which calling a kernel costs more than its work
KEPT = 2**16  # numbers that a table may hold between two runs: larger states hide what making room for them costs


class Memory(ABC):
    """Where a run keeps its registers."""

    @abstractmethod
    def put(self, slot: int, value: Tensor) -> None:
        """Keep a value in a slot; UNUSED is none."""

    @abstractmethod
    def copy(self, slot: int, output: Tensor) -> Tensor:
        """Keep what a network says, which may say the next thing in the same place; what is kept, or the output."""

    @abstractmethod
    def states(self, number: int) -> Sequence[Tensor]:
        """The states of a group; good until the next group's."""

    @abstractmethod
    def own(self, x_t: Tensor) -> Tensor:
        """A state that stays as it is."""

    @abstractmethod
    def leave(self, program: Program) -> None:
        """The run is over, and what it held is free."""


class Matrix(Memory):
    """Slots as rows of one matrix, states by one product: a microsecond a step; no gradients.

    For the CPU only, and so is what a table keeps of it between two runs: elsewhere runs are `Loose` and keep nothing.
    """

    @torch.inference_mode(False)  # a later run may not be in it
    def __init__(self, program: Program, like: Tensor) -> None:
        held = like.new_zeros(program.slots + program.width, *like.shape)
        self._rows, new = torch.split(held.view(len(held), -1), [program.slots, program.width])
        self._slots = held.unbind()
        made = self._slots[program.slots :]
        self._new = [(new[:count], made[:count]) for count in range(program.width + 1)]
        self._weights = program.weights(like.dtype)

    @classmethod
    def taken(cls, program: Program, like: Tensor) -> Matrix:
        """The memory that the last run has left, if it fits, or a new one."""
        left: Matrix | None = program.left.pop((like.shape, like.dtype), None)
        if left is None:
            return cls(program, like)
        left._rows.zero_()  # a weight of 0 does not undo what is not finite
        return left

    def leave(self, program: Program) -> None:
        """Leave the memory to the next run, unless it is large."""
        if self._rows.numel() <= KEPT:
            program.left.clear()
            program.left[self._slots[0].shape, self._rows.dtype] = self

    def put(self, slot: int, value: Tensor) -> None:
        if slot != UNUSED:
            self._slots[slot].copy_(value)

    def copy(self, slot: int, output: Tensor) -> Tensor:
        self.put(slot, output)
        return output

    def states(self, number: int) -> Sequence[Tensor]:
        new, made = self._new[len(self._weights[number])]
        torch.mm(self._weights[number], self._rows, out=new)
        return made

    def own(self, x_t: Tensor) -> Tensor:
        return x_t.clone()


class Loose(Memory):
    """Slots one by one, states term by term: the same bits at any batch size, and gradients pass."""

    def __init__(self, program: Program) -> None:
        self._groups = program.groups
        self._slots: dict[int, Tensor] = {}

    def put(self, slot: int, value: Tensor) -> None:
        self._slots[slot] = value

    def copy(self, slot: int, output: Tensor) -> Tensor:
        if slot != UNUSED:
            output = self._slots[slot] = output.clone()
        return output

    def states(self, number: int) -> Sequence[Tensor]:
        return [self._combined(row) for row in self._groups[number].weights]

    def own(self, x_t: Tensor) -> Tensor:
        return x_t

    def leave(self, program: Program) -> None:
        self._slots.clear()

    def _combined(self, row: Mapping[int, float]) -> Tensor:
        total: Tensor | None = None
        for slot, number in row.items():
            value = self._slots[slot]
            total = value * number if total is None else total.add_(value, alpha=number)
        assert total is not None
        return total


def memory_for(program: Program, like: Tensor, model: Model) -> Memory:
    """The faster memory where products of float32 are what they seem and no gradient is asked for."""
    if program.chain:
        return Loose(program)
    exactly = like.dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest"
    alone = torch.is_grad_enabled() or isinstance(model, Microbatched)
    small = like.device.type == "cpu" and like.numel() <= SMALL * len(like)
    return Matrix.taken(program, like) if small and exactly and not alone else Loose(program)

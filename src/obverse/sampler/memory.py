"""Where a run keeps its registers, and the loop over them: in a chain, as rows of one matrix, or one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from obverse.model import Call, Cond, Microbatched, Model
from obverse.sampler.program import UNUSED, Program

SMALL = 2**10  # numbers of a sample up to which calling a kernel costs more than its work
KEPT = 2**16  # numbers that a table may hold between two runs: larger states hide what making room for them costs

Turn = tuple[int, Sequence[Tensor], Tensor | None]  # number of a group, its states, what was said at the call before


class Memory(ABC):
    """Where a run keeps its registers."""

    @abstractmethod
    def turns(self, calls: Sequence[Call], start: Tensor, draws: Iterator[Tensor], cond: Cond) -> Iterator[Turn]:
        """The loop: from group to group of states, each good until the next one's."""

    def own(self, x_t: Tensor) -> Tensor:
        """A state that stays as it is."""
        return x_t

    def leave(self) -> None:  # noqa: B027 - most have nothing that is worth it
        """The run is over: leave what it held to the next one."""


class Chain(Memory):
    """Nothing but the latest state; gradients pass."""

    def __init__(self, program: Program) -> None:
        self._links = program.chain or ()

    def turns(self, calls: Sequence[Call], start: Tensor, draws: Iterator[Tensor], cond: Cond) -> Iterator[Turn]:
        x_t = start
        yield 0, (x_t,), None
        for number, ((a, b, c), call) in enumerate(zip(self._links, calls, strict=True), 1):
            output = call(x_t, cond)
            if c is not None:  # the draw is c times as large already
                x_t = next(draws).add(output, alpha=b).add_(x_t, alpha=a)
            else:
                x_t = x_t.add(output, alpha=b) if a == 1 else (x_t * a).add_(output, alpha=b)
            yield number, (x_t,), output


class Matrix(Memory):
    """Slots as rows of one matrix, states by one product: a microsecond a step; no gradients.

    For the CPU only, and so is what a table keeps of it between two runs: elsewhere runs are `Loose` and keep nothing.
    """

    @torch.inference_mode(False)  # a later run may not be in it
    def __init__(self, program: Program, like: Tensor) -> None:
        held = like.new_zeros(program.slots + program.width, *like.shape)
        self._program, self._key = program, (like.shape, like.dtype)
        self._rows, new = torch.split(held.view(len(held), -1), [program.slots, program.width])
        slots = held.unbind()
        made = slots[program.slots :]
        new_of = [new[:count] for count in range(program.width + 1)]
        self._first = [slots[slot] for _, slot in program.groups[0].kept]
        self._groups = [
            (
                [slots[slot] for slot in group.draws],
                weights,
                new_of[len(weights)],
                made[: len(weights)],
                [(slots[slot], made[place]) for place, slot in group.kept],
                group.call,
                None if group.output == UNUSED else slots[group.output],
            )
            for group, weights in zip(program.groups, program.weights(like.dtype), strict=True)
        ]

    @classmethod
    def taken(cls, program: Program, like: Tensor) -> Matrix:
        """The memory that the last run has left, if it fits, or a new one."""
        left: Matrix | None = program.left.pop((like.shape, like.dtype), None)
        if left is None:
            return cls(program, like)
        left._rows.zero_()  # a weight of 0 does not undo what is not finite
        return left

    def turns(self, calls: Sequence[Call], start: Tensor, draws: Iterator[Tensor], cond: Cond) -> Iterator[Turn]:
        output, rows, product = None, self._rows, torch.mm
        for number, (drawn, weights, new, made, kept, call, into) in enumerate(self._groups):
            for slot in drawn:
                slot.copy_(next(draws))
            if number:
                product(weights, rows, out=new)
                for slot, x_t in kept:
                    slot.copy_(x_t)
            else:
                made = (start,)
                for slot in self._first:
                    slot.copy_(start)
            yield number, made, output
            if call is not None:
                output = calls[call](made[-1], cond)
                if into is not None:
                    into.copy_(output)

    def own(self, x_t: Tensor) -> Tensor:
        return x_t.clone()

    def leave(self) -> None:
        """Leave the memory to the next run, unless it is large."""
        if self._rows.numel() <= KEPT:
            self._program.left.clear()
            self._program.left[self._key] = self


class Loose(Memory):
    """Slots one by one, states term by term: the same bits at any batch size, and gradients pass."""

    def __init__(self, program: Program) -> None:
        self._groups = program.groups

    def turns(self, calls: Sequence[Call], start: Tensor, draws: Iterator[Tensor], cond: Cond) -> Iterator[Turn]:
        output: Tensor | None = None
        slots: dict[int, Tensor] = {}
        for number, (_, drawn, weights, kept, call, into) in enumerate(self._groups):
            for slot in drawn:
                slots[slot] = next(draws)
            states = [_combined(row, slots) for row in weights] if number else [start]
            for place, slot in kept:
                slots[slot] = states[place]
            yield number, states, output
            if call is not None:
                output = calls[call](states[-1], cond)
                if into != UNUSED:
                    output = slots[into] = output.clone()


def bare(program: Program) -> Memory:
    """The memory that leaves everything to torch: gradients, compilers and graphs pass."""
    return Loose(program) if program.chain is None else Chain(program)


def memory_for(program: Program, like: Tensor, model: Model) -> Memory:
    """The faster memory where products of float32 are what they seem and no gradient is asked for."""
    exactly = like.dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest"
    alone = program.chain or torch.is_grad_enabled() or isinstance(model, Microbatched)
    small = like.device.type == "cpu" and like.numel() <= SMALL * len(like)
    return Matrix.taken(program, like) if small and exactly and not alone else bare(program)


def _combined(row: Mapping[int, float], slots: Mapping[int, Tensor]) -> Tensor:
    """The state that a row of weights makes of what is in the slots."""
    total: Tensor | None = None
    for slot, number in row.items():
        total = slots[slot] * number if total is None else total.add_(slots[slot], alpha=number)
    assert total is not None
    return total

"""What a step did, over all processes: everything that is logged or decided, in one exchange between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from obverse.train.protocols import Loss

if TYPE_CHECKING:
    from accelerate import Accelerator


class Outcome(NamedTuple):
    """One step, over all processes.

    Args:     loss, norm: of the whole batch; the norm is that of the gradient.
              per_sample, logsnr: loss and place on the path of each sample; (batch).
              heard: the signal that one of the processes has received, or 0.
              part: mean squared norm of the gradients of the first parts, one in each process; 0 with one part.
              floor: what the exact model would have lost, where there is one; (batch).
    """

    loss: float
    norm: float
    per_sample: Tensor
    logsnr: Tensor
    heard: int
    part: float
    floor: Tensor | None


def exchanged(
    accelerator: Accelerator,
    losses: Sequence[Loss],
    norm: Tensor,
    part: Tensor | float,
    heard: int,
    floor: Loss | None,
    *,
    shards: bool,
) -> Outcome:
    """The outcome of a step, the same on every process, in one exchange and one copy from the device.

    Args:     accelerator: whose processes.
              losses: of the parts of this process's rows.
              norm: of the gradient, or of its shards that are here.
              part: squared norm of the gradient of the first part.
              heard: the signal that this process has received, or 0.
              floor: the loss of the exact model on the same rows, where there is one.
              shards: whether each process holds a part of the gradient.
    """
    means = [loss.mean.detach() for loss in losses]
    mean = torch.stack(means).mean() if len(means) > 1 else means[0]
    columns = [_column(mean, [getattr(loss, name) for loss in losses]) for name in ("per_sample", "logsnr")]
    if floor is not None:
        columns.append(_column(mean, [floor.per_sample]))
    count = accelerator.num_processes
    if count == 1 and mean.device.type == "cpu":
        per_sample, logsnr, *least = columns
        return Outcome(float(mean), float(norm), per_sample, logsnr, heard, float(part), least[0] if least else None)
    numbers = (mean, norm, part, heard)
    head = [value.to(mean) if isinstance(value, Tensor) else mean.new_full((), value) for value in numbers]
    sent = torch.cat([torch.stack(head), torch.stack(columns, 1).flatten()])
    table: Tensor = accelerator.gather(sent.to(accelerator.device)).cpu().reshape(count, -1)
    # process r holds rows r, r + processes ...; the gradient is one for all processes, or each holds its shards
    rows = table[:, 4:].reshape(count, -1, len(columns)).transpose(0, 1).reshape(-1, len(columns))
    loss, shared, first = float(table[:, 0].mean()), float(table[0, 1]), float(table[:, 2].mean())
    if shards:
        shared, first = float(torch.linalg.vector_norm(table[:, 1])), float(table[:, 2].sum())
    per_sample, logsnr, *least = rows.unbind(1)
    return Outcome(loss, shared, per_sample, logsnr, int(table[:, 3].max()), first, least[0] if least else None)


def _column(like: Tensor, values: list[Tensor]) -> Tensor:
    """One number for each row of all parts, detached, where and as precise as the loss is."""
    return torch.cat([value.detach().to(like) for value in values]) if len(values) > 1 else values[0].detach().to(like)

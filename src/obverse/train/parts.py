"""A batch in equal parts, whose gradients are added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.train.protocols import Batch

NAMES = ("index", "rows")  # who the rows are, by which draws are keyed: they stay where they are


def in_parts(batch: Batch, count: int, device: torch.device) -> list[Any]:
    """The batch on its device, but for the names of its rows, in equal parts."""
    if not is_dataclass(batch) or isinstance(batch, type):
        raise InvalidArgument(f"A batch is a dataclass with a tensor x, got {type(batch).__name__} (use data.Batch).")
    if count == 1 and batch.x.device.type == device.type == "cpu":
        return [batch]
    size, left = divmod(len(batch.x), count)
    if left:
        raise InvalidArgument(f"accumulate divides the batch of a process, got {count} for {len(batch.x)} rows.")
    slices = [slice(i * size, (i + 1) * size) for i in range(count)]
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    places = {name: batch.rows.device if name in NAMES else device for name in values}
    return [
        replace(batch, **{name: _part(value, where, places[name]) for name, value in values.items()})
        for where in slices
    ]


def _part(value: Any, where: slice, device: torch.device) -> Any:
    """Some rows of a field, on a device, where it has rows: tensors, alone or by name, and what knows its parts."""
    if isinstance(value, Tensor):
        return value[where].to(device)
    if isinstance(value, Mapping):
        return {key: _part(part, where, device) for key, part in value.items()}
    if type(value) is tuple:
        return tuple(_part(part, where, device) for part in value)
    return value.part(where, device) if hasattr(value, "part") else value

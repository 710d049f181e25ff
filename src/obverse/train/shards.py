"""A net in shards: each process holds a part of every tensor, and a block is whole only while it computes (FSDP 2).

Weights, gradients, averages and the optimiser's state are shards; what is saved is whole. So a run goes on with any
number of processes, in shards or not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from obverse.ground.errors import InvalidArgument, require
from obverse.train.memory import blocks
from obverse.train.processes import sharing
from obverse.train.settings import Training

if TYPE_CHECKING:
    from accelerate import Accelerator


def foreseen(settings: Training, beside: bool = False) -> None:
    """Refuse what the environment asks for and cannot be, before Accelerate is asked and before anything is written.

    Args:     beside: whether the objective learns parameters of its own beside the net's.

    Raises:   InvalidArgument as of `check` and `Sharding.of`.
    """
    if sharing():
        _second(os.environ.get("FSDP_VERSION", "1"))
        check(settings, beside=beside)


def check(settings: Training, compiled: bool = False, beside: bool = False) -> None:
    """Refuse what cannot be done with a part of a tensor.

    Args:     compiled: whether the net has been compiled already.
              beside: as of `foreseen`.

    Raises:   InvalidArgument naming it and what can be done instead.
    """
    for found, why, fix in (
        (settings.optimizer == "muon", "optimizer='muon' turns whole matrices", "optimizer='adamw'"),
        (settings.precision == "fp16", "precision='fp16' looks for overflow in whole gradients", "precision='bf16'"),
        (settings.compile or compiled, "torch.compile takes a net whole", "compile=False"),
        (beside, "weighting='learned' asks for its parameters while none is gathered", "weighting='flow'"),
    ):
        if found:
            raise InvalidArgument(f"A net in shards is not whole anywhere, and {why} ({fix}, or no shards).")
    able = torch.accelerator.is_available() or hasattr(torch.cpu.Stream, "record_event")
    require(able, f"On CPUs shards need a newer torch than {torch.__version__} (pip install -U torch, or no shards).")


class Sharding:
    """How a net is shared out between processes.

    Args:     reshard: give a block's weights back after its forward pass, and gather them again for its backward pass:
                  less memory for more exchange.
    """

    def __init__(self, reshard: bool = True) -> None:
        self.reshard = reshard

    @classmethod
    def of(cls, accelerator: Accelerator) -> Sharding | None:
        """What Accelerate was asked for, None for whole nets; on GPUs it knows itself, on CPUs the environment does.

        Which modules are gathered together is not asked: the members of the net's lists, as in `units`.

        Raises:   InvalidArgument for what `train` does in another way, or not.
        """
        plugin = getattr(accelerator.state, "fsdp_plugin", None)
        if plugin is None and accelerator.num_processes > 1 and sharing():
            from accelerate import FullyShardedDataParallelPlugin

            plugin = FullyShardedDataParallelPlugin()  # as the environment says
        if plugin is None:
            return None
        _second(getattr(plugin, "fsdp_version", 1))  # Accelerate before 1.6 has no other
        for asks, said in (
            (getattr(plugin.cpu_offload, "pin_memory", None) is not None, "offload parameters (FSDP_OFFLOAD_PARAMS)"),
            (plugin.activation_checkpointing, "checkpoint activations (Training(recompute=True) does)"),
            (plugin.mixed_precision_policy is not None, "choose precision (Training(precision=...) does)"),
            (plugin.ignored_modules is not None, "ignore modules"),
        ):
            if asks:
                raise InvalidArgument(f"Shards are not asked to {said}; leave that out of Accelerate's FSDP settings.")
        return cls(bool(plugin.reshard_after_forward))

    def shards(self, net: nn.Module, device: torch.device) -> nn.Module:
        """A copy of a net, this process's part of it, on a device; all begin with the weights of the first process.

        Called by all processes at once; so is the copy.

        Raises:   InvalidArgument for a parameter without dimensions, which has no parts.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        for name, parameter in net.named_parameters():
            if not parameter.ndim:
                raise InvalidArgument(
                    f"A parameter of a net in shards has parts, and {name!r} has shape () (make it (1,))."
                )
        mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
        copy = deepcopy(net).to(device)
        agree(chain(copy.parameters(), copy.buffers()))
        for unit in (*units(copy), copy):
            fully_shard(unit, mesh=mesh, reshard_after_forward=self.reshard)
        return copy


def _second(version: object) -> None:
    if str(version) != "2":
        raise InvalidArgument(
            f"A net is shared out by FSDP 2, got FSDP {version} (FSDP_VERSION=2, accelerate launch --fsdp_version 2, "
            "or obverse train --shard)."
        )


def units(net: nn.Module) -> list[nn.Module]:
    """What is gathered together: the members of the net's lists of modules, or nothing but the net itself.

    Example:
        >>> len(units(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)))), units(nn.Linear(2, 2))
        (2, [])
    """
    try:
        found = blocks(net)
    except InvalidArgument:
        return []
    if len(list(net.parameters())) != len(list(net.named_parameters(remove_duplicate=False))):
        return []  # tied weights belong to one unit
    called = [part for part in found if not isinstance(part, nn.ModuleList | nn.ModuleDict)]
    return [part for part in called if next(part.parameters(), None) is not None]


@torch.no_grad()
def agree(tensors: Iterable[Tensor]) -> None:
    """Give all processes the first one's values."""
    for tensor in tensors:
        sent = tensor.detach().contiguous()
        distributed.broadcast(sent, 0)
        tensor.copy_(sent)


def anywhere(flags: Sequence[bool], device: torch.device) -> list[bool]:
    """Which of these are true in some process; all ask at once."""
    found = torch.tensor(flags, dtype=torch.int32, device=device)
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return [bool(flag) for flag in found.tolist()]


def whole(value: Tensor) -> Tensor:
    """A tensor that is whole already as it is; a shard made whole, which all processes ask for at once."""
    full: Tensor = value.detach()
    return full.full_tensor() if hasattr(full, "full_tensor") else full


def gathered(values: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Tensors made whole, one after the other, on the CPU; all processes ask, and those that do not keep get none."""
    found = {}
    for name, value in values.items():
        full = whole(value)
        if keep:
            found[name] = full.cpu()
    return found


def split(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` is: a shard, of the first process's values, which all ask for at once; or whole."""
    if not hasattr(like, "device_mesh"):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)  # what has a mesh
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


@torch.no_grad()
def local(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The part of each tensor that is here: views, all of them for whole tensors."""
    return [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]


@torch.no_grad()
def fill(net: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Put values, whole or in shards, into a whole net; all processes do so at once where they are shards."""
    for name, tensor in net.state_dict().items():
        tensor.copy_(whole(values[name]))


@contextmanager
def visiting(net: nn.Module, values: Mapping[str, Tensor]) -> Iterator[Any]:
    """While this lasts, a whole net is where the shards are, a GPU say; otherwise it stays out of their way."""
    shard = next((value for value in values.values() if hasattr(value, "device_mesh")), None)
    before = next((value.device for value in net.state_dict().values()), None)
    if shard is None or before is None:
        yield net
        return
    net.to(shard.device)
    try:
        yield net
    finally:
        net.to(before)

"""Optimisers: AdamW and Muon, gradients, and the state of any optimiser as named tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from obverse.ground.errors import CheckpointError, InvalidArgument
from obverse.ground.numerics import exact
from obverse.train import shards
from obverse.train.settings import Training

Optimizers = Sequence[torch.optim.Optimizer]
Choose = Callable[[nn.Module, Training], Optimizers | torch.optim.Optimizer]


def optimizers(net: nn.Module, settings: Training) -> Optimizers:
    """What `settings.optimizer` names, over what is trainable; each parameter belongs to one of them.

    Raises:   InvalidArgument for Muon where torch has none, or where the net has no matrix.
    """
    return _NAMED[settings.optimizer](net, settings)


def muon(net: nn.Module, settings: Training) -> Optimizers:
    """Muon for matrices, but for those that look rows up (embeddings); AdamW for the rest, convolutions among it.

    Its steps are scaled to the size of AdamW's, so that lr and weight_decay mean the same.

    Raises:   InvalidArgument where torch has no Muon (it came with torch 2.9), or where the net has no matrix.
    Source:   Jordan et al. (2024); Liu et al. (2025), section 2.2.
    """
    if not hasattr(torch.optim, "Muon"):
        raise InvalidArgument(
            f"optimizer 'muon' needs torch >= 2.9, this is torch {torch.__version__} (optimizer='adamw')."
        )
    tables = {
        parameter for module in net.modules() if isinstance(module, nn.Embedding) for parameter in module.parameters()
    }
    matrices = [p for p in _trained(net) if p.ndim == 2 and p not in tables]
    if not matrices:
        raise InvalidArgument("optimizer 'muon' turns matrices, and this net has none (optimizer='adamw').")
    chosen = set(matrices)
    rest = [p for p in _trained(net) if p not in chosen]
    turned = torch.optim.Muon(matrices, settings.lr, settings.weight_decay, adjust_lr_fn="match_rms_adamw")
    return [turned, adamw(rest, settings)] if rest else [turned]


def adamw(trained: list[nn.Parameter], settings: Training) -> torch.optim.AdamW:
    """AdamW; only matrices decay, since a bias or a gain at 0 is no simpler than at 1.

    Source:   Loshchilov & Hutter (2019), algorithm 2.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    if not settings.weight_decay:
        groups = [{"params": trained, "weight_decay": 0.0}]  # one call instead of two
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trained)
    return torch.optim.AdamW([g for g in groups if g["params"]], settings.lr, settings.betas, fused=fused or None)


_NAMED: dict[str, Callable[[nn.Module, Training], Optimizers]] = {
    "adamw": lambda net, settings: [adamw(_trained(net), settings)],
    "muon": muon,
}


def state(chosen: Optimizers, net: nn.Module, begun: Mapping[str, float] | None = None) -> dict[str, Tensor]:
    """The state as tensors named after parameters, such as "exp_avg.block.0.weight", or after groups.

    Args:     begun: `numbers` as the optimisers were made; those that have changed are state too, as schedule-free and
                  Prodigy have it.
    Raises:   CheckpointError for an optimiser that keeps what is neither a tensor nor a number, such as LBFGS, or what
              belongs to no parameter.
    """
    before = numbers(chosen) if begun is None else begun
    found = {name: _tensor(value) for name, value in numbers(chosen).items() if before.get(name) != value}
    parameters = set(net.parameters())
    for optimizer in chosen:
        if beside := [key for key in optimizer.state if key not in parameters]:
            what = "a tensor" if isinstance(beside[0], Tensor) else repr(beside[0])
            raise CheckpointError(
                f"{type(optimizer).__name__} keeps a state for {what}, which is no parameter of this net, and "
                f"checkpoints name a state by its parameter: let it keep numbers in its param_groups, or train without "
                f"a run."
            )
        for name, parameter in net.named_parameters():
            for key, value in optimizer.state.get(parameter, {}).items():
                if value is None:
                    continue
                if not isinstance(value, Tensor | int | float):
                    raise CheckpointError(
                        f"{type(optimizer).__name__} keeps a {type(value).__name__} ({key!r} of {name!r}), and "
                        f"checkpoints hold tensors and numbers: let it keep one under a key for each part, such as "
                        f"'{key}-0', or train without a run."
                    )
                found[f"{key}.{name}"] = value if isinstance(value, Tensor) else _tensor(value)
    return found


def numbers(chosen: Optimizers) -> dict[str, float]:
    """What the groups of optimisers say beside their parameters and the rate, such as "weight_decay.group 0.1"."""
    return {
        f"{key}.{name}": value
        for name, group in _groups(chosen).items()
        for key, value in group.items()
        if key != "lr" and isinstance(value, int | float)
    }


def restore(chosen: Optimizers, net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Continue from a saved state, to the last bit.

    Raises:   CheckpointError when a name or a shape is another net's, or another optimiser's.
    """
    parameters, groups = dict(net.named_parameters()), _groups(chosen)
    by_name: dict[str, dict[str, Any]] = {}
    for key, value in sorted(tensors.items()):  # a file is read in any order, and processes share out in one
        kind, _, name = key.partition(".")
        if name in groups:
            groups[name][kind] = value.item()
            continue
        if name not in parameters or not _fits(value, parameters[name]):
            raise CheckpointError(
                f"The optimizer's {key!r} of shape {tuple(value.shape)} fits no parameter of this net."
            )
        alike = value.shape == parameters[name].shape
        mine = shards.split(value, parameters[name]) if alike else value
        by_name.setdefault(name, {})[kind] = mine.clone()  # optimisers change it in place
    names = {parameter: name for name, parameter in parameters.items()}
    for optimizer in chosen:
        order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
        packed = optimizer.state_dict()
        packed["state"] = {i: by_name[name] for i, name in enumerate(order) if name in by_name}
        optimizer.load_state_dict(packed)  # takes each where it is wanted, but rounds it to its parameter's dtype
        for name in order:
            kept = optimizer.state[parameters[name]] if name in by_name else {}
            kept.update({kind: by_name[name][kind].to(value.device) for kind, value in kept.items()})


def gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients together, or of the shards that are here; ()."""
    found = _gradients(parameters)
    if not found or any(grad.device != found[0].device or grad.is_sparse for grad in found):
        return torch.nn.utils.get_total_norm(found)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(found)))
    return norm  # the bits of torch's own, without its sorting by device and dtype


def clip(parameters: Sequence[Tensor], norm: Tensor, most: float) -> None:
    """Scale all gradients, of this norm, down to a norm of at most `most`; 0 leaves them."""
    if most:
        found = _gradients(parameters)
        if any(grad.device != norm.device or grad.is_sparse for grad in found):
            torch.nn.utils.clip_grads_with_norm_(parameters, most, norm)
        else:
            torch._foreach_mul_(found, (most / (norm + 1e-6)).clamp(max=1.0))  # as torch's own, to the bit


def first_non_finite(net: nn.Module) -> str | None:
    """The name of the first parameter whose gradient is not finite; asked by all processes where they hold shards."""
    named = [name for name, parameter in net.named_parameters() if parameter.grad is not None]
    grads = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    bad = [bool((~grad.isfinite()).any()) for grad in shards.local(grads)]
    if grads and hasattr(grads[0], "device_mesh"):
        bad = shards.anywhere(bad, grads[0].device)
    return next((name for name, found in zip(named, bad, strict=True) if found), None)


def _tensor(value: float) -> Tensor:
    return exact(value) if isinstance(value, float) else torch.tensor(value)


def _groups(chosen: Optimizers) -> dict[str, dict[str, Any]]:
    return {f"group {i}.{j}": group for i, each in enumerate(chosen) for j, group in enumerate(each.param_groups)}


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    found = [grad for parameter in parameters if (grad := parameter.grad) is not None]
    return shards.local(found) if found and hasattr(found[0], "device_mesh") else found


def _trained(net: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def _fits(value: Tensor, parameter: Tensor) -> bool:
    """Whether a state can belong to a parameter: its sizes are of some of its dimensions, flattened or squared too.

    The parameter's own sizes in another order are those of a transposed one.
    """
    turned = value.shape != parameter.shape and sorted(value.shape) == sorted(parameter.shape)
    return not turned and all(parameter.numel() % max(n, 1) == 0 for n in value.shape)

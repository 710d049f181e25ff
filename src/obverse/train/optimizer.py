"""AdamW, its gradient, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from obverse.ground.errors import CheckpointError
from obverse.train.settings import Training


def adamw(net: nn.Module, settings: Training) -> torch.optim.AdamW:
    """AdamW over what is trainable; only matrices decay, since a bias or a gain at 0 is no simpler than at 1.

    Source:   Loshchilov & Hutter (2019), algorithm 2.
    """
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trained)
    return torch.optim.AdamW([g for g in groups if g["params"]], settings.lr, settings.betas, fused=fused or None)


def state(optimizer: torch.optim.Optimizer, net: nn.Module) -> dict[str, Tensor]:
    """The state as tensors named after parameters, such as "exp_avg.block.0.weight"."""
    return {
        f"{key}.{name}": value
        for name, parameter in net.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore(optimizer: torch.optim.Optimizer, net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Continue from a saved state, to the last bit.

    Raises:   CheckpointError when a name or a shape is another net's.
    """
    parameters = dict(net.named_parameters())
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition(".")
        if name not in parameters or (value.ndim and value.shape != parameters[name].shape):
            raise CheckpointError(
                f"The optimizer's {key!r} of shape {tuple(value.shape)} fits no parameter of this net."
            )
        by_name.setdefault(name, {})[kind] = value.clone()  # AdamW changes it in place
    names = {parameter: name for name, parameter in parameters.items()}
    order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    packed = optimizer.state_dict()
    packed["state"] = {i: by_name[name] for i, name in enumerate(order) if name in by_name}
    optimizer.load_state_dict(packed)


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients together; ()."""
    return torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


def clip(parameters: Iterable[Tensor], norm: Tensor, most: float) -> None:
    """Scale all gradients, of this norm, down to a norm of at most `most`; 0 leaves them."""
    if most:
        torch.nn.utils.clip_grads_with_norm_(parameters, most, norm)


def first_non_finite(net: nn.Module) -> str | None:
    """The name of the first parameter whose gradient is not finite."""
    for name, parameter in net.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return name
    return None

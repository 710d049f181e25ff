"""What cannot be trained, learnt from or gone on from, said before it does harm."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from obverse.ground.errors import CheckpointError, InvalidArgument
from obverse.train.checkpoint import Checkpoint
from obverse.train.ema import difference
from obverse.train.memory import blocks
from obverse.train.optimizer import optimizers
from obverse.train.protocols import Loss
from obverse.train.settings import Training


def check_net(net: nn.Module) -> None:
    """Refuse a net that cannot be trained, or not be saved."""
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise InvalidArgument(f"{type(net).__name__} has no parameter to train (one with requires_grad=True).")
    for name, value in net.state_dict().items():
        if not isinstance(value, Tensor):
            raise InvalidArgument(
                f"{name!r} of this net is of type {type(value).__name__}, and checkpoints hold tensors only."
            )


def check_training(net: nn.Module, settings: Training) -> None:
    """Refuse a net that cannot be trained in the way that settings ask for; nothing is kept of it."""
    check_net(net)
    optimizers(net, settings)
    if settings.recompute:
        blocks(net)


def check_loss(loss: Loss) -> None:
    """Refuse what an objective returns where nothing can be learnt from it."""
    mean = getattr(loss, "mean", None)
    if not isinstance(mean, Tensor):
        raise InvalidArgument(
            f"loss returns an object with mean (), per_sample and logsnr (batch), got a {type(loss).__name__} "
            "(SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=...))."
        )
    if not mean.requires_grad:
        raise InvalidArgument(
            "loss.mean has no gradient: no parameter of the net went into it (was it detached, under no_grad, or of "
            "another net?)."
        )


def check_start(start: Checkpoint, settings: Training, net: nn.Module, averages: Iterable[str]) -> None:
    """Refuse a checkpoint of another net, of another optimiser or without an average."""
    chosen = settings.optimizer
    if (was := start.about.get("training", {}).get("optimizer", chosen)) != chosen:
        raise CheckpointError(
            f"{start.path} holds the state of optimizer {was!r} for a run that goes on, got {chosen!r}."
        )
    if missing := [name for name in averages if name not in start.tensors]:
        raise CheckpointError(
            f"{start.path} does not hold the average {missing[0]!r}: go on with the ema and ema_power it had."
        )
    for group in ("net", *averages):
        if apart := difference(net.state_dict(), start.tensors[group]):
            raise CheckpointError(f"{start.path} is of another net: {apart}.")

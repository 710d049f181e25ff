"""All that a training is made of at a moment: it takes a step, and it is saved and loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import CheckpointError, InvalidArgument, NonFinite
from obverse.train import optimizer
from obverse.train.checkpoint import Checkpoint
from obverse.train.ema import EMA, difference
from obverse.train.meter import Meter
from obverse.train.precision import Scaler, computing
from obverse.train.settings import Training

if TYPE_CHECKING:
    from accelerate import Accelerator


class Batch(Protocol):
    """Rows of one training step, as a dataclass such as `obverse.data.Batch`; tensors have a row for each sample."""

    @property
    def x(self) -> Tensor:
        """The samples; (batch *data)."""

    @property
    def label(self) -> Tensor | None:
        """Their classes, if any; (batch)."""

    @property
    def index(self) -> Tensor:
        """Which samples of the data set they are; (batch)."""

    @property
    def step(self) -> int:
        """The training step they belong to."""

    @property
    def rows(self) -> Tensor:
        """Their places in the batch over all processes and parts; (batch)."""


class Loss(Protocol):
    """What an objective says of a batch."""

    @property
    def mean(self) -> Tensor:
        """What is minimised; ()."""

    @property
    def per_sample(self) -> Tensor:
        """The loss of each sample; (batch)."""

    @property
    def logsnr(self) -> Tensor:
        """Where on the path each sample was taken; (batch)."""


Objective = Callable[[nn.Module, Any, int], Loss]


@dataclass(frozen=True, eq=False)
class Outcome:
    """One step, over all processes: loss, gradient norm, loss and log-SNR of each sample, the signal heard."""

    loss: float
    norm: float
    per_sample: Tensor
    logsnr: Tensor
    heard: int


class State:
    """Net, average, optimiser, counters: what a step changes.

    Args:     net: moved to the accelerator's device.
              objective: (net, batch, step) -> Loss, a function of its arguments alone.
              settings: the numbers.
              accelerator: devices and processes.
    """

    def __init__(self, net: nn.Module, objective: Objective, settings: Training, accelerator: Accelerator) -> None:
        self.objective, self.settings, self.accelerator = objective, settings, accelerator
        self.net: nn.Module = accelerator.prepare_model(net)
        self.raw: nn.Module = getattr(net, "_orig_mod", net)  # a compiled net is saved under its own names
        self.parameters = list(self.raw.parameters())
        self.optimizer = optimizer.adamw(self.raw, settings)
        self.ema = EMA(self.raw, settings.ema, settings.ema_rampup)
        self.scaler = Scaler(accelerator.device, settings.precision)
        self.meter = Meter()
        word = noise.bits(1, seed=settings.seed, purpose="dropout", samples=[accelerator.process_index])
        self.dropout = int(word) >> 2  # a generator's seed has 64 bits, and the step is added
        self.step = self.skipped = 0

    def advance(self, batch: Batch, heard: int) -> Outcome:
        """Take one step, or none if it would not be finite.

        Args:     batch: this process's rows of the step.
                  heard: the signal this process has received, or 0.
        Raises:   NonFinite naming the step and the first culprit; no parameter has changed then.
        """
        losses = self._backward(batch)
        self.scaler.inner.unscale_(self.optimizer)
        norm = optimizer.gradient_norm(self.parameters)
        outcome = self._gather(losses, norm, heard)
        if torch.tensor([outcome.loss, outcome.norm]).isfinite().all():
            self._apply(norm)
            self.meter.add(outcome.loss, outcome.norm, outcome.per_sample, outcome.logsnr)
        elif self.scaler.lower():
            self.skipped += 1
        else:
            raise NonFinite(f"Step {self.step} was not taken: {self._culprit(batch, losses, outcome)}.")
        self.step += 1
        return outcome

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds; "net" and "ema" are state dicts that any tool can load."""
        counts = {"ema": torch.tensor(self.ema.count), "skipped": torch.tensor(self.skipped)}
        return {
            "net": self.raw.state_dict(),
            "ema": self.ema.weights,
            "optimizer": optimizer.state(self.optimizer, self.raw),
            "counters": {**counts, **self.meter.state(), **self.scaler.state()},
        }

    def load(self, start: Checkpoint) -> None:
        """Continue from a checkpoint, to the last bit.

        Raises:   CheckpointError when it is another net's, or lacks a part.
        """
        try:
            net, ema, moments, counters = (start.tensors[group] for group in ("net", "ema", "optimizer", "counters"))
            count, skipped = int(counters["ema"]), int(counters["skipped"])
            self.meter.load(counters)
        except KeyError as error:
            raise CheckpointError(f"{start.path} has no {error}: it is not a checkpoint of a training.") from None
        if (apart := difference(self.raw.state_dict(), net)) or (apart := difference(self.ema.weights, ema)):
            raise CheckpointError(f"{start.path} is of another net: {apart}.")
        self.raw.load_state_dict(net)
        self.ema.load(ema, count)
        optimizer.restore(self.optimizer, self.raw, moments)
        self.scaler.load(counters)
        self.step, self.skipped = start.step, skipped

    def _backward(self, batch: Batch) -> list[Loss]:
        self.optimizer.zero_grad()
        parts = _parts(batch, self.settings.accumulate, self.accelerator.device)
        losses = []
        with self._seeded():
            for i, part in enumerate(parts):
                apart = self.accelerator.no_sync(self.net) if i + 1 < len(parts) else nullcontext()
                with apart:
                    with computing(self.net, self.settings.precision, self.accelerator.device):
                        losses.append(self.objective(self.net, part, self.step))
                    torch.autograd.backward(self.scaler.inner.scale(losses[-1].mean / len(parts)))
        return losses

    def _gather(self, losses: list[Loss], norm: Tensor, heard: int) -> Outcome:
        """Everything that is logged or decided, in one exchange between processes and one copy from the device."""
        mean = torch.stack([loss.mean.detach() for loss in losses]).mean()
        pairs = [torch.stack([loss.per_sample.to(mean), loss.logsnr.to(mean)], 1).detach() for loss in losses]
        head = torch.stack([mean, norm.to(mean), mean.new_tensor(heard), mean.new_tensor(0)]).reshape(2, 2)
        table = self.accelerator.gather(torch.cat([head, *pairs])).cpu()
        table = table.reshape(self.accelerator.num_processes, -1, 2)
        rows = table[:, 2:].transpose(0, 1).reshape(-1, 2)  # process r holds rows r, r + processes ...
        loss, shared = float(table[:, 0, 0].mean()), float(table[0, 0, 1])  # the gradient is one for all processes
        return Outcome(loss, shared, rows[:, 0], rows[:, 1], int(table[:, 1, 0].max()))

    def _apply(self, norm: Tensor) -> None:
        optimizer.clip(self.parameters, norm, self.settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr_at(self.step)
        self.scaler.inner.step(self.optimizer)
        self.scaler.inner.update()
        self.ema.update(self.raw)

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Dropout, should the net have any, is a function of the step too; the caller's generators are left alone."""
        key = self.dropout + self.step
        cuda = self.accelerator.device.type == "cuda"
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if cuda else []):
            torch.default_generator.manual_seed(key)
            if cuda:
                torch.cuda.manual_seed(key)
            yield

    def _culprit(self, batch: Batch, losses: list[Loss], outcome: Outcome) -> str:
        """In words: the first sample, or else the first parameter, that is not finite."""
        bad = (~torch.cat([loss.per_sample.detach() for loss in losses]).isfinite()).nonzero().flatten().tolist()
        if bad:
            row, index = int(batch.rows[bad[0]]), int(batch.index[bad[0]])
            return f"the loss of row {row} of its batch, sample {index} of the data, is not finite"
        if (name := optimizer.first_non_finite(self.raw)) is not None:
            return f"the gradient of {name!r} is not finite"
        return f"the loss is {outcome.loss} and the norm of the gradient {outcome.norm}"


def _parts(batch: Batch, count: int, device: torch.device) -> list[Any]:
    """The batch on its device, in equal parts."""
    if not is_dataclass(batch) or isinstance(batch, type):
        raise InvalidArgument(f"A batch is a dataclass with a tensor x, got {type(batch).__name__} (use data.Batch).")
    size, left = divmod(len(batch.x), count)
    if left:
        raise InvalidArgument(f"accumulate divides the batch of a process, got {count} for {len(batch.x)} rows.")
    tensors = {f.name: v.to(device) for f in fields(batch) if isinstance(v := getattr(batch, f.name), Tensor)}
    return [
        replace(batch, **{name: value[i * size : (i + 1) * size] for name, value in tensors.items()})
        for i in range(count)
    ]

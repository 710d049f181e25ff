"""All that a training is made of at a moment: it takes a step, and it is saved and loaded."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from obverse.ground.errors import CheckpointError, NonFinite
from obverse.ground.shapes import bad_rows
from obverse.train import dropout, optimizer, shards
from obverse.train.checkpoint import Checkpoint
from obverse.train.health import Origin, origin
from obverse.train.memory import blocks, frugal, recomputing
from obverse.train.meter import Meter
from obverse.train.outcome import Outcome, exchanged
from obverse.train.parts import in_parts
from obverse.train.precision import Scaler, computing
from obverse.train.protocols import Batch, Learns, Loss, Objective
from obverse.train.refusals import check_loss, check_net, check_start
from obverse.train.settings import Training
from obverse.train.snapshots import averages

if TYPE_CHECKING:
    from accelerate import Accelerator


class State:
    """Net, averages, optimisers, counters: what a step changes.

    Args:     net: moved to the accelerator's device; where Accelerate was asked for shards (FSDP 2) it stays whole and
                  where it is, and gets the weights of the shards when they are saved.
              objective: (net, batch, step) -> Loss, a function of its arguments alone.
              settings: the numbers.
              accelerator: devices and processes.
              optimizers: (net, settings) -> an optimiser, or several that share its parameters out; default what
                  settings name.
              floor: (batch, step) -> the Loss that the exact model would have on the same draws, where it is known.
    """

    def __init__(
        self,
        net: nn.Module,
        objective: Objective,
        settings: Training,
        accelerator: Accelerator,
        optimizers: optimizer.Choose = optimizer.optimizers,
        floor: Callable[[Any, int], Loss] | None = None,
    ) -> None:
        self.floor = floor
        self.learner = objective if isinstance(objective, Learns) else None
        self.objective, self.settings, self.accelerator = objective, settings, accelerator
        self.given: nn.Module = getattr(net, "_orig_mod", net)  # a compiled net is saved under its own names
        check_net(self.given)
        sharding = shards.Sharding.of(accelerator)
        self.sharded = sharding is not None
        if sharding is None:
            compiled = net is not self.given or not settings.compile
            self.raw, self.net = self.given, accelerator.prepare_model(net if compiled else torch.compile(net))
        else:
            shards.check(settings, net is not self.given)
            self.raw = self.net = sharding.shards(self.given, accelerator.device)
        self.frugal = frugal(blocks(self.raw)) if settings.recompute else []
        self.parameters = list(self.raw.parameters())
        made = optimizers(self.raw, settings)
        self.optimizers = [made] if isinstance(made, torch.optim.Optimizer) else made
        self.begun = optimizer.numbers(self.optimizers)
        self.averages = averages(self.raw, settings)
        self.scaler = Scaler(accelerator.device, settings.precision)
        self.meter = Meter()
        self.dropout = dropout.seed_of(settings.seed, accelerator.process_index)
        self.step = self.skipped = 0

    def advance(self, batch: Batch, heard: int) -> Outcome:
        """Take one step, or none if it would not be finite.

        Args:     batch: this process's rows of the step.
                  heard: the signal this process has received, or 0.
        Raises:   NonFinite naming the step and the first culprit; no parameter has changed then.
        """
        losses, part = self._backward(batch)
        if self.settings.precision == "fp16":
            for each in self.optimizers:
                self.scaler.inner.unscale_(each)
        norm = optimizer.gradient_norm(self.parameters)
        floor = None
        if self.floor is not None:
            with torch.no_grad():
                floor = self.floor(batch, self.step)
        outcome = exchanged(self.accelerator, losses, norm, part, heard, floor, shards=self.sharded)
        if self.sharded:
            norm = norm.new_tensor(outcome.norm)  # it was that of the shards that are here
        if math.isfinite(outcome.loss) and math.isfinite(outcome.norm):
            self._apply(norm, outcome.norm)
            self.meter.add(outcome.loss, outcome.norm, outcome.per_sample, outcome.logsnr, outcome.floor)
            if self.learner is not None:
                self.learner.observe(outcome.logsnr, outcome.per_sample)
            parts = self.settings.accumulate * (1 if self.sharded else self.accelerator.num_processes)
            if self.settings.accumulate > 1:
                self.meter.add_noise(outcome.part, outcome.norm**2, len(outcome.per_sample), parts)
        elif self.scaler.lower():
            self.skipped += 1
        else:
            raise NonFinite(f"Step {self.step} was not taken: {self._culprit(batch, losses, outcome)}.")
        self.step += 1
        return outcome

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds; "net", "ema" and the other averages are state dicts that any tool can load.

        Where processes hold shards, all of them ask at once, `given` gets the weights, and the first has the rest.
        """
        if self.sharded:
            shards.fill(self.given, self.raw.state_dict())
        counts = {"ema": torch.tensor(self.averages["ema"].count), "skipped": torch.tensor(self.skipped)}
        learnt: dict[str, Tensor] = {} if self.learner is None else self.learner.state()
        return {
            "net": self.given.state_dict(),
            **{name: self._whole(average.weights) for name, average in self.averages.items()},
            "optimizer": self._whole(optimizer.state(self.optimizers, self.raw, self.begun)),
            **({"objective": learnt} if learnt else {}),
            "counters": {**counts, **self.meter.state(), **self.scaler.state()},
        }

    def load(self, start: Checkpoint) -> None:
        """Continue from a checkpoint, to the last bit.

        Raises:   CheckpointError when it is another net's, or lacks a part.
        """
        try:
            net, moments, counters = (start.tensors[group] for group in ("net", "optimizer", "counters"))
            count, skipped = int(counters["ema"]), int(counters["skipped"])
            self.meter.load(counters)
        except KeyError as error:
            raise CheckpointError(f"{start.path} has no {error}: it is not a checkpoint of a training.") from None
        check_start(start, self.settings, self.raw, self.averages)
        self.raw.load_state_dict({name: shards.split(net[name], own) for name, own in self.raw.state_dict().items()})
        for name, average in self.averages.items():
            average.load(start.tensors[name], count)
        optimizer.restore(self.optimizers, self.raw, moments)
        self.scaler.load(counters)
        if self.learner is not None:
            self.learner.load(start.tensors.get("objective", {}))
        self.step, self.skipped = start.step, skipped

    def _backward(self, batch: Batch) -> tuple[list[Loss], Tensor | float]:
        """The losses of all parts; the squared norm of the gradient of the first of several."""
        for parameter in self.parameters:
            parameter.grad = None
        if self.sharded:
            shards.agree(self.raw.buffers())  # as DDP does
        parts = in_parts(batch, self.settings.accumulate, self.accelerator.device)
        losses: list[Loss] = []
        first: Tensor | float = 0.0
        with self._seeded(), recomputing(self.frugal):
            for i, part in enumerate(parts):
                kept = i + 1 < len(parts) and not self.sharded  # what is kept here is added up before it is exchanged
                apart = self.accelerator.no_sync(self.net) if kept else nullcontext()
                with apart:
                    with computing(self.net, self.settings.precision, self.accelerator.device):
                        losses.append(self.objective(self.net, part, self.step))
                    check_loss(losses[-1])
                    mean = losses[-1].mean if len(parts) == 1 else losses[-1].mean / len(parts)
                    torch.autograd.backward(self.scaler.inner.scale(mean))
                if i == 0 and len(parts) > 1:
                    scale = len(parts) / self.scaler.inner.get_scale()
                    first = (optimizer.gradient_norm(self.parameters) * scale) ** 2
        return losses, first

    def _apply(self, norm: Tensor, size: float) -> None:
        if size + 1e-6 >= self.settings.clip:  # otherwise torch would multiply by 1
            optimizer.clip(self.parameters, norm, self.settings.clip)
        lr = self.settings.lr_at(self.step)
        for each in self.optimizers:
            for group in each.param_groups:
                group["lr"] = lr
            self.scaler.inner.step(each)
        self.scaler.inner.update()
        for average in self.averages.values():
            average.update(self.raw)

    def _seeded(self) -> AbstractContextManager[None]:
        return dropout.seeded(self.dropout + self.step, self.accelerator.device)

    def _whole(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return shards.gathered(values, self.accelerator.is_main_process) if self.sharded else values

    def _culprit(self, batch: Batch, losses: list[Loss], outcome: Outcome) -> str:
        """In words: the first sample that is not finite and where in the net, or else the first gradient."""
        place, name = "", optimizer.first_non_finite(self.raw)
        if self.sharded:  # processes go different ways from here
            shards.fill(self.given.to(self.accelerator.device), self.raw.state_dict())
            self.given.train(self.raw.training)
        for part in in_parts(batch, self.settings.accumulate, self.accelerator.device):
            if (found := self._origin(part)) is not None:
                where = "" if found.row is None else f", row {int(part.rows[found.row])} of the batch"
                place = f"; the first tensor that is not is {found.what}{where}"
                break
        if bad := bad_rows(torch.cat([loss.per_sample.detach() for loss in losses])):
            row, index = int(batch.rows[bad[0]]), int(batch.index[bad[0]])
            return f"the loss of row {row} of its batch, sample {index} of the data, is not finite{place}"
        if name is not None:
            return f"the gradient of {name!r} is not finite{place}"
        return f"the loss is {outcome.loss} and the norm of the gradient {outcome.norm}{place}"

    def _origin(self, part: Batch) -> Origin | None:
        def forward() -> None:
            with self._seeded(), computing(self.given, self.settings.precision, self.accelerator.device):
                self.objective(self.given, part, self.step)

        return origin(self.given, forward, len(part.x))

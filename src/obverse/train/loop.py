"""The loop: a generator of steps, so that bars, pictures and early stops are the caller's `for`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from obverse.ground.errors import DataError, InvalidArgument
from obverse.train import checkpoint, optimizer, shards
from obverse.train.checkpoint import Checkpoint
from obverse.train.ema import Average
from obverse.train.interrupt import Listening, Stopped
from obverse.train.optimizer import Choose, optimizers
from obverse.train.outcome import Outcome
from obverse.train.protocols import Loss, Objective
from obverse.train.run import TIMING, Run
from obverse.train.settings import Training
from obverse.train.snapshots import snapshot
from obverse.train.state import State

if TYPE_CHECKING:
    from accelerate import Accelerator

_FOREIGN = ("DEEPSPEED", "MEGATRON_LM")  # they hold nets in a way of their own, which a checkpoint cannot gather


class Progress(NamedTuple):
    """What one optimiser step did, over all processes.

    Args:     step: steps done, this one included.
              loss, gradient_norm: of this step; the norm before clipping.
              lr: the rate it was taken with.
              seconds: wall-clock time, data included.
              samples_per_second: over all processes.
              per_sample, logsnr: loss and place on the path of each sample, on the CPU; (batch).
              skipped: steps not taken so far because fp16 overflowed.
              draws: whether samples are due, by `sample_every`, `sample_early` and at the end.
              ema: the averaged weights: `with progress.ema.applied(net): ...`.
              averages: all averages that are kept, by the names of their files; "ema" is the first.
              save: writes a checkpoint now, before a `break`.

    Where processes hold shards (FSDP 2), all of them call `save` and enter `applied` together, or none.
    """

    step: int
    loss: float
    gradient_norm: float
    lr: float
    seconds: float
    samples_per_second: float
    per_sample: Tensor
    logsnr: Tensor
    skipped: int
    draws: bool
    ema: Average
    averages: Mapping[str, Average]
    save: Callable[[], None]


def train(
    net: nn.Module,
    loss: Objective,
    batches: Callable[[int], Iterator[Any]],
    settings: Training,
    *,
    run: Run | None = None,
    start: Checkpoint | None = None,
    accelerator: Accelerator | None = None,
    floor: Callable[[Any, int], Loss] | None = None,
    optimizers: Choose = optimizers,
) -> Iterator[Progress]:
    """Train, one optimiser step at each `next`.

    What the caller does with step N is done before checkpoint N is written; so a run that is killed, even then, and
    resumed ends in the same bits: weights, average, optimiser, metrics, and what the caller writes.

    Args:     net: changed in place, and moved to the accelerator's device. Where Accelerate was asked for shards (FSDP
                  2) it stays whole and where it is, and has the weights of the last save and of the end.
              loss: (net, batch, step) -> an object with mean (), per_sample and logsnr (batch); draws its noise by the
                  step and the batch's rows. The net it is handed may be wrapped: call it, ask it nothing else. One that
                  learns from the steps has `observe`, `state` and `load` besides (`train.protocols.Learns`).
              batches: step -> an endless iterator of batches from that step on, for this process.
              settings: the numbers.
              run: where metrics and checkpoints go; None keeps nothing.
              start: where to continue, `run.newest()`; None begins at step 0.
              accelerator: devices and processes; Accelerate's own choice unless given.
              floor: (batch, step) -> the loss of the exact model on the same draws, where it is known; in metrics as
                  floor_by_logsnr.
              optimizers: (net, settings) -> a torch optimiser, or several that share the parameters out; default what
                  settings name. The rate of every step is settings'.
    Returns:  an iterator over the steps that are left.
    Raises:   NonFinite when a step would not be; the net is as it was before. Stopped when asked to by SIGINT, SIGTERM
              or SIGHUP, after saving. CheckpointError when saving fails, or will, after the first step. InvalidArgument
              for what does not fit.
    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> from obverse.ground import noise
        >>> from obverse.data import Batch
        >>> def batches(step):
        ...     while True:
        ...         x, rows = noise.normal((8, 2), seed=0, purpose="x", step=step), torch.arange(8)
        ...         yield Batch(x, None, rows, step, rows)
        ...         step += 1
        >>> def loss(net, batch, step):
        ...     each = (net(batch.x) - 1).square().mean(1)
        ...     return SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=torch.zeros(8))
        >>> steps = list(train(nn.Linear(2, 1), loss, batches, Training(steps=300, batch=8, lr=0.05)))
        >>> steps[-1].step, steps[-1].loss < 1e-3
        (300, True)
    """
    if accelerator is None:
        shards.foreseen(settings)
    state = State(net, loss, settings, _accelerator(accelerator), optimizers, floor)
    if run is not None:
        ahead = checkpoint.newest(run.checkpoints)
        if ahead is not None and (start is None or start.path.name != ahead.name):
            raise InvalidArgument(f"{run.folder} has got to {ahead.name} (start=run.newest(), or an empty folder).")
    if start is not None:
        state.load(start)
    writer = run if state.accelerator.is_main_process else None
    if writer is not None:
        writer.rewind(state.step, settings.keep)
    return _steps(state, batches, _Record(state, writer), kept=run is not None)


def _steps(state: State, batches: Callable[[int], Iterator[Any]], record: _Record, *, kept: bool) -> Iterator[Progress]:
    settings = state.settings
    state.net.train()
    stream = iter(batches(state.step))
    with Listening() as signals, ExitStack() as stack:
        if isinstance(stream, Generator):
            stack.enter_context(closing(stream))  # a thread that works ahead ends with the loop
        while state.step < settings.steps:
            begun = time.perf_counter()
            batch = next(stream, None)
            if batch is None:
                raise DataError(
                    f"batches ended before step {state.step} of {settings.steps}; it has to go on for ever."
                )
            outcome = state.advance(batch, signals.heard)
            if kept and state.step - state.skipped == 1:  # what cannot be saved is found now, not when it is to be
                optimizer.state(state.optimizers, state.raw)
            # processes hear at different moments; what was exchanged is what all of them know
            signals.agreed = None if state.accelerator.num_processes == 1 else outcome.heard
            progress = record.line(outcome, time.perf_counter() - begun)
            yield progress
            heard = signals.heard if signals.agreed is None else signals.agreed
            record.snapshot()
            if heard or _due(state.step, settings.save_every, settings.steps):
                record.save()
            if heard and state.step < settings.steps:
                raise Stopped(heard, state.step)


class _Record:
    """What is written down along the way, where there is a run to write to."""

    def __init__(self, state: State, run: Run | None) -> None:
        self.state, self.run, self.seconds = state, run, 0.0
        self.saved, self.logged = state.step if state.step else None, state.step
        self.kept = state.step

    def line(self, outcome: Outcome, seconds: float) -> Progress:
        """The step as the caller gets it; every so often a line of metrics."""
        state, settings = self.state, self.state.settings
        lr = settings.lr_at(state.step - 1)
        samples = len(outcome.per_sample)
        self.seconds += seconds
        if _due(state.step, settings.log_every, settings.steps):
            if self.run is not None:
                self.run.log(state.step, {**state.meter.read(), "lr": lr, "skipped": state.skipped})
                mean = self.seconds / (state.step - self.logged)
                self.run.log(state.step, {"seconds_per_step": mean, "samples_per_second": samples / mean}, name=TIMING)
            state.meter.clear()
            self.seconds, self.logged = 0.0, state.step
        return Progress(
            step=state.step,
            loss=outcome.loss,
            gradient_norm=outcome.norm,
            lr=lr,
            seconds=seconds,
            samples_per_second=samples / seconds,
            per_sample=outcome.per_sample,
            logsnr=outcome.logsnr,
            skipped=state.skipped,
            draws=settings.draws_at(state.step),
            ema=state.averages["ema"],
            averages=state.averages,
            save=self.save,
        )

    def snapshot(self) -> None:
        """The averages that others can be made of, for good, where they are due and not there."""
        state, settings = self.state, self.state.settings
        due = self.kept != state.step and _due(state.step, settings.snapshot_every, settings.steps)
        if due and (self.run is not None or state.sharded):
            snapshot(self.run, state.step, state.averages)
            self.kept = state.step

    def save(self) -> None:
        """A checkpoint of this moment, unless there is one; a run that goes on from it begins with the next step."""
        self.snapshot()
        if self.saved != self.state.step and (self.run is not None or self.state.sharded):
            about, tensors = {"training": asdict(self.state.settings)}, self.state.tensors()
            if self.run is not None:
                self.run.save(self.state.step, tensors, about, self.state.settings.keep)
            self.saved = self.state.step


def _due(step: int, every: int, last: int) -> bool:
    return step == last or (every > 0 and step % every == 0)


def _accelerator(given: Accelerator | None) -> Accelerator:
    from accelerate import Accelerator

    made = given or Accelerator(mixed_precision="no")
    if made.mixed_precision != "no":
        raise InvalidArgument(
            f"Precision is Training(precision=...), got an Accelerator with mixed_precision={made.mixed_precision!r} "
            "(make it with mixed_precision='no')."
        )
    kind = str(made.distributed_type.value)
    if kind in _FOREIGN:
        raise InvalidArgument(
            f"Processes hold the whole net each (DDP) or share it out (FSDP 2), got an Accelerator that does by {kind}."
        )
    return made

"""A foreign scheduler's loop, run on basis vectors: what comes out are its coefficients.

One coordinate for the start, one for each output, one for each draw: a run in which only coordinate k is set reads
column k of the table. Another run, on random numbers in place of basis vectors, must agree with what was read.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from obverse.ground import noise
from obverse.ground.errors import ObverseError
from obverse.ground.shapes import bad_rows
from obverse.interop.precision import in_double
from obverse.interop.refusals import NotLinear

LINEAR = 1e-9  # how well a run on random numbers must agree with what was read, as a share of its largest number
WIDTH = 4  # numbers in a state of that run
ENDED = ("SCMScheduler", "DDPMWuerstchenScheduler")  # their last time is the end; pipelines make no call there
BROWNIAN = "BrownianTreeNoiseSampler"  # how diffusers calls k-diffusion's draws of one Brownian path

Key = tuple[str, float, float]  # "start" | "output", j | "draw", m | "piece" from, to


@dataclass(frozen=True)
class Reading:
    """A loop as numbers, in its own units.

    Args:     start, outputs, draws: what the network was given at each call, and last the result, in terms of the
                  first noise, of the outputs before and of the draws; (calls + 1, ...).
              times: what the network was told; (calls,).
              scheduler: the object that was run, as the run left it.
    """

    start: Tensor
    outputs: Tensor
    draws: Tensor
    times: Tensor
    scheduler: Any


class _Numbers:
    """Where a loop's numbers come from; it remembers what was asked for, in order."""

    def __init__(self, of: Callable[[Key], Tensor], ends: Sequence[float] = ()) -> None:
        self._of, self.ends, self.asked = of, sorted(ends), dict[Key, None]()

    def of(self, *key: Any) -> Tensor:
        """The numbers behind a key, as a picture of one column."""
        name: Key = (*key, 0.0, 0.0)[:3]
        self.asked[name] = None
        return self._of(name).reshape(1, 1, -1, 1)

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """A draw that is asked for by its shape."""
        found = self.of("draw", sum(key[0] == "draw" for key in self.asked))
        if found.numel() != torch.Size(shape).numel():
            raise NotLinear(f"it draws {shape}, which is not the shape of a state")
        return found.reshape(shape)

    def piece(self, sigma: Any, sigma_next: Any) -> Tensor:
        """What one Brownian path, run in sigma, does between two of its moments, as a standard normal."""
        low, high = sorted((float(sigma), float(sigma_next)))
        moments = [end for end in self.ends if low <= end <= high] or [low, high]
        parts = [self.of("piece", a, b) * ((b - a) / (high - low)) ** 0.5 for a, b in pairwise(moments)]
        return torch.stack(parts).sum(0)


def probe(scheduler: Any, steps: int, step: Mapping[str, Any], grid: Mapping[str, Any]) -> Reading:
    """The table behind a scheduler's loop.

    Args:     scheduler: an object of diffusers; a fresh one of its kind is run, it stays as it is.
              steps: what `set_timesteps` is told.
              step, grid: further arguments of its `step` and of its `set_timesteps`.
    Raises:   NotLinear when the loop is no table, or cannot be run from outside a pipeline.
    """
    scout = _Numbers(_random)
    _loop(scheduler, steps, step, grid, scout)
    ends = sorted({end for key in scout.asked if key[0] == "piece" for end in key[1:]})
    rehearsal = _Numbers(_random, ends)
    said, _, _ = _loop(scheduler, steps, step, grid, rehearsal)
    keys = sorted(rehearsal.asked, key=lambda key: ("start", "output", "draw", "piece").index(key[0]))
    unit = dict(zip(keys, torch.eye(len(keys), dtype=torch.float64), strict=True))
    rows, times, ran = _loop(scheduler, steps, step, grid, _Numbers(unit.__getitem__, ends))
    table, values = torch.stack(rows), torch.stack([_random(key) for key in keys])
    if bad := bad_rows(table):
        place = f"call {bad[0] + 1}" if bad[0] < len(times) else "the end"
        raise NotLinear(f"its numbers are not finite from {place} on")
    off = (table @ values - torch.stack(said)).abs().max() / torch.stack(said).abs().max().clamp(min=1.0)
    if not bool(off <= LINEAR):
        raise NotLinear(f"it is not linear: on other numbers it disagrees with its coefficients by {float(off):.2g}")
    start, outputs, draws = torch.split(table, [1, len(times), len(keys) - 1 - len(times)], dim=1)
    return Reading(start[:, 0], outputs, draws, torch.stack(times), ran)


def _random(key: Key) -> Tensor:
    kind, place, other = key
    purpose = f"probe {kind} {other!r}"
    return noise.normal((1, WIDTH), seed=hash(place), purpose=purpose, dtype=torch.float64)[0]


def _loop(
    scheduler: Any, steps: int, step: Mapping[str, Any], grid: Mapping[str, Any], numbers: _Numbers
) -> tuple[list[Tensor], list[Tensor], Any]:
    """A pipeline's loop: what the network is given (last: the result), what it is told, and the scheduler."""
    kind = type(scheduler)
    refuse_from_outside(kind, step)
    rows, times = [], []
    with in_double(kind, numbers.draw), _one_path(kind, numbers.piece):
        try:
            ours = kind.from_config(scheduler.config) if hasattr(kind, "from_config") else copy.deepcopy(scheduler)
            ours.set_timesteps(steps, **grid)
            x = numbers.of("start") * float(getattr(ours, "init_noise_sigma", 1.0))
            before, last, plan = None, None, _plan(ours)
            for j, (time, after) in enumerate(zip(plan, [*plan[1:], None], strict=True)):
                given = ours.scale_model_input(x, time) if hasattr(ours, "scale_model_input") else x
                rows.append(given.flatten().clone())
                times.append(torch.as_tensor(time))
                words, more = _words(ours, numbers.of("output", j), time, x, before, last, after)
                found = ours.step(*words, **more | dict(step))
                x, before, last = found[0], found[-1], time
            rows.append(x.flatten().clone())
        except ObverseError:
            raise
        except Exception as error:
            raise NotLinear(f"its loop fails: {type(error).__name__}: {error}") from error
    return rows, times, ours


def _plan(scheduler: Any) -> list[Tensor]:
    """The times at which a pipeline calls its network."""
    times = list(scheduler.timesteps)
    if type(scheduler).__name__ in ENDED:
        times = times[:-1]
    return [time.reshape(1) for time in times] if hasattr(scheduler, "_alpha_cumprod") else times


def _words(
    scheduler: Any, output: Tensor, time: Tensor, x: Tensor, before: Any, last: Any, after: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a pipeline hands to `step`: three words for most; some want to hear of the calls before and after."""
    asked = inspect.signature(scheduler.step).parameters
    more: dict[str, Any] = {"return_dict": False}
    if "old_pred_original_sample" in asked:  # CogVideoX's DPM-Solver
        return (output, before, time, last, x), more
    if type(scheduler).__name__ == "UnCLIPScheduler":
        more |= {"prev_timestep": after}
    return (output, time, x), more


def refuse_from_outside(kind: type[Any], step: Mapping[str, Any]) -> None:
    """Refuse what no loop of outputs and draws can run."""
    if not hasattr(kind, "step"):
        ways = sorted(name for name in dir(kind) if name.startswith("step_") and callable(getattr(kind, name)))
        raise NotLinear(f"it has no step(), but {' and '.join(ways)}, for a loop that only its own pipeline has")
    if "stage_index" in inspect.signature(kind.set_timesteps).parameters:
        raise NotLinear("it works in stages, between which its own pipeline enlarges the state")
    if hasattr(kind, "_to_grid"):
        raise NotLinear("its network gives many predictions at once")
    given = list(inspect.signature(kind.step).parameters.values())[1:]
    if any("LongTensor" in str(word.annotation) for word in given if word.name == "sample"):
        raise NotLinear("its states are tokens, not numbers")
    own = {"model_output", "timestep", "sample", "old_pred_original_sample", "timestep_back", *step}
    more = [word.name for word in given if word.default is word.empty and word.name not in own]
    if more:
        raise NotLinear(f"a step of it needs {' and '.join(more)}, which its own pipeline makes")


@contextmanager
def _one_path(kind: type[Any], piece: Callable[[Any, Any], Tensor]) -> Iterator[None]:
    """While it lasts, Brownian trees are answered by `piece`."""
    module = sys.modules[kind.__module__]
    tree = getattr(module, BROWNIAN, None)
    try:
        if tree is not None:
            setattr(module, BROWNIAN, lambda *_, **__: piece)
        yield
    finally:
        if tree is not None:
            setattr(module, BROWNIAN, tree)

"""Our tables behind the interface of diffusers' schedulers, so that its pipelines can use our methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.interop.conventions import FACES, Convention
from obverse.model.inputs import TimeInput
from obverse.path import Prediction, Schedule
from obverse.sampler import Register, Tableau
from obverse.sampler.program import combine
from obverse.sampler.run import agree

Make = Callable[[int], Tableau]
Generators = torch.Generator | Sequence[torch.Generator] | None


class Stepped(NamedTuple):
    """What a step returns: the state of the next call, or the result."""

    prev_sample: Tensor


class Settings(SimpleNamespace):
    """What pipelines look up, as an attribute or by `get`."""

    def get(self, name: str, default: Any = None) -> Any:
        """A setting, or the default where there is none of that name."""
        return getattr(self, name, default)


class Exported:
    """A table as a scheduler: `pipeline.scheduler = export(...)`.

    Made by `export`. It goes through the rows of the table, one `step` for each call of the network.
    """

    order = 1

    def __init__(self, make: Tableau | Make, schedule: Schedule, time: TimeInput, predicts: Prediction) -> None:
        time.check(schedule)
        self._make, self._schedule, self._time, self._face = make, schedule, time, predicts
        names = {face: name for name, face in FACES.items() if name != "trigflow"}
        self.config = Settings(
            prediction_type=names.get(predicts.name, predicts.name),
            num_train_timesteps=1000,
            use_flow_sigmas=predicts.name == "flow",  # or pipelines of flow would bring levels of their own
        )
        if isinstance(make, Tableau):
            self.set_timesteps(make.calls)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        mu: float | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Make the table for so many steps, and start at its beginning.

        Args:     num_inference_steps: what the table is made for.
                  device: of `timesteps`.
                  mu: a shift that some pipelines work out from the resolution; the table's levels are its own.
                  sigmas: levels that some pipelines bring in place of a number; as many steps, at the table's levels.
        """
        num_inference_steps = num_inference_steps if sigmas is None else len(sigmas)
        if isinstance(self._make, Tableau):
            if num_inference_steps not in (None, self._make.calls):
                raise InvalidArgument(f"This table makes {self._make.calls} calls, got steps={num_inference_steps}.")
            table = self._make
        elif num_inference_steps is None:
            raise InvalidArgument("set_timesteps needs the number of steps.")
        else:
            table = self._make(num_inference_steps)
        agree(table, self._schedule)
        self.tableau = table.on_face(self._face)
        self.init_noise_sigma = float(exact(table.levels.sigma)[0])
        visited = [self.tableau.moments[state] for state in (*table.reads, -1)]
        if self.config.use_flow_sigmas:  # elsewhere the word means nsr, or worse
            self.sigmas = torch.tensor([float(level.sigma) for level in visited])
        times = torch.tensor([float(self._time(level)) for level in visited[:-1]])
        times = times.round().long() if bool(((times - times.round()).abs() < 1e-4).all()) else times
        self.timesteps, self.num_inference_steps = times.to(device), table.calls
        self.order = round(table.calls / (num_inference_steps or table.calls))  # calls a step: where a later one begins
        self._held: dict[Register, Tensor] = {}
        self._done = 0

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at a later call, as image-to-image does, with a state made by `add_noise`.

        Raises:   InvalidArgument for a call that is none, or that needs what came before it.
        """
        table = self.tableau
        if not 0 <= begin_index < table.calls:
            raise InvalidArgument(f"This table has calls 0 ... {table.calls - 1}, got {begin_index} to begin with.")
        here = table.reads[begin_index]
        first = {"e": here, "o": begin_index, "xi": 0}
        if begin_index and any(key.place < first[key.kind] for row in table.rows[here + 1 :] for key in row):
            raise InvalidArgument(
                f"This method remembers what came before call {begin_index} and cannot begin there: take one that does "
                "not (ddim, sde), or a table from there on."
            )
        self._done = begin_index

    @property
    def convention(self) -> Convention:
        """How an x-ray is to read this object."""
        levels = self.tableau.levels[torch.tensor(self.tableau.reads)]
        return Convention((self._schedule,), self._face, lambda *_: levels)

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """The state as it is: states are what the network is given."""
        return sample

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> Stepped | tuple[Tensor]:
        """The state of the next call, or the result.

        Args:     model_output: what the network said at `sample`; (batch *data).
                  timestep: its time, one of `timesteps`, in order.
                  sample: the state that was called at; what stands there is used, so it may have been changed.
                  generator: of the draws; one, or one for each sample.
                  return_dict: whether to return an object with `prev_sample` or a tuple.
        """
        table, j = self.tableau, self._done
        if j >= table.calls or float(timestep) != float(self.timesteps[j]):
            due = f"time {float(self.timesteps[j]):g}" if j < table.calls else "set_timesteps: all steps are done"
            raise InvalidArgument(f"Steps are taken in order: expected {due}, got time {float(timestep):g}.")
        here, there = table.reads[j], [*table.reads, len(table.rows) - 1][j + 1]
        if j == 0:
            for n in range(here):  # states before the first call
                self._held[Register("e", n)] = sample
        self._held[Register("e", here)] = sample
        self._held[Register("o", j)] = model_output
        for n in range(here + 1, there + 1):
            for key in table.rows[n]:
                if key.kind == "xi" and key not in self._held:
                    self._held[key] = _drawn(sample, generator)
            self._held[Register("e", n)] = combine(table.rows[n], self._held)
        self._done += 1
        x_t = self._held[Register("e", there)].to(sample.dtype)
        self._forget(there)
        return Stepped(x_t) if return_dict else (x_t,)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """alpha x + sigma eps at some of the times: where image-to-image starts."""
        known = self.timesteps.tolist()
        if any(time not in known for time in timesteps.flatten().tolist()):
            raise InvalidArgument(f"timesteps are some of this table's {known}, got {timesteps.flatten().tolist()}.")
        places = [known.index(time) for time in timesteps.flatten().tolist()]
        levels = self.convention.told(self._schedule, self.timesteps)[torch.tensor(places)]
        shape = (-1, *[1] * (original_samples.ndim - 1))
        alpha, sigma = (exact(share).to(original_samples).reshape(shape) for share in (levels.alpha, levels.sigma))
        return alpha * original_samples + sigma * noise

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """`add_noise`, as pipelines of flow call it."""
        return self.add_noise(sample, noise, timestep)

    def _forget(self, n: int) -> None:
        needed = {key for row in self.tableau.rows[n + 1 :] for key in row} | {Register("e", n)}
        self._held = {key: value for key, value in self._held.items() if key in needed}

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)


def export(
    table: Tableau | Make, schedule: Schedule | str, *, time: TimeInput | str = "index", predicts: str | None = None
) -> Exported:
    """A table behind the interface of diffusers' schedulers.

    Args:     table: a table, or a function from a number of steps to one, since pipelines choose the number.
              schedule: the path that it is on, which is the pipeline's network's.
              time: how the network wants to be told: index (0 ... 999) for those of DDPM, t:scale=1000 for flow.
              predicts: what the network predicts: noise, v, flow, data; default a table's own face.
    Raises:   InvalidArgument for a function without `predicts`.
    Example:
        >>> from obverse.sampler import DPMpp2M
        >>> solver = DPMpp2M()
        >>> scheduler = export(lambda n: solver.tableau("ddpm", f"uniform:steps={n}"), "ddpm", predicts="noise")
        >>> scheduler.set_timesteps(4)
        >>> scheduler.timesteps
        tensor([999, 749, 499, 249])
    """
    known = table.face if isinstance(table, Tableau) else None
    face = known if predicts is None else Prediction.of(predicts)
    if face is None:
        raise InvalidArgument(
            "predicts says what the pipeline's network predicts, got None: only a table has a face of its own "
            "(predicts='noise', as most networks of DDPM do)."
        )
    return Exported(table, Schedule.of(schedule), TimeInput.of(time), face)


def _drawn(like: Tensor, generator: Generators) -> Tensor:
    """A standard normal of the state's shape; made where the generator lives."""
    if generator is None:
        return torch.randn(like.shape, dtype=like.dtype, device=like.device)
    if isinstance(generator, torch.Generator):
        return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)
    return torch.cat([_drawn(row[None], own) for row, own in zip(like, generator, strict=True)])

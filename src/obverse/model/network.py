"""Any torch module as a model: name its schedule, what it predicts and how it wants its inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.ground.shapes import against, moved
from obverse.model.inputs import Precondition, TimeInput, Unscaled
from obverse.model.model import Call, Cond, Model
from obverse.path import Level, Prediction, Schedule

SHORT = 2**16  # numbers up to which what the calls of a run are told is kept for the next run


class Latest(NamedTuple):
    """The calls that a network has made last, and what of; void once a network has written on its times."""

    levels: Level
    means: tuple[object, ...]
    times: Tensor
    calls: list[Call]


class InTraining(UserWarning):
    """A network that drops or normalises by its batch is sampled in training mode: samples do not follow their seed."""


class Network(Model):
    """A torch module as a model.

    Args:     net: called net(x_t, time, cond), time being float (batch,).
              schedule: the path it was, or will be, trained on.
              predicts: its output: data, noise, flow, v, velocity, score, edm; a name or a Prediction.
              time: how it wants time: t, data-at-1, index, logsnr, log-nsr, nsr; a name or a TimeInput. With data-at-1
                  a predicted flow or velocity is understood in that direction too (x - eps).
              precondition: how it wants its state: none, unit-variance (EDM's c_in), circle.
              cond: "third" passes the condition as third argument, "none" never passes one, any other word is the
                  keyword it is passed as.
    Raises:   UnknownName, InvalidArgument for what does not exist.

    Example:
        >>> import torch; from obverse.path import Linear
        >>> net = lambda x_t, t, cond: -x_t
        >>> Network(net, Linear(), predicts="flow")(torch.ones(2, 3), 0.5).data[0]
        tensor([1.5000, 1.5000, 1.5000])
    """

    _latest: Latest | None = None
    _looked = False

    def __init__(
        self,
        net: nn.Module | Callable[..., Tensor],
        schedule: Schedule | str,
        *,
        predicts: Prediction | str = "flow",
        time: TimeInput | str = "t",
        precondition: Precondition | str = "none",
        cond: str = "third",
    ) -> None:
        if not callable(net):
            raise InvalidArgument(f"net is a torch module or a function net(x_t, t, cond), got {type(net).__name__}.")
        self.net: Any = net  # a module, or a function
        self.schedule = Schedule.of(schedule)
        self.time = TimeInput.of(time)
        self.time.check(self.schedule)
        self.face = self.time.face(Prediction.of(predicts))
        self.precondition = Precondition.of(precondition)
        self.precondition.check(self.face)
        self.cond = cond
        self._open()

    def _open(self) -> None:
        """Refuse a network that cannot be called as it will be; one that tells no signature is believed."""
        try:
            known = signature(self.net.forward if isinstance(self.net, nn.Module) else self.net)
        except (TypeError, ValueError):
            return
        if "timestep" in list(known.parameters)[2:]:
            said = "This network takes its time by the name timestep, not second: let a module's forward(x_t, t, cond)"
            raise InvalidArgument(f"{said} call it by names, net(x_t, timestep=t, **cond) (docs/notation.md).")
        words = {"third": "net(x_t, t, cond)", "none": "net(x_t, t)"}.get(self.cond, f"net(x_t, t, {self.cond}=cond)")
        try:
            named = {} if self.cond in ("third", "none") else {self.cond: None}
            known.bind(*(None,) * (3 if self.cond == "third" else 2), **named)
        except TypeError as error:
            raise InvalidArgument(
                f"This network cannot be called as {words}: {error} (cond='none' for one without a condition, a word "
                f"for one that takes it by that name)."
            ) from error

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_latest"}  # a copy makes its own

    @property
    def device(self) -> torch.device:
        """That of the network's first parameter; states may live elsewhere, and are carried there and back."""
        weight = _weight(self.net)
        return torch.device("cpu") if weight is None else weight.device

    def at(self, level: Level, like: Tensor) -> Call:
        self._look_over()
        dtype, place = self._wants(like)
        time = exact(self.time(level)).to(place, _precise(dtype), copy=True)  # a network may write on it
        if time.ndim == 0:
            time = time.repeat(len(like))
        elif time.shape != like.shape[:1]:
            raise InvalidArgument(f"{len(time)} levels for {len(like)} states: give one for all or one for each.")
        scale = None if isinstance(self.precondition, Unscaled) else against(self.precondition(level), like)
        return self._caller(like, dtype, place)(time, scale, True)

    def along(self, levels: Level, like: Tensor) -> list[Call]:
        self._look_over()
        dtype, place = self._wants(like)
        means = (self.net, self.cond, self.time, self.precondition, dtype, place, like.dtype, like.device, len(like))
        latest = self._latest
        if latest is not None and latest.levels is levels and latest.means == means and not latest.times._version:
            return latest.calls
        with torch.inference_mode(False):  # later runs may not be in it
            told = exact(self.time(levels)).detach().to(place, _precise(dtype))  # one transfer for all
            times = told[:, None].repeat(1, len(like))
            scales: Sequence[Tensor | None] = [None] * len(told)
            if not isinstance(self.precondition, Unscaled):
                scales = exact(self.precondition(levels)).detach().to(like.device, like.dtype).unbind()
        call_at = self._caller(like, dtype, place)
        calls = [call_at(*both, not n) for n, both in enumerate(zip(times.unbind(), scales, strict=True))]
        if times.numel() <= SHORT:
            self._latest = Latest(levels, means, times, calls)
        return calls

    def _look_over(self) -> None:
        """Warn once of a network whose answers are not a function of what it is given; training has gradients."""
        if self._looked or torch.is_grad_enabled() or not getattr(self.net, "training", False):
            return
        self._looked = True
        found = next((f"{name} ({type(m).__name__})" for name, m in self.net.named_modules() if _restless(m)), None)
        if found:
            said = f"The network is in training mode: its {found} makes samples that do not follow their seed"
            warnings.warn(f"{said} (net.eval() before sampling).", InTraining, stacklevel=2)

    def _wants(self, like: Tensor) -> tuple[torch.dtype, torch.device]:
        """What the network's inputs have to be; a function, or a network without weights, takes what there is."""
        weight = _weight(self.net)
        if weight is None:
            return like.dtype, like.device
        casts = torch.is_autocast_enabled(like.device.type) and torch.float64 not in (like.dtype, weight.dtype)
        return like.dtype if casts else weight.dtype, weight.device  # autocast leaves float64 as it is

    def _caller(self, like: Tensor, dtype: torch.dtype, device: torch.device) -> Callable[..., Call]:
        """Makes calls out of times and scales; those that are new to the network look at its answer."""
        net, door, alone = self.net, self._door(), self.cond == "none"
        carried, its = dtype != like.dtype or device != like.device, like.dtype

        def call_at(time: Tensor, scale: Tensor | None, new: bool = False) -> Call:
            def straight(x_t: Tensor, cond: Cond = None) -> Tensor:
                if cond is None:  # every call between here and the network shows beside a small one
                    out = net(x_t, time) if alone else door(x_t, time, None)
                else:
                    out = door(x_t, time, moved(cond, device))
                return out if out.dtype is its else out.to(x_t)

            def call(x_t: Tensor, cond: Cond = None) -> Tensor:
                inputs = x_t if scale is None else x_t * scale
                if carried:
                    inputs = inputs.to(device, dtype)
                before = _written(inputs) if new else 0
                out = door(inputs, time, cond if cond is None else moved(cond, device))
                if new:
                    _look(out, x_t)
                    if _written(inputs) != before:
                        raise InvalidArgument(
                            "The network writes on the state it is given (an operation in place): let it copy first, "
                            "x = x_t.clone()."
                        )
                return out.to(x_t) if carried or out.dtype is not its else out

            return call if new or carried or scale is not None else straight

        return call_at

    def _door(self) -> Callable[[Tensor, Tensor, Cond], Tensor]:
        """The network as a function (x_t, time, cond)."""
        net, name = self.net, self.cond

        def without(x_t: Tensor, time: Tensor, cond: Cond) -> Tensor:
            if cond is not None:
                raise InvalidArgument("This network takes no condition (cond='none' at its door), yet one was given.")
            out: Tensor = net(x_t, time)
            return out

        def named(x_t: Tensor, time: Tensor, cond: Cond) -> Tensor:
            out: Tensor = net(x_t, time, **{name: cond})
            return out

        doors: dict[str, Callable[..., Tensor]] = {"third": net, "none": without}
        return doors.get(name, named)

    def __repr__(self) -> str:
        return (
            f"Network({type(self.net).__name__} on {self.schedule.label}, predicts {self.face.name}, "
            f"time {self.time.spec}, precondition {self.precondition.spec})"
        )


def _weight(net: object) -> Tensor | None:
    """The first floating-point parameter; as `parameters()` would find it, for a tenth of its time at every call."""
    if not isinstance(net, nn.Module):
        return None
    for weight in net._parameters.values():
        if weight is not None and weight.is_floating_point():
            return weight
    for module in net._modules.values():
        if (found := _weight(module)) is not None:
            return found
    return None


def _restless(module: nn.Module) -> bool:
    """Whether a module answers by chance, or by the rest of the batch."""
    drops = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    return module.training and (drops or isinstance(module, nn.modules.batchnorm._BatchNorm))


def _precise(dtype: torch.dtype) -> torch.dtype:
    """Of times, for a network of a dtype: bf16 cannot count to 1000."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _written(x_t: Tensor) -> int:
    """How often something was written on a state, where torch knows."""
    return 0 if torch.compiler.is_compiling() or x_t.is_inference() else x_t._version


def _look(out: object, x_t: Tensor) -> None:
    if isinstance(out, Tensor) and out.shape == x_t.shape:
        return
    got, hint = type(out).__name__, ""
    if hasattr(out, "sample"):
        hint = " (a model of diffusers: wrap it in a module that returns its .sample)"
    elif isinstance(out, tuple):
        hint = " (wrap it in a module that returns its [0])"
    elif isinstance(out, Tensor):
        got = str(tuple(out.shape))
        if out.shape[1:2] == (2 * x_t.shape[1],):
            hint = " (if it learns a variance too, wrap it in a module that returns .chunk(2, 1)[0])"
    raise InvalidArgument(f"The network maps {tuple(x_t.shape)} to the same shape, got {got}{hint}.")

"""What diffusers' schedulers mean by their numbers: which path, which level, which prediction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from obverse.ground.numerics import Number, exact
from obverse.interop.between import BY, Between, ddpm_of
from obverse.interop.refusals import NotLinear
from obverse.path import (
    DDPM,
    EDM,
    Cosine,
    Edm,
    Level,
    Linear,
    NicholDhariwal,
    Prediction,
    Reversed,
    Schedule,
    Slider,
    V,
)

FACES = {"epsilon": "noise", "sample": "data", "v_prediction": "v", "flow_prediction": "flow", "trigflow": "v"}
BETAS = {"linear": "linear", "scaled_linear": "scaled-linear", "squaredcos_cap_v2": "cosine"}


@dataclass(frozen=True)
class Boundary(Prediction):
    """The raw output F of a consistency model: x = c_skip x_t/alpha + c_out F, exact at sigma_min.

    Source: Song et al. (2023), "Consistency models", appendix C.
    """

    sigma_data: float
    sigma_min: float

    name = "boundary"

    def row(self, level: Level) -> tuple[Number, Number]:
        nsr, spread = level.nsr, self.sigma_data
        c_skip = spread**2 / ((nsr - self.sigma_min) ** 2 + spread**2)
        c_out = (nsr - self.sigma_min) * spread / (nsr**2 + spread**2) ** 0.5
        return (1 - c_skip) / c_out, -c_skip * nsr / c_out


@dataclass(frozen=True)
class Convention:
    """How a scheduler's numbers are read.

    Args:     schedules: the paths that its times may lie on, likeliest first.
              face: what its network predicts.
              told: t from what the network is told.
              scale: by what its network's input is divided: x_t times this is the input.
              unit: its states are this times ours.
              start: where it takes its first state to be, if that is not what the network is told.
    """

    schedules: tuple[Schedule, ...]
    face: Prediction
    told: Callable[[Schedule, Tensor], Level]
    scale: Callable[[Level], Number] = lambda _: 1.0
    unit: float = 1.0
    start: Level | None = None


def convention_of(scheduler: Any, times: Tensor) -> Convention:
    """How to read a scheduler that tells its network these times.

    Args:     scheduler: an object of diffusers, with its tables in float64.
              times: what the network is told.
    Raises:   NotLinear for one whose path is not known here.
    """
    if hasattr(scheduler, "convention"):  # our own
        own: Convention = scheduler.convention
        return own
    kind, config = type(scheduler).__name__, scheduler.config
    face = Prediction.of(FACES[config.get("prediction_type", "epsilon")])
    if is_flow(scheduler):
        return _flow(kind, config, getattr(scheduler, "sigmas", None))
    if hasattr(scheduler, "precondition_outputs") or kind.startswith("CMStochastic"):
        return _edm(kind, config)
    if kind == "ConsistencyDecoderScheduler":
        spread = config.sigma_data
        ddpm = ddpm_of(scheduler.sqrt_alphas_cumprod.numpy(), {"betas": "cosine", "count": config.num_train_timesteps})
        return Convention((ddpm,), Edm(spread), _index, lambda at: (at.alpha**2 * spread**2 + at.sigma**2) ** -0.5)
    if kind == "SCMScheduler":
        return Convention((Cosine(),), face, _angle, unit=config.sigma_data)
    if kind == "IPNDMScheduler":
        return Convention((Cosine(),), V(), lambda path, t: path.at(t))  # its epsilon is sigma x_t + alpha output
    if kind == "DDPMWuerstchenScheduler":
        return Convention((NicholDhariwal(config.s),), face, lambda path, t: path.at_logsnr(_logit(scheduler, t)))
    if config.get("timestep_type") == "continuous":
        nsr = scheduler.sigmas[scheduler.sigmas > 0]
        path = Slider(EDM(float(nsr.min()), float(nsr.max())), vp=1.0)
        return Convention((path,), face, lambda path, t: path.at_logsnr(-8 * t))
    if not hasattr(scheduler, "alphas_cumprod"):
        raise NotLinear("its path is not known")
    return Convention(_discrete(scheduler, times), face, _index)


def is_flow(scheduler: Any) -> bool:
    """Whether a scheduler is of the straight path x_t = (1 - sigma) x + sigma eps."""
    config = scheduler.config
    asked = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    return bool(asked) or type(scheduler).__name__.startswith(("FlowMa", "LTX", "MiniMax"))


def _flow(kind: str, config: Any, sigmas: Tensor | None) -> Convention:
    face = Prediction.of(FACES[config.get("prediction_type", "flow_prediction")])
    if kind == "MiniMaxH3Scheduler":
        return Convention((Linear(),), Reversed(face), lambda path, t: path.at(1 - t))
    count = config.num_train_timesteps
    start = None if sigmas is None else Linear().at(sigmas[0].clamp(max=1.0)).floats()[0]
    return Convention((Linear(),), face, lambda path, t: path.at(t / count), start=start)


def _edm(kind: str, config: Any) -> Convention:
    spread, path = config.sigma_data, EDM(config.sigma_min, config.sigma_max, config.get("rho", 7.0))
    face: Prediction = Edm(spread) if config.get("prediction_type", "epsilon") == "epsilon" else Reversed(Edm(spread))
    told: Callable[[Schedule, Tensor], Level] = lambda path, t: path.at_logsnr(-8 * t)  # noqa: E731
    if kind.startswith("CMStochastic"):
        face, told = Boundary(spread, config.sigma_min), lambda path, t: path.at_logsnr(-8 * t / 1000)
    elif kind.startswith("Cosine"):
        told = lambda path, t: path.at_logsnr(-2 * (t * math.pi / 2).tan().log())  # noqa: E731
    return Convention((path,), face, told, lambda at: (at.sigma**2 + spread**2) ** -0.5)


def _discrete(scheduler: Any, times: Tensor) -> tuple[Schedule, ...]:
    config = scheduler.config
    settings: dict[str, object] = {"betas": BETAS.get(config.get("beta_schedule", "linear"), "linear")}
    settings |= {"count": config.num_train_timesteps}
    settings |= {name: config[name] for name in ("beta_start", "beta_end") if name in config}
    settings |= {"zero_terminal_snr": bool(config.get("rescale_betas_zero_snr"))}
    squared = scheduler.alphas_cumprod.double().clone()
    if settings["zero_terminal_snr"]:
        squared[-1] = 0.0  # for which some write 2^-24, more than what the index before has
    ddpm: DDPM = ddpm_of(squared.sqrt().numpy(), settings)
    if settings["zero_terminal_snr"] or bool((times == times.round()).all()):
        return (ddpm,)  # nothing lies between a number and infinity
    return (*(Between(ddpm, by) for by in BY), ddpm)


def _index(path: Schedule, t: Tensor) -> Level:
    ddpm = path.base if isinstance(path, Between) else path
    assert isinstance(ddpm, DDPM)
    return path.at((exact(t) + 1) / ddpm.indices)


def _logit(scheduler: Any, t: Tensor) -> Tensor:
    squared: Tensor = scheduler._alpha_cumprod(t, t.device)  # cut off at both ends
    return squared.logit()


def _angle(path: Schedule, t: Tensor) -> Level:
    return path.at((t * 2 / math.pi).clamp(max=1.0))  # they write pi/2 as 1.5708

"""Laws of schedules: what alpha and sigma promise, and what every override must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from obverse.ground.numerics import exact
from obverse.laws.law import Compared, all_within, demand, law, within
from obverse.laws.problems import times
from obverse.path import Schedule

FALLS = "log-SNR falls in t"
FEW = 24  # times where an inverse is asked: it may be a bisection
SPREAD = 30.0  # log-SNR looked at: nsr from 3e-7 to 3e6
ROUNDINGS = 2.0**-50  # relative, of a time: four last bits
STEP = 2e-6  # of finite differences: their own error stays below 1e-8
ROUNDED = 2.0**-50  # of the scale at an end; what is smaller there, and a tenth of what it is beside it, is no limit
BESIDE = 1e-3
KINK = 3e-7  # one-sided slopes that differ by more stand on two pieces, where there is no derivative


@law("schedule", "alpha and sigma are finite, not negative and never both zero on [0, 1]")
def _finite(schedule: Schedule) -> str:
    t = _with_ends()
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    good = alpha.isfinite() & sigma.isfinite() & (alpha >= 0) & (sigma >= 0) & (alpha + sigma > 0)
    i = int(good.double().argmin())
    demand(bool(good[i]), f"at t = {t[i]:.6g} alpha is {alpha[i]:.6g} and sigma {sigma[i]:.6g}")
    return f"alpha in [{alpha.min():.3g}, {alpha.max():.3g}], sigma in [{sigma.min():.3g}, {sigma.max():.3g}]"


@law("schedule", FALLS)
def _falls(schedule: Schedule) -> str:
    t = _with_ends()
    logsnr = 2 * (schedule.alpha(t).log() - schedule.sigma(t).log())
    falls = logsnr.diff() < 0
    i = int(falls.double().argmin())
    demand(bool(falls[i]), f"from {logsnr[i]:.6g} at t = {t[i]:.6g} to {logsnr[i + 1]:.6g} at t = {t[i + 1]:.6g}")
    return f"from {logsnr[0]:.4g} to {logsnr[-1]:.4g}"


@law("schedule", "an end that is reached is reached exactly")
def _reached(schedule: Schedule) -> str:
    """Without it, cos(pi / 2) = 6e-17 is data that methods divide by."""
    told = []
    for name, f, end, mend in (
        ("alpha", schedule.alpha, 1.0, "sin(pi / 2 (1 - t)), say, for cos(pi / 2 t)"),
        ("sigma", schedule.sigma, 0.0, "sin(pi / 2 t), say, for cos(pi / 2 (1 - t))"),
    ):
        here, beside = f(torch.tensor([end, abs(end - BESIDE)], dtype=torch.float64)).tolist()
        rounding = 0 < here < min(ROUNDED * float(schedule.at(end).r), beside / 10)
        demand(not rounding, f"{name} is {here:.6g} at t = {end:g}, which is rounding: make it 0 ({mend})")
        told.append(f"{name} ends at {here:.3g}")
    return ", ".join(told)


@law("schedule", "times of any shape give levels of that shape, in float64")
def _shapes(schedule: Schedule) -> str:
    t = times(0.1, 0.9, 6)
    flat = schedule.at(t)

    def compared() -> Iterator[Compared]:
        for shape in ((), (6,), (2, 3), (6, 1, 1)):
            level = schedule.at(t.reshape(shape) if shape else t[0])
            for name in ("alpha", "sigma", "alpha_dot", "sigma_dot"):
                value = getattr(level, name)
                told = f"{name} of times {shape} is {value.dtype} {tuple(value.shape)}"
                demand(value.shape == shape and value.dtype == torch.float64, told)
                want = getattr(flat, name)[: value.numel()]
                yield f"{name} of times {shape}", value.flatten(), want, want

    return all_within(compared(), 1e-12)


@law("schedule", "alpha_dot and sigma_dot are the derivatives of alpha and sigma")
def _derivatives(schedule: Schedule) -> str:
    t = times(0.02, 0.98)
    level, told = schedule.at(t), []
    for name, f in (("alpha_dot", schedule.alpha), ("sigma_dot", schedule.sigma)):
        measured, smooth = _slope(f, t)
        demand(float(smooth.double().mean()) > 0.5, f"{name} has nothing to be compared with: kinks at most times")
        own, scale = getattr(level, name)[smooth], (measured.abs() + f(t).abs())[smooth]
        told.append(within(name, own, measured[smooth], 1e-6, scale=scale, at=t[smooth]))
    return ", ".join(told)


@law("schedule", "time_of inverts log-SNR")
def _inverse(schedule: Schedule) -> str:
    t = times(1e-4, 1 - 1e-4, FEW)
    told = within("t", schedule.time_of(schedule.logsnr(t)), t, 1e-8, scale=torch.minimum(t, 1 - t))
    logsnr = _logsnrs(schedule)
    t_of = schedule.time_of(logsnr)
    inside = (t_of > 0) & (t_of < 1)  # beyond, 1 - t has no digits left
    logsnr, level = logsnr[inside], schedule.at(t_of[inside])
    rounding = ROUNDINGS * exact(level.logsnr_dot).abs() * level.t  # what a last bit of t moves
    near = logsnr + (exact(level.logsnr) - logsnr).clamp(-rounding, rounding)
    return f"{told}, {within('log-SNR', level.logsnr, near, 1e-9)}"


@law("schedule", "radius is the scale of the path in every direction")
def _radius(schedule: Schedule) -> str:
    level = schedule.at(times(0.001, 0.999, FEW))
    r = exact(level.r)
    return within("r", schedule.radius(level.alpha / r, level.sigma / r), r, 1e-9, scale=r, at=level.t)


@law("schedule", "the level at a log-SNR has that log-SNR and lies on the path")
def _at_logsnr(schedule: Schedule) -> str:
    logsnr = _logsnrs(schedule)
    level = schedule.at_logsnr(logsnr)
    told = within("log-SNR", level.logsnr, logsnr, 1e-11, scale=1 + logsnr.abs())
    t = times(1e-4, 1 - 1e-4, FEW)
    here, there = schedule.at(t), schedule.at_logsnr(schedule.logsnr(t))
    pairs = ((name, getattr(there, name), getattr(here, name)) for name in ("alpha", "sigma"))
    return f"{told}, {all_within(((*pair, pair[-1]) for pair in pairs), 1e-8)}"


@law("schedule", "sampling ends without noise")
def _end(schedule: Schedule) -> str:
    alpha, sigma = float(schedule.end.alpha), float(schedule.end.sigma)
    demand(sigma == 0 and 0 < alpha < float("inf"), f"end has alpha {alpha:.6g} and sigma {sigma:.6g}")
    return f"alpha {alpha:.6g}"


@law("schedule", "f and g² of its SDE lead back to the path")
def _sde(schedule: Schedule) -> str:
    """Integrates d log alpha = f dt and d log nsr² = g² / sigma² dt (T17): logarithms, since nsr² may grow by e^80."""
    t = times(0.05, 0.9, 2500)  # irregular, or it would beat with the knots of a discrete schedule
    level = schedule.at(t)
    alpha, sigma = exact(level.alpha), exact(level.sigma)
    logsnr = exact(level.logsnr)
    drift, fallen = torch.trapezoid(exact(level.f), t), (alpha[-1] / alpha[0]).log()
    grown, lost = torch.trapezoid(level.g2 / sigma**2, t), logsnr[0] - logsnr[-1]
    told = within("the integral of f", drift, fallen, 3e-4)
    return f"{told}, {within('that of g² / sigma²', grown, lost, 3e-4, scale=lost)}"


def _with_ends() -> Tensor:
    """All of [0, 1], its ends and their neighbourhoods included; rising."""
    near = torch.logspace(-6, -2.5, 15, dtype=torch.float64)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return torch.cat([ends, near, 1 - near, times(0.004, 0.996, 400)]).sort().values


def _logsnrs(schedule: Schedule) -> Tensor:
    """Log-SNRs within the schedule's range."""
    low, high = schedule.range
    low, high = max(low, -SPREAD), min(high, SPREAD)
    return low + (high - low) * times(0.001, 0.999, FEW)


def _slope(f: Callable[[Tensor], Tensor], t: Tensor) -> tuple[Tensor, Tensor]:
    """The derivative by finite differences, and where there is one."""
    below2, below, here, above, above2 = (f(t + k * STEP) for k in (-2, -1, 0, 1, 2))
    after = (4 * above - 3 * here - above2) / (2 * STEP)
    before = (3 * here - 4 * below + below2) / (2 * STEP)
    slope = (8 * (above - below) - (above2 - below2)) / (12 * STEP)
    return slope, (after - before).abs() <= KINK * (slope.abs() + here.abs())

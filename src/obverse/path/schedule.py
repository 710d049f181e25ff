"""What a schedule is: two functions of t; the rest follows, and may be overridden where a closed form is exact."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.ground.families import Family
from obverse.ground.numerics import bisect, exact
from obverse.path.level import Level, clean


class Schedule(Family, family="schedule"):
    """alpha(t) and sigma(t) of x_t = alpha x + sigma eps, from data (t = 0) to source (t = 1).

    A schedule is a clock theta(t) on the circle and a scale r(t) (T3); log-SNR = -2 log tan theta falls in t.
    To add one, write `alpha` and `sigma`; `obverse check` compares every override with what they imply.

    Example:
        >>> class Quick(Schedule, name="quick"):
        ...     def alpha(self, t): return 1 - t**2
        ...     def sigma(self, t): return t**2
        >>> round(float(Quick().at_logsnr(0.0).t), 12)
        0.707106781187
    """

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Share of data in the state; float64 in, float64 out, any shape."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Share of source in the state."""

    def alpha_dot(self, t: Tensor) -> Tensor:
        """Derivative of alpha in t; by automatic differentiation unless overridden."""
        return _derivative(self.alpha, t)

    def sigma_dot(self, t: Tensor) -> Tensor:
        """Derivative of sigma in t; by automatic differentiation unless overridden."""
        return _derivative(self.sigma, t)

    def logsnr(self, t: Tensor | float) -> Tensor:
        """log(alpha² / sigma²) at t; infinite where alpha or sigma is 0."""
        return exact(self.at(t).logsnr)

    def time_of(self, logsnr: Tensor) -> Tensor:
        """The t at which log-SNR takes a value; by bisection unless overridden (values inside the range)."""

        def at_log_odds(u: Tensor) -> Tensor:  # small t keep their relative precision
            t = u.sigmoid()
            return 2 * (self.alpha(t).log() - self.sigma(t).log())

        t = bisect(at_log_odds, logsnr.detach(), -700.0, 37.0).sigmoid()
        if logsnr.requires_grad:
            for _ in range(2):  # steps of Newton, which move nothing, give the inverse its first and second derivative
                level = self.at(t)
                step = (logsnr - level.logsnr) / level.logsnr_dot
                t = t + (step - step.detach())
        return t

    def radius(self, cosine: Tensor, sine: Tensor) -> Tensor:
        """The scale r of the path in the direction (cos theta, sin theta); through `time_of` unless overridden."""
        t = self.time_of(2 * (cosine.log() - sine.log()))
        return (self.alpha(t) ** 2 + self.sigma(t) ** 2).sqrt()

    def at(self, t: Level | Tensor | float) -> Level:
        """The level at time t.

        Args:     t: in [0, 1], any shape; or a Level, which stays what it is.
        Raises:   InvalidArgument outside [0, 1].
        """
        if isinstance(t, Level):
            return t
        t = exact(t)
        if not bool(((t >= 0) & (t <= 1)).all()):
            raise InvalidArgument(f"t lies in [0, 1] (0 = data, 1 = source), got {t.min():.6g} ... {t.max():.6g}.")
        return Level(t, self.alpha(t), self.sigma(t), self.alpha_dot(t), self.sigma_dot(t))

    def at_logsnr(self, logsnr: Tensor | float) -> Level:
        """The level with a given log-SNR, exact in alpha and sigma even where t has no digits left.

        Args:     logsnr: within the schedule's range; any shape; +-inf where the range reaches it.
        Raises:   InvalidArgument outside the range.
        """
        logsnr = exact(logsnr)
        low, high = self.range
        slack = torch.where(
            logsnr.isinf(), 0.0, 1e-12 * (1 + logsnr.abs())
        )  # what log and exp may lose between here and the end's own log-SNR
        if not bool(((logsnr >= low - slack) & (logsnr <= high + slack)).all()):
            if not low < high:
                raise InvalidArgument(
                    f"t = 0 is data and t = 1 source, so log-SNR falls in t; that of {self.label} goes from {high:.6g} "
                    f"to {low:.6g} (obverse check says where it is wrong)."
                )
            raise InvalidArgument(
                f"log-SNR of {self.label} lies in [{low:.6g}, {high:.6g}], got {logsnr.min():.6g} ... "
                f"{logsnr.max():.6g} (a shifted or another schedule reaches further)."
            )
        start, end = logsnr <= low, logsnr >= high
        inside = torch.where(start | end, max(low, -30.0) / 2 + min(high, 30.0) / 2, logsnr)
        t = torch.where(start, 1.0, torch.where(end, 0.0, self.time_of(inside)))
        cosine, sine = inside.sigmoid().sqrt(), (-inside).sigmoid().sqrt()
        r = self.radius(cosine, sine)
        ends = start | end
        alpha, sigma = torch.where(ends, self.alpha(t), r * cosine), torch.where(ends, self.sigma(t), r * sine)
        return Level(t, alpha, sigma, self.alpha_dot(t), self.sigma_dot(t))

    def nearest(self, logsnr: Tensor) -> Level:
        """The level with a log-SNR, or the end of the path beyond which it lies; any shape."""
        return self.at_logsnr(logsnr.clamp(*self.range))

    @property
    def range(self) -> tuple[float, float]:
        """Log-SNR at the source end and at the data end; infinite where the end is reached exactly."""
        source, data = self.logsnr(torch.tensor([1.0, 0.0])).tolist()
        return source, data

    @property
    def end(self) -> Level:
        """The noiseless level where sampling stops: t = 0, or its limit for schedules that keep noise there."""
        level = self.at(0.0)
        return level if float(level.sigma) == 0 else clean(float(level.alpha))


def _derivative(f: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    again = t.requires_grad and torch.is_grad_enabled()  # the derivative is to be differentiated too
    with torch.inference_mode(False), torch.enable_grad():  # a derivative whatever the caller does without
        moving = t if again else t.detach().clone().requires_grad_()
        value = f(moving)
        if not value.requires_grad:
            return torch.zeros_like(t)
        (slope,) = torch.autograd.grad(value.sum(), moving, create_graph=again, allow_unused=True)
    return torch.zeros_like(t) if slope is None else slope

"""Laws of time laws: where on the path training looks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.laws.law import Compared, all_within, demand, law, not_negative, within
from obverse.laws.problems import PATHS, times
from obverse.objective import TimeLaw

TAILS = 60.0  # log-SNR integrated over: what lies beyond is below 1e-9 of any law here
DRAWS = 4001  # quantiles asked of a time law


@law("time law", "its density is that of its draws")
def _density_of_draws(law_of_times: TimeLaw) -> str:
    """The distribution function, integrated from the density over log-SNR, at the quantiles (T45)."""
    u = (torch.arange(DRAWS, dtype=torch.float64) + 0.5) / DRAWS

    def compared() -> Iterator[Compared]:
        for path in PATHS:
            low, high = path.range
            drawn = exact(law_of_times.level(u, path).logsnr).sort().values
            demand(not bool(drawn.isnan().any()), f"levels drawn on {path.spec} are NaN")
            cut = [float(end.double().mean()) for end in (drawn <= low, drawn >= high)]  # drawn at the ends themselves
            logsnr = torch.linspace(max(low, -TAILS), min(high, TAILS), 24001, dtype=torch.float64)[1:-1]
            density = exact(law_of_times.density(path.at_logsnr(logsnr)))
            not_negative(density, f"the density on {path.spec}")
            share = cut[0] + torch.nn.functional.pad(torch.cumulative_trapezoid(density, logsnr), (1, 0))
            yield f"the mass on {path.spec}", share[-1] + cut[1], 1, 1
            inside = (drawn > low) & (drawn < high)
            found = torch.from_numpy(np.interp(drawn[inside].numpy(), logsnr.numpy(), share.numpy()))
            yield f"the share below a quantile on {path.spec}", found, u[inside], 1

    return all_within(compared(), 2e-3)


@law("time law", "its density is the slope of its quantiles")
def _slope_of_quantiles(law_of_times: TimeLaw) -> str:
    u, h = times(0.02, 0.98), 1e-7

    def compared() -> Iterator[Compared]:
        for path in PATHS:
            level = law_of_times.level(u, path)
            ahead, behind = (exact(law_of_times.level(at, path).logsnr) for at in (u + h, u - h))
            slope = (ahead - behind).abs() / (2 * h)
            inside = (slope > 0) & (torch.minimum(ahead, behind) > path.range[0])
            yield f"density times slope on {path.spec}", (exact(law_of_times.density(level)) * slope)[inside], 1, 1

    return all_within(compared(), 1e-5)


@law("time law", "its distribution function undoes its quantiles")
def _cumulative(law_of_times: TimeLaw) -> str:
    u = times(0.001, 0.999)
    try:
        law_of_times.cumulative(PATHS[0].at(0.5))
    except InvalidArgument:
        return "it has none: no other law can be made of it"

    def compared() -> Iterator[Compared]:
        for path in PATHS:
            level = law_of_times.level(u, path)
            inside = (exact(level.logsnr) > path.range[0]) & (exact(level.logsnr) < path.range[1])
            yield f"the share below a quantile on {path.spec}", law_of_times.cumulative(level)[inside], u[inside], 1

    return all_within(compared(), 1e-9)


@law("time law", "what its draws stand for is a law too")
def _meant(law_of_times: TimeLaw) -> str:
    """The density of the draws times their ratio has a mass of one, like the densities of them all (T50)."""

    def compared() -> Iterator[Compared]:
        for path in PATHS[::2]:  # on these both ends are reached
            level = path.at_logsnr(torch.linspace(-TAILS, TAILS, 24001, dtype=torch.float64))
            density, ratio = exact(law_of_times.density(level)), exact(law_of_times.ratio(level))
            meant = torch.where(density > 0, density * ratio, 0.0)
            not_negative(meant, f"the density that is meant on {path.spec}")
            yield f"the mass on {path.spec}", torch.trapezoid(meant, exact(level.logsnr)), 1, 1

    return all_within(compared(), 2e-3)


@law("time law", "its uniform draws fill (0, 1) evenly")
def _even(law_of_times: TimeLaw) -> str:
    def compared() -> Iterator[Compared]:
        even = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096
        for step in (0, 1):
            u = law_of_times.uniforms(4096, seed=0, step=step, samples=None)
            demand(bool(((u > 0) & (u < 1)).all()), f"uniform draws lie between {u.min():.6g} and {u.max():.6g}")
            yield f"a draw in order at step {step}", u.sort().values, even, 1

    return all_within(compared(), 0.03)  # independent draws exceed it once in a thousand seeds


@law("time law", "the draw of row i is its own")
def _rows(law_of_times: TimeLaw) -> str:
    many = law_of_times.uniforms(16, seed=0, step=5, samples=None)
    some = law_of_times.uniforms(2, seed=0, step=5, samples=[11, 3])
    other = law_of_times.uniforms(16, seed=0, step=6, samples=None)
    demand(not bool((many == other).all()), "two steps draw the same")
    return within("a row by itself", some, many[[11, 3]], 0.0)

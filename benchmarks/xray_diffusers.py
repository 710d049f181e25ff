"""Which of diffusers' schedulers are which of our members, and what is wrong with some; writes docs/schedulers.md.

Every number below comes from their tables, read by probing `step` (T41); nothing is sampled. The standard deviations
are those of the end of a run on normal data, carried through the table exactly (T40).
"""

from __future__ import annotations

import argparse
import inspect
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch

import obverse as ob
from obverse.interop import NotLinear, Xray, foreign, schedulers
from obverse.interop.match import grids
from obverse.laws.propagation import moments
from obverse.report.schedulers import finding, findings, page
from obverse.sampler import Solver
from obverse.sampler.remarks import reached, wasted

FLOW = "use_flow_sigmas=true,prediction_type=flow_prediction"
SPREAD = 0.5  # of the normal data
CHURNED = (100, 200, 400)  # steps
HEAD = """# diffusers' schedulers

*Made by `benchmarks/xray_diffusers.py` with diffusers {version}; `obverse compare diffusers` prints the same.*

A scheduler is run on basis vectors and so read as a table ([T41](#t41)), in float64 whatever it asks for, with clipping
off, because no table clips. Two tables are the same algorithm when their canonical forms agree ([T39](#t39)); here to
1e-10. Where a network is told another level than its state has, the table is also compared at the levels of the
states. "Nearest" is the member with as many calls whose table differs least.
Settings are the defaults, unless named; below 15 steps these lower the order of many methods' last steps
(`lower_order_final`), and some have the members' tables only without that.

## What is worth knowing

{faults}

"""


def read(spec: str, steps: int) -> Xray:
    """A scheduler's table."""
    return foreign(spec).look(steps)


def end(spec: str, steps: int) -> float:
    """sigma/alpha at the end."""
    return float(read(spec, steps).tableau.moments[-1].nsr)


def spread(spec: str, steps: int) -> float:
    """The standard deviation of the end of a run on normal data."""
    seen = read(spec, steps)
    return moments(seen.tableau, ob.oracles.Gaussian(torch.zeros(1), SPREAD**2, seen.schedule))[1]


def spread_churned(kind: str, base: str, churn: float, steps: int) -> float:
    """The same of our own churn at the levels of a scheduler, everywhere as theirs is by default."""
    seen = read(kind, steps)
    solver = Solver.of(f"churn:base=({base}),s_churn={churn},s_min=0,s_max=1e9")
    ours = solver.tableau(seen.schedule, next(iter(grids(seen.tableau))))
    return moments(ours, ob.oracles.Gaussian(torch.zeros(1), SPREAD**2, seen.schedule))[1]


def faults() -> Iterator[str]:
    """What is worth knowing, each measured."""
    for kind in ("DEISMultistepScheduler", "SASolverScheduler"):
        ends = ", ".join(f"{end(f'{kind},{FLOW}', n):.3g}" for n in (10, 20, 40))
        yield f"`{kind}` with flow sigmas never reaches sigma = 0: after 10, 20, 40 steps it stops at {ends}."
    kinds = [kind for kind in ("DEISMultistepScheduler", "SASolverScheduler", "PNDMScheduler") if end(kind, 10) > 1e-6]
    yield f"With betas, {_list(kinds)} stop at the first index, sigma/alpha = {end(kinds[0], 10):.3g}, instead of 0."
    for spec in ("PNDMScheduler", "PNDMScheduler,skip_prk_steps=true", f"DEISMultistepScheduler,{FLOW}"):
        table = read(spec, 10).tableau
        if wasted(table):
            places = ", ".join(map(str, wasted(table)))
            yield f"`{spec}` wastes call {places} of {table.calls}: nothing depends on it."
    table = read("FlowMatchEulerDiscreteScheduler", 10).tableau
    last, most = (float(w) for w in (table.weights()[0].abs()[-1], table.weights()[0].abs().max()))
    yield (
        f"`FlowMatchEulerDiscreteScheduler` spends its last call on a step from sigma = "
        f"{table.moments[-2].sigma:.3g} to 0: its weight in the result is {last:.2g}, that of the largest {most:.2g}."
    )
    plain, churned = (read(f"FlowMatchEulerDiscreteScheduler,s_churn={s}", 10).tableau for s in (0.0, 60.0))
    assert plain == churned
    yield "`FlowMatchEulerDiscreteScheduler` takes `s_churn`, `s_tmin`, `s_tmax` and `s_noise` and ignores them."
    for kind, base, churn in (
        ("FlowMatchHeunDiscreteScheduler", "heun", 60.0),
        ("EulerDiscreteScheduler", "euler:face=noise", 20.0),
    ):
        ends = ", ".join(f"{spread(f'{kind},s_churn={churn}', n):.3f}" for n in CHURNED)
        right = ", ".join(f"{spread_churned(kind, base, churn, n):.3f}" for n in CHURNED)
        why = {
            "F": "It adds the noise of unscaled data to scaled states, after the network was called; "
            "more steps do not mend it",
            "E": "It adds the noise after the network was called, so that what the network said is of another state; "
            "on these data the error is no larger for that, has the other sign, and falls with the step as well",
        }[kind[0]]
        yield (
            f"`{kind}` with `s_churn={churn:g}` turns normal data of standard deviation {SPREAD} into {ends} in "
            f"{', '.join(map(str, CHURNED))} steps; `churn:base=({base})` on the same levels, which adds it before the "
            f"call and at the state's scale, into {right}. {why}."
        )
    once = read("FlowMatchEulerDiscreteScheduler", 10).tableau.moments[-2].sigma
    twice = read("FlowMatchEulerDiscreteScheduler,shift=3.0", 10).tableau.moments[-2].sigma
    yield (
        f"`FlowMatchEulerDiscreteScheduler` with `shift=3` shifts twice: its last sigma is {twice:.4g}, "
        f"where one shift of {once:.3g} gives {3 * once / (1 + 2 * once):.4g}."
    )
    rounded = [
        "DPMSolverMultistepScheduler,use_karras_sigmas=true",
        f"DPMSolverMultistepScheduler,{FLOW}",
        f"UniPCMultistepScheduler,{FLOW}",
    ]
    for spec in rounded:
        table = read(spec, 10).tableau
        there = reached(table)
        off = [abs(there[n].theta - table.moments[n].theta) / table.moments[n].theta for n in table.reads]
        yield (
            f"`{spec}` makes whole numbers of its times: at {sum(o > 1e-4 for o in off)} of {table.calls} calls the "
            f"network is told another level than the state's, in angle by up to {100 * max(off):.2g} %."
        )
    betas = {name: inspect.signature(kind.__init__).parameters.get("beta_start") for name, kind in schedulers().items()}
    stable = [name for name, beta in betas.items() if beta is not None and beta.default == 0.00085]
    yield f"The default betas of {_list(stable)} are Stable Diffusion's (0.00085 to 0.012), not DDPM's."
    try:
        read("UniPCMultistepScheduler,solver_type=bh1", 10)
    except NotLinear as refusal:
        yield f"`UniPCMultistepScheduler` with `solver_type=bh1`: {str(refusal).partition(': ')[2]}"
    large = finding("DDPMScheduler,variance_type=fixed_large", 10)
    told = next((remark for remark in large.remarks if "told" in remark), "")
    yield f"`DDPMScheduler` with `variance_type=fixed_large` adds a coarse step's whole beta as noise: {told}."


def _list(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return ", ".join(quoted[:-1]) + (" and " if len(quoted) > 1 else "") + quoted[-1]


def main() -> None:
    """Read all of them and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/schedulers.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    known = [f"- {fault}" for fault in faults()]
    print(*known, sep="\n", flush=True)
    found = []
    for one in findings(options.steps):
        print(f"{one.name:<44} {one.verdict}", flush=True)
        found.append(one)
    head = HEAD.format(version=version("diffusers"), faults="\n".join(known))
    options.out.write_text(head + page(found, options.steps))


if __name__ == "__main__":
    main()

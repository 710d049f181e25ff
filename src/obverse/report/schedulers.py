"""All schedulers of diffusers beside our members: which are identical, which are not and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from obverse.interop import Match, NotLinear, Xray, foreign, match, schedulers
from obverse.sampler.remarks import remarks

VARIANTS = (
    "CogVideoXDDIMScheduler,timestep_spacing=trailing",
    "DDIMScheduler,timestep_spacing=trailing",
    "DDIMScheduler,eta=0.5",
    "DDIMScheduler,eta=1.0",
    "DDIMScheduler,rescale_betas_zero_snr=true,timestep_spacing=trailing,prediction_type=v_prediction",
    "DDPMScheduler,variance_type=fixed_large",
    "DEISMultistepScheduler,solver_order=1",
    "DEISMultistepScheduler,lower_order_final=false",
    "DEISMultistepScheduler,solver_order=3",
    "DEISMultistepScheduler,solver_order=3,lower_order_final=false",
    "DEISMultistepScheduler,use_flow_sigmas=true,prediction_type=flow_prediction",
    "DPMSolverMultistepScheduler,solver_order=1",
    "DPMSolverMultistepScheduler,solver_order=3",
    "DPMSolverMultistepScheduler,solver_order=3,lower_order_final=false",
    "DPMSolverMultistepScheduler,algorithm_type=dpmsolver,final_sigmas_type=sigma_min",
    "DPMSolverMultistepScheduler,algorithm_type=sde-dpmsolver++",
    "DPMSolverMultistepScheduler,solver_type=heun",
    "DPMSolverMultistepScheduler,use_karras_sigmas=true",
    "DPMSolverMultistepScheduler,use_flow_sigmas=true,prediction_type=flow_prediction",
    "DPMSolverSinglestepScheduler,solver_order=1",
    "DPMSolverSinglestepScheduler,solver_order=3",
    "DPMSolverSinglestepScheduler,algorithm_type=dpmsolver,final_sigmas_type=sigma_min",
    "EulerDiscreteScheduler,use_karras_sigmas=true",
    "EulerDiscreteScheduler,s_churn=2.0",
    "FlowMatchEulerDiscreteScheduler,shift=3.0",
    "FlowMatchEulerDiscreteScheduler,s_churn=2.0",
    "FlowMatchEulerDiscreteScheduler,stochastic_sampling=true",
    "FlowMatchHeunDiscreteScheduler,s_churn=2.0",
    "LTXEulerAncestralRFScheduler,eta=0.0",
    "PNDMScheduler,skip_prk_steps=true",
    "SASolverScheduler,use_flow_sigmas=true,prediction_type=flow_prediction",
    "TCDScheduler,eta=0.0",
    "TCDScheduler,eta=1.0",
    "UniPCMultistepScheduler,solver_order=1",
    "UniPCMultistepScheduler,solver_order=3",
    "UniPCMultistepScheduler,solver_order=3,lower_order_final=false",
    "UniPCMultistepScheduler,solver_type=bh1",
    "UniPCMultistepScheduler,use_flow_sigmas=true,prediction_type=flow_prediction",
)
FIXED = {"ConsistencyDecoderScheduler": 2}  # steps of those that allow no others


@dataclass(frozen=True)
class Finding:
    """What one scheduler is.

    Args:     name: its class and settings.
              same: whether it is a member of ours.
              member: which, or the nearest with as many calls; "" where there is none, or it is no table.
              difference: from that member.
              calls: of the network; None where it is no table.
              verdict: all that in words.
              remarks: what is worth knowing about it by itself.
    """

    name: str
    same: bool
    member: str
    difference: float | None
    calls: int | None
    verdict: str
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def findings(steps: int, names: Sequence[str] = ()) -> Iterator[Finding]:
    """Every scheduler of diffusers with its default settings, then some with others.

    Args:     steps: what they are told.
              names: only these, as `foreign` reads them; default all.
    """
    for name in names or (*schedulers(), *VARIANTS):
        yield finding(name, FIXED.get(name, steps))


def finding(name: str, steps: int) -> Finding:
    """What one scheduler is; settings as `foreign` reads them."""
    try:
        seen = foreign(name).look(steps)
    except NotLinear as refusal:
        return Finding(name, False, "", None, None, f"no table: {_reason(str(refusal))}")
    return _found(name, seen, match(seen.tableau, seen.schedule))


def _found(name: str, seen: Xray, found: Match | None) -> Finding:
    own, calls = tuple(remarks(seen.tableau)), seen.tableau.calls
    if found is None:
        rises = seen.tableau.moments[-1].theta > seen.tableau.moments[0].theta
        why = "it goes from data to noise" if rises else "none of ours calls at such levels"
        return Finding(name, False, "", None, calls, why, own)
    apart, member = found.comparison.difference, found.solver.spec
    where = "" if found.told else ", at the levels that its states have"
    if found.comparison.same:
        return Finding(name, True, member, apart, calls, f"is {member}{where}", own)
    first = found.comparison.first or 0
    place = "at the end" if first > calls else f"at call {first}"
    verdict = f"none of ours; nearest {member}{where}: they part {place}, and differ by {apart:.2g}"
    return Finding(name, False, member, apart, calls, verdict, own)


def _reason(refusal: str) -> str:
    """Why, without saying again what."""
    return refusal.partition(" is no table: ")[2].rstrip(".") or refusal.rstrip(".")


def page(found: Sequence[Finding], steps: int) -> str:
    """The findings as tables in Markdown."""
    same = [one for one in found if one.same]
    other = [one for one in found if not one.same and one.calls is not None]
    lines = [
        f"## Identical to a member ({len(same)})",
        "",
        "| scheduler | member | calls | remarks |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{_cell(f.name)}` | {f.verdict.removeprefix('is ')} | {f.calls} | {_remarks(f)} |" for f in same]
    lines += [
        "",
        f"## Of their own ({len(other)})",
        "",
        "| scheduler | beside ours | calls | remarks |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{_cell(f.name)}` | {f.verdict} | {f.calls} | {_remarks(f)} |" for f in other]
    rest = [one for one in found if one.calls is None]
    lines += ["", f"## No tables ({len(rest)})", "", "| scheduler | why |", "|---|---|"]
    lines += [f"| `{_cell(f.name)}` | {f.verdict.removeprefix('no table: ')} |" for f in rest]
    return "\n".join([f"Read with {steps} steps.", "", *lines, ""])


def _remarks(one: Finding) -> str:
    return "; ".join(one.remarks)


def _cell(text: str) -> str:
    return text.removesuffix("Scheduler").replace("Scheduler,", ", ").replace(",", ", ").replace(",  ", ", ")

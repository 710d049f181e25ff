"""`obverse list`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from obverse.cli.console import Talk, parse
from obverse.ground.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class List(Talk):
    """Show every member of every family: its name, what it is, and what can be set.

    A spec is a name with fields: vp:beta_max=30   shift:base=cosine,k=2   sde:eta=0.5

    Args:
        family: only this one, such as schedule or solver.
    """

    family: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="FAMILY")] = None


def main(argv: list[str]) -> int:
    """Print the families."""
    options: List = parse(List, argv, "list")
    families = every_family()
    if options.family is not None:
        if options.family not in families:
            raise UnknownName("family", options.family, families)
        families = {options.family: families[options.family]}
    lines, values = [], {}
    for family, base in families.items():
        lines.append(f"{family}")
        members = base.members
        width = max(map(len, members), default=0)
        for name, member in members.items():
            lines.append(f"  {name:<{width}}  {member.summary()}")
            if settings := _settings(member):
                lines.append(f"  {'':<{width}}    {settings}")
        values[family] = {n: {"about": m.summary(), "fields": _settings(m)} for n, m in members.items()}
        lines.append("")
    options.result("\n".join(lines), values)
    return 0


def every_family() -> dict[str, Any]:
    """Every family by its name, members loaded; recipes too."""
    from obverse.ground.families import Family
    from obverse.metrics import Metric
    from obverse.model import Precondition, TimeInput
    from obverse.nets import Architecture
    from obverse.objective import Coupling, TimeLaw, Weighting
    from obverse.path import Prediction, Schedule
    from obverse.sampler import Adaptive, Clock, Grid, Pair, Solver, Strength

    bases: list[type[Family]] = [Schedule, Prediction, Solver, Strength, Clock, Adaptive, Pair, Grid]
    bases += [TimeLaw, Weighting, Coupling, Architecture, TimeInput, Precondition, Metric]
    return {base.family: base for base in bases}


def _settings(member: type[Any]) -> str:
    if not dataclasses.is_dataclass(member):
        return ""
    return ", ".join(f"{f.name} = {_default(f)}" for f in dataclasses.fields(member) if f.init)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        made = field.default_factory()
        return str(getattr(made, "spec", made))
    return "required" if field.default is dataclasses.MISSING else str(field.default)

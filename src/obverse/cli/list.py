"""`obverse list`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from obverse.cli.console import Talk, parse
from obverse.ground.errors import UnknownName
from obverse.recipes import shelf


@dataclass(frozen=True, kw_only=True)
class List(Talk):
    """Show every member of every family: its name, what it is, and what can be set; and the named recipes.

    A spec is a name with fields: vp:beta_max=30   shift:base=cosine,k=2   sde:eta=0.5

    Args:
        family: only this one, such as schedule, solver or recipe.
    """

    family: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="FAMILY")] = None


def main(argv: list[str]) -> int:
    """Print the families."""
    options: List = parse(List, argv, "list")
    families, lines, values = every_family(), list[str](), dict[str, Any]()
    if options.family is not None:
        if options.family not in (*families, "recipe"):
            raise UnknownName("family", options.family, (*families, "recipe"))
        families = {name: base for name, base in families.items() if name == options.family}
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
    if options.family in (None, "recipe"):
        lines.append("recipe")
        for name, (_, about, reached) in shelf().items():
            lines += [f"  {name:<16}  {about}", f"  {'':<16}    {reached.score}; {reached.hardware}"]
        values["recipe"] = {name: {"about": one.about, **one.reached._asdict()} for name, one in shelf().items()}
    options.result("\n".join(lines), values)
    return 0


def every_family() -> dict[str, Any]:
    """Every family by its name, members loaded."""
    from obverse.data import Augmentation
    from obverse.ground.families import Family
    from obverse.metrics import Features, Metric
    from obverse.model import Precondition, TimeInput
    from obverse.nets import Architecture
    from obverse.objective import Coupling, Distance, TimeLaw, Weighting
    from obverse.objective.couplings import Cost
    from obverse.objective.effective import TrainingRecipe
    from obverse.path import Prediction, Schedule
    from obverse.sampler import Adaptive, Clock, Grid, Pair, Solver, Strength

    bases: list[type[Family]] = [Schedule, Prediction, Solver, Strength, Clock, Adaptive, Pair, Grid]
    bases += [TimeLaw, Weighting, Distance, TrainingRecipe, Coupling, Cost, Architecture, TimeInput, Precondition]
    bases += [Metric, Features, Augmentation]
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

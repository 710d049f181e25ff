"""`obverse check MODULE:CLASS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from obverse.cli.console import Talk, parse


@dataclass(frozen=True, kw_only=True)
class Check(Talk):
    """Put a schedule, prediction, solver, grid, weighting, time law, coupling, network or metric through the laws of
    its family.

    TARGET is module:Class or file.py:Class of one's own (it is imported), or family/spec of a member here, such as
    solver/heun or schedule/vp:beta_max=30. Exit code 1 when a law is broken.

    Args:
        target: whom to check.
        dry_run: name the laws, and stop.
    """

    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET")]
    dry_run: bool = False


def main(argv: list[str]) -> int:
    """Check, law by law."""
    options: Check = parse(Check, argv, "check")

    from obverse.laws import laws_of, resolve

    member = resolve(options.target)
    laws, verdicts = laws_of(member), []
    if options.dry_run:
        names = [law.name for law in laws]
        options.result("\n".join(names), {"target": options.target, "laws": names})
        return 0
    with options.bar("checking", len(laws)) as bar:
        for law in laws:
            verdicts.append(law.verdict(member))
            bar.to(len(verdicts))
    broken = [verdict for verdict in verdicts if not verdict.ok]
    held = f"{options.target}: {len(verdicts) - len(broken)} of {len(verdicts)} laws hold"
    values = [verdict._asdict() for verdict in verdicts]
    options.result("\n".join([*map(str, verdicts), held]), {"target": options.target, "ok": not broken, "laws": values})
    return 1 if broken else 0

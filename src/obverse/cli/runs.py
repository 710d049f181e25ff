"""What the verbs that draw from a trained model share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from obverse.cli.console import Talk
from obverse.recipes.sampling import Sampling

RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True, kw_only=True)
class OfRun(Talk, Sampling):
    """Options of such a verb.

    Args:
        run: the run folder.
        checkpoint: newest, best (by the loss on held-out data, of a run with --keep-best) or a step.
        dry_run: say what would be done, and stop.
    """

    run: RunFolder
    checkpoint: str = "newest"
    dry_run: bool = False

    @property
    def sampling(self) -> Sampling:
        """How to sample, alone."""
        return Sampling(**{f.name: getattr(self, f.name) for f in fields(Sampling)})

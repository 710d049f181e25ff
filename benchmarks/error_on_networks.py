"""Error against calls of the default sampler on trained networks, where exact mixtures could mislead.

Distance to the end of the network's own probability flow from the same noise, in units of the data's root mean square.
To compare two versions of the default, run this in a checkout of each, on the same runs.

Command: python benchmarks/error_on_networks.py RUN [RUN ...] [--calls 4 5 6 ...] [--noises 128] [--solver SPEC]
         [--grid SPEC] [--json FILE]          (`obverse train digits --recipe digits --out RUN` makes a run)
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from error_against_calls import CALLS
from obverse.recipes import Sampling, Trained
from obverse.recipes.tuning import noise_for
from obverse.sampler.truth import truth


def main() -> None:
    """Measure and print: RMS, median, share of flipped samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument(
        "--calls", nargs="+", type=int, default=list(CALLS), help="steps, for a solver of one call each"
    )
    parser.add_argument("--noises", type=int, default=128)
    parser.add_argument("--solver", default=Sampling().solver)
    parser.add_argument("--grid", default=Sampling().grid)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for folder in options.runs:
        run = Trained.open(folder, "cpu")
        known = truth(run.model, *noise_for(run, options.noises, 0, "test"))
        for calls in options.calls:
            table = run.tableau(Sampling(solver=options.solver, grid=options.grid, steps=calls))
            errors = known.errors(table)
            rows.append({"run": folder.name, "calls": table.calls, **errors._asdict()})
            print(f"{folder.name:16}{table.calls:4}  {errors}", flush=True)
        print(
            f"{folder.name:16}the ends themselves: {known.calls} calls, {known.gap:.1e} from half as many", flush=True
        )
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

"""Laws of solvers: the table says everything, and exact distributions say what it should have said."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from obverse.ground.errors import ObverseError
from obverse.ground.numerics import exact
from obverse.laws.law import Compared, all_within, demand, law, within
from obverse.laws.problems import PATHS, carried, draws, hill, hills, ridge, starts
from obverse.laws.propagation import off, run
from obverse.model import Empirical
from obverse.path import Cosine, Data
from obverse.sampler import Grid, LogSNR, Solver, Uniform, sample

STEPS = (40, 80, 160, 320, 640)  # a slope is read from the three finest whose errors are more than rounding
FEW = (10, 40)  # all the way to the end, where the error has to halve at least
ROUNDING = 1e-13  # of hundreds of steps in float64, with room
FROM, TO = 0.9, 0.1  # where they start and stop: every clock is smooth in between
SLACK = 0.15  # in the slope
INEXACT = "not promised: its slope changes even where the data does not"
NOT_PROMISED = "not promised: its steps depend on the pace and scale of the path"


@law("solver", "the declared order is the measured one")
def _order(solver: Solver) -> str:
    declared = float(getattr(solver, "order", math.nan))
    demand(math.isfinite(declared), "it declares no order: write `order = 1` into the class")
    errors: dict[int, float] = {}
    for steps in reversed(STEPS):
        errors = {steps: max(_errors(solver, steps))} | errors
        if sum(error > ROUNDING for error in errors.values()) == 3:
            break
    seen = {steps: error for steps, error in errors.items() if error > ROUNDING}
    demand(len(seen) >= 2 and all(error < math.inf for error in errors.values()), f"no slope in the errors {errors}")
    (few, coarse), *_, (many, fine) = seen.items()
    shown = f"errors {', '.join(f'{error:.2g}' for error in seen.values())} at {', '.join(map(str, seen))} steps"
    if declared == 0:
        demand(fine <= coarse, f"it declares that more steps do not help, but they harm: {shown}")
        return f"not promised: it declares that more steps do not help ({shown})"
    slope = math.log(coarse / fine) / math.log(many / few)
    demand(abs(slope - declared) <= SLACK, f"declared order {declared:g}, measured {slope:.2f} ({shown})")
    return f"declared {declared:g}, measured {slope:.2f} ({shown})"


@law("solver", "more steps come nearer to the noiseless end too")
def _arrives(solver: Solver) -> str:
    """The last step is not like the others, and methods of any order may take it at the first."""
    coarse, fine = (max(_errors(solver, steps, 0.0)) for steps in FEW)
    shown = f"errors {coarse:.2g}, {fine:.2g} at {FEW[0]}, {FEW[1]} steps to the end"
    demand(fine <= max(coarse / 2, ROUNDING), f"{shown}: if its order holds, the last step is wrong")
    return shown


@law("solver", "constant data is exact in any number of steps")
def _constant(solver: Solver) -> str:
    point = torch.tensor([[0.7, -1.2]], dtype=torch.float64)

    def compared() -> Iterator[Compared]:
        for path in PATHS:
            for steps in (1, 2, 5):
                table = solver.tableau(path, Uniform(steps, start=0.95))
                first, last = table.levels[0], table.levels[-1]
                end = run(table, Empirical(point, path), draws((4, 2), "start") * float(first.sigma))
                yield f"the end of {steps} steps on {path.spec}", end / float(last.alpha), point, 1

    return all_within(compared(), 1e-10) if solver.exact else INEXACT


@law("solver", "its weights of the data sum to what is left of the data, and no noise is left")
def _weights(solver: Solver) -> str:
    def compared() -> Iterator[Compared]:
        for path in PATHS:
            table = solver.tableau(path, Uniform(7, start=0.95))
            outputs, noises = table.weights(Data())
            yield f"the sum for the data on {path.spec}", outputs.sum() / table.levels[-1].alpha, 1, 1
            yield f"the noise left on {path.spec}", noises.norm(), 0, 1

    return all_within(compared(), 1e-10) if solver.exact else INEXACT


@law("solver", "the same noise levels on another schedule give the same table")
def _same_table(solver: Solver) -> str:
    def compared() -> Iterator[Compared]:
        grid = LogSNR(7, low=-8.0, high=8.0)  # every one of the paths reaches these
        first = solver.tableau(PATHS[0], grid)
        for path in PATHS[1:]:
            difference = solver.tableau(path, grid).difference(first)
            yield f"the difference on {path.spec} from {PATHS[0].spec}", difference, 0, 1

    return all_within(compared(), 1e-12) if solver.invariant else NOT_PROMISED


@law("solver", "it remembers nothing from table to table")
def _forgets(solver: Solver) -> str:
    path, late = PATHS[0], Uniform(3, start=0.4)
    first = solver.tableau(path, late)
    solver.tableau(path, Uniform(3, start=FROM, end=0.5))
    again = solver.tableau(path, late)
    same = first.rows == again.rows and first.reads == again.reads
    demand(same, "after other levels its table is another: keep what steps remember in trace.notes, not on self")
    return f"{len(first.rows)} rows, again the same"


@law("solver", "every step leads to finite numbers, and sampling reaches the noiseless end")
def _finite(solver: Solver) -> str:
    """Only a start at alpha = 0 may be refused, where not every face determines the data."""
    refused = 0
    for path in PATHS:
        oracle = hill(path)
        for steps in (1, 2, 3, 5, 20):
            for grid in (Uniform(steps), Uniform(steps, start=FROM), Grid.of(f"angle:steps={steps}")):
                try:
                    table = solver.tableau(path, grid)
                except ObverseError as refusal:
                    ends = float(exact(grid.levels(path).alpha)[0]) == 0
                    demand(ends, f"{grid.spec} on {path.spec} is refused: {refusal}")
                    refused += 1
                    continue
                end = run(table, oracle, starts(table.levels[0]))
                demand(bool(end.isfinite().all()), f"{grid.spec} on {path.spec} ends in {end.flatten().tolist()[:3]}")
                last = float(exact(table.levels.sigma)[-1])
                demand(last == 0, f"{grid.spec} on {path.spec} ends with sigma {last:.3g}")
    return f"{refused} starts at alpha = 0 refused" if refused else "from every start"


@law("solver", "row i of a batch is its own")
def _rows(solver: Solver) -> str:
    oracle, grid = hills(Cosine()), Uniform(4, start=FROM)
    together = sample(oracle, (5, 1), solver=solver, grid=grid, dtype=torch.float64)
    turned = sample(oracle, (2, 1), solver=solver, grid=grid, dtype=torch.float64, samples=[3, 1])
    return within("a row by itself", turned, together[[3, 1]], 1e-12)


def _errors(solver: Solver, steps: int, end: float = TO) -> Iterator[float]:
    """On two paths: of the end's states; where the method draws, of their law."""
    for oracle in (hill("linear"), hills("cosine")):
        path = oracle.schedule
        table = solver.tableau(path, Uniform(steps, start=FROM, end=end))
        if table.draws:
            yield off(table, ridge(path))
            continue
        first, last = table.levels[0], table.levels[-1]
        x_t = starts(first)
        want = carried(oracle, x_t, first, last)
        yield float((run(table, oracle, x_t) - want).abs().max() / last.r)

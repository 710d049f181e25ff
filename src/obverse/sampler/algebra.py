"""Tables made of tables: on another schedule, and one after the other (T70)."""

from __future__ import annotations

from dataclasses import replace

from obverse.ground.errors import InvalidArgument
from obverse.ground.numerics import exact
from obverse.path import Schedule, V, join
from obverse.sampler.program import Register, Row
from obverse.sampler.tableau import Tableau

SAME = 1e-12  # between angles of the level where one table stops and another starts


def rescaled(table: Tableau, schedule: Schedule | str) -> Tableau:
    """The same algorithm on another schedule: the same angles, states of another scale (T28).

    Args:     table: of any schedule.
              schedule: which reaches all of the table's noise levels.
    Returns:  a table in the face v, equal to the given one (`==`), for models on the schedule.
    Raises:   InvalidArgument where the schedule does not reach a level.

    Example:
        >>> from obverse.sampler import DDIM, LogSNR
        >>> grid = LogSNR(5, low=-8.0, high=8.0)
        >>> rescaled(DDIM().tableau("linear", grid), "cosine") == DDIM().tableau("cosine", grid)
        True
    """
    schedule, table = Schedule.of(schedule), table.on_face(V())
    logsnr = exact(table.levels.logsnr)
    clean = exact(table.levels.sigma) == 0
    levels = join(*(schedule.end if end else schedule.at_logsnr(at) for at, end in zip(logsnr, clean, strict=True)))
    scale = (exact(levels.r) / exact(table.levels.r)).tolist()

    def moved(n: int, row: Row) -> Row:
        def beside(key: Register) -> float:
            if key.kind == "xi":
                return 1.0
            return float(scale[key.place if key.kind == "e" else table.reads[key.place]])

        return {key: number * scale[n] / beside(key) for key, number in row.items()}

    return replace(table, levels=levels, rows=tuple(moved(n, row) for n, row in enumerate(table.rows)))


def composed(first: Tableau, second: Tableau) -> Tableau:
    """One table, then another that starts where it stops: five steps of one method and the rest of another.

    Multistep methods begin anew; `switch` as a solver hands their memory on.

    Raises:   InvalidArgument when the levels where they meet differ.

    Example:
        >>> from obverse.sampler import DDIM, Given
        >>> times = (0.9, 0.6, 0.4, 0.2, 0.1)
        >>> one, two, both = (DDIM().tableau("linear", Given(part)) for part in (times[:3], times[2:], times))
        >>> composed(one, two) == both
        True
    """
    first, second = first.on_face(V()), second.on_face(V())
    stop, start = first.levels[-1], second.levels[0]
    if abs(float(stop.theta) - float(start.theta)) > SAME or abs(float(stop.r) / float(start.r) - 1) > SAME:
        raise InvalidArgument(f"The first table stops at {stop}, the second starts at {start}: give both one level.")
    shift = {"e": len(first.rows) - 1, "o": first.calls, "xi": first.draws}

    def moved(row: Row) -> Row:
        return {Register(key.kind, key.place + shift[key.kind]): number for key, number in row.items()}

    levels = join(first.levels, second.levels[1:])
    rows = (*first.rows, *map(moved, second.rows[1:]))
    reads = (*first.reads, *(state + shift["e"] for state in second.reads))
    return Tableau(levels, rows, reads, V(), (*first.spans, *second.spans))

"""From a word on the command line to a member: of a family here, or of anybody's module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.ground.families import Family
from obverse.laws.law import is_member, made
from obverse.metrics import Metric
from obverse.model.inputs import Precondition, TimeInput
from obverse.nets import Architecture
from obverse.objective import Cost, Coupling, Distance, TimeLaw, Weighting
from obverse.path import Prediction, Schedule
from obverse.sampler import Grid, Solver, Strength

_BASES: tuple[Any, ...] = (
    Schedule,
    Prediction,
    Solver,
    Grid,
    Strength,
    Weighting,
    Distance,
    TimeLaw,
    Coupling,
    Cost,
    TimeInput,
    Precondition,
    Architecture,
    Metric,
)
FAMILIES: dict[str, type[Family]] = {base.family.replace(" ", "-"): base for base in _BASES}


def resolve(target: str) -> Family:
    """The member that a text names.

    Args:     target: "family/spec" for a member here, such as "solver/sde:eta=0.5"; "module:Class" or
                  "path/to/file.py:Class" for one's own: it is imported, so its code runs. Classes are made with
                  their defaults; a name that holds a ready-made member is taken as it is.
    Raises:   UnknownName for a family, a member or a class that does not exist; InvalidArgument for a module that
              cannot be imported, or a class that belongs to no family.

    Example:
        >>> resolve("schedule/vp:beta_max=30").beta_max
        30.0
    """
    family, slash, spec = target.partition("/")
    if family in FAMILIES and slash:
        return FAMILIES[family].of(spec)
    where, colon, name = target.rpartition(":")
    if not (colon and where and name):
        if slash:
            raise UnknownName("family", family, FAMILIES)
        raise InvalidArgument(
            f"Whom to check is written module:Class, file.py:Class or family/name (solver/ddim), got {target!r}."
        )
    module = imported(where)
    if not hasattr(module, name):
        raise UnknownName(f"member in {where}", name, [key for key, value in vars(module).items() if is_member(value)])
    return made(getattr(module, name))


def imported(where: str) -> ModuleType:
    """A module or a file.py, run, so that the members in it have names.

    Raises:   InvalidArgument for one that is not there or fails.
    """
    path = Path(where)
    if where.endswith(".py") and not path.is_file():
        raise InvalidArgument(f"There is no file {where} (looked in {Path.cwd()}).")
    try:
        with _looking_in(path.resolve().parent if where.endswith(".py") else Path.cwd()):
            return _run(path) if where.endswith(".py") else import_module(where)
    except Exception as error:
        raise InvalidArgument(f"{where} cannot be imported: {type(error).__name__}: {error}") from error


@contextmanager
def _looking_in(folder: Path) -> Iterator[None]:
    """Modules beside the one that is imported are found, as `python file.py` finds them."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _run(path: Path) -> ModuleType:
    name = f"checked_{path.stem}"  # not the stem itself: a file may be called like a module that is in use
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module

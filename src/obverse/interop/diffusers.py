"""diffusers' scheduler classes by name, and as one short text."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.ground.extras import load
from obverse.interop.probe import refuse_from_outside
from obverse.interop.refusals import NotLinear
from obverse.interop.xray import CLIPS, Xray, look

PREFIX = "diffusers:"
GRIDS: Mapping[str, dict[str, Any]] = {"SCMScheduler": {"intermediate_timesteps": None}}  # what set_timesteps needs


@dataclass(frozen=True)
class Foreign:
    """A scheduler of diffusers and how it is used.

    Args:     scheduler: the object.
              step, grid: further arguments of its `step` and its `set_timesteps`.
    """

    scheduler: Any
    step: Mapping[str, Any]
    grid: Mapping[str, Any]

    def look(self, steps: int) -> Xray:
        """Its table and what belongs to it."""
        return look(self.scheduler, steps, step=self.step, grid=self.grid)


@cache
def schedulers() -> dict[str, type[Any]]:
    """Every scheduler class of the installed diffusers, deprecated ones too, by name; Flax's left out.

    Raises:   MissingExtra without diffusers.
    """
    package = load("diffusers.schedulers", extra="diffusers")
    load("diffusers", extra="diffusers").utils.logging.set_verbosity_error()
    found: dict[str, type[Any]] = {}
    for entry in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "flax" in entry.name:
            continue
        try:
            module = importlib.import_module(entry.name)
        except ImportError:  # some need a package more, such as torchsde
            continue
        kinds = [kind for kind in vars(module).values() if inspect.isclass(kind)]
        own = [kind for kind in kinds if kind.__module__ == module.__name__]
        found |= {kind.__name__: kind for kind in own if kind.__name__.endswith("Scheduler")}
    return dict(sorted(found.items()))


def foreign(spec: str) -> Foreign:
    """A scheduler from a text: its class's name, and settings of its `__init__`, `step` or `set_timesteps`.

    What clips is switched off unless it is asked for, because no table can clip.

    Args:     spec: such as "DDIMScheduler,timestep_spacing=trailing,eta=1.0"; "diffusers:" may stand before it.
    Raises:   UnknownName for a class or a setting that does not exist; MissingExtra without diffusers.
    Example:
        >>> foreign("DDIMScheduler,beta_end=0.03,eta=0.5").step
        {'eta': 0.5}
    """
    name, *parts = [part.strip() for part in spec.removeprefix(PREFIX).split(",")]
    if name not in schedulers():
        raise UnknownName("scheduler of diffusers", name, schedulers())
    kind = schedulers()[name]
    try:
        refuse_from_outside(kind, {part.partition("=")[0]: None for part in parts})
    except NotLinear as refusal:
        raise NotLinear(f"{name} is no table: {refusal}.") from refusal
    settings, step, grid = (_names(getattr(kind, way, None)) for way in ("__init__", "step", "set_timesteps"))
    config: dict[str, Any] = {clip: False for clip in CLIPS if clip in settings}
    in_step: dict[str, Any] = {}
    in_grid: dict[str, Any] = dict(GRIDS.get(name, {}))
    for part in parts:
        key, equals, text = part.partition("=")
        if not equals:
            raise InvalidArgument(f"{spec!r}: settings are written key=value, got {part!r}.")
        for place, names in ((config, settings), (in_step, step), (in_grid, grid)):
            if key in names:
                place[key] = _value(text)
                break
        else:
            raise UnknownName(f"setting of {name}", key, [*settings, *step, *grid])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Foreign(kind(**config), in_step, in_grid)
    except (TypeError, ValueError, ImportError, NotImplementedError) as error:
        raise InvalidArgument(f"diffusers refuses {spec!r}: {error}") from error


def _names(way: Any) -> list[str]:
    return [] if way is None else [name for name in inspect.signature(way).parameters if name != "self"]


def _value(text: str) -> Any:
    """A number, a truth value, none or a word."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text

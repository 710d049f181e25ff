"""Recipes: whole runs described, carried out and opened again. The descriptions import no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from obverse.recipes.named import Named, named, shelf
from obverse.recipes.recipe import Recipe
from obverse.recipes.sampling import Sampling

if TYPE_CHECKING:
    from obverse.recipes.evaluation import Evaluation, evaluate
    from obverse.recipes.fitting import Fitting, fit
    from obverse.recipes.trained import Trained

_WHERE = {
    "Evaluation": "evaluation",
    "Fitting": "fitting",
    "Trained": "trained",
    "evaluate": "evaluation",
    "fit": "fitting",
}

__all__ = ["Evaluation", "Fitting", "Named", "Recipe", "Sampling", "Trained", "evaluate", "fit", "named", "shelf"]


def __getattr__(name: str) -> Any:
    """A name from the file it lives in, imported when it is first asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)

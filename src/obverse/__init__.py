"""obverse: diffusion models and Gaussian flow matching are the same thing.

    import torch, obverse as ob

    path = ob.schedules.Linear()                          # x_t = (1 - t) x + t eps, t = 0 data
    model = ob.Network(net, path, predicts="flow")        # any torch module, called net(x_t, t, cond)
    x = ob.sample(model, shape=(64, 2), steps=10, seed=0)

Everything is imported on first use, so `import obverse` costs next to nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "couplings": "obverse.objective.couplings",
    "data": "obverse.data",
    "errors": "obverse.ground.errors",
    "grids": "obverse.sampler.grids",
    "interop": "obverse.interop",
    "laws": "obverse.laws",
    "likelihood": "obverse.likelihood",
    "metrics": "obverse.metrics",
    "nets": "obverse.nets",
    "noise": "obverse.ground.noise",
    "oracles": "obverse.model.oracles",
    "predictions": "obverse.path.prediction",
    "schedules": "obverse.path",
    "sklearn": "obverse.sklearn",
    "solvers": "obverse.sampler",
    "times": "obverse.objective.times",
    "train": "obverse.train",
    "weightings": "obverse.objective.weightings",
}
_NAMES = {
    "Estimate": "obverse.path",
    "Guided": "obverse.guidance",
    "Level": "obverse.path",
    "Model": "obverse.model",
    "Network": "obverse.model",
    "Objective": "obverse.objective",
    "Sampler": "obverse.sampler",
    "Tableau": "obverse.sampler",
    "change": "obverse.path",
    "compare": "obverse.sampler",
    "fits": "obverse.model",
    "gain": "obverse.path",
    "sample": "obverse.sampler",
}

__all__ = sorted([*_MODULES, *_NAMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'obverse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

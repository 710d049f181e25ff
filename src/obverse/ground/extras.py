"""Optional packages: imported when used, named with their fix when missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from obverse.ground.errors import MissingExtra


def load(module: str, extra: str) -> ModuleType:
    """An optional module, or an error that says how to get it.

    Args:     module: dotted name, such as "matplotlib.pyplot".
              extra: the extra of obverse that installs it, such as "report".
    Raises:   MissingExtra when the module is not installed.
    Example:
        >>> load("json", extra="report").dumps([1])
        '[1]'
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtra(f"This needs {package}, which is not installed: pip install 'obverse[{extra}]'.") from error

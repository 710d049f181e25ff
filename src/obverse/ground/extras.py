"""Optional packages: imported when used, named with their fix when missing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
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
        raise _missing(package, extra) from error


def folder(package: str, extra: str) -> Path:
    """Where the files of an optional package lie; it is not imported.

    Args:     package: its name, such as "palmerpenguins".
              extra: the extra of obverse that installs it.
    Raises:   MissingExtra when the package is not installed.
    Example:
        >>> folder("json", extra="report").name
        'json'
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise _missing(package, extra)
    return Path(spec.origin).parent


def _missing(package: str, extra: str) -> MissingExtra:
    return MissingExtra(f"This needs {package}, which is not installed: pip install 'obverse[{extra}]'.")

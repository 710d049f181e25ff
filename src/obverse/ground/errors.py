"""Everything obverse refuses, as one tree: what was asked, what is possible, where to turn.

ObverseError
├── InvalidArgument      (ValueError)       an argument outside its range
│   └── UnknownName      (KeyError)         a name that no member of the family carries
├── SingularConversion   (ArithmeticError)  the asked face does not exist at this level
├── NonFinite            (ArithmeticError)  a NaN or an infinity where numbers were promised
├── DataError                               a file or an array that cannot be learnt from
├── CheckpointError                         a checkpoint that is missing, damaged or foreign
├── LawBroken            (AssertionError)   a member of a family that is not what it claims
└── MissingExtra         (ImportError)      an optional package that is not installed
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from difflib import get_close_matches


class ObverseError(Exception):
    """Root of every error that obverse raises on purpose."""


class InvalidArgument(ObverseError, ValueError):
    """An argument outside its range; the message names it, its value, the range and the fix."""


def require(ok: bool, message: str) -> None:
    """Refuse an argument unless it is in its range."""
    if not ok:
        raise InvalidArgument(message)


class UnknownName(InvalidArgument, KeyError):
    """A name that no member carries; the message names the nearest ones, or says what else may help."""

    def __init__(self, what: str, name: str, known: Iterable[str], otherwise: str = "") -> None:
        known = sorted(known)
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        more = "" if near else otherwise
        super().__init__(f"No {what} is called {name!r}; {hint}known: {', '.join(known) or 'none'}{more}.")

    def __reduce__(self) -> tuple[object, ...]:  # from its message, which is all that a process sends
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])


class SingularConversion(ObverseError, ArithmeticError):
    """A face that does not determine another at this level; the message names the level."""


class NonFinite(ObverseError, ArithmeticError):
    """A NaN or an infinity; the message names the quantity, the step and the first bad sample."""


class DataError(ObverseError):
    """Data that cannot be learnt from; the message names the file or array and the row."""


class CheckpointError(ObverseError):
    """A checkpoint that is missing, damaged or written by something else."""


class LawBroken(ObverseError, AssertionError):
    """A member that breaks a law of its family; the message names the law and the measurement."""


class MissingExtra(ObverseError, ImportError):
    """An optional package that is not installed; the message holds the line that adds it."""

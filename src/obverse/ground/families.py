"""Families: named, interchangeable members, written and read as one short text.

A family is an abstract class (`class Schedule(Family, family="schedule")`); a member joins by subclassing with a name
(`class Cosine(Schedule, name="cosine")`), and is a frozen dataclass where something about it can be set. Its *spec* is
the one notation used on the command line, in files and in checkpoints:

    linear          vp:beta_max=20          shift:base=(vp:beta_max=10),k=3

Nothing in a spec is ever executed: a name looks a class up, the rest are numbers, words and specs.
"""

from __future__ import annotations

import dataclasses
import math
from numbers import Integral
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

from obverse.ground.errors import InvalidArgument, UnknownName

_OWN = "; one of one's own is imported first (--own FILE.py)"


class Family:
    """Root of all families; `Base.of(spec)` makes a member, `member.spec` writes it down."""

    family: ClassVar[str]
    name: ClassVar[str]
    members: ClassVar[dict[str, type[Any]]]

    def __init_subclass__(cls, *, family: str | None = None, name: str | None = None) -> None:
        super().__init_subclass__()
        if family is not None:
            cls.family, cls.members = family, {}
        own = cls.__dict__.get("name") if name is None else name
        if own is None or (name is None and own not in cls.members):
            return
        old, again = cls.members.get(own), (cls.__module__, cls.__name__)
        if old is None or (old.__module__, old.__name__) == again:  # dataclass(slots=True) makes a class anew
            cls.name, cls.members[own] = own, cls
        elif name is not None:
            raise InvalidArgument(f"Two members of {cls.family} are called {own!r}: {old} and {cls}.")

    def __post_init__(self) -> None:
        """Fields that hold members may be given as specs, or as what else their family's `of` reads."""
        others = [f for f in _fields(self) if not isinstance(getattr(self, f.name), Family)]
        told = [f.name for f in others if isinstance(getattr(self, f.name), str) or isinstance(_default(f), Family)]
        hints = get_type_hints(type(self)) if told else {}
        for name in told:
            if isinstance(hints[name], type) and issubclass(hints[name], Family):
                object.__setattr__(self, name, hints[name].of(getattr(self, name)))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)  # a dataclass brings its own

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @classmethod
    def of(cls, spec: str | Self) -> Self:
        """A member from its spec; a member is returned as it is.

        Raises:   UnknownName for a name or a field that does not exist; InvalidArgument for a bad value or none.
        """
        if isinstance(spec, cls):
            return spec
        if not isinstance(spec, str):
            raise InvalidArgument(f"A {cls.family} is a name or a member, got {type(spec).__name__}: {spec!r}.")
        name, _, rest = spec.strip().partition(":")
        if name not in cls.members:
            raise UnknownName(cls.family, name, cls.members, _OWN)
        member = cls.members[name]
        fields = member.settings()
        hints = get_type_hints(member)
        values: dict[str, Any] = {}
        for part in _split(rest):
            key, equals, text = part.partition("=")
            if key not in fields:
                raise UnknownName(f"field of {cls.family} {name!r}", key, fields)
            if key in values:
                raise InvalidArgument(f"{cls.family} {spec!r} sets {key} twice.")
            if not equals:
                raise InvalidArgument(f"{cls.family} {spec!r}: write {key}=VALUE.")
            values[key] = _parse(text, hints[key], f"{cls.family} {name!r}: {key}")
        if missing := [f.name for f in _fields(member) if _default(f) is dataclasses.MISSING and f.name not in values]:
            way = f"write {name}:{','.join(f'{key}=VALUE' for key in missing)}"
            if unsaid := [key for key in missing if not _writable(hints[key])]:
                way = f"{' and '.join(unsaid)} cannot be written in a spec; build {member.__name__}(...) in Python"
            raise InvalidArgument(f"{cls.family} {name!r} needs {' and '.join(missing)}: {way}.")
        made: Self = member(**values)
        return made

    @property
    def said(self) -> dict[str, Any]:
        """The fields that are not at their default."""
        return {f.name: getattr(self, f.name) for f in _fields(self) if getattr(self, f.name) != _default(f)}

    @property
    def spec(self) -> str:
        """The text that makes this member again: its name and every field that is not at its default."""
        inner = ",".join(f"{key}={_write(value)}" for key, value in self.said.items())
        return f"{self.name}:{inner}" if inner else self.name

    @property
    def label(self) -> str:
        """The spec; where that cannot be written (a field holds a function) the name, or the class's: for messages."""
        if not hasattr(self, "name"):
            return type(self).__name__
        try:
            return self.spec
        except InvalidArgument:
            return self.name

    @classmethod
    def settings(cls) -> set[str]:
        """The fields that can be set."""
        return {f.name for f in _fields(cls)}

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]


def _fields(member: Any) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(member) if f.init] if dataclasses.is_dataclass(member) else []


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _split(text: str) -> list[str]:
    """`a=1,base=(vp:b=2,c=3)` -> [`a=1`, `base=(vp:b=2,c=3)`]: commas outside brackets."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    if depth:
        raise InvalidArgument(f"Unbalanced brackets in {text!r}.")
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def _parse(text: str, hint: Any, where: str) -> Any:
    text = text[1:-1] if text.startswith("(") and text.endswith(")") else text
    options = get_args(hint)
    if type(None) in options:
        if text == "none":
            return None
        return _parse(text, next(o for o in options if o is not type(None)), where)
    if get_origin(hint) is tuple:
        return tuple(_parse(part, options[0], where) for part in _split(text))
    if isinstance(hint, type) and issubclass(hint, Family):
        return hint.of(text)
    if hint is bool:
        if text not in ("true", "false"):
            raise InvalidArgument(f"{where} is true or false, got {text!r}.")
        return text == "true"
    if not _writable(hint):
        raise InvalidArgument(f"{where} cannot be written in a spec; build the member in Python instead.")
    try:
        value = hint(text)
        if hint is float and not math.isfinite(value):
            raise ValueError
        return value
    except ValueError:
        kind = {int: "a whole number", float: "a finite number"}[hint]
        raise InvalidArgument(f"{where} is {kind}, got {text!r}.") from None


def _writable(hint: Any) -> bool:
    """Whether a spec can hold what a field is declared as: numbers, words and members, also several."""
    options = [option for option in get_args(hint) if option not in (type(None), ...)]
    if options:
        return all(map(_writable, options))
    return isinstance(hint, type) and issubclass(hint, Family | int | float | str)


def _write(value: Any) -> str:
    if isinstance(value, Family):
        return f"({value.spec})" if ":" in value.spec else value.spec
    if isinstance(value, tuple):
        return "(" + ",".join(map(_write, value)) + ")"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, Integral | float | str):
        return str(value)
    raise InvalidArgument(f"{value!r} cannot be written in a spec: only numbers, words and members can.")

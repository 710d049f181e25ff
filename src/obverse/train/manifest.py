"""The manifest of a checkpoint: what belongs to it, down to the last bit."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from obverse.ground.errors import CheckpointError
from obverse.train.files import as_json

MANIFEST = "manifest.json"
KIND = "obverse checkpoint"
FORMAT = 1
_MOST = 1 << 24  # bytes; a hundred times the manifest of a net with a thousand tensors


@dataclass(frozen=True)
class Entry:
    """One file: its size in bytes, its SHA-256, and its tensors as {name: [dtype, *shape]}."""

    size: int
    sha256: str
    tensors: dict[str, list[str | int]]

    @classmethod
    def of(cls, data: bytes, tensors: Mapping[str, Tensor]) -> Self:
        """The entry of a file with these bytes and tensors."""
        return cls(len(data), hashlib.sha256(data).hexdigest(), _shapes(tensors))

    def check(self, path: Path) -> bytes:
        """The bytes of the file, if they are those that were written.

        Raises:   CheckpointError naming the file and what is wrong with it.
        """
        data = _read(path, self.size)
        if len(data) != self.size:
            found = path.lstat().st_size
            raise CheckpointError(f"{path} is not {self.size} bytes long but {found}: it was cut short or added to.")
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one in its manifest.")
        return data

    def check_shapes(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Compare with the tensors that were read.

        Raises:   CheckpointError naming the first tensor that differs.
        """
        found = _shapes(tensors)
        for name in sorted(found.keys() | self.tensors.keys()):
            if found.get(name) != self.tensors.get(name):
                raise CheckpointError(
                    f"{path}: tensor {name!r} is {found.get(name, 'missing')}, its manifest says "
                    f"{self.tensors.get(name, 'nothing of it')}."
                )


@dataclass(frozen=True)
class Manifest:
    """All that a checkpoint says about itself; the field names are those of the JSON file."""

    step: int
    files: dict[str, Entry]
    about: dict[str, Any]
    versions: dict[str, str]
    kind: str = KIND
    format: int = FORMAT

    @classmethod
    def new(cls, step: int, files: dict[str, Entry], about: Mapping[str, Any]) -> Self:
        """The manifest of what is being saved by the installed versions."""
        return cls(step, files, dict(about), {package: version(package) for package in ("obverse", "torch")})

    def render(self) -> bytes:
        """The file's bytes; they are the same for the same content.

        Raises:   InvalidArgument when `about` holds what JSON cannot.
        """
        content = asdict(self)
        inner = as_json("about", content, indent=1, sort_keys=True)
        content["sha256"] = hashlib.sha256(inner.encode()).hexdigest()
        return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def read(cls, path: Path) -> Self:
        """A manifest, if every bit of it is as written.

        Raises:   CheckpointError naming the file and what is wrong with it.
        """
        data = _read(path, _MOST)
        try:
            content = json.loads(data)
            kind, form = content["kind"], content["format"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise CheckpointError(f"{path} is damaged, or was not written by obverse.") from None
        if kind != KIND:
            raise CheckpointError(f"{path} is of kind {kind!r}, not {KIND!r}: it was written by something else.")
        if isinstance(form, int) and form > FORMAT:
            raise CheckpointError(f"{path} has format {form}, this obverse reads up to {FORMAT}: upgrade obverse.")
        try:
            del content["sha256"]
            content["files"] = {name: Entry(**entry) for name, entry in content["files"].items()}
            manifest = cls(**content)
            intact = manifest.render() == data and manifest._typed()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            intact = False
        if not intact:
            raise CheckpointError(f"{path} is damaged: its own SHA-256 does not agree with it.")
        return manifest

    def _typed(self) -> bool:
        """Whether what is used has the right type; a true hash only says that nothing changed since."""
        entries = [(entry.size, entry.sha256, entry.tensors) for entry in self.files.values()]
        return (type(self.step), type(self.about), self.format) == (int, dict, FORMAT) and all(
            [type(value) for value in entry] == [int, str, dict] for entry in entries
        )


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, list[str | int]]:
    return {name: [str(value.dtype).removeprefix("torch."), *value.shape] for name, value in tensors.items()}


def _read(path: Path, most: int) -> bytes:
    """The bytes of a regular file, none of them when there are more than `most`."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever, a link leads elsewhere
            raise CheckpointError(f"{path} is not a plain file.")
        return path.read_bytes() if status.st_size <= most else b""
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error

"""The run folder: all that there is to know about a training, in one place.

config.json     what was asked for
metrics.jsonl   a line every few steps; a function of the configuration alone, so it can be compared bit by bit
timing.jsonl    how long it took; differs from run to run
sessions.jsonl  where and with what each stretch of it ran; see session.py
samples/        what the model drew along the way, from fixed seeds
checkpoints/    see checkpoint.py
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from obverse.ground.errors import DataError, InvalidArgument
from obverse.train import checkpoint, files
from obverse.train.checkpoint import Checkpoint

_CONFIG, METRICS, TIMING = "config.json", "metrics.jsonl", "timing.jsonl"


@dataclass(frozen=True)
class Run:
    """A run folder and its configuration; `Run.create` and `Run.open` make them.

    Args:     folder: where it lives.
              config: what was asked for; JSON values.
              best: how many of the checkpoints with the lowest score are kept beside the newest.
              judge: a checkpoint's tensors -> its score, written into it; a function of them alone, lower is better,
                  such as the loss on held-out data.
    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(Path(place) / "first", {"seed": 3})
        ...     run.log(50, {"loss": 0.5})
        ...     Run.open(run.folder).config, run.metrics()
        ({'seed': 3}, [{'step': 50, 'loss': 0.5}])
    """

    folder: Path
    config: Mapping[str, Any]
    best: int = 0
    judge: Callable[[Mapping[str, Mapping[str, Tensor]]], float] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def create(cls, folder: str | Path, config: Mapping[str, Any], *, resume: bool = False) -> Self:
        """Begin a run, or with `resume` go on with the same one where there is one.

        Raises:   InvalidArgument when the folder is in use, or holds a run with another configuration.
        """
        folder, text = Path(folder), files.as_json("config", config, indent=2)
        if (folder / _CONFIG).exists() and resume:
            run = cls.open(folder)
            if changed := _changed(run.config, json.loads(text)):
                raise InvalidArgument(
                    f"{folder} was begun with another configuration: {changed} (resume with what {_CONFIG} says, or "
                    "choose another folder)."
                )
            return run
        if folder.exists() and not folder.is_dir():
            raise InvalidArgument(f"{folder} is not a folder (choose another name).")
        if folder.exists() and any(not name.startswith(".") for name in os.listdir(folder)):
            if not (folder / _CONFIG).exists():
                raise InvalidArgument(f"{folder} is not empty and, without {_CONFIG}, no run (choose another folder).")
            raise InvalidArgument(f"{folder} is not empty (resume the run in it, or choose another folder).")
        with files.refusals(f"{folder} could not be begun"):
            files.folder(folder)
            files.put(folder / _CONFIG, f"{text}\n".encode())
        return cls(folder, json.loads(text))

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The run in a folder.

        Raises:   DataError when there is none.
        """
        folder = Path(folder)
        try:
            config = json.loads((folder / _CONFIG).read_bytes())
        except OSError as error:
            raise DataError(f"{folder} is not a run folder: {error}.") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{folder / _CONFIG} is damaged: {error}.") from error
        if not isinstance(config, dict):
            raise DataError(f"{folder / _CONFIG} is damaged: it holds a {type(config).__name__}.")
        return cls(folder, config)

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints live."""
        return self.folder / "checkpoints"

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None; damaged ones are named in warnings."""
        path = checkpoint.newest(self.checkpoints)
        return None if path is None else checkpoint.load(path)

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl; one torn by a crash is left out."""
        path = self.folder / METRICS
        return [line for _, line in _lines(path)] if path.exists() else []

    def log(self, step: int, values: Mapping[str, Any], *, name: str = METRICS) -> None:
        """Append a line to metrics.jsonl; what differs from run to run belongs in `name="timing.jsonl"`.

        Raises:   InvalidArgument for values JSON cannot hold; CheckpointError when the disk refuses.
        """
        line = files.as_json(f"A line of {name}", {"step": step, **values})
        with files.refusals(f"{self.folder / name} could not be written"):
            files.append(self.folder / name, f"{line}\n".encode())

    def put(self, name: str, data: bytes) -> Path:
        """Write a file of the run, whole or not at all, such as "samples/step-00001000.png".

        Raises:   CheckpointError when the disk refuses.
        """
        path = self.folder / name
        with files.refusals(f"{path} could not be written"):
            files.folder(path.parent)
            files.put(path, data)
        return path

    def save(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], about: Mapping[str, Any], keep: int) -> None:
        """Save a checkpoint that is complete without this folder, and delete those no longer needed."""
        for path in (self.folder / METRICS, self.folder / TIMING):  # lines up to a checkpoint are not younger than it
            if path.exists():
                with files.refusals(f"{path} could not be written"):
                    files.settle(path)
        found = math.nan if self.judge is None else self.judge(tensors)
        score = {checkpoint.SCORE: found} if math.isfinite(found) else {}
        checkpoint.save(self.checkpoints, step, tensors, {**about, **score, "config": dict(self.config)})
        checkpoint.prune(self.checkpoints, keep, self.best)

    def rewind(self, step: int, keep: int) -> None:
        """Clear away what a crash has left: lines beyond a step, a torn one, checkpoints no longer needed."""
        checkpoint.prune(self.checkpoints, keep, self.best)
        for path in (self.folder / METRICS, self.folder / TIMING):
            if path.exists():
                ends = [0, *(end for end, line in _lines(path) if line["step"] <= step)]
                with files.refusals(f"{path} could not be cut back to step {step}"):
                    files.again(os.truncate, path, ends[-1])


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The lines up to the first that is torn, each with the place where it ends."""
    lines, end = [], 0
    for text in path.read_bytes().splitlines(keepends=True):
        try:
            line = json.loads(text)
            int(line["step"])
        except (ValueError, TypeError, KeyError):
            break
        if not text.endswith(b"\n"):
            break
        end += len(text)
        lines.append((end, line))
    return lines


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In words: the first key in which two configurations differ."""
    for key in [*before, *now]:
        old, new = before.get(key), now.get(key)
        if old != new:
            if isinstance(old, dict) and isinstance(new, dict):
                return f"{key}.{_changed(old, new)}"
            return f"{key} was {old!r} and is {new!r}"
    return ""

"""Trackers: what a run writes down, told to TensorBoard, Weights & Biases, MLflow and whoever else Accelerate knows.

A tracker reads over the run's shoulder: it is told the lines of metrics.jsonl and timing.jsonl and shown the pictures
once they are on disk. So it cannot change a bit of them, and one that fails is left behind with a warning.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from obverse.ground.errors import MissingExtra, UnknownName
from obverse.train.run import METRICS, TIMING, Run

_NAMED = {"wandb": "name", "trackio": "name", "mlflow": "run_name", "swanlab": "experiment_name"}  # keyword of a run
_PROJECT = "obverse"
_ALONE = ("aim", "clearml")  # are shown one picture, the others a batch of them
_LAID_OUT = {"tensorboard": {"dataformats": "NHWC"}}


def trackers(spec: str | None) -> tuple[str, ...]:
    """The trackers that a spec names.

    Args:     spec: such as "tensorboard"; several with +; None for none.
    Raises:   UnknownName for one that Accelerate does not know; MissingExtra for one that is not installed.
    Example:
        >>> trackers(None)
        ()
    """
    if spec is None:
        return ()
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import LoggerType

    names = tuple(dict.fromkeys(spec.split("+")))
    there = {str(name) for name in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UnknownName("tracker", name, LOGGER_TYPE_TO_CLASS)
        if name in LoggerType and name not in there:
            package = "'obverse[tensorboard]'" if name == "tensorboard" else name.replace("_", "-")
            raise MissingExtra(f"track {name!r} needs {name}, which is not installed: pip install {package}.")
    return names


class Tracking:
    """Trackers of one run; use as a context, in the process that writes.

    TensorBoard finds it in RUN/tensorboard; trackers that live elsewhere have it in their project "obverse" under the
    folder's name, and are set up by their own environment variables.

    Args:     run: the run.
              spec: see `trackers`.
              first: the step that the run goes on from; lines up to it are not told again.
              shows: the part of the configuration that trackers are told.
    Raises:   as `trackers`.
    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(Path(place) / "run", {})
        ...     with Tracking(run, None) as tracking:
        ...         run.log(1, {"loss": 0.5})
        ...         tracking.follow()
    """

    def __init__(self, run: Run, spec: str | None, *, first: int = 0, shows: Mapping[str, Any] | None = None) -> None:
        self.run, self.first, self.shows = run, first, dict(shows or {})
        self.names, self.at_work = trackers(spec), dict[str, Any]()
        self._read, self._blind = {METRICS: 0, TIMING: 0}, set[str]()

    def __enter__(self) -> Tracking:
        for name in self.names:
            self._safely(name, partial(self._begin, name))
        return self

    def __exit__(self, *_: object) -> None:
        self.follow()
        for name, tracker in list(self.at_work.items()):
            self._safely(name, tracker.finish)

    def follow(self) -> None:
        """Tell the lines that have been written since the last time."""
        if self.at_work:
            for file, before in ((METRICS, ""), (TIMING, "timing/")):
                for line in self._lines(file):
                    step, numbers = line.pop("step"), {f"{before}{key}": value for key, value in _flat(line)}
                    for name, tracker in list(self.at_work.items()):
                        self._safely(name, partial(tracker.log, dict(numbers), step=step))

    def show(self, path: Path, step: int) -> None:
        """Show a picture of a step, where there is one, to those who can see."""
        for name, tracker in list(self.at_work.items()):
            look = getattr(tracker, "log_images", None)
            if look is not None and name not in self._blind and path.exists():
                self._safely(name, partial(_show, name, look, path, step), what="the pictures")

    def _begin(self, name: str) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        kind = LOGGER_TYPE_TO_CLASS[name]
        if kind.requires_logging_directory:
            tracker = kind(name, str(self.run.folder))
        else:
            tracker = kind(_PROJECT, **({_NAMED[name]: self.run.folder.resolve().name} if name in _NAMED else {}))
        if hasattr(tracker, "start"):  # what older versions of Accelerate do in the line before
            tracker.start()
        self.at_work[name] = tracker
        if self.shows:
            tracker.store_init_configuration(
                {key: v if isinstance(v, bool | int | float | str) else str(v) for key, v in _flat(self.shows)}
            )

    def _lines(self, file: str) -> Iterator[dict[str, Any]]:
        """The whole lines of a file from where it was last read to."""
        path = self.run.folder / file
        try:
            if not path.exists() or path.stat().st_size <= self._read[file]:
                return
            with path.open("rb") as lines:
                lines.seek(self._read[file])
                for text in lines:
                    if text.endswith(b"\n"):
                        self._read[file] += len(text)
                        line = json.loads(text)
                        if line["step"] > self.first:
                            yield line
        except (OSError, ValueError) as error:
            self._leave(", ".join(self.at_work), error)
            self.at_work.clear()

    def _safely(self, name: str, do: Callable[[], object], what: str = "") -> None:
        """Do it; a tracker that cannot is left behind."""
        try:
            do()
        except Exception as error:  # a tracker may raise anything, and is not worth a run
            if what:
                self._blind.add(name)
            else:
                self.at_work.pop(name, None)
            self._leave(f"{what} of {name}" if what else name, error)

    def _leave(self, name: str, error: Exception) -> None:
        words = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"The training goes on without {name}: {words}", stacklevel=4)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by name: a mapping's as training.lr, the loss at each log-SNR as loss_by_logsnr/-3."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif key.endswith("_by_logsnr"):
            yield from ((f"{above}{key}/{centre:g}", mean) for centre, mean, _ in value)
        else:
            yield f"{above}{key}", value


def _show(name: str, look: Callable[..., object], path: Path, step: int) -> None:
    import numpy as np
    from PIL import Image

    with Image.open(path) as file:
        picture = np.asarray(file.convert("RGB"))
    look({path.parent.name: picture if name in _ALONE else picture[None]}, step=step, **_LAID_OUT.get(name, {}))

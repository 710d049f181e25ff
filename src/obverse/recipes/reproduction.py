"""Whether a run can be made again: what two folders hold, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from obverse.ground.errors import DataError, ObverseError
from obverse.recipes.trained import Trained
from obverse.train import Run, checkpoint
from obverse.train.manifest import MANIFEST, Manifest
from obverse.train.processes import threaded
from obverse.train.session import differences, read, session

FLIPBOOK = "samples/flip.gif"


@dataclass(frozen=True)
class Comparison:
    """What was compared up to a step.

    Args:     step: the last one.
              parts: how far each part differs, in words; "" where every byte is the same.
              elsewhere: what differs between then and now that bytes depend on, in words.
    """

    step: int
    parts: Mapping[str, str]
    elsewhere: tuple[str, ...]

    @property
    def apart(self) -> list[str]:
        """The parts that differ."""
        return [name for name, words in self.parts.items() if words]

    @property
    def same(self) -> bool:
        """Whether every byte is."""
        return not self.apart

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"step": self.step, "same": self.same, "parts": dict(self.parts), "elsewhere": list(self.elsewhere)}


def retrained(run: Run, other: Run, step: int) -> Comparison:
    """Compare a run with one trained again, up to a step: metrics, sample grids, and the checkpoint where one is kept.

    Raises:   DataError when the first holds nothing of so early a step.
    """
    lines = [[line for line in each.metrics() if line["step"] <= step] for each in (run, other)]
    parts = {"metrics.jsonl": _lines(*lines)} if any(lines) else {}
    for path in sorted((run.folder / "samples").glob("step-*.png")):
        if int(path.stem.removeprefix("step-")) <= step:
            parts[f"samples/{path.name}"] = _bytes(path, other.folder / "samples" / path.name)
    if all((each.folder / FLIPBOOK).exists() for each in (run, other)):  # who was trained to the end has one
        parts[FLIPBOOK] = _bytes(run.folder / FLIPBOOK, other.folder / FLIPBOOK)
    name = f"step-{step:08d}"
    if (run.checkpoints / name).is_dir():
        parts |= _checkpoints(run.checkpoints / name, other.checkpoints / name)
    if not parts:
        raise DataError(f"{run.folder} holds no metrics, samples or checkpoint up to step {step} (try a later --step).")
    before = read(run.folder)
    return Comparison(step, parts, _elsewhere(before, (read(other.folder) or [{}])[-1]))


def redrawn(run: Run, step: int, draw: Callable[[Trained], bytes], threads: int = 0) -> Comparison:
    """Draw the sample grid of a step's checkpoint again.

    Args:     draw: a model's grid as a PNG.
              threads: CPU threads; 0 leaves them as they are.
    Raises:   CheckpointError, DataError when the run has kept no checkpoint or no grid of this step.
    """
    view, grid = Trained.open(run.folder, checkpoint=str(step)), run.folder / f"samples/step-{step:08d}.png"
    if not grid.exists():
        drawn = ", ".join(sorted(each.stem for each in grid.parent.glob("step-*.png"))) or "none"
        raise DataError(f"No samples were drawn at step {step} of {run.folder}; drawn at: {drawn}.")
    threaded(threads)
    apart, device = "" if draw(view) == grid.read_bytes() else "another picture", view.model.device
    return Comparison(step, {f"samples/{grid.name}": apart}, _elsewhere(read(run.folder), session(1, device.type)))


def _elsewhere(before: list[dict[str, Any]], now: Mapping[str, Any]) -> tuple[str, ...]:
    """What bytes depend on and is not the same: between the run's own sessions, and between its last one and now."""
    found = []
    for one, two in pairwise(before):
        found += [f"{words} when it went on from step {two['step']}" for words in differences(one, two)]
    if before:
        found += [words for words in differences(before[-1], now) if "data" in now or "processes" not in words]
        if "data" in now and now["data"] != before[-1].get("data"):
            found.append("the data has changed since")
    return tuple(found)


def _lines(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> str:
    if one == two:
        return ""
    first = next((a["step"] for a, b in zip(one, two, strict=False) if a != b), None)
    return f"from step {first} on" if first is not None else f"{len(one)} lines and {len(two)}"


def _bytes(one: Path, two: Path) -> str:
    if not two.exists():
        return "missing the second time"
    return "" if one.read_bytes() == two.read_bytes() else "another picture"


def _checkpoints(one: Path, two: Path) -> dict[str, str]:
    """File by file; a file's hash stands in its manifest."""
    before, now = Manifest.read(one / MANIFEST).files, Manifest.read(two / MANIFEST).files
    parts = {}
    for name, entry in before.items():
        if name not in now:
            parts[f"{one.name}/{name}"] = "missing the second time"
        elif now[name].sha256 == entry.sha256:
            parts[f"{one.name}/{name}"] = ""
        else:
            parts[f"{one.name}/{name}"] = _largest(one, two, name)
    return parts


def _largest(one: Path, two: Path, name: str) -> str:
    group = Path(name).stem
    try:
        before, now = checkpoint.load(one).tensors[group], checkpoint.load(two).tensors[group]
        apart = {key: float((before[key].double() - now[key].double()).abs().max()) for key in before if len(before)}
    except (ObverseError, KeyError, RuntimeError) as error:
        return f"cannot be compared: {error}"
    worst = max(apart, key=lambda key: apart[key])
    return f"by up to {apart[worst]:.1e}, in {worst}"

"""A report: every section asked in turn, those that cannot be made saying why, in one file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from obverse.ground.errors import ObverseError, require
from obverse.recipes import Sampling, Trained
from obverse.report import coin, errors, samples, scores, summary
from obverse.report.page import Found, Mark, Section, marks, page, prose
from obverse.report.subject import Subject
from obverse.train import files

USUAL = Sampling(microbatch=100)  # on a CPU small batches stay in its cache: a fifth faster than 16 or a whole 1,000

_PARTS = 100  # that progress is told in
SECTIONS: tuple[tuple[str, str, Callable[[Subject], Found]], ...] = (
    ("samples", "Samples beside their nearest neighbours", samples.samples),
    ("trajectory", "From noise to data", samples.trajectory),
    ("distances", "Distances to held-out data", scores.distances),
    ("samplers", "Samplers", scores.samplers),
    ("loss", "Training loss", errors.loss),
    ("noise-error", "Error against log-SNR", errors.noise_error),
    ("coin", "The coin", coin.coin),
    ("provenance", "Provenance", summary.provenance),
)


@dataclass(frozen=True)
class Report:
    """What a report says, without its pictures.

    Args:     path: of the file.
              marks: the headline numbers.
              numbers: all numbers, by section; None for a section that could not be made.
    """

    path: Path
    marks: tuple[Mark, ...]
    numbers: Mapping[str, Any] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they are in the file too; None for a NaN or an infinity."""
        plain: dict[str, Any] = _plain({"marks": [mark._asdict() for mark in self.marks], **self.numbers})
        return plain


def write(
    trained: Trained,
    path: str | Path,
    *,
    sampling: Sampling | None = None,
    count: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Report:
    """Look at a trained model from all sides and write what is seen into one HTML file.

    A section that cannot be made, because nothing was held out, the data is out of reach or a package is missing,
    says so in its place.

    Args:     trained: the model.
              path: the file; it is replaced when the whole page is made.
              sampling: how to draw the samples; default Sampling(), called in larger batches.
              count: samples, at least 8; default as many as are held out, at most 1,000.
              progress: called with a section's title, how much of the page is made, and of how much: the steps of
                  all samplers, times the samples they draw, in hundredths.
              seconds: what took how long before, such as {"training": 95.0}; shown.
    Returns:  the numbers.
    Raises:   InvalidArgument when path is a folder or count is too small.
    """
    path = Path(path)
    require(not path.is_dir(), f"path is the file to write, got the folder {path} (try {path / 'report.html'}).")
    enough = count is None or count >= 8
    require(enough, f"count is samples >= 8, got {count} (a comparison of fewer says nothing).")
    path.parent.mkdir(parents=True, exist_ok=True)
    told = _Told(progress)
    subject, made = Subject(trained, sampling or USUAL, count, seconds or {}, told.work), list[Section]()
    told.all = scores.work(subject) + coin.work(subject)
    with torch.no_grad():
        for name, title, make in SECTIONS:
            told.section(title)
            try:
                made.append(Section(name, title, *make(subject)))
            except ObverseError as error:
                made.append(Section(name, title, prose(f"Absent: {error}"), None))
    numbers = {section.name: section.numbers for section in made}
    report = Report(path, tuple(summary.verdict(numbers)), numbers)
    lead = prose(summary.sentence(subject)) + marks(report.marks)
    files.put(path, page(f"{trained.facts.name}: report", lead, made, report.to_json()).encode())
    if progress is not None:
        progress("written", _PARTS, _PARTS)
    return report


class _Told:
    """How far a report is, in parts of the work that its samplers have: all else takes little time."""

    def __init__(self, progress: Callable[[str, int, int], None] | None) -> None:
        self.progress, self.title, self.done, self.all = progress, "", 0.0, 1

    def section(self, title: str) -> None:
        """A section begins."""
        self.title = title
        self._tell()

    def work(self, done: float) -> None:
        """A sampler has done more of its work."""
        self.done += done
        self._tell()

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.title, min(int(_PARTS * self.done / self.all), _PARTS - 1), _PARTS)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

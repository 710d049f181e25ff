"""What a report is about: a trained model, its data and its samples, each made when a section first asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import interpolate

from obverse.data import Batch, Dataset, png, sheet
from obverse.ground.errors import InvalidArgument, ObverseError
from obverse.recipes import Evaluation, Sampling, Trained, build, evaluate
from obverse.recipes.evaluation import MOST, look
from obverse.report.page import picture
from obverse.sampler import Round, Step

COUNT = 256  # samples where nothing is held out to be as many as
_SIDE = 96  # pixels an image is shown in at most: a report is to be looked through, not into
_BOOTSTRAP = 30  # resamplings: an interval is read to one digit, and each costs as much as its number


class Drawn(NamedTuple):
    """The samples of a report.

    x: network units, as `Facts.settled`. labels: the classes they were asked for, sorted, or None. evaluation: or None,
    and then missing says why.
    """

    x: Tensor
    labels: Tensor | None
    evaluation: Evaluation | None
    missing: str = ""


@dataclass(frozen=True)
class Subject:
    """A trained model and how it is looked at.

    Args:     trained: the model.
              sampling: how its samples are drawn.
              count: how many; default as `recipes.evaluate`.
              seconds: what took how long so far, by name.
              watch: called with the work that is done since it was last, steps times samples.
    """

    trained: Trained
    sampling: Sampling
    count: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    watch: Callable[[float], object] = lambda _: None

    @property
    def conditional(self) -> bool:
        """Whether the model knows classes."""
        return bool(self.trained.recipe.told(self.trained.facts.classes))

    @cached_property
    def train(self) -> Batch:
        """The data learnt from, see `look`; refused, as by `data.load`, where it is out of reach."""
        return look(self._parts[0], self.count or COUNT)

    @cached_property
    def held(self) -> Batch:
        """The data held out; InvalidArgument where there is none."""
        if self._parts[1] is None:
            raise InvalidArgument("Nothing was held out to judge by; train with holdout=0.1, on 10 samples or more.")
        return look(self._parts[1], self.count or COUNT)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many samples were learnt from, and how many held out, looked at or not."""
        train, held = self._parts
        return len(train), 0 if held is None else len(held)

    @property
    def foreseen(self) -> int:
        """How many samples will be drawn, as far as can be told before."""
        try:
            return self.count or min(self.sizes[1], MOST) or COUNT
        except ObverseError:
            return COUNT

    @cached_property
    def drawn(self) -> Drawn:
        """The samples, judged where there is data to judge them by."""
        watch = self.watching(self.foreseen * self.sampling.steps)
        try:
            found = evaluate(self.trained, self.sampling, count=self.count, bootstrap=_BOOTSTRAP, watch=watch)
        except ObverseError as error:
            labels = self.labels(self.count or COUNT)
            x = self.trained.sampled(self.count or COUNT, self.sampling, labels=labels, watch=watch).x
            return Drawn(self.trained.facts.settled(x), labels, None, str(error))
        return Drawn(found.samples, found.labels, found)

    def watching(self, work: int) -> Callable[[Step | Round], None]:
        """What watches a sampler whose steps are worth so much work."""
        before = 0.0

        def told(at: Step | Round) -> None:
            nonlocal before
            self.watch(work * (at.behind - before))
            before = at.behind

        return told

    def labels(self, count: int) -> Tensor | None:
        """As many of one class as of another, sorted; None for a model that knows no classes."""
        labels = build.labels_for(self.trained.recipe, self.trained.facts, count)
        return None if labels is None else labels.sort().values

    def show(self, x: Tensor, alt: str, caption: str = "", *, columns: int | None = None) -> str:
        """Samples as a picture in the page: large images made smaller, plots all in one window."""
        (seen,) = build.pictured(self.trained.recipe, self.trained.facts, [x])
        plot, x = seen.ndim < 4 or seen is not x, seen
        images = seen.ndim == 4 and (plot or self.trained.facts.kind == "images")
        side = max(x.shape[-2:])
        if x.ndim == 4 and side > _SIDE:
            x = interpolate(x, size=[max(1, length * _SIDE // side) for length in x.shape[-2:]], mode="area")
        low, high = (-1.0, 1.0) if images else self._window
        return picture(png(sheet(x, columns=columns, low=low, high=high)), alt, caption, plot=plot)

    @property
    def axes(self) -> str:
        """What scatters show, in words."""
        facts, (low, high) = self.trained.facts, self._window
        names = facts.columns or ("the first number", "the second")
        what = f"A bar is a count of samples: {names[0]} to the right"
        if facts.size > 1:
            more = f", the first two of {facts.size} numbers" if facts.size > 2 else ""
            what = f"A point is a sample: {names[0]} to the right and {names[1]} up{more}"
        return f"{what}, from {low:.2g} to {high:.2g} in network units."

    @cached_property
    def _parts(self) -> tuple[Dataset, Dataset | None]:
        return build.datasets(self.trained.recipe)

    @cached_property
    def _window(self) -> tuple[float, float]:
        """The range of the data, or else of the samples."""
        try:
            values = self.train.x
        except ObverseError:
            values = self.drawn.x
        values = values[:, :2] if values.ndim == 2 else values  # what a scatter shows
        margin = 0.05 * float(values.max() - values.min()) or 1.0
        return float(values.min()) - margin, float(values.max()) + margin

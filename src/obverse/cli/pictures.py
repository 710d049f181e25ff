"""The sample grids that a training draws along the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obverse.cli.console import Talk
from obverse.ground.errors import CheckpointError, ObverseError

if TYPE_CHECKING:
    from obverse.recipes import Fitting, Recipe, Trained
    from obverse.train import Run


class Pictures:
    """The sample grids along the way: the same seeds at every step, so that they make a flip-book.

    Args:     talk: who is told when there can be no picture.
              recipe, fitting: of the run.
              show: called with every picture that has been drawn, and its step.
    """

    def __init__(
        self, talk: Talk, recipe: Recipe, fitting: Fitting, show: Callable[[Path, int], object] | None = None
    ) -> None:
        self.talk, self.recipe, self.fitting, self.show = talk, recipe, fitting, show
        self.wanted = fitting.main and recipe.training.sample_every > 0
        self.failed: set[int] = set()

    def draw(self, step: int, *, patient: bool = True) -> None:
        """Draw with the weights that the network has now, and keep it.

        Args:     patient: whether to draw on although the training has been asked to stop.
        """
        from obverse.recipes import Trained, build

        if self.wanted:
            run, facts, net = self.fitting.run, self.fitting.facts, self.fitting.net
            training = net.training
            self._put(step, Trained(run, self.recipe, facts, build.model(self.recipe, net.eval()), step), patient)
            net.train(training)

    def missing(self, step: int) -> None:
        """Draw what a signal has cut short, from the newest checkpoint, which is of this step."""
        from obverse.recipes import Trained

        due = self.wanted and step not in self.failed and self.recipe.training.draws_at(step)
        if due and not (self.fitting.run.folder / _name(step)).exists():
            self._put(step, Trained.open(self.fitting.run.folder), patient=True)

    def bind(self, step: int) -> None:
        """Make the flip-book, if this is the last step and there are pictures to turn."""
        if self.wanted and step == self.recipe.training.steps:
            try:
                bind(self.fitting.run)
            except CheckpointError:
                raise
            except ObverseError as error:
                self.talk.say(f"no flip-book: {error}")

    def _put(self, step: int, view: Trained, patient: bool) -> None:
        from obverse.train.interrupt import heard

        try:
            path = self.fitting.run.put(_name(step), picture(view, watch=None if patient else _unless(heard)))
        except _Hurried:
            return
        except CheckpointError:  # the disk is full: the next checkpoint would find it so
            raise
        except ObverseError as error:  # a picture is not worth a run
            self.failed.add(step)
            self.talk.say(f"no picture of step {step}: {error}")
        else:
            if self.show is not None:
                self.show(path, step)


class _Hurried(Exception):
    """The training has been asked to stop; saving comes first."""


def _unless(heard: Callable[[], int]) -> Callable[[object], None]:
    def watch(step: object) -> None:
        del step
        if heard():
            raise _Hurried

    return watch


def picture(view: Trained, watch: Callable[[Any], object] | None = None) -> bytes:
    """The sample grid of a model as a PNG: a class each column, where there are classes."""
    from obverse.data import png, sheet
    from obverse.recipes.build import pictured, shown
    from obverse.recipes.sampling import Sampling

    across = min(16, len(view.facts.classes) or 8)
    facts, x = shown(view.recipe, view.facts, view.sampled(8 * across, Sampling(microbatch=0), watch=watch).x)
    return png(sheet(*pictured(view.recipe, facts, [x]), columns=across))


def bind(run: Run) -> Path | None:
    """Make RUN/samples/flip.gif of the sample grids that a run has; None where there are not two.

    Raises:   DataError for a picture that is damaged; CheckpointError when the disk refuses.
    """
    from obverse.data import flipbook
    from obverse.recipes.reproduction import FLIPBOOK

    pages = sorted((run.folder / "samples").glob("step-*.png"), key=lambda path: (len(path.name), path.name))
    return run.put(FLIPBOOK, flipbook(pages)) if len(pages) > 1 else None


def _name(step: int) -> str:
    return f"samples/step-{step:08d}.png"

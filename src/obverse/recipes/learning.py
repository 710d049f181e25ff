"""What a recipe gives the trainer: batches that are noised already, and their loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from obverse.data import Batch, Dataset, batches
from obverse.objective import Independent, Loss, Objective
from obverse.objective.couplings.sources import eps_for
from obverse.objective.noised import Noised
from obverse.recipes import build
from obverse.recipes.recipe import Recipe
from obverse.train.ahead import ahead


@dataclass(frozen=True, eq=False)
class Ready(Batch):
    """A batch with what its loss needs of it."""

    noised: Noised


class Learning:
    """A recipe's batches and loss, as `train` wants them.

    Where noise is paired with data, whole batches are, however many parts they are worked through in: those of the next
    steps on a second thread while a step runs, to the same bits, unless the next step's times depend on what this one
    finds, or processes pair their rows together. Draws alone are too cheap to share.

    Args:     recipe, net, data: what is trained on what.
              objective: of the recipe.
              rank, processes: this process's part.
    """

    def __init__(
        self,
        recipe: Recipe,
        net: nn.Module,
        data: Dataset,
        objective: Objective,
        *,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.recipe, self.data, self.objective = recipe, data, objective
        self.place = {"rank": rank, "processes": processes}
        self.paired = not isinstance(objective.coupling, Independent)
        self.early = self.paired and objective.times.memory is None and not objective.coupling.gathers
        self.path = build.model(recipe, net)  # asked for its schedule and face only
        self.model, self.net = self.path, net

    def check(self) -> None:
        """Refuse what makes no batches, or none that can be paired, by pairing the first.

        Raises:   InvalidArgument as of `batches` and of the coupling.
        """
        found, seed = self._batches(0), self.recipe.training.seed
        if self.paired:
            batch = next(found)
            draw: dict[str, Any] = {"seed": seed, "step": batch.step, "samples": batch.rows}
            self.objective.coupling.pair(batch.x, eps_for(batch.x, **draw), self.recipe.told(batch.label), **draw)

    def stream(self, step: int) -> Iterator[Batch]:
        """The batches from a step on."""
        found = self._batches(step)
        if self.data.decoded_later and not self.early:
            found = ahead(found)
        if not self.paired:
            return found
        ready = (self._ready(batch) for batch in found)
        return ahead(ready) if self.early else ready

    def __call__(self, net: nn.Module, batch: Batch, step: int) -> Loss:
        """The loss of a batch, or of a part of one."""
        if net is not self.net:  # wrapped for several processes, or compiled
            self.model, self.net = build.model(self.recipe, net), net
        if isinstance(batch, Ready):
            return self.objective.on(self.model, batch.noised)
        cond, seed = self.recipe.told(batch.label), self.recipe.training.seed
        return self.objective(self.model, batch.x, cond, seed=seed, step=step, samples=batch.rows)

    def observe(self, logsnr: Tensor, per_sample: Tensor) -> None:
        """Let the time law learn from a step."""
        self.objective.observe(self.path.schedule, logsnr, per_sample)

    def state(self) -> dict[str, Tensor]:
        """What the time law has learnt."""
        return self.objective.state()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what it had learnt."""
        self.objective.load(state)

    def _batches(self, step: int) -> Iterator[Batch]:
        settings, augment = self.recipe.training, self.recipe.augment
        return batches(self.data, settings.batch, seed=settings.seed, start=step, augment=augment, **self.place)

    def _ready(self, batch: Batch) -> Ready:
        noised = self.objective.noised(
            self.path,
            batch.x,
            self.recipe.told(batch.label),
            seed=self.recipe.training.seed,
            step=batch.step,
            samples=batch.rows,
        )
        return Ready(batch.x, batch.label, batch.index, batch.step, batch.rows, noised)

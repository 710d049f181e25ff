"""What training minimises: a time law, a weighting and a coupling, in whatever face the model predicts (T43)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import CheckpointError, InvalidArgument, require
from obverse.ground.numerics import exact
from obverse.ground.shapes import check_floating, mean_of_rows
from obverse.model import Cond, Model, SelfConditioned, check_model, check_place
from obverse.nets import drop
from obverse.objective.couplings import Coupling, Source, bridged
from obverse.objective.couplings.sources import eps_for
from obverse.objective.distances import Distance
from obverse.objective.draws import Asked, Draws
from obverse.objective.effective import Effective, advice
from obverse.objective.noised import Loss, Noised
from obverse.objective.times import TimeLaw
from obverse.objective.weightings import Weighting
from obverse.objective.weightings.learned import NAME
from obverse.path import Prediction, Schedule

_PRECISE = (torch.float32, torch.float64)  # in which differences are squared
_SQUARES = torch.ops.aten.mse_loss.default  # torch.nn.functional's, without the views that a gradient then goes through
_EACH = 0  # of them, and not their mean or their sum


class UnboundedLoss(UserWarning):
    """The loss of a network that is not perfect has no finite mean: its steps will be as large as luck has it."""


class Objective:
    """E [ weight(logsnr) |eps^ - eps|² ] over the time law and the coupling, means over the data's dimensions.

    Args:     times: uniform, logit-normal, log-normal-nsr, stratified, adaptive ...; a name, a spec or a TimeLaw.
              weighting: flow, noise, data, v, edm, min-snr, sd3, elbo, sigmoid, learned ...
              coupling: independent, exact-ot, within, sinkhorn, partial, unbalanced, pool ...
              drop: share of samples whose condition is hidden, for classifier-free guidance (label -1, NaN rows).
              error: square; huber or pseudo-huber make outliers pull less.
              recall: share of samples whose network is shown its own first estimate, for models that are
                  SelfConditioned; 0.5 in its paper.
              source: what eps is drawn from, called as `noise.normal` is; None is that, FromData(rows) other data.

    Raises:   InvalidArgument when called on a path where even the best network's loss is infinite, saying at which end.

    Example:
        >>> import torch
        >>> from obverse.model import Gaussian
        >>> oracle = Gaussian(torch.zeros(2), 1.0, "linear")
        >>> x = oracle.sample(4096, seed=1).float()
        >>> round(float(Objective()(oracle, x, seed=0).mean), 1)  # E tr Cov / d = pi / 2
        1.6
    """

    def __init__(
        self,
        times: TimeLaw | str = "uniform",
        weighting: Weighting | str = "flow",
        coupling: Coupling | str = "independent",
        drop: float = 0.0,
        error: Distance | str = "square",
        recall: float = 0.0,
        source: Source | None = None,
    ) -> None:
        self.draws = Draws(TimeLaw.of(times), Weighting.of(weighting))
        self.coupling = Coupling.of(coupling)
        require(0 <= drop <= 1, f"drop is a share in [0, 1], got {drop} (0.1 is usual for guidance).")
        self.drop = drop
        self.error = Distance.of(error)
        require(0 <= recall <= 1, f"recall is a share in [0, 1], got {recall} (0.5 is usual for self-conditioning).")
        self.recall = recall
        self.source = source
        self._known: list[tuple[Schedule, Prediction]] = []  # where its loss was looked into

    def __repr__(self) -> str:
        parts = (self.times, self.weighting, self.coupling, self.error)
        return f"Objective({', '.join(part.label for part in parts)}; drop {self.drop}, recall {self.recall})"

    @property
    def times(self) -> TimeLaw:
        """The time law; another one is another objective's, since some of its times are drawn ahead."""
        return self.draws.times

    @property
    def weighting(self) -> Weighting:
        """The weighting; another one is another objective's."""
        return self.draws.weighting

    def prepare(self, net: nn.Module) -> nn.Module:
        """The network, with what the objective learns beside it: trained, averaged and saved with it; in place.

        Most objectives learn nothing. Call it once, before the optimiser is made, and before loading weights.

        Args:     net: the network that is trained.
        Returns:  the same network.
        """
        beside = self.weighting.beside()
        if beside is not None and not hasattr(net, NAME):
            device = next((parameter.device for parameter in net.parameters()), None)
            net.add_module(NAME, beside.to(device))
        return net

    def observe(self, schedule: Schedule, logsnr: Tensor, per_sample: Tensor) -> None:
        """Let the time law learn from a step: the same rows in the same order on every process.

        Args:     schedule: of the model.
                  logsnr, per_sample: of all rows of the step, as `Loss` has them; (batch,).
        """
        if self.times.memory is not None:
            self.times.observe(schedule.nearest(exact(logsnr).cpu()), per_sample)

    def state(self) -> dict[str, Tensor]:
        """What was learnt apart from the network, for checkpoints; empty for most objectives."""
        return {} if self.times.memory is None else {"times": self.times.memory.clone()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what was learnt, to the last bit.

        Raises:   CheckpointError when it is that of another time law.
        """
        mine, saved = self.times.memory, state.get("times")
        if mine is None and saved is None:
            return
        if mine is None or saved is None or mine.shape != saved.shape:
            found = "nothing" if saved is None else f"a table of {tuple(saved.shape)}"
            raise CheckpointError(f"The checkpoint holds {found} for time law {self.times.label}: it is another's.")
        mine.copy_(saved)

    def __call__(
        self,
        model: Model,
        x: Tensor,
        cond: Cond = None,
        *,
        seed: int = 0,
        step: int = 0,
        samples: Sequence[int] | Tensor | None = None,
        eps: Tensor | None = None,
    ) -> Loss:
        """The loss of one batch.

        Args:     model: whose estimate is asked; its schedule is the path, its face the target.
                  x: data; (batch *data).
                  cond: one row for each sample.
                  seed, step, samples: whose draws: a step of a run, and the rows within it; default 0, 1, 2 ...
                  eps: the source of each row where pairs are made already, by `couplings.pooled`, `SemiDiscrete`, or a
                    model (reflow: eps, and the x that it was carried to); then none is drawn or paired; (batch *data).
        """
        return self.on(model, self.noised(model, x, cond, seed=seed, step=step, samples=samples, eps=eps))

    def noised(
        self,
        model: Model,
        x: Tensor,
        cond: Cond = None,
        *,
        seed: int = 0,
        step: int = 0,
        samples: Sequence[int] | Tensor | None = None,
        eps: Tensor | None = None,
    ) -> Noised:
        """The first half of a loss, which asks the model for its path and face only: it may run ahead of the training.

        Args:     as of the call. Where `times.memory` is not None, a step has to have been observed before the next.
        """
        self.check(model)
        check_floating(x, "x", "x.float(); bytes of an image: x / 127.5 - 1")
        here = noise.ids_of(x.shape, samples).cpu()  # levels live there
        share = 0.0 if cond is None else self.drop
        asked = Asked(model.schedule, model.face, tuple(x.shape), x.dtype, x.device, seed, share)
        now = self.draws.at(asked, step, here)
        eps = self._paired(x, cond, now.eps, seed, step, here) if eps is None else _given(eps, x)
        if self.coupling.bridge:
            x, eps = bridged(x, eps, self.coupling.bridge, now.level, seed=seed, step=step, samples=here)
        if now.hide is not None:
            cond = drop(cond, now.hide)
        x_t, target = (now.on_data * x).add_(now.on_noise * eps).unbind()  # at once: calls cost more than numbers
        shown = None
        if self.recall:
            drawn = noise.uniform((len(x),), seed=seed, purpose="recall", step=step, samples=here)
            shown = (drawn < self.recall).to(x.device)
        return Noised(x_t, target, cond, now.level, now.weight, model.face, now.ratio, now.logsnr, shown)

    def _paired(self, x: Tensor, cond: Cond, eps: Tensor, seed: int, step: int, samples: Tensor) -> Tensor:
        if self.source is not None:
            eps = eps_for(x, self.source, seed=seed, step=step, samples=samples)
        return self.coupling.pair(x, _given(eps, x), cond, seed=seed, step=step, samples=samples)

    def on(self, model: Model, batch: Noised) -> Loss:
        """The second half of a loss: the model's answer and what it is worth."""
        answer, target = self._answer(model, batch), batch.target
        if answer.dtype not in _PRECISE:
            answer, target = answer.float(), target.float()
        error = mean_of_rows(_SQUARES(answer, target, _EACH))
        weighted = batch.weight.to(error) * self.error(error)
        per_sample = self.weighting.balance(weighted, batch.level, model, batch.ratio)
        return Loss(per_sample.mean(), per_sample, batch.level, batch.logsnr, error.detach(), batch.face)

    def _answer(self, model: Model, batch: Noised) -> Tensor:
        if batch.shown is None:
            inner = model.model if isinstance(model, SelfConditioned) else model  # which sees nothing then
            return inner.at(batch.level, batch.x_t)(batch.x_t, batch.cond)
        if not isinstance(model, SelfConditioned):
            raise InvalidArgument(
                f"recall={self.recall} shows a network its own estimate, which {type(model).__name__} cannot see: wrap "
                "it, SelfConditioned(Network(nets.Seeing.build(...), ...)), or take recall=0."
            )
        return model.recalling(batch.level, batch.x_t, batch.cond, batch.shown)

    def check(self, model: Model) -> None:
        """Refuse what has no finite loss, and warn of what only a perfect network could learn; once for each path.

        Args:     model: asked for its schedule and face only; every call checks its own.
        Raises:   InvalidArgument naming the end of the path and the law that stops short of it.
        """
        check_model(model)
        path = (model.schedule, model.face)
        if path in self._known:
            return
        check_place()
        recipe = Effective(*path, self.weighting, self.times)
        bridge = self.coupling.bridge
        if recipe.ends(bridge):
            raise InvalidArgument(advice(recipe, bridge))
        if recipe.unbounded:
            warnings.warn(advice(recipe), UnboundedLoss, stacklevel=3)
        self._known.append(path)


def _given(eps: Tensor, x: Tensor) -> Tensor:
    if eps.shape != x.shape:
        raise InvalidArgument(f"Every row has its source: x is {tuple(x.shape)}, eps {tuple(eps.shape)}.")
    return eps.to(x)

"""Which words fit a network: whether it denoises, and in which convention it does so best."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument, require
from obverse.model.examples import Examples
from obverse.model.model import Cond, Model
from obverse.model.network import Network
from obverse.model.readings import LEARNT, SLACK, Fit, as_it_is, is_own, phrase, read
from obverse.path import Prediction, Reversed, Schedule

ALIKE = 1.02  # of the least error: no data tell 999 t from 1000 t, so the plainest is named, not the luckiest
LINEAR = 1.1  # of its error: about as a linear denoiser
SHOWN = 5  # ties written out


@dataclass(frozen=True)
class Fits:
    """Every combination of words, and how well the network denoises in it; as text, what it means.

    Args:     net: the network, or the model that was taken as it is.
              logsnr: the levels.
              tried: all combinations, best first.
              own: that of the model that was given.
              cond: how the network takes its condition, as of `Network`.
    """

    net: Any
    logsnr: tuple[float, ...]
    tried: tuple[Fit, ...] = field(repr=False)  # hundreds
    own: Fit | None = None
    cond: str = "third"

    @property
    def best(self) -> Fit:
        """The words in which the network denoises best, as keyword arguments of `Network`: the plainest of ties."""
        return self.tried[0]

    @property
    def ties(self) -> tuple[Fit, ...]:
        """Other words in which it does so within 2 %: they mean the same here, or nearly."""
        least = min(fit.score for fit in self.tried)
        alike = (fit for fit in self.tried[1:] if fit.score <= ALIKE * least)
        return tuple(sorted(alike, key=lambda fit: len(_apart(fit, self.best))))

    @property
    def others(self) -> dict[str, Fit]:
        """For each kind of word, the best of the combinations whose word is neither the best's nor that of a tie."""
        found: dict[str, Fit] = {}
        for name in self.best.words:
            known = [fit.words[name] for fit in (self.best, *self.ties)]
            rest = [fit for fit in self.tried if fit.curve and fit.words[name] not in known]
            found |= {name: rest[0]} if rest else {}
        return found

    @property
    def model(self) -> Model:
        """The network in the best words.

        Raises:   InvalidArgument if nothing fits.
        """
        require(self.best.fits, str(self))
        return Network(self.net, **self.best.words, cond=self.cond) if self.best.words else self.net

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        own = None if self.own is None else self.own.to_json()
        return {"logsnr": list(self.logsnr), "own": own, "tried": [fit.to_json() for fit in self.tried]}

    def __str__(self) -> str:
        return "\n".join(_sentences(self))


def fits(
    net: nn.Module | Callable[..., Tensor] | Model,
    x: Tensor,
    schedule: Schedule | str | Sequence[Schedule | str] = (),
    cond: Cond = None,
    *,
    seed: int = 0,
) -> Fits:
    """Which words fit a network, and how clearly; or whether a model denoises as it was wrapped.

    The network sees data with noise at nine levels and is read in every combination of a prediction, its sign, a time
    input and a precondition, with their usual numbers. In the right words it denoises; in wrong ones it does not.

    Args:     net: a network as of `Network`; or a `Network`, whose own words are tried too, and which knows how its
                  condition is passed; or any other model, as it is.
              x: data like those it was trained on, scaled as there; (batch *data); 64 pictures, 256 points. The first
                  rows are shown, 16 or more while they are no more than 16,384 numbers; some 360 calls a path. On the
                  CPU if the network looks its time up in a table: a GPU does not survive an index that is not there.
              schedule: the path, or those that it may be; by default the model's.
              cond: one row for each sample.
              seed: of the noise.
    Raises:   InvalidArgument for data without variance, or a network without schedule.
    Example:
        >>> from obverse.model import Mixture
        >>> known = Mixture(torch.tensor([[-1.0, 0.0], [1.0, 1.0]]), 0.05, None, "cosine")
        >>> net = lambda x_t, t, cond: known(x_t, 1 - t[0]).noise  # a time that is 1 at the data
        >>> print(fits(net, known.sample(256), "cosine").best)
        schedule='cosine', predicts='noise', time='data-at-1'
    """
    paths = [Schedule.of(one) for one in ([schedule] if isinstance(schedule, Schedule | str) else schedule)]
    paths = list(dict.fromkeys([net.schedule, *paths] if isinstance(net, Model) else paths))
    if not paths:
        raise InvalidArgument("fits needs the schedule, or those that it may be: fits(net, x, ['ddpm', 'linear']).")
    examples = Examples.of(x, cond, seed, paths)
    logsnr = tuple(examples.logsnr.tolist())
    if isinstance(net, Model) and not isinstance(net, Network):
        with torch.no_grad():
            own = as_it_is(net, examples)
        return Fits(net, logsnr, (own,), own)
    model = net if isinstance(net, Network) else Network(net, paths[0])
    with torch.no_grad(), _evaluating(model.net):
        tried = list(read(model, paths, examples))
    mine = next((fit for fit in tried if is_own(fit, model)), None) if model is net else None
    least = min(fit.score for fit in tried)
    right = mine is not None and mine.score <= ALIKE * least  # who is as good as right is right

    def rank(fit: Fit) -> tuple[bool, float]:
        return right and fit is not mine, _oddity(fit) if fit.score <= ALIKE * least else 3 + fit.score

    return Fits(model.net, logsnr, tuple(sorted(tried, key=rank)), mine, model.cond)


def _oddity(fit: Fit) -> int:
    """How many of its words are seldom said: another sign, a precondition."""
    face = Prediction.of(fit.words.get("predicts", "flow"))  # none, where it could not be called
    return int(isinstance(face, Reversed)) + int(fit.words["precondition"] != "none")


@contextmanager
def _evaluating(net: object) -> Iterator[None]:
    """Without dropout and without statistics of wrong inputs."""
    training = [part for part in net.modules() if part.training] if isinstance(net, nn.Module) else []
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True


def _sentences(found: Fits) -> Iterator[str]:
    best, own = found.best, found.own
    failed = [fit for fit in found.tried if fit.failed]
    if own is not None:
        yield f"As it is wrapped{f' ({own})' if own.words else ''}, the network {_said(own)}."
    if own is not best:
        yield f"{'It fits as' if best.fits else 'Nothing fits; the best is'} {best}: {_left(best)}."
    if best.fits and found.ties:
        ties = [phrase(_apart(fit, best)) for fit in found.ties]
        yield f"As good, within 2 %: {'; '.join(ties[:SHOWN])}{f'; {len(ties) - SHOWN} more' if ties[SHOWN:] else ''}."
    if best.fits and found.others:
        others = (
            phrase({name: fit.words[name]}) + f" {fit.score / best.score:.3g}" for name, fit in found.others.items()
        )
        yield f"Worse, in times its error at least: {', '.join(others)}."
    yield _row("log-SNR", found.logsnr)
    rows = ("best", best), ("as it is wrapped", None if own is best else own)
    yield from (_row(name, fit.curve) for name, fit in rows if fit is not None and fit.curve)
    if failed and not best.fits:
        yield f"{len(failed)} kinds of input failed; the first, {failed[0]}: {failed[0].failed}"


def _said(fit: Fit) -> str:
    verdict = "does not denoise" if fit.score > LINEAR else "denoises no better than linearly"
    return f"{verdict if fit.score > LEARNT else 'denoises'}: {_left(fit)}"


def _left(fit: Fit) -> str:
    if fit.failed:
        return fit.failed
    slack = f", {fit.slack:.3g} times what could be made of its answers" if fit.slack > SLACK else ""
    return f"{fit.score:.3g} of a linear denoiser's error{slack}"


def _row(name: str, values: Sequence[float]) -> str:
    return f"{name:<17}" + "".join(f"{value:>8.3g}" for value in values)


def _apart(fit: Fit, best: Fit) -> dict[str, Any]:
    """The words that are not those of the best."""
    return {name: word for name, word in fit.words.items() if best.words.get(name) != word}

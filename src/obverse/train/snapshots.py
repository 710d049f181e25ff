"""Which weights of a run to use: those of a checkpoint, or an average made afterwards out of its snapshots.

snapshots/step-00001234/     power-0_05.safetensors  power-0_1.safetensors  manifest.json

A snapshot holds the averages with power-function profiles at one step. Profiles of other lengths lie nearly in the
span of those that were saved, so their averages are found by least squares.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from obverse.ground.errors import CheckpointError, InvalidArgument
from obverse.train import checkpoint, shards
from obverse.train.checkpoint import Checkpoint
from obverse.train.ema import EMA, Average, PowerEMA, gamma_of
from obverse.train.manifest import MANIFEST, Manifest
from obverse.train.run import Run
from obverse.train.settings import Training

_POOR = 0.05  # share of a profile that the saved ones cannot make, beyond which a warning is due


class Profile(NamedTuple):
    """The weight of each past update in an average: (gamma + 1) τ^gamma / steps^(gamma + 1) for τ in [0, steps]."""

    gamma: float
    steps: float

    def dot(self, other: Profile) -> float:
        """The integral of the product of two profiles, in closed form."""
        early, late = sorted((self, other), key=lambda profile: profile.steps)
        a, b = early.gamma, late.gamma
        share: float = (early.steps / late.steps) ** b
        return (a + 1) * (b + 1) / (a + b + 1) * share / late.steps


def averages(module: nn.Module, settings: Training) -> dict[str, Average]:
    """The averages that a training keeps, by the names of their files; the first is "ema"."""
    first, *others = settings.horizons
    named: dict[str, Average] = {"ema": EMA(module, first, settings.ema_rampup)}
    named |= {f"ema-{_word(halflife)}": EMA(module, halflife, settings.ema_rampup) for halflife in others}
    return named | {f"power-{_word(sigma_rel)}": PowerEMA(module, sigma_rel) for sigma_rel in settings.ema_power}


def snapshot(run: Run | None, step: int, named: Mapping[str, Average]) -> None:
    """Save the power-function averages of a step; each stays for good and takes as much room as the weights.

    Without a run, this process only gives its shards to the one that has it.
    """
    power = {name: average for name, average in named.items() if isinstance(average, PowerEMA)}
    if power:
        about = {
            name: {"sigma_rel": average.sigma_rel, "count": average.count, "copied": average.copied}
            for name, average in power.items()
        }
        found = {name: shards.gathered(average.weights, run is not None) for name, average in power.items()}
        if run is not None:
            checkpoint.save(_folder(run), step, found, about)


def combine(have: Sequence[Profile], want: Profile) -> tuple[list[float], float]:
    """The mixture of profiles nearest to another one, in L², in float64.

    The coefficients add up to 1, so that weights which stay are their own average, in any mixture.

    Returns:  the coefficients; the share of the wanted profile that is missed, in [0, 1].
    Example:
        >>> (whole,), missed = combine([Profile(7.0, 100)], Profile(7.0, 100))
        >>> round(whole, 12), missed < 1e-6
        (1.0, True)

    Source:   Karras et al. (2024), appendix C (without the constraint).
    """
    count, norms = len(have), torch.tensor([profile.dot(profile) ** 0.5 for profile in have], dtype=torch.float64)
    gram = torch.tensor([[a.dot(b) for b in have] for a in have], dtype=torch.float64) / norms / norms[:, None]
    right = torch.tensor([profile.dot(want) for profile in have], dtype=torch.float64) / norms
    ones = norms.amin() / norms
    bordered = torch.zeros(count + 1, count + 1, dtype=torch.float64)
    bordered[:count, :count], bordered[:count, count], bordered[count, :count] = gram, ones, ones
    goal = torch.cat([right, norms.amin()[None]])
    answer = torch.linalg.lstsq(bordered, goal[:, None], driver="gelsd").solution[:count, 0]
    size = want.dot(want)
    missed = (size - 2 * answer @ right + answer @ gram @ answer) / size
    return (answer / norms).tolist(), float(missed.clamp(0, 1)) ** 0.5


def posthoc(run: Run, sigma_rel: float, at: int | None = None) -> dict[str, Tensor]:
    """The average of any relative length, as if it had been kept from the start.

    Args:     run: a run trained with Training(ema_power=(0.05, 0.1)), say.
              sigma_rel: the length wanted, in (0, 0.288); best between or near those that were kept.
              at: a step at which a snapshot was saved; the last one unless given.
    Returns:  a state dict; the buffers are those of the snapshot.
    Raises:   InvalidArgument for a length out of range or a step without a snapshot; CheckpointError without any.
    Warns:    when the saved profiles cannot make the one that is wanted.
    Example:
        >>> import tempfile
        >>> net, settings = nn.Linear(2, 1), Training(steps=64, ema_power=(0.05, 0.1))
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run, kept = Run.create(Path(place) / "run", {}), averages(net, settings)
        ...     for step in range(1, 65):
        ...         for average in kept.values():
        ...             average.update(net)
        ...         if step % 8 == 0:
        ...             snapshot(run, step, kept)
        ...     bool(torch.allclose(posthoc(run, 0.08)["weight"], net.weight))
        True

    Source:   Karras et al. (2024), section 3.2.
    """
    kept = checkpoint.whole(sorted(_folder(run).glob("step-*")), "snapshot")
    found = {int(path.name.split("-")[1]): path for path in kept}
    if not found:
        raise CheckpointError(f"{run.folder} has no snapshots to make averages of (train with ema_power=(0.05, 0.1)).")
    at = max(found) if at is None else at
    if at not in found:
        near = min(found, key=lambda step: abs(step - at))
        raise InvalidArgument(f"at is a step with a snapshot, got {at}; the nearest is {near} of {len(found)}.")
    sources = [
        (path, name, Profile(gamma_of(said["sigma_rel"]), said["count"]))
        for step, path in sorted(found.items())
        if step <= at
        for name, said in Manifest.read(path / MANIFEST).about.items()
    ]
    want = Profile(gamma_of(sigma_rel), sources[-1][2].steps)
    shares, missed = combine([profile for _, _, profile in sources], want)
    if missed > _POOR:
        warnings.warn(
            f"The snapshots up to step {at} miss {missed:.0%} of the profile of sigma_rel={sigma_rel:g} (ask nearer to "
            f"{', '.join(sorted({name for _, name, _ in sources}))}, or snapshot more often).",
            stacklevel=2,
        )
    mixed = _mixed(zip(sources, shares, strict=True))
    last = next(iter(checkpoint.load(found[at]).tensors.values()))
    return {key: mixed[key].to(value.dtype) if key in mixed else value for key, value in last.items()}


def weights(run: Run, start: Checkpoint, which: str | None = None) -> dict[str, Tensor]:
    """The weights asked for, as a state dict.

    Args:     run, start: a run and one of its checkpoints.
              which: "none": those of the last step; a half-life in steps: an average that was kept; "sigma=0.08": the
                  power-function average of that relative length, made afterwards; default the first average kept.
    Raises:   InvalidArgument naming what there is; as of `posthoc`.
    """
    group = {None: "ema", "none": "net"}.get(which, which or "")
    if group.startswith("sigma="):
        try:
            sigma_rel = float(group.removeprefix("sigma="))
        except ValueError:
            raise InvalidArgument(f"sigma is a number in (0, 0.288), got {group!r} (try sigma=0.1).") from None
        return posthoc(run, sigma_rel)
    settings = start.about.get("training", {})
    kept = settings.get("ema", 0.0)
    horizons = [float(h) for h in (kept if isinstance(kept, list) else [kept])]
    by_length = {f"{h:.12g}": "ema" if i == 0 else f"ema-{_word(h)}" for i, h in enumerate(horizons)}
    group = by_length.get(group, group)
    if group not in start.tensors or group.partition("-")[0] not in ("net", "ema", "power"):
        known = ["none", *by_length, *(["sigma=..."] if settings.get("ema_power") else [])]
        raise InvalidArgument(f"ema is one of {', '.join(known)} in this run, got {which!r}.")
    return start.tensors[group]


@torch.no_grad()
def _mixed(parts: Iterable[tuple[tuple[Path, str, Profile], float]]) -> dict[str, Tensor]:
    """The sum of averages times their shares, in float64, one snapshot in memory at a time; no buffers."""
    total: dict[str, Tensor] = {}
    held: tuple[Path, Checkpoint] | None = None
    for (path, name, _), share in parts:
        if held is None or held[0] != path:
            held = path, checkpoint.load(path)
        for key, value in held[1].tensors[name].items():
            if key not in held[1].about[name]["copied"]:
                wide = value.to(torch.promote_types(value.dtype, torch.float64))
                total[key] = total.get(key, torch.zeros_like(wide)) + share * wide
    return total


def _folder(run: Run) -> Path:
    return run.folder / "snapshots"


def _word(number: float) -> str:
    """A number as part of a file's name: 0.05 is 0_05."""
    return f"{number:.12g}".replace(".", "_").replace("+", "")

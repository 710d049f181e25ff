"""What a training step costs over bare forward + backward + AdamW: wall clock and the calling thread's CPU time.

Five steps, each beside the bare one in the same moment, medians of paired ratios, one thread for arithmetic:

    by hand     flow matching in four lines, noise and times from torch.randn and torch.rand
    in line     the objective, called as a user's own loop would
    ahead       the same; noise, pairing and times are made on a second thread (as recipes do where they pair)
    trainer     all of a recipe's step: also batches from data, gradient norm, clipping, averaged weights, metrics

The bare step is given its batch, noise and times.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

import obverse as ob
from obverse.data import Dataset
from obverse.objective.noised import Noised
from obverse.recipes import Recipe
from obverse.recipes.learning import Learning
from obverse.train import Training, train
from obverse.train.ahead import ahead

OBJECTIVES = {
    "flow": {"times": "uniform", "weighting": "flow"},
    "edm": {"times": "log-normal-nsr", "weighting": "edm"},
    "exact-ot": {"times": "uniform", "weighting": "flow", "coupling": "exact-ot"},
}
BATCH, FOREVER = 256, 10**9


class Small(nn.Module):
    """Four layers, 64 wide, time as one more input: the network of torchcfm's two-dimensional examples."""

    def __init__(self) -> None:
        super().__init__()
        wide = [layer for _ in range(2) for layer in (nn.Linear(64, 64), nn.SELU())]
        self.layers = nn.Sequential(nn.Linear(3, 64), nn.SELU(), *wide, nn.Linear(64, 2))

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """The answer; (batch, 2)."""
        answer: Tensor = self.layers(torch.cat([x_t, t[:, None]], 1))
        return answer


def network(kind: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A network and the shape of its data."""
    if kind == "mlp":
        return Small(), (2,)
    return ob.nets.Architecture.of("unet").build((1, 8, 8)), (1, 8, 8)


class Bench:
    """Steps of a network, bare and with an objective."""

    def __init__(self, kind: str, plain: bool = False) -> None:
        self.kind, (self.net, self.shape) = kind, network(kind)
        weights = self.net.parameters()
        self.adam = torch.optim.Adam(weights) if plain else torch.optim.AdamW(weights, lr=1e-4, fused=True)
        self.model = ob.Network(self.net, "linear")
        self.x, self.eps = torch.randn(BATCH, *self.shape), torch.randn(BATCH, *self.shape)
        self.t, self.rows = torch.rand(BATCH), torch.arange(BATCH)

    def bare(self) -> None:
        """Forward, backward, AdamW."""
        self._step((self.net(self.x, self.t) - self.eps).square().mean())

    def by_hand(self) -> None:
        """Flow matching as it is written without a library."""
        eps, t = torch.randn_like(self.x), torch.rand(BATCH)
        share = t.reshape(-1, *(1,) * len(self.shape))
        self._step((self.net((1 - share) * self.x + share * eps, t) - (eps - self.x)).square().mean())

    def in_line(self, objective: ob.Objective) -> Callable[[], None]:
        """With an objective."""
        steps = count()
        return lambda: self._step(objective(self.model, self.x, seed=0, step=next(steps), samples=self.rows).mean)

    def ahead(self, objective: ob.Objective) -> Callable[[], None]:
        """With an objective whose first half runs on another thread."""

        def made() -> Iterator[Noised]:
            for step in count():
                yield objective.noised(self.model, self.x, seed=0, step=step, samples=self.rows)

        stream = ahead(made())
        return lambda: self._step(objective.on(self.model, next(stream)).mean)

    def trainer(self, recipe: Recipe) -> Callable[[], None]:
        """All that a recipe's step does; on a network of its own."""
        net, _ = network(self.kind)
        data = Dataset("noise", torch.randn(10_000, *self.shape))
        objective = ob.Objective(recipe.times, recipe.weighting, recipe.coupling)
        learning = Learning(recipe, net, data, objective)
        steps = train(net, learning, learning.stream, recipe.training)
        return lambda: (next(steps), None)[1]

    def _step(self, loss: Tensor) -> None:
        self.adam.zero_grad()
        torch.autograd.backward(loss)
        self.adam.step()


def seconds(step: Callable[[], None], steps: int) -> tuple[float, float]:
    """Wall clock and CPU time of this thread for some steps."""
    wall, own = time.perf_counter(), time.thread_time()
    for _ in range(steps):
        step()
    return time.perf_counter() - wall, time.thread_time() - own


def ratios(step: Callable[[], None], bare: Callable[[], None], steps: int, rounds: int) -> tuple[float, float]:
    """Wall clock and CPU time of a step over the bare one."""
    seconds(step, 2 * steps)
    pairs = [(seconds(step, steps), seconds(bare, steps)) for _ in range(rounds)]
    return median(s[0] / b[0] for s, b in pairs), median(s[1] / b[1] for s, b in pairs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--plain", action="store_true", help="torch's Adam as it comes, in all but the trainer")
    parser.add_argument("--nets", nargs="+", default=["mlp", "unet"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, dict[str, float]] = {}
    print("net   objective step      wall  own CPU")
    for kind in options.nets:
        bench, steps = Bench(kind, options.plain), 64 if kind == "mlp" else 8  # whole blocks of draws
        training = Training(steps=FOREVER, batch=BATCH, save_every=0, sample_every=0)
        cases: list[tuple[str, str, Callable[[], None]]] = [
            ("-", "bare again", bench.bare),
            ("-", "by hand", bench.by_hand),
        ]
        for name, words in OBJECTIVES.items():
            objective, recipe = ob.Objective(**words), Recipe(**words, training=training)
            cases.append((name, "in line", bench.in_line(objective)))
            cases.append((name, "ahead", bench.ahead(ob.Objective(**words))))
            cases.append((name, "trainer", bench.trainer(recipe)))
        for name, how, step in cases:
            wall, own = ratios(step, bench.bare, steps, options.rounds)
            results[f"{kind} {name} {how}"] = {"wall": wall, "own_cpu": own}
            print(f"{kind:5} {name:9} {how:10} {wall:.2f}  {own:.2f}", flush=True)
        wall, _ = seconds(bench.bare, steps)
        print(f"{kind:5} bare: {1e6 * wall / steps:.0f} us", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

"""What the time law does to the gradient: its variance beside that of uniform times, and its mean, which stays.

A small network, trained half-way on eight Gaussians, is held fixed; of each objective the gradients of many batches are
taken under several laws, all of which stand for the same expectation. `variance` is the trace of their covariance over
that of independent draws from the law that is meant; `mean` is how far the mean gradient is from that law's, squared,
over what chance allows (equal means give 1 on average, and 0.5 to 2 by chance: few directions hold the variance).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
from torch import Tensor

import obverse as ob
from obverse.objective import Objective

OBJECTIVES = {  # schedule, face, weighting, the law that is meant
    "flow": ("linear", "flow", "flow", "uniform"),
    "sd3": ("linear", "flow", "flow", "logit-normal"),
    "v sigmoid": ("cosine", "v", "sigmoid:bias=2", "uniform"),
    "v min-snr": ("cosine", "v", "min-snr", "uniform"),
    "ddpm": ("vp", "noise", "noise", "uniform"),
    "edm elbo": ("edm", "edm:sigma_data=1", "elbo", "uniform"),
}
LAWS = ("{}", "stratified:base=({})", "adaptive:base=({})", "adaptive:base=(stratified:base=({}))")
BATCH, TAUGHT, TRAINED = 128, 600, 1500


def data(count: int, step: int) -> Tensor:
    """Eight Gaussians on a circle, of unit scale."""
    angle = 2 * math.pi * (torch.arange(8) / 8)
    means = 1.3 * torch.stack([angle.cos(), angle.sin()], 1)
    oracle = ob.oracles.Mixture(means, 0.02, None, "linear")
    return oracle.sample(count, seed=step).float()


class Bench:
    """A network, trained with the law that is meant."""

    def __init__(self, schedule: str, face: str, weighting: str, meant: str) -> None:
        self.weighting = weighting
        self.net = ob.nets.Architecture.of("mlp:width=64").build((2,))
        scaled = "unit-variance:sigma_data=1" if schedule == "edm" else "none"
        self.model = ob.Network(self.net, schedule, predicts=face, time="logsnr", precondition=scaled)
        self.parameters = list(self.net.parameters())
        adam = torch.optim.Adam(self.parameters, lr=1e-3)
        objective = Objective(f"stratified:base=({meant})", weighting)
        for step in range(TRAINED):
            adam.zero_grad()
            objective(self.model, data(BATCH, step), seed=1, step=step).mean.backward()
            adam.step()
        self.x = data(2**14, TRAINED)

    def gradients(self, law: str, batches: int, seed: int) -> tuple[Tensor, float, float]:
        """The mean gradient, the trace of the covariance, and the milliseconds of a step."""
        objective = Objective(law, self.weighting)
        total, square, begun = 0.0, 0.0, 0.0
        for step in range(TAUGHT + batches):
            begun = time.perf_counter() if step == TAUGHT else begun
            first = step * BATCH % len(self.x)
            loss = objective(self.model, self.x[first : first + BATCH], seed=seed, step=step)
            if step < TAUGHT:
                objective.observe(self.model.schedule, loss.logsnr, loss.per_sample)
                continue
            flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss.mean, self.parameters)]).double()
            total, square = total + flat, square + float(flat.square().sum())
        milliseconds = (time.perf_counter() - begun) / batches * 1e3
        mean = torch.as_tensor(total) / batches
        return mean, (square - batches * float(mean.square().sum())) / (batches - 1), milliseconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=600)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    print(f"{'objective':10} {'law':50} {'variance':>9} {'mean':>6} {'ms':>6}")
    for name, what in OBJECTIVES.items():
        bench, meant, usual = Bench(*what), None, 1.0
        for seed, law in enumerate(LAWS):
            spec = law.format(what[3])
            mean, variance, milliseconds = bench.gradients(spec, options.batches, seed)
            if meant is None:
                meant, usual = mean, variance
            chance = (variance + usual) / options.batches
            apart = float((mean - meant).square().sum()) / chance
            results[f"{name}, {spec}"] = {"variance": variance / usual, "mean": apart}
            print(f"{name:10} {spec:50} {variance / usual:9.3f} {apart:6.2f} {milliseconds:6.2f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

"""Dropout, should a net have any, as a function of the step; the caller's generators are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from obverse.ground import noise


def seed_of(seed: int, process: int) -> int:
    """What a process begins from: the step is added, and a generator's seed has 64 bits."""
    return int(noise.bits(1, seed=seed, purpose="dropout", samples=[process])) >> 2


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Global generators at a seed while this lasts, and where they were before afterwards."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[torch.cuda.current_device()])
    before = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)

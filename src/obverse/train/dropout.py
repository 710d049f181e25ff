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
    own = torch.default_generator
    kept = [(own.manual_seed, own.set_state, own.get_state())]
    if device.type != "cpu":
        its = torch.get_device_module(device)
        kept.append((its.manual_seed, its.set_rng_state, its.get_rng_state()))
    try:
        for seeds, _, _ in kept:
            seeds(seed)
        yield
    finally:
        for _, puts_back, state in kept:
            puts_back(state)

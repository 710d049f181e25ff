"""Samples that can be heard: a few of each class, each beside the training sound nearest to it."""

from __future__ import annotations

from torch import Tensor

from obverse.data import wav
from obverse.recipes.build import Facts
from obverse.report.page import cards, player

_ROOM = 1_000_000  # characters that the sounds of a page take
_OF_CLASS, _OF_ALL = 2, 6  # samples heard: of a class, and of all where that is more


def audible(facts: Facts, groups: int, sides: int) -> tuple[list[int], int]:
    """How many samples of each group are heard, and how many values of each channel, as far as there is room.

    Where sounds are long, their beginnings are heard; where even a second of each class is too much, fewer classes.

    Args:     groups: of samples, that share the room as evenly as can be.
              sides: 2 where samples have neighbours, 1 where they stand alone.
    """
    if not facts.rate:
        return [0] * groups, 0
    room = _ROOM * 3 // 4 // (2 * facts.shape[0] * sides)  # values are two bytes, of which base64 makes 4/3 as many
    length = min(facts.shape[-1], max(room // groups, min(facts.rate, room)))
    count = min(max(_OF_ALL, _OF_CLASS * groups), room // length)
    return [len(range(number, count, groups)) for number in range(groups)], length


def told(facts: Facts, length: int, sides: int) -> str:
    """What can be heard, as a sentence; none for what is no sound."""
    if not length:
        return ""
    first = "the first " if length < facts.shape[-1] else ""
    seconds = f"{first}{length / facts.rate:.3g} s at {facts.rate:,} Hz"
    return f" Some can be heard{', each beside its nearest' if sides > 1 else ''}: {seconds}."


def players(facts: Facts, count: int, length: int, of: str, *sides: Tensor) -> str:
    """The players of a group: its first samples, and beside each its nearest."""
    sounds = [facts.scaling.undo(x[:count])[..., :length] for x in sides]
    pairs = []
    for place, pair in enumerate(zip(*sounds, strict=True), 1):
        names = (f"sample {place}", f"sample {place}{of}"), ("its nearest", f"nearest to sample {place}{of}")
        pairs.append(
            "".join(player(wav(x, facts.rate), alt, seen) for x, (seen, alt) in zip(pair, names, strict=False))
        )
    return cards(f'<div class="pair">{pair}</div>' for pair in pairs) if pairs else ""

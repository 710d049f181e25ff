"""Samples that can be heard: a few of each class, each beside the training sound nearest to it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from obverse.data import wav
from obverse.report.page import cards, player
from obverse.report.subject import Subject

_ROOM = 1_000_000  # characters that the sounds of a page take
_OF_CLASS, _OF_ALL = 2, 6  # samples heard: of a class, and of all where that is more


@dataclass(frozen=True)
class Hearing:
    """How much of the samples is heard, as far as there is room for it on the page.

    Where sounds are long, their beginnings are heard; where even a second of each class is too much, fewer classes.

    Args:     subject: whose samples.
              groups: of samples, that share the room.
              sides: 2 where samples have neighbours, 1 where they stand alone.
    """

    subject: Subject
    groups: int
    sides: int

    @property
    def length(self) -> int:
        """Values of each channel that are heard; 0 for what is no sound."""
        facts = self.subject.trained.facts
        return min(facts.shape[-1], max(self._room // self.groups, min(facts.rate, self._room))) if facts.rate else 0

    def count(self, number: int) -> int:
        """Samples of a group that are heard, as even among groups as can be."""
        most = max(_OF_ALL, _OF_CLASS * self.groups)
        return len(range(number, min(most, self._room // self.length), self.groups)) if self.length else 0

    @property
    def words(self) -> str:
        """What can be heard, as a sentence; none for what is no sound."""
        if not self.length:
            return ""
        facts = self.subject.trained.facts
        first = "the first " if self.length < facts.shape[-1] else ""
        seconds = f"{first}{self.length / facts.rate:.3g} s at {facts.rate:,} Hz"
        return f" Some can be heard{', each beside its nearest' if self.sides > 1 else ''}: {seconds}."

    def players(self, number: int, of: str, *sides: Tensor) -> str:
        """The players of a group: samples, and beside each its nearest."""
        scaling, rate = self.subject.trained.facts.scaling, self.subject.trained.facts.rate
        heard = [scaling.undo(x[: self.count(number)])[..., : self.length] for x in sides]
        pairs = []
        for place, pair in enumerate(zip(*heard, strict=True), 1):
            told = (f"sample {place}", f"sample {place}{of}"), ("its nearest", f"nearest to sample {place}{of}")
            pairs.append("".join(player(wav(x, rate), alt, seen) for x, (seen, alt) in zip(pair, told, strict=False)))
        return cards(f'<div class="pair">{pair}</div>' for pair in pairs) if pairs else ""

    @property
    def _room(self) -> int:
        """Values of each channel for all that is heard: two bytes each, of which base64 makes 4/3 as many."""
        return _ROOM * 3 // 4 // (2 * self.subject.trained.facts.shape[0] * self.sides)

"""Guidance: models steered by the difference of two beliefs."""

from obverse.guidance.guided import Guided

__all__ = ["Guided"]

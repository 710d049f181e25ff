"""What cannot be read as a table, and why."""

from __future__ import annotations

from obverse.ground.errors import InvalidArgument


class NotLinear(InvalidArgument):
    """A method whose states are no linear combination of the start, the outputs and standard normal draws."""

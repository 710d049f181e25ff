"""Point clouds as they look from one side: an image each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from obverse.ground.errors import InvalidArgument, NonFinite

_SIDE, _FEW = 96, 512  # pixels of an image; points below which each is drawn three pixels wide
_MARGIN = 0.04
_VIEW = torch.tensor([[1, -1, 0], [-1, -1, 2]], dtype=torch.float64) / torch.tensor([[2.0], [6.0]]).sqrt()  # isometric


def clouds(frames: Sequence[Tensor]) -> list[Tensor]:
    """Point clouds as images, black on white, all in the window of the last frame.

    Two coordinates are drawn to the right and up; three are seen from above a corner, the third one up, all lengths
    along the axes shortened alike.

    Args:     frames: in order; each (N, 2 or 3, points).
    Returns:  for each frame (N, 1, 96, 96) in [-1, 1].
    Raises:   InvalidArgument for other shapes; NonFinite for a NaN or an infinity.
    Example:
        >>> (seen,) = clouds([torch.rand(5, 3, 1024)])
        >>> seen.shape, seen.unique().tolist()
        (torch.Size([5, 1, 96, 96]), [-1.0, 1.0])
    """
    if not frames or any(x.ndim != 3 or x.shape[1] not in (2, 3) or not x.numel() for x in frames):
        got = [tuple(x.shape) for x in frames]
        raise InvalidArgument(f"Clouds are (N, 2 or 3, points), N and points >= 1; got {got} (two or three columns).")
    if not all(bool(x.isfinite().all()) for x in frames):
        raise NonFinite("A picture of point clouds shows finite numbers; a frame holds others.")
    flat = [_projected(x.detach().to("cpu", torch.float64)) for x in frames]
    low, high = flat[-1].amin((0, 2)), flat[-1].amax((0, 2))
    middle, reach = (low + high) / 2, float((high - low).max()) / 2 * (1 + 2 * _MARGIN) or 1.0
    return [_drawn((x - middle[:, None]) / reach) for x in flat]


def _projected(x: Tensor) -> Tensor:
    return x if x.shape[1] == 2 else _VIEW @ x


def _drawn(x: Tensor) -> Tensor:
    """Points in [-1, 1]², as ink; what lies outside is not seen; (N, 2, points)."""
    place = ((x + 1) / 2 * (_SIDE - 1)).round().clamp(-1, _SIDE).long() + 1  # a frame of one pixel for what is outside
    ink = torch.zeros(len(x), (_SIDE + 2) ** 2)
    ink.scatter_(1, (_SIDE + 1 - place[:, 1]) * (_SIDE + 2) + place[:, 0], 1.0)
    seen = ink.view(-1, 1, _SIDE + 2, _SIDE + 2)[..., 1:-1, 1:-1]
    wide = max_pool2d(seen, 3, stride=1, padding=1) if x.shape[2] < _FEW else seen
    return 1 - 2 * wide

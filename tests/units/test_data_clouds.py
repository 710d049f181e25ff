"""Point clouds are seen where they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from obverse.data import clouds
from obverse.ground.errors import InvalidArgument, NonFinite


def dots(image: Tensor) -> Tensor:
    """(row, column) of every inked pixel."""
    assert set(image.unique().tolist()) <= {-1.0, 1.0}
    return (image[0] < 0).nonzero()


def grid(points: list[list[float]]) -> Tensor:
    """One cloud, its points so many times over that each is drawn by one pixel."""
    return torch.tensor(points).T[None].repeat(1, 1, 600)


def test_a_point_of_two_coordinates_is_to_the_right_and_up() -> None:
    (seen,) = clouds([grid([[0.0, 0.0], [10.0, 0.0], [0.0, 5.0]])])
    places = sorted(map(tuple, dots(seen[0]).tolist()))
    assert len(places) == 3
    top, *bottom = places
    (row, left), (same, right) = bottom
    assert row == same and left == top[1] and right - left == pytest.approx(2 * (row - top[0]), abs=1)


def test_three_equal_axes_look_alike_and_meet_at_equal_angles() -> None:
    (seen,) = clouds([grid([[0.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])])
    places = dots(seen[0]).double()
    top = places[places[:, 0].argmin()]
    low = places[places[:, 0].argsort()[-2:]]
    (middle,) = [p for p in places if not any(torch.equal(p, q) for q in (top, *low))]
    spokes = torch.stack([top, *low]) - middle
    lengths = spokes.norm(dim=1)
    assert (lengths / lengths.mean() - 1).abs().max() < 0.03
    cosines = (spokes @ spokes.T) / lengths / lengths[:, None]
    assert (cosines[[0, 0, 1], [1, 2, 2]] + 0.5).abs().max() < 0.04  # 120 degrees
    assert float(spokes[0, 1]) == 0 and float(spokes[0, 0]) < 0  # the third axis points up


def test_frames_share_the_window_of_the_last_and_what_is_outside_is_not_seen() -> None:
    last = grid([[-1.0, -1.0], [1.0, 1.0]])
    half, far, whole = clouds([last / 2, last * 3, last])
    assert not len(dots(far[0])) and len(dots(whole[0])) == 2
    reach = [int(dots(x[0])[:, 1].diff().abs().max()) for x in (half, whole)]
    assert reach[0] * 2 == pytest.approx(reach[1], abs=1)


def test_few_points_are_drawn_large_and_equal_ones_are_drawn() -> None:
    (seen,) = clouds([torch.zeros(2, 3, 5)])
    assert seen.shape == (2, 1, 96, 96) and len(dots(seen[1])) == 9


def test_other_shapes_and_numbers_are_refused() -> None:
    for frames in ([], [torch.zeros(3, 4, 5)], [torch.zeros(3, 2)], [torch.zeros(2, 3, 0)]):
        with pytest.raises(InvalidArgument, match="2 or 3"):
            clouds(frames)
    with pytest.raises(NonFinite):
        clouds([torch.full((1, 2, 3), float("nan"))])

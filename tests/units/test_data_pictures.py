"""Pictures: what is drawn is what was given, whatever its shape."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from obverse.data import contact, film, flipbook, png, sheet, video
from obverse.ground.errors import DataError, InvalidArgument, NonFinite


def ramp(*shape: int) -> Tensor:
    return torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_every_pixel_of_every_image_is_where_it_belongs(channels: int, mode: str) -> None:
    x = ramp(5, channels, 4, 6)
    image = sheet(x, columns=2, scale=3)
    assert image.mode == mode
    seen = pixels(image).reshape(image.height, image.width, channels)
    gap = image.width - 2 * 6 * 3
    assert image.size == (2 * 18 + gap, 3 * 12 + 2 * gap) and 0 < gap < 8
    for number, one in enumerate(x):
        top, left = number // 2 * (12 + gap), number % 2 * (18 + gap)
        centres = seen[top + 1 : top + 12 : 3, left + 1 : left + 18 : 3]
        assert np.abs(centres / 255 * 2 - 1 - one.permute(1, 2, 0).numpy()).max() <= 1 / 255


@pytest.mark.parametrize("frames", [[torch.zeros(2, 1, 9)] * 3, [torch.zeros(2, 2)] * 3])
def test_what_parts_plots_is_no_stronger_than_what_is_in_them(frames: list[Tensor]) -> None:
    seen = pixels(contact(frames)).min(2)
    assert (np.sort(seen.max(0))[:4] > 200).all()  # the two gaps, two pixels each


def test_values_outside_the_window_are_black_and_white() -> None:
    assert set(pixels(sheet(torch.tensor([[[[-9.0, 9.0]]]]))).flatten()) == {0, 255}
    assert set(pixels(sheet(torch.tensor([[[[0.0, 4.0]]]]), low=0, high=4)).flatten()) == {0, 255}


def test_small_images_come_out_large_enough_to_see() -> None:
    assert min(sheet(torch.zeros(1, 1, 8, 8)).size) >= 48
    assert sheet(torch.zeros(1, 1, 100, 60)).size == (60, 100)


def test_a_sheet_is_about_square_unless_told_otherwise() -> None:
    image = sheet(torch.zeros(9, 1, 8, 8))
    assert image.width == image.height
    assert (
        sheet(torch.zeros(3, 1, 8, 8), columns=50).width > 3 * sheet(torch.zeros(3, 1, 8, 8), columns=50).height / 1.1
    )


def darkest(image: Image.Image) -> tuple[float, float]:
    """Where the ink is: its centre, from the lower left corner, as shares of the sides."""
    ink = (pixels(image)[..., 0] < 120).astype(float)
    rows, columns = ink.sum(1), ink.sum(0)
    height, width = ink.shape
    return float(columns @ np.arange(width) / columns.sum() / width), float(
        1 - rows @ np.arange(height) / rows.sum() / height
    )


@pytest.mark.parametrize("point", [(0.5, 0.5), (-0.8, 0.6), (0.9, -0.9)])
def test_a_point_of_a_scatter_is_at_its_coordinates(point: tuple[float, float]) -> None:
    x = torch.tensor([[*point, 99.0]])
    assert darkest(sheet(x, low=-1, high=1)) == pytest.approx([(value + 1) / 2 for value in point], abs=0.01)


def test_points_outside_the_window_are_not_seen() -> None:
    inside, both = torch.tensor([[0.3, 0.3]]), torch.tensor([[0.3, 0.3], [1e30, 5.0]])
    near, alike = sheet(inside, low=-1, high=1), sheet(both, low=-1, high=1)
    assert np.abs(darkest(near)[0] - darkest(alike)[0]) < 0.002


def test_a_histogram_has_its_weight_where_the_values_are() -> None:
    values = torch.cat([torch.full((30, 1), -0.5), torch.full((10, 1), 0.5)])
    seen = pixels(sheet(values, low=-1, high=1))[..., 0] < 120
    left, right = seen[:, : seen.shape[1] // 2].sum(), seen[:, seen.shape[1] // 2 :].sum()
    assert left / right == pytest.approx(3, rel=0.05)


def test_a_curve_goes_through_its_values() -> None:
    seen = pixels(sheet(torch.linspace(-1, 1, 50).reshape(1, 1, 50), low=-1, high=1))[..., 0] < 200
    heights = [float(np.flatnonzero(column).mean()) for column in seen.T]
    assert np.allclose(heights, np.linspace(seen.shape[0] - 1, 0, seen.shape[1]), atol=2)


@pytest.mark.parametrize("shape", [(3, 5), (4, 1), (5, 1, 16), (5, 3, 1), (2, 1, 4, 4), (1, 9)])
def test_constant_values_have_a_picture(shape: tuple[int, ...]) -> None:
    assert min(sheet(torch.full(shape, 2.0)).size) >= 20


@pytest.mark.parametrize("shape", [(4,), (2, 2, 8, 8), (2, 1, 4, 4, 4), (0, 1, 8, 8)])
def test_what_has_no_picture_is_refused_by_its_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match=r"images .* vectors .* curves"):
        sheet(torch.zeros(shape))


def test_bad_arguments_are_refused_by_name() -> None:
    x = torch.zeros(2, 1, 4, 4)
    with pytest.raises(InvalidArgument, match="columns"):
        sheet(x, columns=0)
    with pytest.raises(InvalidArgument, match="scale"):
        sheet(x, scale=0)
    with pytest.raises(InvalidArgument, match="low < high"):
        sheet(x, low=1, high=1)
    with pytest.raises(InvalidArgument, match="frames"):
        film([])
    with pytest.raises(InvalidArgument, match="frames"):
        contact([])
    with pytest.raises(InvalidArgument, match="milliseconds=0"):
        video([x], "never.mp4", milliseconds=0)
    x[1, 0, 2, 2] = torch.nan
    with pytest.raises(NonFinite, match="row 1 of 2"):
        sheet(x)


def test_a_png_is_the_picture() -> None:
    image = sheet(ramp(4, 3, 8, 8))
    assert (pixels(Image.open(io.BytesIO(png(image)))) == pixels(image)).all()


def test_equal_values_give_equal_bytes() -> None:
    x = ramp(4, 1, 8, 8)
    assert png(sheet(x)) == png(sheet(x.clone()))
    assert film([x, -x]) == film([x.clone(), -x])


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (4, 3, 8, 8), (4, 4, 8, 8), (9, 2), (3, 1, 12)])
def test_a_film_shows_its_frames_in_order_and_holds_the_last(shape: tuple[int, ...], tmp_path: Path) -> None:
    frames = [ramp(*shape) * size for size in (0.2, -0.6, 1.0)]
    data = film(frames, tmp_path / "a.gif", milliseconds=50, hold=700)
    assert (tmp_path / "a.gif").read_bytes() == data
    with Image.open(io.BytesIO(data)) as gif:
        assert gif.n_frames == 3 and gif.info["loop"] == 0
        times, last = [], None
        for number in range(3):
            gif.seek(number)
            times.append(gif.info["duration"])
            last = pixels(gif.convert("RGB"))
    assert times == [50, 50, 700]
    expected = sheet(frames[-1])
    assert np.abs(last - pixels(expected.convert("RGB"))).mean() < 6  # GIF has 256 colours


def test_all_frames_of_a_film_share_the_last_ones_window() -> None:
    wide, narrow = torch.tensor([[-8.0, 0.0], [8.0, 0.0]]), torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    with Image.open(io.BytesIO(film([narrow / 2, wide, narrow]))) as gif:
        first = pixels(gif.convert("RGB"))[..., 0] < 120
    across = np.flatnonzero(first.any(0)) / first.shape[1]
    assert 0.2 < across.min() < 0.35 and 0.65 < across.max() < 0.8


def test_a_contact_sheet_has_a_row_for_each_sample_and_a_column_for_each_moment() -> None:
    first = ramp(3, 1, 6, 4)
    frames = [first, -first, 0.3 * first, first.flip(0)]
    seen = pixels(contact(frames, scale=2))
    gap = (seen.shape[1] - 4 * 8) // 3
    for row in range(3):
        for column, frame in enumerate(frames):
            top, left = row * (12 + gap), column * (8 + gap)
            assert (seen[top : top + 12, left : left + 8] == pixels(sheet(frame[row : row + 1], scale=2))).all()


def test_vectors_have_a_scatter_for_each_moment_in_the_last_ones_window() -> None:
    narrow = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    image = contact([narrow / 2, narrow, narrow])
    one = sheet(narrow)
    assert image.height == one.height and 3 * one.width <= image.width < 3 * one.width + 20
    first = pixels(image.crop((0, 0, one.width, one.height)))[..., 0] < 120
    across = np.flatnonzero(first.any(0)) / first.shape[1]
    assert 0.2 < across.min() < 0.35 and 0.65 < across.max() < 0.8


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (3, 3, 5, 7), (4, 4, 8, 8), (9, 2)])
def test_a_video_shows_its_frames_and_lasts_as_long_as_the_film(shape: tuple[int, ...], tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    frames = [ramp(*shape) * size for size in (0.2, -0.6, 1.0)]
    path = video(frames, tmp_path / "a.mp4", milliseconds=50, hold=500, scale=9 if len(shape) == 4 else 1)
    reader = ffmpeg.read_frames(str(path))
    about = next(reader)
    pictures = [np.frombuffer(data, np.uint8).reshape(*about["size"][::-1], 3).astype(int) for data in reader]
    assert len(pictures) == 2 + 10 and about["fps"] == pytest.approx(20)
    want = pixels(sheet(frames[-1], scale=9 if len(shape) == 4 else 1).convert("RGB"))
    assert np.abs(pictures[-1][: want.shape[0], : want.shape[1]] - want).mean() < 12  # colours are halved in H.264


def pages(folder: Path, levels: Sequence[int], size: tuple[int, int] = (12, 8), mode: str = "L") -> list[Path]:
    """Pictures of one grey each."""
    paths = [folder / f"{number}.png" for number in range(len(levels))]
    for path, level in zip(paths, levels, strict=True):
        Image.new("L", size, level).convert(mode).save(path)
    return paths


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_flip_book_shows_its_pages_in_order_and_holds_the_last(mode: str, tmp_path: Path) -> None:
    data = flipbook(pages(tmp_path, [0, 255, 100, 30], mode=mode), milliseconds=100, hold=500)
    with Image.open(io.BytesIO(data)) as book:
        shown, times = [], []
        for number in range(book.n_frames):
            book.seek(number)
            shown.append(np.asarray(book.convert("L")))
            times.append(book.info["duration"])
    assert [int(page.mean().round()) for page in shown] == [0, 255, 100, 30] and shown[0].shape == (8, 12)
    assert times == [100, 100, 100, 500]
    assert data == flipbook(sorted(tmp_path.glob("*.png")), milliseconds=100, hold=500)


def test_a_long_or_large_flip_book_is_thinned_and_made_smaller(tmp_path: Path) -> None:
    with Image.open(io.BytesIO(flipbook(pages(tmp_path, [*range(250)])))) as book:
        assert book.n_frames == 120
        assert book.convert("L").getpixel((0, 0)) == 0
        book.seek(119)
        assert book.convert("L").getpixel((0, 0)) == 249
    with Image.open(io.BytesIO(flipbook(pages(tmp_path, [9], size=(3000, 20))))) as book:
        assert book.size[0] == 1000


def test_pages_that_do_not_make_a_book_are_named(tmp_path: Path) -> None:
    paths = pages(tmp_path, [1, 2, 3])
    paths[2].write_bytes(b"torn")
    with pytest.raises(DataError, match=r"2\.png is no picture"):
        flipbook(paths)
    Image.new("L", (3, 3)).save(paths[1])
    with pytest.raises(InvalidArgument, match=r"1\.png is of another than .*0\.png"):
        flipbook(paths)
    with pytest.raises(InvalidArgument, match="got none"):
        flipbook([])

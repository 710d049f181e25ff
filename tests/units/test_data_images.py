"""A folder of images: what every file becomes, and what happens to each that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from obverse.data import Dataset, images, load
from obverse.ground.errors import DataError

RED, GREEN = (200, 10, 20), (10, 200, 20)


def picture(
    path: Path, mode: str = "RGB", color: object = RED, size: tuple[int, int] = (6, 4), **options: object
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path, **options)  # type: ignore[arg-type]
    return path


def noisy(path: Path, size: tuple[int, int] = (64, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def only(folder: Path) -> torch.Tensor:
    data = load(folder)
    assert len(data) == 1
    return data.values[0]


def refused_or_skipped(folder: Path, name: str, reason: str) -> Dataset:
    """Both outcomes of one bad file beside good ones."""
    with pytest.raises(DataError, match=reason) as refusal:
        load(folder)
    assert name in str(refusal.value) and "damaged='skip'" in str(refusal.value)
    data = load(folder, damaged="skip")
    assert [name in damage.where for damage in data.damage] == [True]
    assert name in data.summary()
    return data


def test_a_folder_is_read_in_the_order_of_names_as_bytes_channel_first(tmp_path: Path) -> None:
    picture(tmp_path / "b.png", color=GREEN)
    picture(tmp_path / "a.png", color=RED)
    data = load(tmp_path)
    assert (data.kind, data.values.dtype, data.shape, data.labels) == ("images", torch.uint8, (3, 4, 6), None)
    assert data.values[:, :, 0, 0].tolist() == [list(RED), list(GREEN)]
    x = data.rows(torch.tensor([1, 0])).x
    assert x.min() >= -1 and x.max() <= 1 and x.dtype == torch.float32
    assert torch.equal(data.scaling.undo(x).round().to(torch.uint8), data.values[[1, 0]])


def test_subfolders_are_classes_however_deep_their_images_lie(tmp_path: Path) -> None:
    picture(tmp_path / "dog" / "deep" / "a.png")
    picture(tmp_path / "cat" / "b.PNG")
    picture(tmp_path / "cat" / "a.png")
    data = load(tmp_path)
    assert data.classes == ("cat", "dog") and data.labels is not None and data.labels.tolist() == [0, 0, 1]


def test_numbered_class_folders_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "2"):
        picture(tmp_path / name / "a.png")
    assert load(tmp_path).classes == ("2", "9", "10")


def test_an_image_beside_class_folders_is_refused_by_name(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png")
    picture(tmp_path / "stray.png")
    with pytest.raises(DataError, match=r"stray\.png lies beside class folders"):
        load(tmp_path)


def test_grey_stays_one_channel_only_if_all_are_grey(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", "L", 70)
    picture(tmp_path / "b.png", "1", 1)
    assert load(tmp_path).values[:, :, 0, 0].tolist() == [[70], [255]]
    picture(tmp_path / "c.png", color=GREEN)
    picture(tmp_path / "d.png", "L", 9)
    assert load(tmp_path).values[:, :, 0, 0].tolist() == [[70] * 3, [255] * 3, list(GREEN), [9] * 3]


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    picture(tmp_path / "x.ppm")
    Image.open(tmp_path / "x.ppm").convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "x.png")
    (tmp_path / "x.ppm").unlink()
    assert only(tmp_path)[:, 0, 0].tolist() == list(RED)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    picture(tmp_path / "a.tif", "CMYK", (0, 255, 255, 0))  # full magenta and yellow ink is red
    assert only(tmp_path)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(("mode", "clear"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))])
def test_what_is_transparent_is_white_and_said(tmp_path: Path, mode: str, clear: tuple[int, ...]) -> None:
    picture(tmp_path / "a.png", mode, clear)
    data = load(tmp_path)
    assert (data.values == 255).all() and data.shape[0] == (3 if mode == "RGBA" else 1)
    assert "transparent" in data.summary()


def test_an_opaque_alpha_channel_changes_nothing_and_is_not_mentioned(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", "RGBA", (*RED, 255))
    data = load(tmp_path)
    assert data.values[0, :, 0, 0].tolist() == list(RED) and not data.notes


def test_a_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", "P", 0, transparency=0)
    assert (only(tmp_path) == 255).all()


@pytest.mark.parametrize(("name", "white"), [("a.png", 65535), ("a.tif", 65535), ("a.tif", 0)])
def test_16_bits_become_the_nearest_8_and_it_is_said(tmp_path: Path, name: str, white: int) -> None:
    deep = np.array([[0, 128, 129, 32768, 65406, 65535]], dtype=np.uint16)
    photometric = {"tiffinfo": {262: white // 65535}} if name == "a.tif" else {}  # TIFF 6.0: of 0, the least is white
    Image.fromarray(deep if white else 65535 - deep).save(tmp_path / name, **photometric)
    assert not photometric or Image.open(tmp_path / name).tag_v2[262] == white // 65535  # type: ignore[attr-defined]
    data = load(tmp_path)
    nearest = [min(range(256), key=lambda b: abs(int(v) / 65535 - b / 255)) for v in deep[0]]
    assert data.values.flatten().tolist() == nearest and "16 bits" in data.summary()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    # what a camera held that way stores: EXIF 2.3, tag 0x0112
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright), 7: np.rot90(upright, 2).T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    Image.fromarray(np.ascontiguousarray(stored)).save((tmp_path / "a").with_suffix(suffix), exif=exif)
    assert np.array_equal(only(tmp_path)[0].numpy(), upright)


def test_only_the_first_frame_of_an_animation_is_used_and_it_is_said(tmp_path: Path) -> None:
    frames = [Image.new("L", (6, 4), shade) for shade in (30, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    data = load(tmp_path)
    assert len(data) == 1 and (data.values == 30).all() and "first frame" in data.summary()


def test_several_sizes_are_refused_naming_the_first_odd_file_and_the_fix(tmp_path: Path) -> None:
    for name, size in (("a", (6, 4)), ("b", (6, 4)), ("c", (4, 6))):
        picture(tmp_path / f"{name}.png", size=size)
    for damaged in ("refuse", "skip"):
        with pytest.raises(DataError, match=r"c\.png is 4 x 6 pixels, a\.png is 6 x 4: image_size=32"):
            load(tmp_path, damaged=damaged)
    assert load(tmp_path, image_size=5).shape == (3, 5, 5)


def test_image_size_crops_the_centre(tmp_path: Path) -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = RED
    Image.fromarray(wide).save(tmp_path / "a.png")
    data = load(tmp_path, image_size=8)
    assert (data.values[0] == torch.tensor(RED)[:, None, None]).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
def test_a_truncated_image_is_refused_or_skipped(tmp_path: Path, suffix: str) -> None:
    noisy(tmp_path / f"good.{suffix}")
    bad = noisy(tmp_path / f"bad.{suffix}")
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    assert len(refused_or_skipped(tmp_path, f"bad.{suffix}", "bad")) == 1


def test_the_images_after_a_skipped_one_keep_their_pixels_and_classes(tmp_path: Path) -> None:
    picture(tmp_path / "x" / "b.png", color=RED)
    picture(tmp_path / "y" / "c.png", color=GREEN)
    (tmp_path / "x" / "a.png").touch()
    data = load(tmp_path, damaged="skip")
    assert data.values[:, :, 0, 0].tolist() == [list(RED), list(GREEN)]
    assert data.labels is not None and data.labels.tolist() == [0, 1]


def test_an_empty_file_is_refused_or_skipped(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    refused_or_skipped(tmp_path, "b.png", "empty file")


def test_text_under_an_image_suffix_is_refused_or_skipped(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n")
    refused_or_skipped(tmp_path, "b.jpg", "not an image")


def test_more_pixels_than_the_cap_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", "1", 0)
    side = int(images.MAX_PIXELS**0.5) + 1
    (tmp_path / "b.pbm").write_bytes(b"P4 %d %d\n" % (side, side))  # a header without any pixels
    refused_or_skipped(tmp_path, "b.pbm", "more than the")
    (tmp_path / "b.pbm").write_bytes(b"P4 60000 60000\n")  # Pillow's own guard
    refused_or_skipped(tmp_path, "b.pbm", "b.pbm")


@pytest.mark.parametrize(("mode", "shade"), [("F", 0.5), ("I", 200)])
def test_pixels_of_no_known_white_are_refused_or_skipped(tmp_path: Path, mode: str, shade: float) -> None:
    picture(tmp_path / "a.png", "L", 0)
    picture(tmp_path / "b.tif", mode, shade)
    refused_or_skipped(tmp_path, "b.tif", "no known white")


def test_links_are_followed_inside_the_folder_only(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    picture(inside / "a.png")
    (inside / "b.png").symlink_to("a.png")
    assert len(load(inside)) == 2
    (inside / "c.png").symlink_to(picture(tmp_path / "secret.png"))
    assert len(refused_or_skipped(inside, "c.png", "leads out of the folder")) == 2


def test_a_loop_of_links_ends_with_a_name(tmp_path: Path) -> None:
    picture(tmp_path / "cats" / "a.png")
    (tmp_path / "cats" / "loop").symlink_to(tmp_path)
    refused_or_skipped(tmp_path, "loop", "link to a folder")


def test_a_broken_link_and_a_pipe_are_refused_or_skipped(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("nowhere.png")
    refused_or_skipped(tmp_path, "b.png", "a link to nothing")
    (tmp_path / "b.png").unlink()
    os.mkfifo(tmp_path / "c.png")
    refused_or_skipped(tmp_path, "c.png", "not a regular file")


def test_other_files_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for name in ("notes.txt", ".hidden.png", ".checkpoints/a.png", "__MACOSX/._a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("not an image")
    data = load(tmp_path)
    assert len(data) == 1 and not data.damage and not data.classes


def test_a_name_that_is_not_utf_8_can_be_read_and_printed(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    picture(tmp_path / "a.png").rename(os.fsdecode(folder + b"/\xff.png"))
    data = load(tmp_path)
    data.summary().encode("utf-8")
    assert data.classes == ("caf\\xe9",)


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert load(".").name == tmp_path.name


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no samples"):
        load(tmp_path)


def test_a_folder_of_damaged_images_alone_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"nothing is left, all 1 .* a\.png: not an image"):
        load(tmp_path, damaged="skip")


def test_progress_counts_every_file_damaged_or_not(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    seen: list[tuple[int, int]] = []
    load(tmp_path, damaged="skip", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_no_flipped_byte_of_an_image_escapes_as_a_foreign_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for suffix in ("jpg", "png", "gif", "webp", "tif", "bmp"):
        good = noisy(tmp_path / suffix / f"a.{suffix}", (8, 8)).read_bytes()
        for trial in range(40):
            bad = bytearray(good)
            for place in rng.integers(0, len(bad), 3):
                bad[place] ^= int(rng.integers(1, 256))
            (tmp_path / suffix / f"{trial}.{suffix}").write_bytes(bad)
        data = load(tmp_path / suffix, damaged="skip", image_size=8)
        assert len(data) + len(data.damage) == 41

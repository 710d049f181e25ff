"""Folders and archives as listings: each file seen once, read where it lies, decoded when asked for."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from obverse.data import Dataset, batches, load
from obverse.data.damage import Ledger
from obverse.data.listing import Folder, Names
from obverse.data.rows import Made
from obverse.ground.errors import DataError

RNG = np.random.default_rng(5)


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


PIXELS = [RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8) for _ in range(12)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, pixels in enumerate(PIXELS):
        place = tmp_path / "pets" / ("cat" if number % 3 else "dog") / f"{number:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png(pixels))
    return tmp_path / "pets"


@pytest.fixture
def lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obverse.data.images.IN_MEMORY", 0)


def same(one: Dataset, other: Dataset) -> bool:
    labels = one.labels is other.labels is None or torch.equal(one.labels, other.labels)  # type: ignore[arg-type]
    return bool(torch.equal(one.values[:], other.values[:])) and labels and one.classes == other.classes


def test_images_decoded_when_asked_for_are_those_decoded_at_once(folder: Path, request: pytest.FixtureRequest) -> None:
    at_once = load(folder)
    request.getfixturevalue("lazily")
    later = load(folder)
    assert isinstance(later.values, Made) and "when they are asked for" in later.summary()
    assert same(at_once, later)
    one, other = (next(batches(data.split(0.25, 0)[0], 4, seed=0, start=9)) for data in (at_once, later))
    assert torch.equal(one.x, other.x) and torch.equal(one.index, other.index)


@pytest.mark.usefixtures("lazily")
def test_a_damaged_image_found_late_is_refused_or_has_the_next_in_its_place(folder: Path) -> None:
    (folder / "cat" / "04.png").write_bytes(b"torn")
    refuse, skip = load(folder), load(folder, damaged="skip")
    place = next(i for i in range(12) if torch.equal(skip.values[[i]][0], torch.from_numpy(PIXELS[5]).permute(2, 0, 1)))
    assert torch.equal(skip.values[[place]], skip.values[[place + 1]])
    with pytest.raises(DataError, match=r"cat/04\.png: not an image"):
        refuse.values[:]
    with pytest.raises(DataError, match=r"cat/04\.png: not an image"):
        for _ in zip(batches(refuse, 12, seed=0), range(2), strict=False):
            pass


@pytest.mark.usefixtures("lazily")
def test_a_colour_among_grey_images_found_late_is_refused_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("obverse.data.images._PROBED", 1)
    for number in range(12):
        place = next(folder.glob(f"*/{number:02d}.png"))
        place.write_bytes(png(PIXELS[number][..., 0]))
    (folder / "dog" / "09.png").write_bytes(png(PIXELS[9]))
    with pytest.raises(DataError, match=r"dog/09\.png: coloured among grey"):
        load(folder).values[:]


def test_a_folder_is_listed_once_and_no_file_is_asked_about(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    scandir, stat = os.scandir, os.stat
    monkeypatch.setattr(os, "scandir", lambda path: asked.append(f"list {path}") or scandir(path))
    monkeypatch.setattr(os, "stat", lambda path, **how: asked.append(f"stat {path}") or stat(path, **how))
    listing = Folder(folder, (".png",), Ledger("refuse"))
    assert len(listing) == 12 and not any(".png" in what for what in asked)
    assert sorted(asked.count(what) for what in asked if what.startswith("list")) == [1, 1, 1]


def test_names_are_kept_as_they_are() -> None:
    names = ["a/b.png", "", "ö/猫.png", os.fsdecode(b"\xff.png")]
    assert list(Names(names)) == names and len(Names(names)) == 4


@pytest.mark.parametrize("kind", ["zip", "wrapped", "windows", "tar", "tar of .", "shards"])
def test_an_archive_is_the_folder_that_it_was_made_of(folder: Path, tmp_path: Path, kind: str) -> None:
    (folder / "cat" / "._01.png").write_text("what macOS puts there")
    files = sorted(folder.rglob("*.png"))
    if kind in ("zip", "wrapped", "windows"):
        place, mark = tmp_path / "pets.zip", "\\" if kind == "windows" else "/"
        root = folder.parent if kind == "wrapped" else folder
        with zipfile.ZipFile(place, "w", zipfile.ZIP_STORED if kind == "zip" else zipfile.ZIP_DEFLATED) as packed:
            for file in files:
                packed.writestr(str(file.relative_to(root)).replace("/", mark), file.read_bytes())
    else:
        place = tmp_path / "shards" if kind == "shards" else tmp_path / "pets.tar"
        parts = [files[:5], files[5:]] if kind == "shards" else [files]
        for number, part in enumerate(parts):
            shard = place / f"{number:03d}.tar" if kind == "shards" else place
            shard.parent.mkdir(exist_ok=True)
            with tarfile.open(shard, "w") as tar:
                for file in part:
                    tar.add(file, f"{'./' if kind == 'tar of .' else ''}{file.relative_to(folder)}")
    before = sorted(os.listdir(tmp_path))
    assert same(load(place), load(folder))
    assert sorted(os.listdir(tmp_path)) == before


def test_webdataset_shards_bring_their_classes(tmp_path: Path) -> None:
    wanted = ["3", "11", "3", "7"]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, label in enumerate(wanted):
            said = {"cls": label.encode()} if number % 2 else {"json": b'{"label": %s}' % label.encode()}
            for suffix, data in {"png": png(PIXELS[number]), **said, "txt": b"a pet"}.items():
                member = tarfile.TarInfo(f"{number:04d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    data = load(tmp_path / "a.tar")
    assert data.classes == ("3", "7", "11") and data.labels is not None
    assert [data.classes[label] for label in data.labels.tolist()] == wanted


def test_a_class_far_from_its_file_in_a_tar_is_refused_or_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in {"1.png": png(PIXELS[1]), "2.png": png(PIXELS[2]), "1.CLS": b"cat", "2.CLS": b"dog"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(DataError, match=r"1\.CLS: a class with no file beside it"):
        load(tmp_path / "a.tar")
    assert len(load(tmp_path / "a.tar", damaged="skip").damage) == 2


def test_a_flipped_bit_in_a_zip_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.arange(6.0))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a.npy", content.getvalue())
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.index(np.arange(6.0).tobytes()) + 14] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"CRC-32 is not the one in the archive\. Mend"):
        load(tmp_path / "a.zip")


def test_files_that_others_hide_are_counted(folder: Path) -> None:
    (folder / "cat" / "notes.TXT").write_text("")
    assert "not read: 1 other files (.txt)" in load(folder).summary()
    with zipfile.ZipFile(folder / "old.zip", "w") as packed:
        packed.writestr("a.png", png(PIXELS[0]))
    assert "not read: 13 other files (.png, .txt)" in load(folder).summary()


def test_archives_that_nobody_needs_any_more_are_closed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a.png", png(PIXELS[0]))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        load(tmp_path / "a.zip")
    assert not before or len(os.listdir("/proc/self/fd")) <= before + 1

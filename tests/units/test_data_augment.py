"""Augmentations: keyed by step and sample, and images of the same kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from obverse.data import Augmentation, Dataset, augmentations, augmented, batches, from_array, order
from obverse.ground.errors import InvalidArgument, UnknownName

DATA = from_array(np.random.default_rng(0).integers(0, 256, (24, 6, 5, 3), dtype=np.uint8))
SPECS = ["flip", "crop:pixels=2", "jitter:amount=0.3", "flip+crop+jitter"]


@pytest.mark.parametrize("spec", SPECS)
def test_a_sample_is_changed_alike_whatever_the_batch_and_the_process(spec: str) -> None:
    members = augmentations(spec)
    x = DATA.rows(torch.arange(24)).x
    whole = augmented(x, members, seed=3, step=7, samples=torch.arange(24))
    for part in (torch.tensor([5]), torch.tensor([23, 0, 5]), torch.arange(1, 24, 2)):
        assert torch.equal(augmented(x[part], members, seed=3, step=7, samples=part), whole[part])
    assert not torch.equal(augmented(x, members, seed=3, step=8, samples=torch.arange(24)), whole)
    assert not torch.equal(augmented(x, members, seed=4, step=7, samples=torch.arange(24)), whole)


@pytest.mark.parametrize("spec", SPECS)
def test_two_processes_make_the_halves_of_the_batch_of_one(spec: str) -> None:
    one = next(batches(DATA, 8, seed=1, start=5, augment=spec))
    for rank in (0, 1):
        half = next(batches(DATA, 8, seed=1, start=5, rank=rank, processes=2, augment=spec))
        assert torch.equal(half.x, one.x[rank::2])
    assert torch.equal(one.index, order(24, 8, seed=1, step=5))
    assert not torch.equal(one.x, next(batches(DATA, 8, seed=1, start=5)).x)


@pytest.mark.parametrize("spec", SPECS)
def test_what_is_changed_stays_in_range_and_shape(spec: str) -> None:
    x = DATA.rows(torch.arange(24)).x
    changed = augmented(x, augmentations(spec), seed=0, step=0, samples=torch.arange(24))
    assert changed.shape == x.shape and changed.dtype == torch.float32 and changed.abs().max() <= 1


def test_a_flip_is_numpys_mirror_about_every_second_time() -> None:
    x, count = DATA.rows(torch.zeros(4000, dtype=torch.long)).x, 4000
    changed = augmented(x, augmentations("flip"), seed=0, step=0, samples=torch.arange(count))
    mirrored = torch.from_numpy(np.flip(x.numpy(), 3).copy())
    flips = (changed == mirrored).flatten(1).all(1)
    assert ((changed == x).flatten(1).all(1) ^ flips).all()
    assert abs(int(flips.sum()) - count / 2) < 4 * (count / 4) ** 0.5


def test_a_crop_is_every_shift_about_equally_often() -> None:
    x = torch.arange(30.0).reshape(1, 1, 6, 5).expand(2500, 1, 6, 5) / 30
    changed = augmented(x, augmentations("crop:pixels=2"), seed=0, step=0, samples=torch.arange(2500))
    edged = np.pad(x[0, 0].numpy(), 2, mode="edge")
    windows = {edged[i : i + 6, j : j + 5].tobytes(): 0 for i in range(5) for j in range(5)}
    for image in changed[:, 0].numpy():
        windows[image.tobytes()] += 1
    assert len(windows) == 25 and min(windows.values()) > 60 and max(windows.values()) < 140


def test_jitter_is_one_straight_line_a_picture() -> None:
    x = torch.linspace(-0.5, 0.5, 30).reshape(1, 1, 6, 5).expand(50, 1, 6, 5)
    changed = augmented(x, augmentations("jitter:amount=0.2"), seed=0, step=0, samples=torch.arange(50))
    for image in changed.flatten(1).double().numpy():
        slope, shift = np.polyfit(x[0].flatten().double().numpy(), image, 1)
        assert abs(slope - 1) <= 0.2 and abs(shift) <= 0.2
        assert np.allclose(np.polyval((slope, shift), x[0].flatten().numpy()), image, atol=1e-6)


def test_what_makes_no_sense_is_refused() -> None:
    for spec in ("flop", "flip+flop"):
        with pytest.raises(UnknownName, match="did you mean 'flip'"):
            augmentations(spec)
    for spec in ("crop:pixels=0", "jitter:amount=2"):
        with pytest.raises(InvalidArgument):
            Augmentation.of(spec)
    with pytest.raises(InvalidArgument, match="augment is for images"):
        batches(Dataset("ten", torch.arange(10.0)[:, None]), 2, seed=0, augment="flip")

"""The data set itself: scaling there and back, splitting, its words, and the door of `load`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from sklearn.datasets import load_digits

from obverse.data import Damage, Dataset, Scaling, from_array, load
from obverse.ground.errors import DataError, InvalidArgument, UnknownName

TABLE = torch.from_numpy(np.random.default_rng(0).normal(3, [[1.0, 1e-6, 1e6]], (50, 3)))


def test_digits_are_those_of_scikit_learn_on_minus_one_to_one() -> None:
    data, theirs = load("digits"), load_digits()
    assert np.array_equal(data.values[:, 0].numpy(), theirs.images) and data.values.dtype == torch.uint8
    assert data.labels is not None and np.array_equal(data.labels.numpy(), theirs.target)
    assert data.classes == tuple("0123456789") and data.name == "digits"
    x = data.rows(torch.arange(len(data))).x
    assert x.min() == -1 and x.max() == 1


def test_a_word_that_is_no_name_and_no_path_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        load("digit")


def test_a_folder_with_the_name_of_a_data_set_is_reached_by_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(load("digits")) == 1797
    for source in ("./digits", Path("digits")):
        with pytest.raises(DataError, match="no samples"):
            load(source)


def test_a_file_of_no_known_kind_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").touch()
    with pytest.raises(DataError, match=r"a\.pkl .*\.npy, \.npz, .*, IDX"):
        load(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "wrong", [{"damaged": "ignore"}, {"image_size": 0}, {"image_size": 32}, {"label": "y"}], ids=str
)
def test_an_option_outside_its_range_or_without_use_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(wrong))):
        load("digits", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("scaling", [Scaling.standard(TABLE), Scaling.of_range(-3, 90), Scaling()], ids=str)
def test_scaling_goes_there_and_back_and_through_json(scaling: Scaling) -> None:
    x = scaling.apply(TABLE)
    assert x.dtype == torch.float32
    assert torch.allclose(scaling.undo(x), TABLE, rtol=1e-6, atol=1e-5)
    assert Scaling.from_json(json.loads(json.dumps(scaling.to_json()))) == scaling


def test_standard_scaling_gives_mean_zero_and_deviation_one_to_every_channel() -> None:
    signals = TABLE[:, None, :].expand(50, 4, 3) * torch.arange(1.0, 5)[None, :, None]
    x = Scaling.standard(signals).apply(signals).double().transpose(0, 1).flatten(1)
    assert torch.allclose(x.mean(1), torch.zeros(4).double(), atol=1e-6)
    assert torch.allclose(x.std(1, correction=0), torch.ones(4).double(), atol=1e-6)


@settings(deadline=None, max_examples=100)
@given(
    some.lists(
        some.floats(allow_nan=False, allow_infinity=False, width=64, max_value=8e307, min_value=-8e307), min_size=1
    )
)
def test_every_finite_column_can_be_scaled_and_constants_come_back_exactly(numbers: list[float]) -> None:
    column = torch.tensor(numbers, dtype=torch.float64)[:, None]
    scaling = Scaling.standard(column)
    x = scaling.apply(column)
    assert x.isfinite().all()
    if min(numbers) == max(numbers):
        assert torch.equal(scaling.undo(x + 0.3), column)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"shift": [0], "scale": [0], "constant": []},
        {"shift": [math.nan], "scale": [1], "constant": []},
        {"shift": [0, 1], "scale": [1], "constant": []},
        {"shift": [0], "scale": [1], "constant": [1]},
        {"shift": ["a"], "scale": [1], "constant": []},
        {"shift": 0, "scale": 1, "constant": []},
    ],
    ids=str,
)
def test_what_is_no_scaling_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match=r"scal"):
        Scaling.from_json(data)


def test_a_scaling_for_other_columns_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="3 columns or channels"):
        Scaling.standard(TABLE).apply(TABLE[:, :2])


@settings(deadline=None, max_examples=50)
@given(
    sizes=some.lists(some.integers(1, 30), min_size=1, max_size=5),
    holdout=some.floats(0.05, 0.95),
    seed=some.integers(0, 2**63),
)
def test_a_split_holds_every_sample_once_and_its_fraction_of_every_class(
    sizes: list[int], holdout: float, seed: int
) -> None:
    labels = torch.cat([torch.full((size,), number) for number, size in enumerate(sizes)])
    total = len(labels)
    data = Dataset("some", torch.arange(float(total))[:, None], labels, tuple(map(str, range(len(sizes)))))
    try:
        train, held = data.split(holdout, seed)
    except InvalidArgument:
        assert total * holdout < 1 or total * (1 - holdout) < 1
        return
    assert torch.cat([train.values[:], held.values[:]]).flatten().sort().values.tolist() == list(range(total))
    assert abs(len(held) - total * holdout) <= 0.5 + 1e-9
    for part in (train, held):
        assert part.labels is not None and torch.equal(labels[part.values[:][:, 0].long()], part.labels)
    counts = held.labels.bincount(minlength=len(sizes)) if held.labels is not None else torch.zeros(0)
    assert all(abs(count - size * holdout) < 1 + 1e-9 for count, size in zip(counts.tolist(), sizes, strict=True))


def test_a_split_is_a_function_of_its_seed() -> None:
    data = from_array(np.arange(100.0))
    once, again, other = (data.split(0.3, seed)[1].values[:] for seed in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert data.split(0.3, 1)[0].scaling == data.scaling


@pytest.mark.parametrize("holdout", [0.0, 1.0, -0.1, 1.5, math.nan, 0.01, 0.99])
def test_a_split_with_an_empty_part_is_refused(holdout: float) -> None:
    with pytest.raises(InvalidArgument, match="holdout"):
        from_array(np.arange(10.0)).split(holdout, seed=0)


def test_values_and_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="as many labels"):
        Dataset("odd", torch.zeros(3, 1), labels=torch.zeros(2, dtype=torch.int64))
    for empty in (torch.zeros(0, 2), torch.zeros(2, 0), torch.zeros(3)):
        with pytest.raises(DataError, match="not empty"):
            Dataset("none", empty)


def test_a_summary_names_a_few_and_counts_the_rest() -> None:
    damage = tuple(Damage(f"{i}.png", "torn") for i in range(5))
    text = Dataset("pets", torch.zeros(1200, 3, 8, 8), damage=damage, kind="images").summary()
    assert "1,200 images of 3 x 8 x 8" in text and "0.png (torn)" in text and "and 2 more" in text
    assert "5 samples" in text and "4.png" not in text

"""FlowDensity: scikit-learn's own checks, the densities of known tables, and what it says of tables that have none."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.sklearn import FlowDensity
from obverse.sklearn.given import Classes, Numbers, given
from obverse.train import EMA

SMALL = {"net": "mlp:width=32,depth=2", "max_iter": 300, "random_state": 0}
MEAN, UNITS = np.array([5.0, -300.0]), np.array([0.01, 100.0])
TILTED = stats.multivariate_normal(MEAN, np.outer(UNITS, UNITS) * [[1.0, 0.8], [0.8, 1.0]])


def tilted(count: int, seed: int) -> NDArray[Any]:
    return np.asarray(TILTED.rvs(count, random_state=seed))


def groups(count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two far groups, called b and a."""
    draw = np.random.default_rng(0)
    y = np.where(np.arange(count) % 3 == 0, "b", "a")
    return draw.normal(size=(count, 2)) * 0.3 + np.where(y == "b", -2.0, 2.0)[:, None], y


@pytest.fixture(scope="module")
def fitted() -> FlowDensity:
    return FlowDensity(net="mlp:width=64,depth=2", max_iter=800, random_state=0).fit(tilted(2000, 0))


@pytest.fixture(scope="module")
def grouped() -> FlowDensity:
    return FlowDensity(net="mlp:width=32,depth=2", max_iter=800, random_state=0).fit(*groups(600))


@parametrize_with_checks([FlowDensity(net="mlp:width=16,depth=1", max_iter=20, random_state=0)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_it_is_an_estimator_like_any_other(estimator: Any, check: Any) -> None:
    check(estimator)


def test_its_densities_are_those_of_the_table(fitted: FlowDensity) -> None:
    rows = tilted(500, 1)
    off = fitted.score_samples(rows) - TILTED.logpdf(rows)
    assert abs(off.mean()) < 0.06 and np.median(np.abs(off)) < 0.15
    assert fitted.score(rows) == pytest.approx(fitted.score_samples(rows).mean())


def test_its_samples_are_those_of_the_table(fitted: FlowDensity) -> None:
    drawn = fitted.sample(4000)
    assert drawn.shape == (4000, 2) and drawn.dtype == np.float64
    unit, truth = (drawn - MEAN) / UNITS, np.array([[1.0, 0.8], [0.8, 1.0]])
    assert np.abs(unit.mean(0)).max() < 0.12 and np.abs(np.cov(unit.T) - truth).max() < 0.15


def test_its_density_has_a_mass_of_one(fitted: FlowDensity) -> None:
    sides = [np.linspace(-6, 6, 81) * unit + mean for mean, unit in zip(MEAN, UNITS, strict=True)]
    rows = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2)
    cell = float(np.prod([side[1] - side[0] for side in sides]))
    assert np.exp(fitted.score_samples(rows)).sum() * cell == pytest.approx(1, abs=0.01)


def test_other_units_shift_the_density_and_nothing_else() -> None:
    rows = tilted(200, 2)
    here, there = FlowDensity(**SMALL).fit(rows), FlowDensity(**SMALL).fit(rows * [1024.0, 0.5] + [1.0, 0.0])
    shift = there.score_samples(rows * [1024.0, 0.5] + [1.0, 0.0]) - here.score_samples(rows)
    assert np.allclose(shift, -math.log(1024.0) - math.log(0.5), atol=1e-3)


def test_a_seed_means_the_same_fit_and_the_same_rows() -> None:
    rows = tilted(100, 3)
    one, other = FlowDensity(**SMALL).fit(rows), clone(FlowDensity(**SMALL)).fit(rows)
    assert np.array_equal(one.sample(5), other.sample(5)) and np.array_equal(one.sample(5), one.sample(5))
    assert not np.array_equal(one.sample(5), one.sample(5, random_state=1))
    assert np.array_equal(one.sample(9)[:5], one.sample(5))
    assert not np.array_equal(one.sample(5), FlowDensity(**{**SMALL, "random_state": 1}).fit(rows).sample(5))


def test_a_fit_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    FlowDensity(**{**SMALL, "max_iter": 5}).fit(tilted(20, 0)).sample(2)
    assert torch.equal(torch.rand(1), expected[0]) and np.random.rand() == expected[1]


def test_the_weights_kept_are_the_averaged_ones() -> None:
    rows, seen = tilted(64, 8), []
    flow = FlowDensity(**{**SMALL, "max_iter": 40})
    plain = flow.fit(rows).net_.state_dict()

    def unaveraged(self: EMA, module: torch.nn.Module) -> None:
        seen.append(1)
        self.weights = {name: value.clone() for name, value in module.state_dict().items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EMA, "update", unaveraged)
        newest = clone(flow).fit(rows).net_.state_dict()
    assert len(seen) == 40 and any(not torch.equal(plain[name], newest[name]) for name in plain)


def test_it_measures_in_inference_mode(fitted: FlowDensity) -> None:
    rows = tilted(20, 4)
    with torch.inference_mode():
        inside = fitted.score_samples(rows)
    assert np.array_equal(inside, fitted.score_samples(rows))


def test_it_can_be_pickled(fitted: FlowDensity) -> None:
    again, rows = pickle.loads(pickle.dumps(fitted)), tilted(20, 4)
    assert np.array_equal(again.score_samples(rows), fitted.score_samples(rows))
    assert np.array_equal(again.sample(3), fitted.sample(3))


def test_it_can_be_searched_over_and_put_in_a_pipeline() -> None:
    rows = tilted(120, 5)
    search = GridSearchCV(FlowDensity(**SMALL), {"max_iter": [1, 200]}, cv=2).fit(rows)
    assert search.best_params_ == {"max_iter": 200}
    piped = make_pipeline(StandardScaler(), FlowDensity(**SMALL)).fit(rows)
    assert piped.score_samples(rows).shape == (120,)


def test_classes_are_drawn_and_scored_apart(grouped: FlowDensity) -> None:
    assert grouped.classes_.tolist() == ["a", "b"]
    x, y = groups(600)
    for name, sign in (("a", 1), ("b", -1)):
        assert (np.sign(grouped.sample(100, y=name).mean(1)) == sign).mean() > 0.98
    apart = grouped.sample(4, y=["a", "b", "a", "b"])
    assert np.sign(apart.mean(1)).tolist() == [1, -1, 1, -1]
    right = grouped.score_samples(x, y)
    wrong = grouped.score_samples(x, np.where(y == "a", "b", "a"))
    assert (right > wrong + 3).mean() > 0.98
    assert grouped.score(x, y) == pytest.approx(right.mean())


def test_without_y_all_groups_are_drawn_and_scored(grouped: FlowDensity) -> None:
    x, y = groups(600)
    share = (grouped.sample(2000).mean(1) > 0).mean()
    assert share == pytest.approx(2 / 3, abs=0.08)
    whole, given_y = grouped.score_samples(x), grouped.score_samples(x, y)
    priors = np.log(np.where(y == "a", 2 / 3, 1 / 3))  # far groups: p(x) = p(y) p(x | y)
    assert np.median(np.abs(whole - given_y - priors)) < 0.3


def test_numbers_may_be_conditioned_on() -> None:
    draw = np.random.default_rng(0)
    y = draw.uniform(-3, 3, 800)
    flow = FlowDensity(**{**SMALL, "max_iter": 800}).fit(y[:, None] + 0.2 * draw.normal(size=(800, 1)), y)
    assert flow.classes_ is None
    assert flow.sample(200, y=2.5).mean() == pytest.approx(2.5, abs=0.2)
    assert flow.sample(200, y=np.full(200, -2.5)).mean() == pytest.approx(-2.5, abs=0.2)


def test_what_y_is() -> None:
    assert isinstance(given(np.array([1, 2, 1])), Classes) and isinstance(given(np.array([0.5, 0.1])), Numbers)
    assert isinstance(given(np.array(["x", "y"])), Classes)
    assert given(np.array([[0.5, 1.0], [0.1, 2.0]])).conditions.vector == 2
    with pytest.raises(ValueError, match="not seen"):
        given(np.array([1, 2, 1])).cond(3, 4)
    with pytest.raises(ValueError, match="one value for each row"):
        given(np.array([1, 2, 1])).cond([1, 2], 4)
    with pytest.raises(ValueError, match="one finite number for each row"):
        given(np.array([0.5, 0.1])).cond(math.nan, 1)


def test_a_frame_in_is_a_frame_out() -> None:
    pandas = pytest.importorskip("pandas")
    rows = tilted(60, 6)
    flow = FlowDensity(**SMALL).fit(pandas.DataFrame(rows, columns=["size", "price"]))
    drawn = flow.sample(3)
    assert isinstance(drawn, pandas.DataFrame) and list(drawn.columns) == ["size", "price"]
    assert flow.feature_names_in_.tolist() == ["size", "price"]
    assert np.array_equal(FlowDensity(**SMALL).fit(rows).sample(3), drawn.to_numpy())
    with pytest.raises(ValueError, match="feature names"):
        flow.score_samples(pandas.DataFrame(rows, columns=["price", "size"]))


def test_names_that_are_no_words_come_back_too() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(tilted(60, 6), columns=[7, 5])
    assert list(FlowDensity(**SMALL).fit(frame).sample(2).columns) == [7, 5]


def test_float32_rows_give_float32_rows() -> None:
    flow = FlowDensity(**SMALL).fit(np.float32(np.random.default_rng(0).normal(size=(50, 2))))
    assert flow.sample(2).dtype == np.float32 and flow.score_samples(flow.sample(2)).dtype == np.float64
    assert FlowDensity(**SMALL).fit(np.arange(20).reshape(10, 2) % 7).sample(2).dtype == np.float64


def test_a_column_that_never_varies_is_sampled_as_it_is_and_has_no_part_in_the_density() -> None:
    rows = tilted(100, 7)
    wider = np.insert(rows, 1, 7.1, axis=1)
    plain, flow = FlowDensity(**SMALL).fit(rows), FlowDensity(**SMALL).fit(wider)
    assert (flow.sample(5)[:, 1] == 7.1).all() and np.array_equal(flow.sample(5)[:, [0, 2]], plain.sample(5))
    assert np.allclose(flow.score_samples(wider), plain.score_samples(rows))
    assert np.isneginf(flow.score_samples(np.insert(rows[:2], 1, 7.0, axis=1))).all()


def test_a_far_row_is_improbable_and_finite(fitted: FlowDensity) -> None:
    far = fitted.score_samples((MEAN + 1e4 * UNITS)[None])
    assert np.isfinite(far).all() and float(far[0]) < -1e3


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([[1.0, 2.0]], "1 sample"),
        ([[1.0, math.nan], [2.0, 3.0], [0.0, 1.0]], "NaN"),
        ([[1.0, math.inf], [2.0, 3.0], [0.0, 1.0]], "infinity"),
        ([[1.0, 2.0], [1.0, 2.0]], "none of its 2 columns varies"),
        ([[1.0, 5.0, 3.2], [0.0, 5.0, 1.2], [5.0, 5.0, 11.2]], "column 'x2' is column 'x0'"),
        ([["a", "b"], ["c", "d"]], "could not convert"),
        ([1.0, 2.0], "2D array"),
    ],
)
def test_a_table_without_a_density_is_refused(rows: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        FlowDensity(**SMALL).fit(rows)


@pytest.mark.parametrize("middle", [0.0, 0.3, 1.7e9])
def test_a_copy_is_told_from_another_column_wherever_they_lie(middle: float) -> None:
    rows = np.random.default_rng(0).normal(middle, 1.0, (100, 2))
    FlowDensity(**{**SMALL, "max_iter": 1}).fit(rows)
    with pytest.raises(ValueError, match="column 'x2' is column 'x0'"):
        FlowDensity(**SMALL).fit(np.column_stack([rows, 2 * rows[:, 0] + 1]))


@pytest.mark.parametrize("middle", [0.0, 0.3, 1.7e9])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_a_column_that_follows_from_others_leaves_no_density(middle: float, kind: type) -> None:
    a, b, c = np.random.default_rng(0).normal(middle, [1.0, 100.0, 1.0], (1000, 3)).T
    if kind is np.float32 and middle > 1:
        return  # nothing is left of their differences
    rows = np.column_stack([a, c, b, 2 * a - b + 7]).astype(kind)
    with pytest.raises(ValueError, match="column 'x3' follows from columns 'x0', 'x2'"):
        FlowDensity(**SMALL).fit(rows)
    away = np.random.default_rng(1).normal(scale=1e-3 if kind is np.float32 or middle > 1 else 1e-6, size=1000)
    FlowDensity(**{**SMALL, "max_iter": 1}).fit(np.column_stack([a, c, b, 2 * a - b + away]).astype(kind))


def test_shares_of_a_whole_leave_no_density_and_powers_do() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(5), 300)
    with pytest.raises(ValueError, match="column 'x4' follows from columns 'x0', 'x1', 'x2', 'x3'"):
        FlowDensity(**SMALL).fit(shares)
    for count in (100, 100_000):
        one_hot = np.eye(3)[np.random.default_rng(0).integers(0, 3, count)]
        with pytest.raises(ValueError, match="column 'x2' follows from columns 'x0', 'x1'"):
            FlowDensity(**SMALL).fit(one_hot)
    FlowDensity(**{**SMALL, "max_iter": 1}).fit(np.random.default_rng(0).uniform(1, 2, (300, 1)) ** np.arange(1, 9))
    FlowDensity(**{**SMALL, "max_iter": 1}).fit(np.random.default_rng(0).normal(size=(20, 30)))  # too few rows to tell


def test_a_column_of_words_is_named_with_what_to_do() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"age": [3.0, 4.0, 5.0], "sex": ["f", "m", "f"]})
    for rows, name, word in (
        (frame, "sex", "'f'"),
        (frame.assign(sex=pandas.Categorical(frame["sex"])), "sex", "'f'"),
        (frame.assign(sex=pandas.to_datetime("2020-01-01")), "sex", "2020"),
        ([["1", "2"], ["3", "x"]], "x1", "'x'"),
        (np.array([[1, 2.0], ["y", 4.0]], dtype=object), "x0", "'y'"),
    ):
        with pytest.raises(ValueError, match=rf"{word}.* of column '{name}'.*y=.*from_columns") as error:
            FlowDensity(**SMALL).fit(rows)
        assert "np." not in str(error.value)
    with pytest.raises(ValueError, match="'b' of column 'x1'"):
        FlowDensity(**{**SMALL, "max_iter": 1}).fit(tilted(9, 0)).score_samples([["1", "b"]])


def test_what_is_wrong_with_y_is_said_plainly(grouped: FlowDensity) -> None:
    with pytest.raises(ValueError, match="y holds 'zz', which fit has not seen; its classes: \\['a', 'b'\\]"):
        grouped.sample(2, y="zz")
    with pytest.raises(ValueError, match="y holds 7, which"):
        given(np.array([1, 2, 1])).cond([1, 7], 2)
    with pytest.raises(ValueError, match="one finite number for each row, as in fit; got 'zz'"):
        given(np.array([0.5, 0.1])).cond(np.array(["1", "zz"]), 2)
    with pytest.raises(ValueError, match="2 finite numbers for each row, as in fit; got NaN"):
        given(np.array([[0.5, 0.1], [0.2, 0.4]])).cond([[1, np.nan]], 1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"max_iter": 0}, "steps"),
        ({"learning_rate": -1.0}, "lr"),
        ({"coupling": "nothing"}, "coupling"),
        ({"schedule": "nothing"}, "schedule"),
    ],
)
def test_options_outside_their_range_are_refused_by_fit(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises((InvalidArgument, UnknownName), match=word):
        FlowDensity(**{**SMALL, **arguments}).fit(tilted(20, 0))


def test_y_needs_a_fit_with_y(fitted: FlowDensity) -> None:
    for ask in (lambda: fitted.sample(2, y=1), lambda: fitted.score_samples(tilted(2, 0), y=1)):
        with pytest.raises(ValueError, match="fitted without y"):
            ask()
    with pytest.raises(InvalidArgument, match="n_samples"):
        fitted.sample(0)
    with pytest.raises(ValueError, match="X has 3 rows, y has 2"):
        FlowDensity(**SMALL).fit(tilted(3, 0), [0, 1])

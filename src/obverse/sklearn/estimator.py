"""FlowDensity: a table's density, learnt by flow matching."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from obverse.data import Batch, batches
from obverse.ground import extras
from obverse.ground.errors import require
from obverse.ground.numerics import fastest
from obverse.likelihood import log_density
from obverse.model import Network
from obverse.nets import UNCONDITIONAL, Architecture
from obverse.objective import Loss, Objective
from obverse.path import Schedule
from obverse.sampler import sample
from obverse.sklearn.given import Given, given
from obverse.sklearn.table import Table, frame_of, framed, word_of
from obverse.train import Training, train

extras.load("sklearn", "data")

from sklearn.base import BaseEstimator, DensityMixin  # noqa: E402 - after a word on how to get it
from sklearn.utils import check_random_state  # noqa: E402
from sklearn.utils.validation import check_array, check_is_fitted, validate_data  # noqa: E402

HIDDEN = 0.2  # share of rows that train without their y, so that the density without y is learnt too
STEPS = (200, 3000)  # of training: one for every three rows, within these


class FlowDensity(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Density estimation and sampling by a continuous normalising flow, trained by flow matching.

    Columns are standardised inside; samples and log-densities are in the units of X. A column that never varies has no
    density: it is left out, sampled as it is, and a row with another value there scores -inf.

    Args:     net: the network, as a spec.
              schedule: the path from data to noise.
              coupling: how rows and noise are paired in training; None: exact-ot, which straightens the flow, or with y
                  independent, since a pairing that does not look at y would make noise depend on it.
              max_iter: training steps; None: one for every three rows, 200 to 3000.
              batch_size: rows in a step, at most those there are.
              learning_rate: its peak; it rises, then falls along half a cosine.
              tolerance: of log-densities, in nats.
              random_state: an int for the same fit and samples each time.
    Attributes: n_features_in_, feature_names_in_: of X; the names only for a data frame with names.
              classes_: of y, sorted; None unless y holds classes.
              net_: the trained network, its weights averaged; float32, on the CPU.
              n_iter_: training steps taken; loss_: mean loss of the last tenth of them.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal([1.0, 100.0], [0.1, 20.0], (500, 2))
        >>> flow = FlowDensity(random_state=0).fit(rows)
        >>> flow.sample(3).shape, flow.score_samples(rows[:5]).shape
        ((3, 2), (5,))

    Source:   Lipman et al. (2023); Grathwohl et al. (2019).
    """

    def __init__(
        self,
        *,
        net: str = "mlp:width=128,depth=3",
        schedule: str = "linear",
        coupling: str | None = None,
        max_iter: int | None = None,
        batch_size: int = 256,
        learning_rate: float = 4e-3,
        tolerance: float = 1e-2,
        random_state: Any = None,
    ) -> None:
        self.net = net
        self.schedule = schedule
        self.coupling = coupling
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.tolerance = tolerance
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the density of rows; with y, also the density given y.

        Args:     X: numbers; an array or a data frame, (rows, columns), at least 2 rows.
                  y: None; classes, one for each row; or numbers, one or some for each row.
        Returns:  itself.
        Raises:   ValueError for what has no density: words, NaN, one row, columns that follow from others.
        """
        require(self.batch_size >= 1, f"batch_size >= 1, got {self.batch_size} (try 256).")
        require(0 < self.tolerance <= 1, f"tolerance is in (0, 1] nats, got {self.tolerance} (try 1e-2).")
        self._frame = frame_of(X)
        rows = self._rows(X, reset=True)
        self._names = [f"x{i}" for i in range(rows.shape[1])] if self._frame is None else list(X.columns)
        self._table = Table.of(rows, self._names)
        self._given: Given | None = None
        cond = None
        if y is not None:
            y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
            if len(y) != len(rows):
                raise ValueError(f"X and y have one row each: X has {len(rows)} rows, y has {len(y)}.")
            self._given = given(y)
            cond = self._given.cond(y, len(y))
        self.classes_ = getattr(self._given, "classes", None)
        self._train(rows, cond)
        return self

    def sample(self, n_samples: int = 1, y: Any = None, random_state: Any = None) -> Any:
        """Draw rows.

        Args:     n_samples: how many.
                  y: None; or what they are conditioned on, one value for all or one for each.
                  random_state: default the estimator's own: an int draws the same rows each time.
        Returns:  (n_samples, columns), of the type of X; a data frame if fit was given one.
        """
        check_is_fitted(self)
        require(n_samples >= 1, f"n_samples >= 1, got {n_samples}.")
        seed = self._seed(self.random_state if random_state is None else random_state)
        cond, shape = self._cond(y, n_samples), (n_samples, len(self._table.varying))
        with torch.no_grad():
            x = sample(self._model(torch.float32), shape, seed=seed, cond=cond)
        return framed(self._table.rows(x.cpu()), self._frame, self._names)

    def score_samples(self, X: Any, y: Any = None) -> NDArray[Any]:
        """The log-density of rows, or their log-density given y; natural logarithm, per unit of X.

        Args:     X: (rows, columns).
                  y: None; or what rows are conditioned on, one value for all or one for each.
        Returns:  float64; (rows,).
        """
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        model, raw = self._model(torch.float64), self._table.raw(rows)
        found = log_density(
            model, raw.to(model.device), cond=self._cond(y, len(rows)), tolerance=self.tolerance,
            scaling=self._table.scaling,
        )  # fmt: skip
        return np.where(self._table.fits(rows), found.nats.cpu().numpy(), -np.inf)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean log-density of rows, given y if there is one; higher is better.

        Args:     as of `score_samples`.
        """
        return float(self.score_samples(X, y if self._given is not None else None).mean())

    def _rows(self, X: Any, *, reset: bool) -> NDArray[Any]:
        """X as numbers; reset: they are those of a fit."""
        least, kinds = 2 if reset else 1, [np.float64, np.float32]
        try:
            rows: NDArray[Any] = validate_data(self, X, dtype=kinds, reset=reset, ensure_min_samples=least)
        except (ValueError, TypeError) as error:
            if (found := word_of(X)) is None:
                raise
            cell, name = found
            raise ValueError(
                f"X is numbers: could not convert {str(cell)!r} of column {name!r}. Leave the column out, learn rows "
                "given it (y=), or learn its words too: obverse.data.from_columns, obverse train --columns mixed."
            ) from error
        return rows

    def _train(self, rows: NDArray[Any], cond: Tensor | None) -> None:
        data, count = self._table.dataset(rows), len(rows)
        steps = int(np.clip(count // 3, *STEPS)) if self.max_iter is None else self.max_iter
        seed = self._seed(self.random_state)
        settings = Training(steps=steps, batch=min(self.batch_size, count), lr=self.learning_rate, seed=seed)
        coupling = self.coupling or ("exact-ot" if cond is None else "independent")
        objective = Objective("stratified", "flow", coupling, drop=0.0 if cond is None else HIDDEN)
        conditions = UNCONDITIONAL if self._given is None else self._given.conditions
        self.net_ = Architecture.of(self.net).build(data.shape, conditions, seed=seed)

        def loss(net: nn.Module, batch: Batch, step: int) -> Loss:
            told = None if cond is None else cond[batch.index.cpu()].to(batch.x.device)
            return objective(self._network(net), batch.x, told, seed=seed, step=step, samples=batch.rows)

        losses = []
        for progress in train(
            self.net_, loss, lambda step: batches(data, settings.batch, seed=seed, start=step), settings
        ):
            losses.append(progress.loss)
        self.net_.load_state_dict(progress.ema.weights)
        self.net_ = self.net_.cpu().eval().requires_grad_(False)
        self.n_iter_, self.loss_ = steps, float(np.mean(losses[-max(1, steps // 10) :]))

    def _network(self, net: nn.Module) -> Network:
        return Network(net, Schedule.of(self.schedule), predicts="flow")

    @torch.inference_mode(False)  # whose densities need derivatives
    def _model(self, dtype: torch.dtype) -> Network:
        """The model, in a precision, where it is fastest."""
        return self._network(copy.deepcopy(self.net_).to(fastest(dtype), dtype))

    def _cond(self, y: Any, count: int) -> Tensor | None:
        if y is None:
            return None
        if self._given is None:
            raise ValueError("This FlowDensity was fitted without y, so there is nothing to condition on (y=None).")
        return self._given.cond(y, count)

    def _seed(self, random_state: Any) -> int:
        return int(check_random_state(random_state).randint(2**31 - 1))

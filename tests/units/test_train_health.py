"""What a run says of itself: where a number went wrong, the gradient's noise, the floor of its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.data import Batch
from obverse.ground import noise
from obverse.ground.errors import NonFinite
from obverse.train import Run, Training, train

ROWS = torch.arange(12)


def batches(size: int, shape: tuple[int, ...], rows: Tensor) -> Callable[[int], Iterator[Batch]]:
    def stream(step: int) -> Iterator[Batch]:
        while True:
            yield Batch(noise.normal((size, *shape), seed=1, purpose="x", step=step), None, rows + 100, step, rows)
            step += 1

    return stream


def loss(net: nn.Module, batch: Any, _step: int) -> Any:
    each = (net(batch.x) - batch.x).square().mean(1)
    return SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=torch.zeros(len(each)))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_layer_and_the_sample_that_broke_are_named(accumulate: int) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 3))

    def breaks(_module: nn.Module, args: Any, answer: Tensor) -> Tensor:
        return torch.where((args[0] == marked).all(1, keepdim=True), answer + torch.inf, answer)

    marked = noise.normal((12, 3), seed=1, purpose="x", step=2)[7]
    net[0].register_forward_hook(breaks)
    settings = Training(steps=4, batch=12, accumulate=accumulate)
    with pytest.raises(NonFinite, match=r"Step 2 .*row 7 .*sample 107 .*the answer of '0' \(Linear\), row 7"):
        list(train(net, loss, batches(12, (3,), ROWS), settings))


def test_a_layer_that_answers_a_number_a_row_is_named_too() -> None:
    net = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0), nn.Unflatten(0, (12, 1)), nn.Linear(1, 3))
    net[1].register_forward_hook(lambda _module, _args, answer: answer.index_fill(0, torch.tensor(5), torch.nan))
    with pytest.raises(NonFinite, match=r"the answer of '1' \(Flatten\), row 5"):
        next(train(net, loss, batches(12, (3,), ROWS), Training(steps=4, batch=12)))


def test_a_layer_that_answers_two_tensors_is_named_too() -> None:
    class First(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return self.both(x)[0]

    net = First()
    net.both = nn.GRU(3, 3)
    net.both.register_forward_hook(lambda _module, _args, answer: (answer[0] + torch.nan, answer[1]))
    with pytest.raises(NonFinite, match=r"the answer of 'both' \(GRU\), row 0"):
        next(train(net, loss, batches(12, (3,), ROWS), Training(steps=4, batch=12)))


def test_a_parameter_that_is_not_finite_is_named() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    with torch.no_grad():
        net[1].bias[0] = torch.nan
    with pytest.raises(NonFinite, match=r"the first tensor that is not is parameter '1\.bias'"):
        next(train(net, loss, batches(12, (3,), ROWS), Training(steps=4, batch=12)))


@pytest.mark.parametrize("accumulate", [2, 4])
def test_the_noise_scale_of_a_quadratic_is_the_known_one(tmp_path: Path, accumulate: int) -> None:
    # loss |theta - x|² / 2 with x standard normal in d dimensions: tr Sigma = d, |G|² = |theta|²
    d, steps = 200, 300
    net = nn.Linear(1, d, bias=False)
    nn.init.constant_(net.weight, 0.5)

    def quadratic(net: nn.Module, batch: Any, _step: int) -> Any:
        theta = net(torch.ones(1, 1))
        each = (theta - batch.x).square().sum(1) / 2
        return SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=torch.zeros(len(each)))

    settings = Training(
        steps=steps, batch=32, accumulate=accumulate, lr=1e-12, log_every=steps, clip=0.0, save_every=0, warmup=0
    )
    run = Run.create(tmp_path / "run", {})
    for _ in train(net, quadratic, batches(32, (d,), torch.arange(32)), settings, run=run):
        pass
    (line,) = run.metrics()
    assert line["gradient_noise_scale"] == pytest.approx(d / (0.25 * d), rel=0.03)


def test_without_parts_there_is_no_noise_to_read(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {})
    for _ in train(nn.Linear(3, 3), loss, batches(12, (3,), ROWS), Training(steps=3, batch=12), run=run):
        pass
    assert "gradient_noise_scale" not in run.metrics()[0]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_floor_is_read_beside_the_loss(tmp_path: Path, accumulate: int) -> None:
    def floor(batch: Any, _step: int) -> Any:
        return SimpleNamespace(per_sample=batch.rows.float())

    run = Run.create(tmp_path / "run", {})
    settings = Training(steps=3, batch=12, accumulate=accumulate)
    for _ in train(nn.Linear(3, 3), loss, batches(12, (3,), ROWS), settings, run=run, floor=floor):
        pass
    (line,) = run.metrics()
    assert line["floor_by_logsnr"] == [[1.0, 5.5, 36]]

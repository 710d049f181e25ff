"""Traces of Jacobians: exact by unit vectors, unbiased by signs, the same whichever way they are worked out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from obverse.ground.errors import InvalidArgument
from obverse.likelihood import directions, divergence, traces

MATRIX = torch.tensor([[2.0, 1.0, 0.5], [0.0, 3.0, -1.0], [4.0, 0.3, -1.5]], dtype=torch.float64)


def bent(x: Tensor, _: Tensor) -> Tensor:
    """A map whose Jacobian differs from row to row."""
    return torch.tanh(x.flatten(1) @ MATRIX).reshape(x.shape) * x


def points(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def differences(x: Tensor) -> Tensor:
    """The trace by central differences."""
    flat, step, total = x.flatten(1), 1e-5, torch.zeros(len(x), dtype=torch.float64)
    for j in range(flat.shape[1]):
        ahead, behind = flat.clone(), flat.clone()
        ahead[:, j] += step
        behind[:, j] -= step
        who = torch.arange(len(x))
        slopes = bent(ahead.reshape(x.shape), who) - bent(behind.reshape(x.shape), who)
        total += slopes.flatten(1)[:, j] / (2 * step)
    return total


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 1), (1, 1, 3)])
def test_unit_vectors_give_the_trace(shape: tuple[int, ...]) -> None:
    x = points(*shape)
    values, products = traces(bent, x, directions(x))
    assert torch.equal(values, bent(x, torch.arange(len(x))))
    assert products.shape == (len(x), 3)
    assert torch.allclose(products.sum(1), differences(x), atol=1e-8)


@pytest.mark.parametrize("together", [0, 21, 42, 63])  # of 7 rows and 3 numbers: one probe at a time, 2 and 1, all
def test_products_do_not_depend_on_how_many_are_worked_out_together(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = points(50, 3)
    _, whole = traces(bent, x, directions(x))
    monkeypatch.setattr(divergence, "TOGETHER", together)
    monkeypatch.setattr(divergence, "ROWS", 3 * 7)
    values, apart = traces(bent, x, directions(x))
    assert torch.allclose(apart, whole, rtol=1e-13, atol=1e-13) and len(values) == 50


@pytest.mark.parametrize("rows", [1, 16, 128, 512])
def test_a_pass_back_takes_as_many_probes_as_stay_near_the_processor(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes = torch.autograd.grad, []

    def counted(out: Tensor, x: Tensor, probes: Tensor, **how: bool) -> tuple[Tensor, ...]:
        sizes.append(probes.numel() // out.numel())
        return real(out, x, probes, **how)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    x = points(rows, 64)
    traces(lambda x, _: x**2, x, directions(x))
    assert sum(sizes) == 64
    assert all(size == 1 or size * 64 * rows <= divergence.TOGETHER for size in sizes)
    assert len(sizes) <= 64 / min(8, max(1, divergence.TOGETHER // x.numel()))  # few where there is room


def test_rows_are_told_who_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divergence, "ROWS", 6)
    factors = torch.arange(7.0, dtype=torch.float64)
    _, products = traces(lambda x, who: factors[who, None] * x, points(7, 3), directions(points(1, 3)))
    assert torch.equal(products, factors[:, None].expand(7, 3))


@pytest.mark.parametrize("rows", [4, 3, 1])
def test_each_row_has_its_own_probes(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divergence, "ROWS", 3 * rows)
    x, v = points(4, 3), points(2, 4, 3)
    _, products = traces(lambda x, _: x @ MATRIX, x, v)
    assert torch.allclose(products, torch.einsum("pbi,ji,pbj->bp", v, MATRIX, v))


def test_what_cannot_be_differentiated_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="differentiable"):
        traces(lambda x, _: x.detach(), points(2, 3), directions(points(2, 3)))

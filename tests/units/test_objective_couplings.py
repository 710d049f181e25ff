"""Couplings against brute force, closed forms and limits; what they refuse; how the objective uses them."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.spatial.distance import cdist
from torch import Tensor, nn

from obverse.data import Dataset, batches
from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, NonFinite, UnknownName
from obverse.model import Gaussian, Network
from obverse.objective import Objective
from obverse.objective.couplings import (
    Batch,
    Conditioned,
    Cost,
    Coupling,
    ExactOT,
    FromData,
    FromFunction,
    Partial,
    SemiDiscrete,
    Sinkhorn,
    Squared,
    Unbalanced,
    Within,
    assignment,
    bias,
    matching,
    pooled,
)
from obverse.objective.couplings.entropic import completed


def normal(*shape: int, seed: int = 0, what: str = "x", dtype: torch.dtype = torch.float64) -> Tensor:
    return noise.normal(shape, seed=seed, purpose=what, dtype=dtype)


def total(x: Tensor, eps: Tensor) -> float:
    return float(((x - eps) ** 2).sum())


def same_rows(one: Tensor, other: Tensor) -> bool:
    return sorted(one.flatten(1).tolist()) == sorted(other.flatten(1).tolist())


def clusters(count: int, d: int) -> Tensor:
    return normal(count, d) * 0.1 + 4 * normal(8, d, what="centres")[torch.arange(count) % 8]


@pytest.mark.parametrize("count", [1, 2, 80, 81, 129, 200, 641, 900])
@pytest.mark.parametrize("kind", ["plane", "many", "clusters", "ties", "skewed", "offset", "forbidden"])
def test_assignment_is_the_optimum_of_scipys_dense_solver(kind: str, count: int) -> None:
    d = 200 if kind == "many" else 2
    x, eps = clusters(count, d) if kind == "clusters" else normal(count, d), normal(count, d, what="eps")
    cost = torch.cdist(x, eps).square()
    if kind == "ties":
        cost = cost.round()
    if kind == "skewed":
        cost = cost.exp()
    if kind == "offset":
        cost = cost + 1e4 * torch.arange(count) - 1e4 * torch.arange(count)[:, None]
    if kind == "forbidden":  # nine pairs of ten; one's own never
        cost = torch.where(normal(count, count).abs() + torch.eye(count) < 0.13, cost, 1e25).fill_diagonal_(30)
    order = assignment(cost)
    rows, columns = linear_sum_assignment(cost.numpy())
    assert sorted(order.tolist()) == list(range(count))
    best = float(cost[rows, columns].sum())
    assert float(cost[torch.arange(count), order].sum()) == pytest.approx(best, rel=1e-10, abs=1e-9)


@pytest.mark.parametrize("stages", [(200,), (3, 300)])
def test_the_plan_of_each_stage_is_the_entropic_one(stages: tuple[int, ...]) -> None:
    """A stage that sweeps long ends where plain sweeps in logarithms do, regularised a fourth as much as the last."""
    cost = torch.cdist(normal(30, 2), normal(30, 2, what="eps")).square() / 5  # about 1 between its quartiles
    *_, (price, plan) = matching._priced(cost.float(), stages)
    reg = 0.16 / 4 ** (len(stages) - 1)
    u, v = torch.zeros(2, 30, dtype=torch.float64)
    for _ in range(20_000):
        u = -reg * torch.logsumexp((v - cost) / reg, 1)
        v = -reg * torch.logsumexp((u[:, None] - cost) / reg, 0)
    torch.testing.assert_close(plan.double(), ((u[:, None] + v - cost) / reg).exp(), rtol=0, atol=2e-3)
    torch.testing.assert_close(price.double() - price.double().mean(), v - v.mean(), rtol=0, atol=2e-3)


@pytest.mark.parametrize("d", [1, 2, 50])
def test_candidates_that_leave_the_optimum_out_are_found_out(d: int) -> None:
    """Told that only row i and source i are likely, and no prices, it ends at the optimum all the same."""
    cost = torch.cdist(normal(150, d), normal(150, d, what="eps")).square()
    found = matching._by_candidates(cost, cost.float(), torch.zeros(150), torch.eye(150), most=10)
    assert found.tolist() == linear_sum_assignment(cost.numpy())[1].tolist()


ENDS = """
import sys, torch
from obverse.objective.couplings import assignment
torch.save(assignment(torch.load(sys.argv[1] + "/cost.pt")), sys.argv[1] + "/order.pt")
"""


def test_rows_do_not_outbid_each_other_for_ever(tmp_path: Path) -> None:
    """Eight Gaussians to moons given the first coordinate: rounding makes the sparse solver's bids go on and on."""
    turn, off, at = (noise.uniform((1024,), seed=7, purpose=what)[:, None] for what in ("turn", "off", "at"))
    moon, at = (torch.arange(1024) % 2)[:, None], (8 * at).floor() * (math.pi / 4)
    x, y = (
        moon * shift + (1 - 2 * moon) * wave
        for shift, wave in ((1, (math.pi * turn).cos()), (0.5, (math.pi * turn).sin()))
    )
    x = 3 * torch.cat([x, y], 1) + 0.6 * off - 1
    eps = 5 * torch.cat([at.cos(), at.sin()], 1) + 0.56 * normal(1024, 2, seed=7, what="eps")
    cost = Conditioned(0.05).between(Batch(x, eps, x[:, 0]))
    torch.save(cost, tmp_path / "cost.pt")
    subprocess.run([sys.executable, "-c", ENDS, str(tmp_path)], timeout=60, check=True)
    assert torch.load(tmp_path / "order.pt").tolist() == linear_sum_assignment(cost.numpy())[1].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_assignment_of_equal_costs_is_some_permutation(dtype: torch.dtype) -> None:
    for count in (3, 200, 700):
        assert sorted(assignment(torch.ones(count, count, dtype=dtype)).tolist()) == list(range(count))


@pytest.mark.parametrize("seed", range(5))
def test_exact_ot_is_the_best_of_all_pairings(seed: int) -> None:
    x, eps = normal(6, 2, 2, seed=seed), normal(6, 2, 2, seed=seed, what="eps")
    costs = cdist(x.flatten(1).numpy(), eps.flatten(1).numpy(), "sqeuclidean")
    best = min(sum(costs[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(6)))
    paired = ExactOT().pair(x, eps)
    assert total(x, paired) == pytest.approx(best, rel=1e-12) and same_rows(paired, eps)


@pytest.mark.parametrize("count", [500, 700])
def test_exact_ot_in_one_dimension_pairs_by_rank(count: int) -> None:
    x, eps = (normal(count, 1, what=what, dtype=torch.float32) * 3 for what in ("x", "eps"))
    assert torch.equal(ExactOT().pair(x, eps)[x[:, 0].argsort()], eps.sort(0).values)


def test_exact_ot_does_not_see_a_shift_of_the_data() -> None:
    x, eps = normal(40, 3), normal(40, 3, what="eps")
    assert torch.equal(ExactOT().pair(x + 100, eps), ExactOT().pair(x, eps))


@pytest.mark.parametrize("name", ["exact-ot", "sinkhorn", "unbalanced", "partial"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_row_that_is_not_finite_is_named(name: str, bad: float) -> None:
    x, eps = torch.zeros(4, 2), torch.ones(4, 2)
    x[2, 1] = bad
    with pytest.raises(NonFinite, match="Row 2 of the data"):
        Coupling.of(name).pair(x, eps)
    with pytest.raises(NonFinite, match="Row 2 of the source"):
        Coupling.of(name).pair(eps, x)


def test_a_cost_that_is_not_finite_is_an_error_and_never_a_uniform_plan() -> None:
    cost = FromFunction(lambda x, _: torch.full((len(x), len(x)), math.nan))
    for coupling in (ExactOT(cost), Sinkhorn(cost=cost), Unbalanced(cost=cost)):
        with pytest.raises(NonFinite, match=f"{coupling.name}: what source row 0 costs is not finite"):
            coupling.pair(torch.zeros(3, 1), torch.zeros(3, 1))


def test_independent_pairs_stay_as_they_came() -> None:
    eps = normal(4, 2)
    assert Coupling.of("independent").pair(torch.zeros(4, 2), eps) is eps


def test_batches_of_two_lengths_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"x is \(3, 2\) and eps \(4, 2\)"):
        ExactOT().pair(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(InvalidArgument, match="expected 3, got"):
        ExactOT().pair(torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(4))


def test_a_coupling_of_ones_own_pairs_every_row() -> None:
    class First(Coupling):
        def paired(self, batch: Batch) -> Tensor:
            return batch.eps[:1]

    with pytest.raises(InvalidArgument, match=r"pairs every row: expected \(8, 2\), got \(1, 2\)"):
        Objective(coupling=First())(Gaussian(torch.zeros(2), 1.0, "linear"), torch.ones(8, 2))


def test_a_batch_of_none_is_paired() -> None:
    for name in Coupling.members:
        assert Coupling.of(name).pair(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0).long()).shape == (0, 2)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 1.0])
def test_partial_ot_pairs_its_share_at_the_least_cost(share: float) -> None:
    """Against linear programming: the least cost of moving a given mass with capacities of 1 on both sides."""
    n = 10
    x, eps = normal(n, 2) * 2, normal(n, 2, what="eps")
    costs = cdist(x.numpy(), eps.numpy(), "sqeuclidean")
    sums = np.concatenate([np.kron(np.eye(n), np.ones((1, n))), np.kron(np.ones((1, n)), np.eye(n))])
    want = linprog(costs.ravel(), A_ub=sums, b_ub=np.ones(2 * n), A_eq=np.ones((1, n * n)), b_eq=[share * n]).fun
    paired = Partial(share).pair(x, eps)
    assert same_rows(paired, eps)
    each = (x - paired).square().sum(1).sort().values
    assert float(each[: round(share * n)].sum()) <= want + 1e-9
    if share == 1:
        assert torch.equal(paired, ExactOT().pair(x, eps))


def test_partial_ot_lets_an_outlier_be() -> None:
    """The source row nearest to an outlier stays with the row that is nearest to it."""
    x = torch.tensor([[-1.0], [0.0], [1.0], [50.0]])
    eps = torch.tensor([[1.01], [-1.01], [0.01], [-3.0]])
    assert Partial(0.75).pair(x, eps).flatten().tolist() == pytest.approx([-1.01, 0.01, 1.01, -3.0])
    assert ExactOT().pair(x, eps).flatten().tolist() == pytest.approx([-3.0, -1.01, 0.01, 1.01])


def test_within_labels_each_label_keeps_its_own_sources() -> None:
    x, eps, label = normal(60, 2), normal(60, 2, what="eps"), torch.arange(60) % 4 - 1
    paired = Within().pair(x, eps, {"label": label})
    for one in (-1, 0, 1, 2):
        assert torch.equal(paired[label == one], ExactOT().pair(x[label == one], eps[label == one]))


@pytest.mark.parametrize("cond", [None, torch.zeros(3), {"vector": torch.zeros(3, 2)}, torch.zeros(3, 2).long()])
def test_within_asks_for_labels(cond: Any) -> None:
    with pytest.raises(InvalidArgument, match="within needs labels"):
        Within().pair(torch.zeros(3, 2), torch.zeros(3, 2), cond)


def test_entropic_plans_agree_with_plain_sinkhorn_in_logarithms() -> None:
    n = 12
    cost = cdist(normal(n, 2).numpy(), normal(n, 2, what="eps").numpy(), "sqeuclidean")
    reg, u, v = 0.3 * (cost.mean() - cost.min()), np.zeros(n), np.zeros(n)
    for _ in range(3000):
        u = -reg * np.log(np.exp((v - cost) / reg).sum(1))
        v = -reg * np.log(np.exp((u[:, None] - cost) / reg).sum(0))
    plan = completed(Sinkhorn(0.3).plan(torch.from_numpy(cost))).numpy()
    assert np.allclose(plan, np.exp((u[:, None] + v - cost) / reg), atol=2e-3)


def test_entropic_pairs_are_drawn_in_the_shares_of_the_plan() -> None:
    x, eps = normal(3, 1), normal(3, 1, what="eps")
    cost = cdist(x.numpy(), eps.numpy(), "sqeuclidean")
    plan = completed(Sinkhorn(0.5).plan(torch.from_numpy(cost)))
    drawn = torch.stack([Sinkhorn(0.5).pair(x, eps, step=step) for step in range(2000)])
    shares = (drawn[:, :, None, 0] == eps[:, 0]).double().mean(0)
    assert float((shares - plan).abs().max()) < 4.5 * math.sqrt(0.25 / 2000)


@pytest.mark.parametrize("d", [2, 784])
def test_entropic_transport_is_between_exact_and_independent(d: int) -> None:
    x, eps = clusters(96, d), normal(96, d, what="eps")
    exact, rough, loose = (total(x, c.pair(x, eps)) for c in (ExactOT(), Sinkhorn(0.03), Sinkhorn(1e4)))
    free = total(x, eps)
    assert exact < rough < free - 0.5 * (free - exact)
    assert loose > exact + 0.7 * (free - exact)


def test_a_row_is_drawn_by_its_seed_step_and_sample() -> None:
    x, eps = normal(32, 2), normal(32, 2, what="eps")
    draw = lambda **who: Sinkhorn(1.0).pair(x, eps, **who)  # noqa: E731
    assert torch.equal(draw(seed=1, step=2), draw(seed=1, step=2, samples=range(32)))
    assert not torch.equal(draw(seed=1, step=2), draw(seed=1, step=3))
    assert not torch.equal(draw(seed=1, step=2), draw(seed=2, step=2))


def test_a_regularisation_that_cannot_converge_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"reg=1e-09 the sums of the plan are off"):
        Sinkhorn(1e-9).pair(normal(64, 2), normal(64, 2, what="eps"))


@pytest.mark.parametrize("reg_and_stiffness", [(0.05, 0.1), (0.3, 1.0), (0.05, 1e6)])
def test_a_plan_that_leaves_mass_is_completed_to_both_marginals(reg_and_stiffness: tuple[float, float]) -> None:
    cost = torch.cdist(clusters(40, 2), normal(40, 2, what="eps")).square()
    plan = Unbalanced(*reg_and_stiffness).plan(cost)
    whole = completed(plan)
    assert torch.allclose(whole.sum(0), torch.ones(40).double(), atol=1e-9)
    assert torch.allclose(whole.sum(1), torch.ones(40).double(), atol=1e-9) and float(whole.min()) >= 0


def test_unbalanced_transport_leaves_an_outlier_to_chance() -> None:
    """Whole transport sends the far row to the last sources; where it is left, it meets others as often."""
    x = torch.cat([normal(63, 1), torch.tensor([[40.0]]).double()])
    eps = normal(64, 1, what="eps")
    middle = float(eps.median())
    free = torch.stack([Unbalanced(0.05, 0.2).pair(x, eps, step=step)[-1, 0] < middle for step in range(200)])
    forced = torch.stack([Sinkhorn(0.05).pair(x, eps, step=step)[-1, 0] < middle for step in range(200)])
    assert float(free.double().mean()) > 0.05 and float(forced.double().mean()) < 0.2 * float(free.double().mean())


def test_conditioned_transport_is_exact_ot_without_weight_and_keeps_pairs_at_a_small_ratio() -> None:
    x, eps = normal(50, 2), normal(50, 2, what="eps")
    cond = x[:, :1]
    assert torch.equal(ExactOT(Conditioned(weight=0.0)).pair(x, eps, cond), ExactOT().pair(x, eps))
    assert torch.equal(ExactOT(Conditioned(ratio=1e-6)).pair(x, eps, cond), eps)


@pytest.mark.parametrize("ratio", [0.01, 0.05, 0.2])
def test_the_weight_leaves_the_ratio_of_pairs_cheaper(ratio: float) -> None:
    n = 200
    x, eps, cond = normal(n, 2), normal(n, 2, what="eps"), normal(n, what="c")
    cost = Conditioned(ratio).between(Batch(x, eps, cond))
    cheaper = (cost < cost.diagonal()).double().mean()
    assert float(cheaper) == pytest.approx(ratio, abs=2 / n)


@pytest.mark.parametrize("value", [lambda label: label, lambda label: 7.0 * label.double()])
def test_where_no_weight_reaches_the_ratio_pairs_stay_within_conditions(value: Any) -> None:
    for seed in range(8):
        x, eps = normal(60, 2, seed=seed), normal(60, 2, what="eps", seed=seed)
        label = (normal(60, what="label", seed=seed) > 0).long()
        x += 3 * label[:, None]  # crossing would pay
        got = ExactOT(Conditioned(0.05)).pair(x, eps, value(label))
        assert torch.equal(got, Within().pair(x, eps, label))


def test_the_bias_report_sees_what_plain_transport_does_to_a_continuous_condition() -> None:
    x = clusters(1024, 2)
    plain, kept = (bias(name, x, x[:, 0], rounds=16) for name in ("exact-ot", "exact-ot:cost=(conditioned:ratio=0.02)"))
    assert plain.mean > 0.5 and not plain.kept and "is not standard normal" in str(plain)
    assert kept.mean < 0.2 * plain.mean
    free = bias("independent", x, x[:, 0], rounds=16)
    assert free.kept and "as far as chance" in str(free) and str(free).count("\n") == 5


def test_the_level_of_chance_is_that_of_independent_pairs() -> None:
    x = normal(4000, 5)
    groups = [g for seed in range(6) for g in bias("independent", x, x[:, 0], rounds=4, seed=seed).groups]
    means = math.sqrt(sum((g.mean / g.chance_mean) ** 2 for g in groups) / len(groups))
    spreads = math.sqrt(sum((g.covariance / g.chance_covariance) ** 2 for g in groups) / len(groups))
    assert means == pytest.approx(1, abs=0.25) and spreads == pytest.approx(1, abs=0.25)


def test_a_bias_needs_a_condition() -> None:
    with pytest.raises(InvalidArgument, match="cond has to be given"):
        bias("exact-ot", torch.zeros(3, 2), None)


def test_a_bias_needs_a_condition_that_is_seen_twice() -> None:
    with pytest.raises(InvalidArgument, match="no condition came twice in 1 batches of 256"):
        bias("exact-ot", torch.arange(8.0)[:, None], torch.arange(8), rounds=1)


def test_a_cost_of_ones_own_is_found_by_name_and_used() -> None:
    class Far(Cost, name="far-for-test"):
        def between(self, batch: Batch) -> Tensor:
            return -torch.cdist(batch.x, batch.eps)

    try:
        x = torch.tensor([[0.0], [5.0]])
        far = Coupling.of("exact-ot:cost=far-for-test").pair(x, x + 1)
        assert far.flatten().tolist() == [6.0, 1.0]
    finally:
        del Cost.members["far-for-test"]
    with pytest.raises(UnknownName, match="No cost is called 'far-for-test'"):
        Coupling.of("exact-ot:cost=far-for-test")
    with pytest.raises(InvalidArgument, match=r"A cost is floating and \(2, 2\)"):
        ExactOT(FromFunction(lambda x, _: x)).pair(torch.zeros(2, 1), torch.zeros(2, 1))


def test_a_function_is_a_cost_and_a_class_is_none() -> None:
    x, eps = normal(20, 2), normal(20, 2, what="eps")
    given: Any = torch.cdist
    assert torch.equal(ExactOT(given).pair(x, eps), ExactOT(FromFunction(given)).pair(x, eps))
    for wrong in (Squared, object()):
        with pytest.raises(InvalidArgument, match="A cost is a name or a member, got"):
            Cost.of(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="A cost is a name or a member, got"):
        ExactOT(Squared)  # type: ignore[arg-type]


def test_the_semidiscrete_cells_of_a_line_are_quantiles_of_the_normal() -> None:
    """In one dimension the k-th of N points gets the sources between the quantiles (k - 1)/N and k/N."""
    points = torch.tensor([[3.0], [-1.0], [0.5], [10.0]], dtype=torch.float64)
    plan = SemiDiscrete.fit(points, steps=3000, batch=1024)
    eps = torch.linspace(-4, 4, 4001, dtype=torch.float64)[:, None]
    rank = points[:, 0].argsort().argsort()[plan.winner(eps)]
    cuts = eps[:-1, 0][rank.diff() != 0]
    want = torch.special.ndtri(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    assert bool((rank.diff() >= 0).all()) and torch.allclose(cuts, want, atol=0.03)


def test_semidiscrete_pairs_use_all_samples_alike_and_cost_less_than_batches() -> None:
    x = clusters(200, 2).float()
    label = torch.arange(200)
    plan = SemiDiscrete.fit(x, label, steps=1500, batch=1024)
    off, chance = plan.imbalance(2**15)
    assert off < 2.5 * chance
    pairs = plan.pairs(2000, seed=3)
    assert torch.equal(x[pairs.sample], pairs.x) and torch.equal(pairs.cond, pairs.sample)  # type: ignore[arg-type]
    batch = noise.uniform((2000,), seed=0, purpose="rows").mul(200).long()
    in_batches = sum(
        total(x[i], ExactOT().pair(x[i], e)) for i, e in zip(batch.split(50), pairs.eps.split(50), strict=True)
    )
    assert total(pairs.x, pairs.eps) < in_batches


def test_pooled_batches_are_paired_as_one() -> None:
    data = Dataset("line", normal(64, 2).float(), labels=torch.arange(64) % 2, classes=("a", "b"))
    stream = list(itertools.islice(batches(data, 8, seed=0), 5))
    got = list(pooled(stream, "exact-ot", count=2, seed=7))
    assert [b.step for b, _ in got] == [0, 1, 2, 3, 4]
    x, eps = torch.cat([b.x for b, _ in got[:2]]), torch.cat([e for _, e in got[:2]])
    drawn = torch.cat([noise.normal((8, 2), seed=7, purpose="eps", step=b.step, samples=b.rows) for b in stream[:2]])
    assert torch.equal(eps, ExactOT().pair(x, drawn))
    assert torch.equal(got[4][1], ExactOT().pair(stream[4].x, noise.normal((8, 2), seed=7, purpose="eps", step=4)))


TWO = """
import sys, torch
from torch import distributed
from obverse.ground import noise
from obverse.objective.couplings import Coupling
rank, folder, spec = int(sys.argv[1]), sys.argv[2], sys.argv[3]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
x, eps = (noise.normal((20, 2), seed=0, purpose=what) for what in ("x", "eps"))
mine, label = torch.arange(10) * 2 + rank, torch.arange(20) % 3
paired = Coupling.of(spec).pair(x[mine], eps[mine], {"label": label[mine]}, seed=5, samples=mine)
torch.save(paired, f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.mark.parametrize("base", ["exact-ot", "within", "sinkhorn"])
def test_two_processes_pair_as_one_with_all_rows(base: str, tmp_path: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", TWO, str(rank), str(tmp_path), f"pool:base={base}"]) for rank in (0, 1)
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    x, eps = (noise.normal((20, 2), seed=0, purpose=what) for what in ("x", "eps"))
    order = torch.cat([torch.arange(0, 20, 2), torch.arange(1, 20, 2)])
    label = torch.arange(20) % 3
    whole = Coupling.of(base).pair(x[order], eps[order], label[order], seed=5, samples=order)
    assert torch.equal(torch.cat([torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]), whole)


def test_a_pool_gathers_where_the_processes_exchange_and_pairs_where_the_rows_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NCCL refuses tensors on the CPU; "meta" stands for its device, of which nothing can be read."""
    x, eps, label = normal(8, 2), normal(8, 2, what="eps"), torch.arange(8) % 2
    whole = iter([torch.tensor([4, 4]), torch.arange(8), x, eps, label])

    def all_gather(parts: list[Tensor], rows: Tensor) -> None:
        if {part.device.type for part in (*parts, rows)} != {"meta"}:
            raise RuntimeError("No backend type associated with device type cpu")
        parts[:] = next(whole).chunk(2)

    answers = {"is_initialized": True, "get_world_size": 2, "get_rank": 1, "get_backend_config": "meta:nccl"}
    for name, answer in answers.items():
        monkeypatch.setattr(torch.distributed, name, lambda answer=answer: answer)
    monkeypatch.setattr(torch.distributed, "all_gather", all_gather)
    paired = Coupling.of("pool:base=within").pair(x[4:], eps[4:], label[4:], samples=torch.arange(4, 8))
    assert paired.device.type == "cpu"
    assert torch.equal(paired, Coupling.of("within").pair(x, eps, label)[4:])


class Lookout(nn.Module):
    """Remembers the states that it is asked about."""

    def forward(self, x_t: Tensor, time: Tensor, cond: Any) -> Tensor:
        self.x_t, self.time = x_t, time
        return x_t


def sources_seen(objective: Objective, x: Tensor, **more: Any) -> Tensor:
    net = Lookout()
    loss = objective(Network(net, "linear"), x, **more)
    t = torch.as_tensor(loss.level.t)[:, None]
    return ((net.x_t - (1 - t) * x) / t).float()


def test_an_objective_uses_the_pairs_that_it_is_given() -> None:
    x, eps = normal(16, 2), normal(16, 2, what="given")
    assert torch.allclose(sources_seen(Objective(coupling="exact-ot"), x, eps=eps), eps.float(), atol=1e-4)
    with pytest.raises(InvalidArgument, match=r"x is \(16, 2\), eps \(4, 2\)"):
        Objective()(Network(Lookout(), "linear"), x, eps=eps[:4])


def test_an_objective_draws_from_the_source_that_it_is_given_and_pairs_it() -> None:
    x, moons = normal(16, 1), 5 + normal(100, 1, what="moons").float()
    seen = sources_seen(Objective(source=FromData(moons), coupling="exact-ot"), x, seed=2, step=3)
    assert float((seen - moons.T).abs().amin(1).max()) < 1e-3
    assert bool((seen[x[:, 0].argsort()].diff(dim=0) >= -1e-3).all())
    again = sources_seen(Objective(source=FromData(moons)), x[[5, 9]], seed=2, step=3, samples=[5, 9])
    whole = sources_seen(Objective(source=FromData(moons)), x, seed=2, step=3)
    assert torch.allclose(again, whole[[5, 9]], atol=1e-3)


def test_an_objective_shows_its_coupling_the_condition_before_it_is_hidden() -> None:
    class Shown(Coupling):
        name = "shown-for-test"

        def paired(self, batch: Batch) -> Tensor:
            self.cond, self.who = batch.cond, (batch.seed, batch.step)
            return batch.eps

    shown = Shown()
    label = torch.arange(8)
    Objective(coupling=shown, drop=1.0)(Network(Lookout(), "linear"), normal(8, 2), label, seed=4, step=6)
    assert torch.equal(shown.cond, label) and shown.who == (4, 6)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["exact-ot", "sinkhorn", "partial", "within", "exact-ot:cost=conditioned"])
def test_pairs_that_are_near_make_targets_that_vary_less(name: str) -> None:
    oracle = Gaussian(torch.zeros(2), 1.0, "linear")
    x = oracle.sample(256, seed=1)
    cond = (x[:, 0] > 0).long() if name == "within" else x[:, :1]
    free, near = (float(Objective(coupling=c)(oracle, x, cond).mean) for c in ("independent", name))
    assert near < 0.9 * free


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("sinkhorn:reg=0", "reg is finite and > 0, got 0"),
        ("unbalanced:stiffness=-1", "stiffness is finite and > 0, got -1"),
        ("partial:share=1.5", r"share is in \[0, 1\], got 1.5"),
        ("exact-ot:cost=(conditioned:ratio=0)", r"ratio is in \(0, 1\), got 0"),
        ("exact-ot:cost=(conditioned:weight=-1)", "weight is finite and >= 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(spec: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Coupling.of(spec)


def test_whole_numbers_have_no_normal_sources() -> None:
    x = torch.arange(4)[:, None]
    with pytest.raises(InvalidArgument, match=r"floating, .* got torch.int64 \(x.float\(\)\)"):
        SemiDiscrete.fit(x, steps=1)
    with pytest.raises(InvalidArgument, match="a floating dtype, got torch"):
        SemiDiscrete(x, torch.zeros(4).double()).pairs(2)
    with pytest.raises(InvalidArgument, match="a floating dtype, got torch"):
        bias("independent", x, x[:, 0])


def test_other_counts_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="steps >= 1, got 0"):
        SemiDiscrete.fit(torch.zeros(3, 2), steps=0)
    with pytest.raises(InvalidArgument, match="pooled needs count >= 1"):
        next(pooled([], "exact-ot", count=0))
    with pytest.raises(InvalidArgument, match="rows to draw from"):
        FromData(torch.zeros(0, 2))
    with pytest.raises(InvalidArgument, match="have one shape"):
        FromData(torch.zeros(3, 2))((4, 3), seed=0, purpose="eps")


@pytest.mark.parametrize("cond", [None, {}])
def test_a_cost_of_conditions_says_that_there_are_none(cond: dict[str, Tensor] | None) -> None:
    with pytest.raises(InvalidArgument, match="looks at conditions, but cond is"):
        Coupling.of("exact-ot:cost=conditioned").pair(torch.zeros(4, 2), torch.ones(4, 2), cond)

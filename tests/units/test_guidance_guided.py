"""Classifier-free guidance: its ends, its faces, its closed form on Gaussians, its cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, NonFinite
from obverse.guidance import Guided
from obverse.likelihood import log_density
from obverse.model import Around, Call, Cond, Gaussian, Microbatched, Model, Network
from obverse.nets import Architecture, Conditions
from obverse.objective import Objective
from obverse.path import VP, Cosine, Level, Linear, Prediction, Schedule, V
from obverse.sampler import Solver, Uniform, parallel, sample

STATES = noise.normal((6, 2), seed=0, purpose="x_t", dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


class Classes(Model):
    """Zero-mean Gaussians, one for each label; without a label the widest. Seen in a face of choice."""

    def __init__(self, schedule: Schedule, face: Prediction | None = None) -> None:
        self.schedule, self.face = schedule, face or V()
        self.laws = [Gaussian(torch.zeros(2), std**2, schedule) for std in (0.3, 0.5, 0.8, 2.0)]
        self.calls: list[tuple[int, Any]] = []

    def at(self, level: Level, like: Tensor) -> Call:
        def call(x_t: Tensor, cond: Cond) -> Tensor:
            self.calls.append((len(x_t), cond))
            every = torch.stack([law(x_t, level).on(self.face) for law in self.laws])
            return every[cond, torch.arange(len(x_t))]

        return call


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_the_ends_of_the_scale_are_the_two_beliefs(scale: float) -> None:
    model = Classes(Linear())
    truth = model(STATES, 0.4, LABELS if scale else torch.full((6,), -1))
    assert torch.allclose(Guided(model, scale)(STATES, 0.4, LABELS).output, truth.output, rtol=1e-14)


def test_guidance_is_a_straight_line_through_both() -> None:
    model = Classes(Linear())
    at = {w: Guided(model, w)(STATES, 0.4, LABELS).data for w in (0.0, 1.0, 3.0, -2.0)}
    assert torch.allclose(at[3.0] - at[1.0], 2 * (at[1.0] - at[0.0])) and torch.allclose(
        at[0.0] - at[-2.0], 2 * (at[1.0] - at[0.0])
    )


@pytest.mark.parametrize("face", ["data", "noise", "flow", "velocity", "score", "edm"])
@pytest.mark.parametrize("path", [Linear(), Cosine(), VP()], ids=lambda s: s.spec)
def test_every_face_gives_the_same_guided_estimate(face: str, path: Schedule) -> None:
    one, other = Guided(Classes(path), 2.5), Guided(Classes(path, Prediction.of(face)), 2.5)
    for level in (0.4, torch.linspace(0.1, 0.9, 6, dtype=torch.float64)):
        assert torch.allclose(one(STATES, level, LABELS).data, other(STATES, level, LABELS).data, rtol=1e-9)


def test_guidance_and_rescheduling_may_be_wrapped_in_either_order() -> None:
    inner, outer = Guided(Classes(Cosine()), 3.0).on("linear"), Guided(Classes(Cosine()).on("linear"), 3.0)
    truth = Guided(Classes(Linear()), 3.0)
    for level in (0.4, torch.linspace(0.1, 0.9, 6, dtype=torch.float64)):
        for model in (inner, outer):
            assert torch.allclose(model(STATES, level, LABELS).data, truth(STATES, level, LABELS).data, rtol=1e-9)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 2.0, 4.0])
def test_guided_gaussians_end_at_the_weighted_geometric_mean(scale: float) -> None:
    """The guided ODE ends at std s_0^(1-w) s_y^w: log-linear in the scale."""
    start = torch.ones(3, 2, dtype=torch.float64)
    how: dict[str, Any] = {"solver": "heun", "steps": 150, "grid": "angle:power=1", "dtype": torch.float64}
    x = sample(Guided(Classes(Linear()), scale), (3, 2), start=start, cond=torch.tensor([0, 1, 2]), **how)
    for row, std in zip(x, (0.3, 0.5, 0.8), strict=True):
        assert float(row[0]) == pytest.approx(math.exp((1 - scale) * math.log(2.0) + scale * math.log(std)), rel=2e-3)


def test_one_call_of_twice_the_batch() -> None:
    model = Classes(Linear())
    Guided(model, 2.0)(STATES, 0.4, LABELS)
    ((size, cond),) = model.calls
    assert size == 12 and cond.tolist() == [*LABELS.tolist(), *[-1] * 6]
    model.calls.clear()
    sample(Guided(model, 2.0), (6, 2), solver="ddim", steps=7, cond=LABELS)
    assert [size for size, _ in model.calls] == [12] * 7


def handed(cond: Any, null: Any = None) -> Any:
    seen: list[Any] = []
    net = Network(lambda x, _, cond: seen.append(cond) or x, "linear")  # type: ignore[arg-type, func-returns-value]
    Guided(net, 2.0, null)(torch.zeros(2, 2), 0.5, cond)
    return seen[0]


def test_hidden_conditions_keep_their_structure() -> None:
    cond = {"label": torch.tensor([3, 4]), "vector": torch.ones(2, 5)}
    got = handed(cond)
    assert got["label"].tolist() == [3, 4, -1, -1]
    assert torch.equal(got["vector"][:2], cond["vector"]) and bool(got["vector"][2:].isnan().all())
    label, vector = handed(tuple(cond.values()))
    assert torch.equal(label, got["label"]) and torch.equal(vector[:2], cond["vector"])
    assert bool(vector[2:].isnan().all())


def test_tuples_of_conditions_are_guided_with_their_own_null() -> None:
    label, vector = handed((torch.tensor([3, 4]), torch.ones(2, 5)), null=(torch.tensor([9]), torch.zeros(1, 5)))
    assert label.tolist() == [3, 4, 9, 9] and torch.equal(vector[2:], torch.zeros(2, 5))


def test_the_null_condition_may_be_given() -> None:
    assert handed(torch.tensor([3, 4]), null=torch.tensor([1000])).tolist() == [3, 4, 1000, 1000]
    empty = handed({"vector": torch.ones(2, 3)}, null={"vector": torch.zeros(1, 3)})
    assert empty["vector"].tolist() == [[1.0] * 3] * 2 + [[0.0] * 3] * 2


def test_nets_of_the_house_know_the_hidden_condition() -> None:
    net: nn.Module = Architecture.of("mlp:width=16,depth=2").build((2,), Conditions(classes=3))
    with torch.no_grad():
        for i, weight in enumerate(net.parameters()):
            weight.add_(0.3 * noise.normal(weight.shape, seed=i, purpose="weights"))
    model, x_t = Network(net, "linear"), STATES.float()
    bare, told = model(x_t, 0.5).output, model(x_t, 0.5, LABELS).output
    assert torch.allclose(Guided(model, 0.0)(x_t, 0.5, LABELS).output, bare, atol=1e-6)
    assert torch.allclose(Guided(model, 1.0)(x_t, 0.5, LABELS).output, told, atol=1e-6)
    assert not torch.allclose(bare, told, atol=1e-2)


@pytest.mark.parametrize("solver", ["dpmpp-2m", "sde"])
def test_guided_samples_do_not_know_their_batch(solver: str) -> None:
    model, how = Guided(Classes(Cosine()), 2.0), {"solver": solver, "steps": 4, "microbatch": 4, "seed": 1}
    whole = sample(model, (6, 2), cond=LABELS, **how)  # type: ignore[arg-type]
    alone = sample(model, (2, 2), cond=LABELS[[5, 1]], samples=[5, 1], **how)  # type: ignore[arg-type]
    assert torch.equal(alone, whole[[5, 1]])
    assert isinstance(Microbatched(model, 4).face, V)


def test_guidance_without_a_condition_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"Guidance needs a condition to be guided towards: pass cond="):
        Guided(Classes(Linear()), 2.0)(STATES, 0.5)


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_a_scale_is_a_finite_number(scale: float) -> None:
    with pytest.raises(InvalidArgument, match=r"guidance scale is a finite number \(1 = none, 2-4 usual\), got"):
        Guided(Classes(Linear()), scale)


@pytest.mark.parametrize("cond", [[0, 1], "cat", 2, (torch.tensor([3, 4]), [0, 1])])
def test_conditions_of_another_kind_are_refused(cond: Any) -> None:
    with pytest.raises(InvalidArgument, match="cond is a tensor, a dict or a tuple of tensors, or None"):
        handed(cond)


@pytest.mark.parametrize("scale", ["2", torch.ones(6, 1), math.inf, None])
def test_a_scale_is_one_finite_number(scale: Any) -> None:
    with pytest.raises(InvalidArgument, match="guidance scale is a finite number"):
        Guided(Classes(Linear()), scale)


@pytest.mark.parametrize("null", [torch.tensor(3), torch.zeros(6, 2), {"label": torch.tensor([3, 3])}])
def test_what_means_no_condition_is_one_row(null: Any) -> None:
    with pytest.raises(InvalidArgument, match="null has one row, for all samples: expected 1, got"):
        Guided(Classes(Linear()), 2.0, null)


def test_what_means_no_condition_is_as_long_as_a_condition() -> None:
    texts, none = torch.zeros(6, 5, 2), {"text": torch.zeros(1, 7, 2)}
    guided = Guided(Network(lambda x, *_: x, "linear"), 2.0, null=none)
    with pytest.raises(InvalidArgument, match=r"rows of one shape: \(5, 2\) and \(7, 2\).*pad both"):
        guided(STATES, 0.5, {"text": texts})


def test_what_means_no_condition_has_the_parts_of_a_condition() -> None:
    guided = Guided(Classes(Linear()), 2.0, {"label": torch.tensor([3])})
    with pytest.raises(InvalidArgument, match=r"\['label', 'text'\] and \['label'\] are not the same"):
        guided(STATES, 0.4, {"label": LABELS, "text": STATES})


def test_guidance_steers_a_model_not_a_network() -> None:
    with pytest.raises(InvalidArgument, match="A model is expected, got Linear"):
        Guided(nn.Linear(2, 2), 2.0)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Apart(Around):
    """Own guidance, away from other models."""

    model: Model
    others: Any

    def at(self, level: Level, like: Tensor) -> Call:
        def call(x_t: Tensor, cond: Cond) -> Tensor:
            good, *bad = (model(x_t, level, cond).on(self.face) for model in (self.model, *self.others))
            return good + sum(good - other for other in bad)

        return call


def test_models_of_two_schedules_are_not_mixed_until_both_are_seen_on_one() -> None:
    good, bad = Gaussian(torch.zeros(2), 0.5, Linear()), Gaussian(torch.zeros(2), 2.0, Cosine())
    words = r"Apart asks .* model of linear and others\[1\] of cosine: give it others\[1\]\.on\(model\.schedule\)"
    mixed = Apart(good, (good, bad))
    for model in (mixed, Microbatched(mixed, 4), mixed.on("vp")):
        for asked in (
            lambda model=model: sample(model, (4, 2), steps=3),
            lambda model=model: log_density(model, STATES),
            lambda model=model: Objective()(model, STATES.float()),
            lambda model=model: Guided(model, 2.0),
        ):
            with pytest.raises(InvalidArgument, match=words):
                asked()
    seen = Apart(good, (good, bad.on("linear")))
    truth = Apart(good, (good, Gaussian(torch.zeros(2), 2.0, Linear())))
    assert torch.allclose(sample(seen, (4, 2), steps=3), sample(truth, (4, 2), steps=3), rtol=1e-4)


class Foreign(nn.Module):
    """Knows labels 0 to 3 and vectors, and nothing of hidden ones."""

    def __init__(self) -> None:
        super().__init__()
        self.labels, self.vectors = nn.Embedding(4, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        told: Tensor = self.vectors(cond) if cond.is_floating_point() else self.labels(cond)
        return x + told


def test_a_network_that_does_not_know_hidden_labels_needs_a_null() -> None:
    model, label = Network(Foreign(), "linear"), torch.tensor([0, 1])
    with pytest.raises(InvalidArgument, match=r"label -1.*: give the one it was trained with, Guided\(.*null=") as said:
        sample(Guided(model, 2.0), (2, 2), steps=2, cond=label)
    assert isinstance(said.value.__cause__, IndexError)
    with pytest.raises(IndexError):  # the label's own fault, with or without guidance
        sample(Guided(model, 2.0), (2, 2), steps=2, cond=label + 3)
    sample(Guided(model, 2.0, torch.tensor([3])), (2, 2), steps=2, cond=label)


@pytest.mark.parametrize("solver", ["ddim", "adaptive"])
def test_what_is_not_finite_may_be_a_hidden_vector(solver: str) -> None:
    model = Guided(Network(Foreign(), "linear"), 2.0)
    with pytest.raises(NonFinite, match=r"not finite .*Guided\(null="):
        sample(model, (2, 2), solver=solver, cond=torch.zeros(2, 3))
    with pytest.raises(NonFinite, match=r"not finite .*Guided\(null="):
        parallel(Solver.of("ddim").tableau("linear", Uniform(4)), model, torch.zeros(2, 2), cond=torch.zeros(2, 3))
    with pytest.raises(NonFinite, match=r"not finite .*Guided\(null="):
        log_density(model, torch.zeros(2, 2), cond=torch.zeros(2, 3))

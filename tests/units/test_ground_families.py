"""Families, conditions, shapes, extras: specs go round, refusals say what to do."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from obverse.ground import extras, noise
from obverse.ground.errors import InvalidArgument, MissingExtra, ObverseError, UnknownName
from obverse.ground.families import Family
from obverse.ground.shapes import against, check_rows, mean_of_rows, moved, rows, stack
from obverse.nets import drop


class Shape(Family, family="shape"):
    """What the tests below are about."""


@dataclass(frozen=True)
class Circle(Shape, name="circle"):
    """Round.

    More words.
    """

    radius: float = 1.0
    corners: int = 0
    filled: bool = False
    colour: str = "red"
    border: float | None = None
    dashes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Around(Shape, name="around"):
    inner: Shape = field(default_factory=Circle)
    margin: float = 1.0


@dataclass(frozen=True)
class Pile(Shape, name="pile"):
    parts: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class Opaque(Shape, name="opaque"):
    function: object = None


@dataclass(frozen=True)
class Box(Shape, name="box"):
    width: float
    inside: Shape
    height: float | None = None


@dataclass(frozen=True)
class Curve(Shape, name="curve"):
    width: float
    at: Callable[[float], float]


class Dot(Shape, name="dot"):
    """Nothing about it can be set."""


MEMBERS = [
    Circle(),
    Circle(radius=1e-30, corners=-3, filled=True, colour="blue", border=0.1, dashes=(1.0, 2.5, 1e3)),
    Circle(radius=0.1 + 0.2, border=None),
    Circle(dashes=(1.0,)),
    Around(),
    Around(inner=Circle(radius=2.0, dashes=(1.0, 2.0)), margin=0.5),
    Around(inner=Around(inner=Around(margin=3.0), margin=2.0)),
    Pile(parts=(Circle(), Around(inner=Circle(filled=True)))),
    Pile(parts=(Pile(parts=(Circle(corners=3), Circle())), Circle())),
]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda m: m.spec)
def test_a_spec_makes_the_member_again(member: Shape) -> None:
    assert Shape.of(member.spec) == member


def test_a_spec_names_only_what_is_not_at_its_default() -> None:
    assert Circle().spec == "circle"
    assert Circle(radius=1.0, corners=4).spec == "circle:corners=4"
    assert Around(inner=Circle(corners=4)).spec == "around:inner=(circle:corners=4)"


@pytest.mark.parametrize(
    ("spec", "member"),
    [
        ("  circle ", Circle()),
        ("circle:radius=2", Circle(radius=2.0)),
        ("circle:filled=true,border=none", Circle(filled=True)),
        ("circle: radius=2 , corners=3", Circle(radius=2.0, corners=3)),
        ("around:inner=circle", Around()),
        ("around:inner=(around:inner=(circle:radius=3),margin=2)", Around(Around(Circle(3.0), 2.0))),
        ("circle:dashes=(1,2)", Circle(dashes=(1.0, 2.0))),
        ("circle:dashes=()", Circle()),
    ],
)
def test_a_spec_is_read_as_it_is_written(spec: str, member: Shape) -> None:
    assert Shape.of(spec) == member


def test_a_field_that_holds_a_member_takes_its_spec() -> None:
    assert Around(inner="circle:corners=5") == Around(inner=Circle(corners=5))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="A shape is a name or a member, got int: 3"):
        Around(inner=3)  # type: ignore[arg-type]


def test_a_member_is_returned_as_it_is() -> None:
    member = Circle()
    assert Shape.of(member) is member


def test_families_do_not_share_their_members() -> None:
    class Other(Family, family="other"):
        pass

    assert not Other.members and "circle" in Shape.members


def test_a_name_in_the_body_is_no_membership() -> None:
    class Wrapper(Shape):
        name = "wrapper"

    assert "wrapper" not in Shape.members


def test_the_summary_is_the_first_line() -> None:
    assert Circle.summary() == "Round."


def test_a_name_is_taken_once() -> None:
    with pytest.raises(InvalidArgument, match="Two members of shape are called 'circle'"):
        type("Impostor", (Shape,), {}, name="circle")


def test_a_member_with_slots_is_the_member_its_name_makes() -> None:
    @dataclass(frozen=True, slots=True)
    class Slim(Shape, name="slim"):
        width: float = 1.0

    assert Shape.of("slim:width=2") == Slim(2.0)


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("cirlce", UnknownName, ["No shape is called 'cirlce'", "did you mean 'circle'?", "around", "pile"]),
        (
            "zzz",
            UnknownName,
            ["No shape is called 'zzz'", "known: ", "one of one's own is imported first (--own FILE.py)"],
        ),
        ("", UnknownName, ["No shape is called ''"]),
        ("dot:radius=1", UnknownName, ["No field of shape 'dot' is called 'radius'; known: none."]),
        ("circle:raduis=1", UnknownName, ["field of shape 'circle'", "'raduis'", "did you mean 'radius'?"]),
        ("circle:radius", InvalidArgument, ["write radius=VALUE"]),
        ("circle:radius=wide", InvalidArgument, ["shape 'circle': radius is a finite number", "'wide'"]),
        ("circle:radius=nan", InvalidArgument, ["radius is a finite number", "'nan'"]),
        ("circle:border=inf", InvalidArgument, ["border is a finite number", "'inf'"]),
        ("circle:radius=1,radius=2", InvalidArgument, ["sets radius twice"]),
        ("circle:corners=2.5", InvalidArgument, ["corners is a whole number", "'2.5'"]),
        ("circle:filled=yes", InvalidArgument, ["filled is true or false", "'yes'"]),
        ("circle:dashes=(1,x)", InvalidArgument, ["dashes is a finite number", "'x'"]),
        ("circle:dashes=(1", InvalidArgument, ["Unbalanced brackets"]),
        ("around:inner=(cicle)", UnknownName, ["did you mean 'circle'?"]),
        ("around:inner=(circle:radius=x)", InvalidArgument, ["radius is a finite number"]),
        ("opaque:function=print", InvalidArgument, ["function cannot be written in a spec", "in Python"]),
        ("box", InvalidArgument, ["shape 'box' needs width and inside", "write box:width=VALUE,inside=VALUE"]),
        ("box:inside=dot,height=none", InvalidArgument, ["needs width: write box:width=VALUE."]),
        ("curve:width=2", InvalidArgument, ["shape 'curve' needs at: at cannot be written in a spec", "Curve(...)"]),
        ("around:inner=curve", InvalidArgument, ["needs width and at: at cannot be", "in Python"]),
    ],
)
def test_a_bad_spec_is_refused_with_what_is_wrong(spec: str, error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as refusal:
        Shape.of(spec)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


def test_what_is_neither_name_nor_member_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="A shape is a name or a member, got int: 3"):
        Shape.of(3)  # type: ignore[arg-type]


def test_what_no_spec_can_hold_is_refused_when_written() -> None:
    with pytest.raises(InvalidArgument, match="cannot be written in a spec"):
        _ = Opaque(function=print).spec


def test_unknown_names_are_caught_as_values_and_as_keys() -> None:
    for kind in (ObverseError, ValueError, KeyError):
        with pytest.raises(kind, match="did you mean"):
            Shape.of("circl")


def test_numbers_one_for_each_sample_meet_data_of_any_rank() -> None:
    data = noise.normal((3, 2, 4), seed=0, purpose="test")
    scaled = against(torch.tensor([1.0, 2.0, 3.0]), data) * data
    assert all(torch.equal(scaled[i], (i + 1) * data[i]) for i in range(3))
    assert against(2.0, data).shape == () and against(torch.ones(3, 1, 1), data).shape == (3, 1, 1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_numbers_take_the_dtype_of_the_data(dtype: torch.dtype) -> None:
    assert against(torch.tensor([0.1]).double(), torch.zeros(1, 2, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("count", [1, 2, 4])
def test_as_many_numbers_as_samples_are_asked_for(count: int) -> None:
    with pytest.raises(InvalidArgument, match=rf"expected \(\) or \(3,\) .*\(3, 2, 4\), got \({count},\)"):
        against(torch.ones(count), torch.zeros(3, 2, 4))


def test_the_mean_of_rows_keeps_the_batch() -> None:
    assert mean_of_rows(torch.arange(12.0).reshape(2, 2, 3)).tolist() == [2.5, 8.5]
    assert mean_of_rows(torch.arange(3.0)).tolist() == [0.0, 1.0, 2.0]


def test_conditions_of_any_structure_are_cut_and_stacked() -> None:
    label, vector = torch.arange(4), torch.arange(8.0).reshape(4, 2)
    cond = {"label": label, "pair": (vector, None)}
    cut = rows(cond, torch.tensor([2, 0]))
    assert cut["label"].tolist() == [2, 0] and cut["pair"][0].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    both = stack(cut, cut)
    assert both["label"].tolist() == [2, 0, 2, 0] and both["pair"][0].shape == (4, 2) and both["pair"][1] is None
    assert rows(None, torch.tensor([0])) is None and stack(None, None) is None


@pytest.mark.parametrize(
    "walk",
    [
        lambda cond: rows(cond, torch.tensor([0])),
        lambda cond: moved(cond, torch.device("cpu")),
        lambda cond: check_rows(cond, 2),
        lambda cond: stack(cond, cond),
        lambda cond: drop(cond, torch.tensor([True, False])),
    ],
    ids=["rows", "moved", "check_rows", "stack", "drop"],
)
@pytest.mark.parametrize("where", ["alone", "in a dict", "in a tuple"])
def test_conditions_of_another_kind_are_refused(walk: Callable[[Any], object], where: str) -> None:
    cond = {"alone": [1, 2], "in a dict": {"label": [1, 2]}, "in a tuple": (torch.zeros(2), [1, 2])}[where]
    with pytest.raises(InvalidArgument, match=r"cond is a tensor, a dict or a tuple of tensors, or None; got list"):
        walk(cond)


def test_conditions_are_looked_at_and_hidden_whatever_their_depth() -> None:
    cond = {"pair": (torch.arange(2), {"vector": torch.ones(2, 3), "none": None})}
    label, rest = drop(cond, torch.tensor([False, True]))["pair"]
    assert label.tolist() == [0, -1] and rest["vector"].isnan().any(1).tolist() == [False, True]
    assert rest["none"] is None
    check_rows(cond, 2)
    with pytest.raises(InvalidArgument, match=r"cond has one row for each sample: expected 3, got \(2,\)"):
        check_rows(cond, 3)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (torch.zeros(2), r"\['label'\] and a tensor"),
        ({"text": torch.zeros(2)}, r"\['label'\] and \['text'\]"),
        ((torch.zeros(2),), r"\['label'\] and 1 parts"),
        ({"label": None}, "a tensor and None"),
        (None, r"\['label'\] and None"),
    ],
)
def test_conditions_of_two_structures_are_not_stacked(second: Any, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        stack({"label": torch.zeros(2)}, second)


def test_a_missing_package_comes_with_the_line_that_adds_it() -> None:
    with pytest.raises(MissingExtra, match=r"needs nowhere_to_be_found.*pip install 'obverse\[report\]'"):
        extras.load("nowhere_to_be_found.inside", extra="report")
    with pytest.raises(ImportError):
        extras.load("nowhere_to_be_found", extra="data")


def test_a_refusal_comes_back_from_another_process_as_it_was() -> None:
    with pytest.raises(UnknownName) as raised:
        Shape.of("cirlce")
    for error in (pickle.loads(pickle.dumps(raised.value)), copy.copy(raised.value)):
        assert type(error) is UnknownName and str(error) == str(raised.value)

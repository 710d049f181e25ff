"""Tables: by hand for a step or two, equal where theories say so, unequal where they do not."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from obverse.ground.errors import InvalidArgument, SingularConversion
from obverse.model import Gaussian
from obverse.path import DDPM, EDM, VE, VP, Cosine, Level, Linear, Schedule, Shifted, Sqrt
from obverse.sampler import (
    DDIM,
    SDE,
    DPMpp2M,
    Euler,
    Given,
    Grid,
    Heun,
    Sampler,
    Solver,
    Tableau,
    Trace,
    Uniform,
)
from obverse.sampler.solvers.symbols import Combination

PATHS: list[Schedule] = [Linear(), Cosine(), VP(), VE(), EDM(), DDPM(), Shifted()]
SOLVERS = ["ddim", "euler", "heun", "dpmpp-2m", "sde", "sde:eta=0.5"]


def named(value: object) -> str:
    return getattr(value, "spec", str(value))


def numbers(table: Tableau) -> list[dict[str, float]]:
    return [{f"{key.kind}{key.place}": value for key, value in row.items() if value} for row in table.rows]


def test_a_step_of_flow_matching_by_hand() -> None:
    table = Euler().tableau("linear", Given((1.0, 0.5, 0.0))).on_face("flow")
    assert numbers(table) == [{}, {"e0": 1.0, "o0": -0.5}, {"e1": 1.0, "o1": -0.5}] and table.reads == (0, 1)


def test_a_step_of_heun_by_hand() -> None:
    table = Heun().tableau("linear", Given((0.75, 0.25))).on_face("flow")
    first, second = numbers(table)[1:]
    assert first == pytest.approx({"e0": 1.0, "o0": -0.5}) and second == pytest.approx(
        {"e0": 1.0, "o0": -0.25, "o1": -0.25}
    )
    assert Heun().tableau("linear", Given((1.0, 0.5, 0.0))).calls == 3  # the step to zero noise is Euler's


def test_one_step_from_noise_is_the_data_estimate() -> None:
    for solver in SOLVERS:
        table = Solver.of(solver).tableau("cosine", Uniform(1)).on_face("data")
        assert numbers(table)[-1] == pytest.approx({"o0": 1.0}) or numbers(table)[-1] == pytest.approx(
            {"o0": 1.0, "e0": 0}, abs=1e-15
        )


def test_a_step_of_ddim_on_the_cosine_path_is_a_rotation() -> None:
    table = DDIM().tableau("cosine", Given((0.8, 0.5)))
    turned = 0.3 * math.pi / 2
    assert numbers(table)[1] == pytest.approx({"e0": math.cos(turned), "o0": -math.sin(turned)})


@pytest.mark.parametrize("path", PATHS, ids=named)
@pytest.mark.parametrize("grid", ["uniform:steps=6,start=0.98", "uniform:steps=5,start=0.9,end=0.2", "angle:steps=1"])
def test_ddim_is_euler_in_the_clocks_of_flow_noise_and_data(path: Schedule, grid: str) -> None:
    for face in ("flow", "data") if grid == "angle:steps=1" else ("flow", "noise", "data"):
        assert DDIM().tableau(path, grid) == Solver.of(f"euler:face={face}").tableau(path, grid), face


def test_ddim_is_euler_of_the_ode_on_the_linear_path_only() -> None:
    ode = Solver.of("euler:face=velocity")
    assert DDIM().tableau("linear", "uniform:steps=5") == ode.tableau("linear", "uniform:steps=5")
    assert DDIM().tableau("cosine", "uniform:steps=5") != ode.tableau("cosine", "uniform:steps=5")


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_an_sde_of_no_strength_is_ddim(path: Schedule) -> None:
    table = SDE(0.0).tableau(path, "angle:steps=7")
    assert table == DDIM().tableau(path, "angle:steps=7") and table.draws == 0


@pytest.mark.parametrize("face", ["data", "noise", "flow"])
def test_heun_differs_by_face_and_from_ddim(face: str) -> None:
    grid = "uniform:steps=4,start=0.9,end=0.1"
    table = Solver.of(f"heun:face={face}").tableau("cosine", grid)
    others = [f"heun:face={other}" for other in ("data", "noise", "flow") if other != face]
    assert all(table != Solver.of(other).tableau("cosine", grid) for other in [*others, "ddim", "dpmpp-2m"])
    assert table == Solver.of(f"heun:face={face}").tableau("cosine", grid)


def test_equality_sees_small_differences_and_other_kinds() -> None:
    table = DDIM().tableau("linear", Given((1.0, 0.5, 0.0)))
    assert table != DDIM().tableau("linear", Given((1.0, 0.5 + 1e-8, 0.0)))
    assert table != DDIM().tableau("linear", "uniform:steps=3") and table != "ddim"
    assert table.difference(DDIM().tableau("linear", "uniform:steps=3")) == math.inf


@pytest.mark.parametrize("other", PATHS[1:4], ids=named)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_noise_levels_on_another_path_are_the_same_algorithm(solver: str, other: Schedule) -> None:
    grid = "logsnr:steps=6,low=-7,high=7"
    if "euler" in solver or "heun" in solver:
        solver += ":face=noise"
    assert Solver.of(solver).tableau("linear", grid).difference(Solver.of(solver).tableau(other, grid)) < 1e-11


def test_a_table_without_calls_is_compared_too() -> None:
    up = [DDIM().tableau("linear", Given((0.0, stop))) for stop in (0.4, 0.5)]
    assert [table.calls for table in up] == [0, 0] and up[0] == up[0] and up[0] != up[1]


def test_noise_counts_as_a_law_and_not_draw_by_draw() -> None:
    class Split(Solver):
        """DDPM, its fresh noise made of two draws."""

        name, order = "split", 1

        def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
            before = SDE(1.0).step(trace, x_t, t, s)
            row = dict(before.row)
            for fresh in [key for key in row if key.kind == "xi"]:
                size = row.pop(fresh)
                return Combination({**row, fresh: 0.6 * size}) + 0.8 * size * trace.draw()
            return before

    one, two = SDE(1.0).tableau("cosine", "uniform:steps=4"), Split().tableau("cosine", "uniform:steps=4")
    assert (one.draws, two.draws) == (3, 6) and one == two


@pytest.mark.parametrize("face", ["flow", "v", "velocity", "edm", "data", "score", "noise"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_change_of_face_is_the_same_algorithm(face: str, solver: str) -> None:
    table = Solver.of(solver).tableau("cosine", "uniform:steps=5,start=0.95")
    changed = table.on_face(face)
    assert changed.face.name == face and changed == table and changed.on_face("v") == table
    assert table.on_face("v") is table


def test_a_face_that_cannot_start_is_refused_at_its_level() -> None:
    with pytest.raises(SingularConversion, match=r"noise does not determine v at t = 1 \(alpha 0, sigma 1\)"):
        DDIM().tableau("linear", "uniform:steps=3").on_face("noise")


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("path", [*PATHS, Sqrt()], ids=named)
def test_a_table_survives_its_file_to_the_last_digit(solver: str, path: Schedule, tmp_path: Path) -> None:
    table = Solver.of(solver).tableau(path, "angle:steps=3")
    table.save(tmp_path / "table.json")
    back = Tableau.load(tmp_path / "table.json")
    assert back == table and (back.rows, back.reads, back.face) == (table.rows, table.reads, table.face)
    assert all(torch.equal(getattr(back.levels, name), getattr(table.levels, name)) for name in ("t", "alpha", "sigma"))


@pytest.mark.parametrize("text", ["hello", "[]", "{}", '{"obverse-tableau": 999}', "\x00\xff"])
def test_another_file_is_no_table(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text, encoding="latin-1")
    with pytest.raises(InvalidArgument, match=r"other\.json is no tableau of format 2"):
        Tableau.load(tmp_path / "other.json")


def test_a_file_is_json_with_a_version(tmp_path: Path) -> None:
    SDE().tableau("linear", "uniform:steps=2").save(tmp_path / "table.json")
    assert json.loads((tmp_path / "table.json").read_text())["obverse-tableau"] == 2


@pytest.mark.parametrize("count", [1, 2, 10, 100])
def test_weights_of_ddim_on_the_cosine_path_are_nearly_equal(count: int) -> None:
    """-sin(d) cos(d)^(n-1-i) with d = pi/2n (Gao et al. 2024 say equal; they are so in the limit)."""
    weights, draws = DDIM().tableau("cosine", Uniform(count)).weights()
    d = math.pi / 2 / count
    assert weights.tolist() == pytest.approx(
        [-math.sin(d) * math.cos(d) ** (count - 1 - i) for i in range(count)], abs=1e-14
    )
    assert len(draws) == 0
    assert count != 100 or float(weights.min() / weights.max()) == pytest.approx(1.0123, abs=5e-5)


@pytest.mark.parametrize(("eta", "first", "last"), [(0.0, 0.199, 0.201), (1.0, 0.051, 0.291)])
def test_ddpm_weighs_late_predictions_and_ddim_all_alike(eta: float, first: float, last: float) -> None:
    weights, _ = SDE(eta).tableau("cosine", Uniform(100)).weights("v")
    share = weights.abs() / weights.abs().sum()
    assert float(share[:20].sum()) == pytest.approx(first, abs=5e-4)
    assert float(share[-20:].sum()) == pytest.approx(last, abs=5e-4)


def test_weights_of_data_sum_to_one_where_all_comes_from_the_data() -> None:
    for solver in ("ddim", "dpmpp-2m", "sde"):
        weights, _ = Solver.of(solver).tableau("linear", "angle:steps=9").weights("data")
        assert float(weights.sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("path", [Linear(), Cosine(), VP()], ids=named)
def test_a_step_of_the_sde_is_ddim_too_far_and_noise_put_back(path: Schedule, eta: float) -> None:
    """DDIM over (1 + eta^2) times the step in log-SNR, then the forward process (Gao et al. 2024)."""
    t, s = path.at(0.7), path.at(0.5)
    beyond = path.at_logsnr(t.logsnr + (1 + eta**2) * (s.logsnr - t.logsnr))
    (there,) = numbers(DDIM().tableau(path, Given((0.7, float(beyond.t)))))[1:]
    (step,) = numbers(SDE(eta).tableau(path, Given((0.7, 0.5))))[1:]
    back = float(s.alpha / beyond.alpha)
    assert step["e0"] == pytest.approx(back * there["e0"], rel=1e-9) and step["o0"] == pytest.approx(
        back * there["o0"], rel=1e-9
    )
    assert step["xi0"] ** 2 == pytest.approx(float(s.sigma) ** 2 - (back * float(beyond.sigma)) ** 2, rel=1e-9)


@pytest.mark.parametrize("std", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("count", [1, 2, 5, 50])
def test_ddim_shrinks_gaussians_by_a_cosine_a_step(std: float, count: int) -> None:
    """std cos(pi/2n)^n where the angle atan2(sigma, alpha std) is even."""
    angles = [math.pi / 2 * (1 - i / count) for i in range(count + 1)]
    times = tuple(1.0 if i == 0 else std * math.tan(a) / (1 + std * math.tan(a)) for i, a in enumerate(angles))
    table = DDIM().tableau("linear", Given(times))
    oracle = Gaussian(torch.zeros(1), std**2, "linear")
    *_, last = Sampler(table).steps(oracle, torch.ones(1, 1, dtype=torch.float64))
    assert float(last.x_t) == pytest.approx(std * math.cos(math.pi / 2 / count) ** count, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 4])
def test_calls_and_draws_are_counted(solver: str, steps: int) -> None:
    table = Solver.of(solver).tableau("linear", Uniform(steps))
    assert table.calls == (2 * steps - 1 if solver == "heun" else steps)
    assert table.draws == (steps - 1 if solver.startswith("sde") else 0)
    assert len(table.rows) == len(table.levels) and not table.rows[0]


def test_a_second_order_step_to_no_noise_is_of_first_order() -> None:
    assert DPMpp2M().tableau("linear", Uniform(1)) == DDIM().tableau("linear", Uniform(1))
    assert DPMpp2M().tableau("linear", Uniform(2)) == DDIM().tableau("linear", Uniform(2))
    assert DPMpp2M().tableau("linear", Uniform(4)) != DDIM().tableau("linear", Uniform(4))


def test_a_method_that_cannot_leave_the_source_says_so() -> None:
    class Divides(Solver):
        """Noise's clock whatever the level."""

        name, order = "divides", 1

        def step(self, trace: Trace, x_t: Combination, t: Level, s: Level) -> Combination:
            return x_t * (s.alpha / t.alpha if t.alpha else math.inf)

    with pytest.raises(InvalidArgument, match=r"infinite coefficients: this method cannot leave or reach that end"):
        Divides().tableau("linear", "uniform:steps=3")
    with pytest.raises(InvalidArgument, match="'score' has no clock of its own"):
        Solver.of("euler:face=score").tableau("linear", "uniform:steps=3")
    with pytest.raises(InvalidArgument, match=r"eta >= 0 and finite \(0 = the ODE, 1 = DDPM\), got -0\.5"):
        Solver.of("sde:eta=-0.5")


def test_tables_have_no_hash() -> None:
    with pytest.raises(TypeError):
        hash(DDIM().tableau("linear", Grid.of("uniform")))


def test_levels_of_a_table_are_those_of_its_grid() -> None:
    table = DDIM().tableau("vp", "angle:steps=6")
    assert torch.equal(torch.as_tensor(table.levels.t), Grid.of("angle:steps=6").levels(VP()).t)
    assert all(a > b for a, b in pairwise(table.canonical().angles.tolist()))


DAMAGES: list[tuple[str, Any, str]] = [
    ("rows", None, "KeyError: 'rows'"),
    ("rows", [[], [["e", 0, 1.0], ["z", 0, 1.0]], [["e", 1, 1.0]]], "KeyError: 'z'"),
    ("rows", [[], [["e", 0, 1.0], ["o", 1, 1.0]], [["e", 1, 1.0]]], "state 1 is made of o1, which is not there yet"),
    ("rows", [[], [["e", 0, math.nan]], [["e", 1, 1.0]]], "state 1 has nan times e0"),
    ("rows", [[], [["e", 0, 1.0]]], "2 states want a level each"),
    ("rows", [[], [["e", 0, 1.0], ["xi", 0, 1.0]], [["e", 1, 1.0]]], "xi0, which is not there yet"),
    ("reads", [0, 9], r"not \(0, 9\)"),
    ("reads", [0, 0], r"not \(0, 0\)"),
    ("face", "flo", "did you mean 'flow'"),
]


@pytest.mark.parametrize(("part", "wrong", "words"), DAMAGES)
def test_a_damaged_file_is_refused(part: str, wrong: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    DDIM().tableau(Linear(), Uniform(2)).save(path)
    file = json.loads(path.read_text()) | {part: wrong}
    if wrong is None:
        del file[part]
    path.write_text(json.dumps(file))
    with pytest.raises(InvalidArgument, match=f"table.json is a damaged tableau: .*{words}"):
        Tableau.load(path)


def test_a_table_says_in_a_line_what_it_is_however_long() -> None:
    said = {steps: repr(Solver.of("sde").tableau("vp", Uniform(steps=steps))) for steps in (4, 400)}
    assert said[4] == "Tableau(4 calls of v, 3 draws, t from 1 to 0)"
    assert len(said[400]) <= len(said[4]) + 4

"""Exponential Adams methods: their integrals, their classical limits, their kinship, what they cost and refuse."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from scipy.integrate import quad

import obverse.sampler as ob
from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.model import Gaussian, Mixture
from obverse.path import EDM, VP, Cosine, Data, Flow, Level, Linear, Noise, Prediction, Schedule, Score, V
from obverse.sampler.program import Register
from obverse.sampler.sizes import told
from obverse.sampler.solvers.interpolation import fresh, weights
from obverse.sampler.solvers.thrifty import FEW, MANY, SOME, Plan

BASHFORTH = {  # Adams-Bashforth, Hairer, Norsett & Wanner, table III.1.1
    1: ("1",),
    2: ("3/2", "-1/2"),
    3: ("23/12", "-16/12", "5/12"),
    4: ("55/24", "-59/24", "37/24", "-9/24"),
}
CLOCKS = ["logsnr", "nsr", "nsr:rho=3", "angle", "angle:sigma_data=0.4", "t"]


def levels(schedule: Schedule, *times: float) -> list[Level]:
    return schedule.at(torch.tensor(times, dtype=torch.float64)).floats()


def clock_at(clock: ob.Clock, schedule: Schedule, t: float) -> float:
    nsr = schedule.at(torch.tensor(t, dtype=torch.float64)).nsr
    return float(clock.at(nsr.log(), schedule))


@pytest.mark.parametrize("face", [Data(), Noise(), Flow(), V()], ids=lambda face: face.name)
@pytest.mark.parametrize("spec", CLOCKS)
@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=lambda schedule: schedule.name)
def test_a_step_is_the_integral_of_the_polynomial_along_the_path(
    face: Prediction, spec: str, schedule: Schedule
) -> None:
    """d x_t / dt = alpha_dot x + sigma_dot eps, with x and eps from the face by two linear equations; by quadrature."""
    clock = ob.Clock.of(spec)
    nodes = levels(schedule, 0.6, 0.8, 0.95)
    t, s = nodes[0], levels(schedule, 0.35)[0]
    places = [clock_at(clock, schedule, node.t) for node in nodes]
    size = max(map(abs, places))

    def polynomial(at: float) -> float:
        u = at / size
        return 0.3 - 1.1 * u + 0.7 * u**2

    def c(level: Level) -> float:
        return {"data": level.sigma, "noise": level.alpha, "flow": level.alpha + level.sigma, "v": level.r}[face.name]

    def m(at: float) -> float:
        level = levels(schedule, at)[0]
        inside = {"data": level.alpha, "noise": level.sigma, "flow": level.sigma, "v": 0.0}[face.name]
        return level.theta if face.name == "v" else inside / c(level)

    def slope(at: float) -> float:
        h = 1e-5
        return polynomial(clock_at(clock, schedule, at)) * (m(at + h) - m(at - h)) / (2 * h)

    on_state, on_output = weights(face, clock, nodes, t, s, schedule)
    known = [
        polynomial(place) * (node.r if face.name == "v" else 1.0) for place, node in zip(places, nodes, strict=True)
    ]
    got = on_state * 0.4 + sum(weight * q for weight, q in zip(on_output, known, strict=True))
    want = c(s) * (0.4 / c(t) + quad(slope, t.t, s.t, epsabs=1e-11)[0])
    assert got == pytest.approx(want, abs=1e-7)


@pytest.mark.parametrize("face", [Data(), Noise(), Flow(), V()], ids=lambda face: face.name)
@pytest.mark.parametrize("spec", ["nsr", "angle"])
def test_the_step_to_no_noise_is_the_limit_of_steps_to_little(face: Prediction, spec: str) -> None:
    schedule = Linear()
    nodes = levels(schedule, 0.2, 0.4, 0.7)
    end, near = levels(schedule, 0.0, 1e-10)
    _, exactly = weights(face, ob.Clock.of(spec), nodes, nodes[0], end, schedule)
    _, nearly = weights(face, ob.Clock.of(spec), nodes, nodes[0], near, schedule)
    assert exactly == pytest.approx(nearly, abs=1e-7)


@pytest.mark.parametrize("face", [Data(), Flow(), V()], ids=lambda face: face.name)
def test_the_step_from_pure_noise_is_the_limit_of_steps_from_nearly_pure(face: Prediction) -> None:
    schedule = Linear()
    pure, nearly, s = levels(schedule, 1.0, 1 - 1e-9, 0.7)
    exactly = weights(face, ob.InAngle(), [pure, s], pure, s, schedule)
    limit = weights(face, ob.InAngle(), [nearly, s], nearly, s, schedule)
    assert [exactly[0], *exactly[1]] == pytest.approx([limit[0], *limit[1]], abs=1e-7)


@pytest.mark.parametrize("count", BASHFORTH)
def test_flow_in_even_time_on_the_linear_path_is_adams_bashforth(count: int) -> None:
    *past, s = levels(Linear(), *(0.8 - 0.1 * i for i in range(count)), 0.8 - 0.1 * count)
    _, on_output = weights(Flow(), ob.InTime(), past[::-1], past[-1], s, Linear())
    assert on_output == pytest.approx([-0.1 * float(Fraction(b)) for b in BASHFORTH[count]], abs=1e-13)


@pytest.mark.parametrize("count", BASHFORTH)
def test_noise_in_even_nsr_is_adams_bashforth(count: int) -> None:
    schedule = EDM()
    nsr = torch.arange(9, 9 - count - 1, -1, dtype=torch.float64)
    *past, s = schedule.at_logsnr(-2 * nsr.log()).floats()
    _, on_output = weights(Noise(), ob.InNSR(), past[::-1], past[-1], s, schedule)
    assert on_output == pytest.approx([-float(Fraction(b)) for b in BASHFORTH[count]], abs=1e-12)


@pytest.mark.parametrize("eta", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("end", [0.2, 0.0])
def test_one_estimate_in_a_step_of_the_sde_is_the_frozen_one(eta: float, end: float) -> None:
    table = ob.SDE(eta).tableau(Linear(), ob.Given((0.7, end))).on_face("data")
    t, s = levels(Linear(), 0.7, end)
    on_state, (on_output,) = weights(Data(), ob.InLogSNR(), [t], t, s, Linear(), eta=eta)
    row = table.rows[1]
    assert on_state == pytest.approx(row.get(Register("e", 0), 0.0), abs=1e-13)
    assert on_output == pytest.approx(row[Register("o", 0)], abs=1e-13)
    assert fresh(Data(), t, s, eta) == pytest.approx(row.get(Register("xi", 0), 0.0), abs=1e-13)


@pytest.mark.parametrize("face", [Data(), Noise(), Flow()], ids=lambda face: face.name)
def test_one_estimate_is_ddim_whatever_the_face_and_clock(face: Prediction) -> None:
    one = ob.Adams(face, ob.InAngle(0.3), memory=1, corrector=False)
    for schedule, grid in ((VP(), ob.Uniform(6)), (Cosine(), ob.Angle(5))):
        assert one.tableau(schedule, grid) == ob.DDIM().tableau(schedule, grid)


def test_unip_2_with_b2_is_dpm_solver_2m() -> None:
    """Zhao et al. (2023), section 3.4."""
    for schedule, grid in ((VP(), ob.Uniform(7)), (Linear(), ob.Karras(6)), (Cosine(), ob.Angle(5))):
        assert ob.UniPC(corrector=False).tableau(schedule, grid) == ob.DPMpp2M().tableau(schedule, grid)


@pytest.mark.parametrize("memory", [3, 4])
@pytest.mark.parametrize("corrector", [False, True])
def test_beyond_two_estimates_b_of_h_counts_in_the_first_steps_only(memory: int, corrector: bool) -> None:
    """Once the predictor joins three, all weights are solved for: the rows of both variants are those of Adams."""
    grid = ob.Uniform(7, start=0.9, end=0.1)
    tables = [ob.UniPC(memory, variant, corrector).tableau(VP(), grid) for variant in ("bh1", "bh2")]
    same = ob.Adams(Data(), ob.InLogSNR(), memory, corrector).tableau(VP(), grid)
    for table in tables:
        late, wanted = dict(table.rows[-1]), dict(same.rows[-1])
        assert late == pytest.approx(wanted, abs=1e-12)
    assert tables[0] != tables[1]


def test_on_even_steps_dpm_solver_2m_weighs_two_data_estimates_three_to_minus_one() -> None:
    """Lu et al. (2022), algorithm 2: (1 + 1 / 2r) and -1 / 2r with r = 1."""
    rows = ob.DPMpp2M().tableau(Linear(), ob.LogSNR(5, low=-3.0, high=3.0)).on_face("data").rows
    for n in (2, 3, 4):
        assert rows[n][Register("o", n - 1)] == pytest.approx(-3 * rows[n][Register("o", n - 2)], rel=1e-12)


def test_dpm_solver_3m_has_the_numbers_of_its_authors_code() -> None:
    """diffusers 0.42.1, multistep_dpm_solver_third_order_update probed: nsr 1, exp(-0.5), exp(-1), exp(-1.5), VP."""
    rows = ob.DPMpp3M().tableau(Cosine(), ob.GivenNSR(tuple(math.exp(-i / 2) for i in range(4)))).on_face("data").rows
    assert [rows[3][Register("o", j)] for j in (0, 1, 2)] == pytest.approx(
        [0.1400259384444033, -0.48799952018993664, 0.7319992802849049], abs=1e-12
    )


def test_dpm_solver_3m_is_exact_for_data_that_is_linear_in_logsnr() -> None:
    grid = ob.LogSNR(6, low=-4.0, high=3.0)
    one, two = (
        s.tableau(VP(), grid).on_face("data") for s in (ob.DPMpp3M(), ob.Adams(Data(), ob.InLogSNR(), 3, False))
    )
    known = {Register("o", j): float(one.moments[state].logsnr) for j, state in enumerate(one.reads)}
    for n in (3, 4, 5):
        sums = [sum(number * known.get(key, 1.0) for key, number in table.rows[n].items()) for table in (one, two)]
        assert sums[0] == pytest.approx(sums[1], abs=1e-12)
        assert dict(one.rows[n]) != pytest.approx(dict(two.rows[n]), abs=1e-3)


@pytest.mark.parametrize("spec", ["thrifty", "adams", "ab", "lms", "deis", "unipc", "dpmpp-2m", "dpmpp-3m"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 8, 10, 24])
def test_a_step_costs_one_call_corrected_or_not(spec: str, steps: int) -> None:
    assert ob.Solver.of(spec).tableau(Linear(), ob.Scales(steps)).calls == steps


@pytest.mark.parametrize(
    ("spec", "extra"), [("adams:memory=2", 0), ("adams:memory=3", 2), ("lms:memory=3", 1), ("ab:memory=4", 2)]
)
def test_an_exact_start_costs_two_calls_at_most_and_once(spec: str, extra: int) -> None:
    solver = ob.Solver.of(f"{spec},start=exact")
    assert [solver.tableau(VP(), ob.Uniform(steps)).calls for steps in (4, 9)] == [4 + extra, 9 + extra]


def test_an_estimate_made_twice_at_a_level_counts_once() -> None:
    """Heun leaves two estimates at the level where Adams takes over."""
    table = ob.Switch(ob.Heun(), ob.Adams(), after=2).tableau(Linear(), ob.Uniform(6, start=0.95))
    assert all(math.isfinite(number) for row in table.rows for number in row.values())


def test_noise_takes_its_first_step_from_pure_noise_by_ddim() -> None:
    """Its own clock is infinite there; the later steps know the first estimate again."""
    table = ob.LMS().tableau(Linear(), ob.Uniform(4))
    ddim = ob.DDIM().tableau(Linear(), ob.Uniform(4))
    assert dict(table.rows[1]) == pytest.approx(dict(ddim.rows[1]), abs=1e-14)


def test_the_kernel_says_infinity_where_noise_cannot_leave() -> None:
    pure, s = levels(Linear(), 1.0, 0.5)
    on_state, (on_output,) = weights(Noise(), ob.InNSR(), [pure], pure, s, Linear())
    assert on_state == math.inf and on_output == -math.inf


def test_the_default_is_more_exact_than_dpm_solver_2m_by_far() -> None:
    means = torch.tensor([[-1.1, 0.4], [0.9, 0.9], [0.2, -1.3]])
    oracle = Mixture(means, 0.04, None, "linear")
    truth = ob.sample(oracle, (512, 2), solver="thrifty", grid="scales:steps=400", dtype=torch.float64)
    for steps, gain in ((4, 2.0), (6, 3.0), (10, 3.0), (20, 5.0), (50, 100.0)):
        ends = [
            ob.sample(oracle, (512, 2), solver=solver, grid=grid, steps=steps, dtype=torch.float64)
            for solver, grid in (("thrifty", "scales"), ("dpmpp-2m", "angle"))
        ]
        ours, theirs = (float((end - truth).square().mean().sqrt()) for end in ends)
        assert theirs > gain * ours, (steps, ours, theirs)


@pytest.mark.parametrize(
    "spec",
    [
        "adams:memory=0",
        "adams:memory=7",
        "adams:start=cold",
        "ab:memory=9",
        "lms:memory=0",
        "deis:start=x",
        "unipc:memory=5",
    ],
)
def test_what_no_step_can_be_made_of_is_refused(spec: str) -> None:
    with pytest.raises(InvalidArgument):
        ob.Solver.of(spec)


def test_refusals_name_what_there_is() -> None:
    t, s = levels(Linear(), 0.7, 0.5)
    with pytest.raises(UnknownName, match="bh1"):
        ob.UniPC(variant="bh3")
    with pytest.raises(InvalidArgument, match="data or noise"):
        weights(Flow(), ob.InAngle(), [t], t, s, Linear(), eta=1.0)
    with pytest.raises(InvalidArgument, match="data, noise, flow or v"):
        weights(Score(), ob.InAngle(), [t], t, s, Linear())
    for wrong in ("nsr:rho=0", "angle:sigma_data=-1"):
        with pytest.raises(InvalidArgument):
            ob.Clock.of(wrong)


def test_scales_are_even_between_fine_and_coarse_and_reach_both_ends() -> None:
    """Far inside the two scales, steps are even in log nsr; the middle lies at their geometric mean."""
    at = ob.Scales(100, fine=1e-6, coarse=1e6).levels(Linear())
    inside = at.logsnr[(at.nsr > 1e-3) & (at.nsr < 1e3)]
    assert float(inside.diff().std() / inside.diff().mean()) < 1e-3
    assert float(at.alpha[0]) == 0.0 and float(at.sigma[-1]) == 0.0
    assert float(ob.Scales(10, 0.2, 3.2).levels(Linear()).nsr[5]) == pytest.approx(0.8, rel=1e-12)


def test_scales_stop_where_a_schedule_keeps_noise() -> None:
    few, many = (ob.Scales(steps).levels(EDM()) for steps in (8, 1000))
    assert float(few.nsr[-2]) > 0.002 and float(many.nsr[-2]) == pytest.approx(0.002)


@pytest.mark.parametrize("power", [1.0, 1.4, 2.0])
def test_steps_of_scales_shrink_towards_the_clean_end_as_the_power_says(power: float) -> None:
    """The last noise level falls by 2^power when steps double; the ends stay where they are."""
    one, two = (ob.Scales(steps, 0.3, 3.0, power=power).levels(Linear()).nsr for steps in (2000, 4000))
    assert float(one[-2] / two[-2]) == pytest.approx(2**power, rel=1e-2)
    assert math.isinf(float(one[0])) and float(one[-1]) == 0.0


@pytest.mark.parametrize("shape", [(2,), (5,), (6,), (1, 8, 8)])
def test_the_default_is_told_the_size_of_a_sample_and_says_so(shape: tuple[int, ...]) -> None:
    oracle, size = Gaussian(torch.full(shape, 0.3), 0.04, "cosine"), math.prod(shape)
    by_default = ob.sample(oracle, (3, *shape), steps=10)
    spelled = ob.sample(oracle, (3, *shape), solver=f"thrifty:size={size}", grid=f"scales:size={size}", steps=10)
    untold = ob.Solver.of("thrifty").tableau(oracle.schedule, ob.Scales(10))
    assert torch.equal(by_default, spelled)
    known = told(ob.Solver.of("thrifty"), size).tableau(oracle.schedule, told(ob.Scales(10), size))
    assert (known == untold) == (5 < size < 30)


@pytest.mark.parametrize("steps", [4, 5, 6, 8, 10, 16, 32])
def test_knowing_that_a_sample_has_two_numbers_makes_the_default_more_exact(steps: int) -> None:
    means = noise.normal((7, 2), seed=3, purpose="means", dtype=torch.float64)
    oracle = Mixture(means, 0.05, None, "linear")
    start = noise.normal((2048, 2), seed=0, purpose="start", dtype=torch.float64)
    truth, told, untold = (
        ob.Sampler(ob.Solver.of(f"thrifty:size={size}").tableau("linear", ob.Scales(n, size=size))).end(oracle, start)
        for n, size in ((400, 2), (steps, 2), (steps, 64))
    )
    errors = [(end - truth).square().mean(1).sqrt() for end in (told, untold)]
    assert float(errors[0].median()) < float(errors[1].median())
    assert float(errors[0].clamp(max=0.1).mean()) < 0.9 * float(errors[1].clamp(max=0.1).mean())


def test_plans_join_fewer_estimates_towards_the_data_and_correct_all_in_many_steps() -> None:
    plan = Plan(1, 5, 1.0, 1.0, ease=1.6, tail=3)
    joined = [plan.joined(number, 32) for number in range(32)]
    assert joined[-10:] == [5, 4, 4, 4, 3, 3, 3, 2, 2, 2] and set(joined[:-10]) == {5}
    for total in (16, 64, 1024):
        shares = [plan.share(number, total) for number in range(total)]
        assert shares[0] == pytest.approx(1 - 1.6 / total) and shares[-1] == 1.0 and shares == sorted(shares)
    for plans in (FEW, SOME, MANY):
        assert [plan.steps for plan in plans] == sorted({plan.steps for plan in plans}, reverse=True)
        assert plans[0].first == plans[0].last == 1.0 and plans[-1].steps == 1  # or an order would be lost


def test_scales_out_of_order_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="fine < coarse"):
        ob.Scales(fine=3.0, coarse=1.0)
    with pytest.raises(InvalidArgument, match="start"):
        ob.Scales(start=0.0)
    with pytest.raises(InvalidArgument, match="power"):
        ob.Scales(power=0.0)
    with pytest.raises(InvalidArgument, match="scales: size"):
        ob.Scales(size=0)
    with pytest.raises(InvalidArgument, match="thrifty: size"):
        ob.Solver.of("thrifty:size=0")

"""The x-ray: tables read from diffusers run as diffusers runs, and are ours where theory says so."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

import obverse as ob
from obverse.ground import noise
from obverse.ground.errors import InvalidArgument, UnknownName
from obverse.interop import Between, NotLinear, export, foreign, look, match, schedulers, xray
from obverse.interop.precision import in_double
from obverse.interop.probe import probe
from obverse.laws import laws_of
from obverse.model import Network
from obverse.path import DDPM, EDM, Linear, Prediction, Schedule
from obverse.sampler import DDIM, SDE, DPMpp2M, Euler, Given, Heun, Sampler, Solver, Tableau, reached

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, in their code

TABLES = [
    "DDIMScheduler",
    "DDIMScheduler,eta=0.7",
    "DDIMScheduler,prediction_type=v_prediction,rescale_betas_zero_snr=true,timestep_spacing=trailing",
    "DDPMScheduler,prediction_type=sample",
    "DEISMultistepScheduler,solver_order=3",
    "DPMSolverMultistepScheduler,solver_order=3,use_karras_sigmas=true",
    "DPMSolverMultistepScheduler,algorithm_type=sde-dpmsolver++,beta_schedule=squaredcos_cap_v2",
    "DPMSolverSinglestepScheduler,solver_order=3",
    "EulerDiscreteScheduler,prediction_type=v_prediction",
    "EulerDiscreteScheduler,use_karras_sigmas=true",
    "EulerDiscreteScheduler,beta_start=0.00085,beta_end=0.012,beta_schedule=scaled_linear",
    "EulerAncestralDiscreteScheduler,timestep_spacing=leading",
    "FlowMatchEulerDiscreteScheduler,shift=3.0",
    "FlowMatchHeunDiscreteScheduler",
    "HeunDiscreteScheduler",
    "IPNDMScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler,solver_order=3",
    "UniPCMultistepScheduler,use_flow_sigmas=true,prediction_type=flow_prediction",
]


class Net(nn.Module):
    """A random network of its state and its time, of another size of state than probing uses."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3)).to(dtype)

    def forward(self, x: Tensor, time: Tensor | float) -> Tensor:
        told = torch.as_tensor(time, dtype=x.dtype).reshape(-1, 1) / 1000
        with torch.no_grad():
            return self.layers(torch.cat([x, told.expand(len(x), 1)], dim=1))


def looped(spec: str, steps: int, start: Tensor, net: Net) -> Tensor:
    """The loop of a pipeline."""
    told = foreign(spec)
    ours = type(told.scheduler).from_config(told.scheduler.config)
    ours.set_timesteps(steps)
    x = start * float(getattr(ours, "init_noise_sigma", 1.0))
    for time in ours.timesteps:
        given = ours.scale_model_input(x, time) if hasattr(ours, "scale_model_input") else x
        x = ours.step(net(given, time), time, x, return_dict=False, **told.step)[0]
    return x


def mine(spec: str, steps: int, start: Tensor, net: Net, draws: list[Tensor]) -> Tensor:
    """Our table, gone through by hand, with the draws that their loop made."""
    seen = foreign(spec).look(steps)
    kept = [draw for draw, weighs in zip(draws, weighing(spec, steps), strict=True) if weighs]
    values: dict[tuple[str, int], Tensor] = {("xi", m): draw for m, draw in enumerate(kept)}
    values["e", 0] = start * seen.start
    for n, row in enumerate(seen.tableau.rows):
        if n:
            values["e", n] = sum((v * values[key.kind, key.place] for key, v in row.items()), torch.zeros_like(start))
        for j, state in enumerate(seen.tableau.reads):
            if state == n:
                values["o", j] = net(values["e", n], seen.times[j])
    return values["e", len(seen.tableau.rows) - 1]


def weighing(spec: str, steps: int) -> list[bool]:
    """Which of their draws are not multiplied by 0."""
    told = foreign(spec)
    return (probe(told.scheduler, steps, told.step, told.grid).draws != 0).any(dim=0).tolist()


@pytest.mark.parametrize("spec", TABLES)
def test_a_table_ends_where_their_own_loop_ends_in_float64(spec: str) -> None:
    net, start, draws = Net(), noise.normal((5, 3), seed=1, purpose="start", dtype=torch.float64), list[Tensor]()

    def draw(shape: tuple[int, ...]) -> Tensor:
        draws.append(noise.normal(shape, seed=2, purpose="draw", step=len(draws), dtype=torch.float64))
        return draws[-1]

    with in_double(type(foreign(spec).scheduler), draw):
        want = looped(spec, 7, start, net)
    got = mine(spec, 7, start, net, draws)
    assert float((got - want).abs().max() / want.abs().max()) < 1e-10


@pytest.mark.parametrize(
    "spec", ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "DDIMScheduler"]
)
def test_a_table_ends_where_their_own_loop_ends_in_float32(spec: str) -> None:
    net, start = Net(torch.float32), noise.normal((5, 3), seed=1, purpose="start")
    want = looped(spec, 7, start, net)
    got = mine(spec, 7, start, net, [])
    assert float((got - want).abs().max() / want.abs().max()) < 1e-4  # where float32 leaves their loop


def test_our_sampler_runs_a_table_of_theirs() -> None:
    spec, net = "DPMSolverMultistepScheduler,solver_order=3", Net()
    seen = foreign(spec).look(6)
    model = Network(net, seen.schedule, predicts="noise", time="index", cond="none")
    start = noise.normal((5, 3), seed=1, purpose="start", dtype=torch.float64)
    *_, last = Sampler(seen.tableau).steps(model, start)
    with in_double(type(foreign(spec).scheduler)):
        want = looped(spec, 6, start, net)
    assert float((last.x_t - want).abs().max() / want.abs().max()) < 1e-10


INDEX = Given((1.0, 0.75, 0.5, 0.25, 0.0))


@pytest.mark.parametrize(
    ("scheduler", "ours"),
    [
        (diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing"), DDIM()),
        (diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing", prediction_type="sample"), DDIM()),
        (diffusers.DDPMScheduler(clip_sample=False, timestep_spacing="trailing"), SDE()),
        (diffusers.EulerDiscreteScheduler(timestep_spacing="trailing"), Euler()),
        (diffusers.EulerAncestralDiscreteScheduler(timestep_spacing="trailing"), SDE()),
        (diffusers.DPMSolverMultistepScheduler(timestep_spacing="trailing"), DPMpp2M()),
        (diffusers.DPMSolverMultistepScheduler(timestep_spacing="trailing", solver_order=1), DDIM()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_theirs_are_ours_on_the_indices_of_ddpm(scheduler: Any, ours: Solver) -> None:
    assert xray(scheduler, 4) == ours.tableau(DDPM(), INDEX)


def test_flow_matching_is_ours_on_the_linear_path() -> None:
    times = (1.0, 0.667, 0.334, 0.001, 0.0)  # evenly from 1 to 1/1000, and then to 0
    assert xray(diffusers.FlowMatchEulerDiscreteScheduler(), 4) == Euler().tableau(Linear(), Given(times))
    assert xray(diffusers.FlowMatchHeunDiscreteScheduler(), 4) == Heun().tableau(Linear(), Given(times))


def test_edm_is_ours_on_its_path() -> None:
    nsr = ((80 ** (1 / 7) + share / 3 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for share in range(4))
    times = tuple(float(EDM().time_of(-2 * torch.tensor(value, dtype=torch.float64).log())) for value in nsr)
    ours = DDIM().tableau(EDM(), Given((1.0, *times[1:3], 0.0)))  # EDM keeps noise at t = 0: a call there, then the end
    theirs = xray(diffusers.EDMEulerScheduler(), 4)
    assert theirs.calls == 4 and theirs.canonical().angles[:3].tolist() == pytest.approx(
        ours.canonical().angles[:3].tolist(), abs=1e-12
    )
    assert theirs == DDIM().tableau(EDM(), ob.grids.Karras(steps=4))


def test_an_eta_between_is_not_that_of_the_sde() -> None:
    times = Given((0.751, 0.501, 0.251, 0.001, 0.0))
    for eta in (0.0, 0.5, 1.0):
        theirs = xray(diffusers.DDIMScheduler(clip_sample=False), 4, step={"eta": eta})
        assert (theirs == SDE(eta).tableau(DDPM(), times)) == (eta != 0.5)


def test_predictions_do_not_change_the_algorithm() -> None:
    kinds = ("epsilon", "sample", "v_prediction")
    one, *more = (xray(diffusers.DPMSolverMultistepScheduler(prediction_type=kind), 5) for kind in kinds)
    assert all(one == other for other in more)
    assert [table.face.name for table in (one, *more)] == ["noise", "data", "v"]


def test_the_object_that_was_read_stays_as_it_was() -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler()
    before = scheduler.timesteps.clone(), scheduler.sigmas.dtype, scheduler.step_index
    xray(scheduler, 5)
    assert bool((scheduler.timesteps == before[0]).all())
    assert (scheduler.sigmas.dtype, scheduler.step_index) == before[1:]
    assert torch.get_default_dtype() == torch.float32


def drawn(table: Tableau, n: int) -> Tensor:
    """What the draws weigh in a state, outputs kept as they are."""
    weights = torch.zeros(table.draws, dtype=torch.float64)
    for key, number in table.rows[n].items():
        if key.kind == "e":
            weights += number * drawn(table, key.place)
        elif key.kind == "xi":
            weights[key.place] += number
    return weights


def test_brownian_draws_that_overlap_are_correlated() -> None:
    table = foreign("DPMSolverSDEScheduler").look(3).tableau
    middle, after = (drawn(table.on_face("data"), n) for n in (1, 2))  # the two states of the first step
    start, half, end = (level.nsr for level in table.moments[:3])
    correlation = ((start - half) / (start - end)) ** 0.5
    assert float(middle @ after / (middle.norm() * after.norm())) == pytest.approx(correlation, abs=1e-4)
    assert [level.theta for level in reached(table)] == pytest.approx(
        [level.theta for level in table.moments], abs=1e-3
    )


@pytest.mark.parametrize(
    ("scheduler", "why"),
    [
        (diffusers.DDIMScheduler(), "clip_sample=False"),
        (diffusers.DPMSolverMultistepScheduler(thresholding=True), "thresholding=False"),
        (diffusers.AmusedScheduler(mask_token_id=5), "tokens"),
        (diffusers.VQDiffusionScheduler(num_vec_classes=5), "tokens"),
        (diffusers.RePaintScheduler(), "original_image and mask"),
        (diffusers.ScoreSdeVeScheduler(), "no step"),
        (diffusers.UniPCMultistepScheduler(solver_type="bh1"), "not finite"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_table_is_named_with_its_reason(scheduler: Any, why: str) -> None:
    with pytest.raises(NotLinear, match=why) as refusal:
        xray(scheduler, 4)
    assert type(scheduler).__name__ in str(refusal.value)


@pytest.mark.needs("diffusers:PiflowScheduler")
def test_every_scheduler_is_read_or_refused_with_a_reason() -> None:
    read, refused = [], []
    for name in schedulers():
        try:
            table = foreign(name).look(2 if name == "ConsistencyDecoderScheduler" else 4).tableau
        except NotLinear as refusal:
            refused.append(str(refusal))
            continue
        assert bool(table.canonical().outputs.isfinite().all()), name
        read.append(name)
    assert len(schedulers()) >= 50 and len(read) >= 36
    assert not [why for why in refused if "its loop fails" in why]


def test_faults_of_theirs_are_seen() -> None:
    flow = "use_flow_sigmas=true,prediction_type=flow_prediction"
    for kind in ("DEISMultistepScheduler", "SASolverScheduler"):
        assert float(foreign(f"{kind},{flow}").look(10).tableau.levels.nsr[-1]) > 0.1
    still, churned = (foreign(f"FlowMatchEulerDiscreteScheduler,s_churn={s}").look(10) for s in (0.0, 60.0))
    assert still.tableau == churned.tableau and not churned.tableau.draws
    karras = foreign("DPMSolverMultistepScheduler,use_karras_sigmas=true").look(8)
    found = match(karras.tableau, karras.schedule)
    assert found is not None and found.comparison.same and not found.told and found.solver == DPMpp2M()


@pytest.mark.parametrize("solver", ["ddim", "heun:face=noise", "sde", "dpmpp-2m", "pndm", "dpm-solver"])
@pytest.mark.parametrize(("path", "time", "predicts"), [("ddpm", "index", "noise"), ("linear", "t:scale=1000", "flow")])
def test_the_x_ray_of_an_export_is_the_table(solver: str, path: str, time: str, predicts: str) -> None:
    table = Solver.of(solver).tableau(path, "uniform:steps=6")
    assert xray(export(table, path, time=time, predicts=predicts), table.calls) == table


def test_an_export_runs_as_our_sampler_does() -> None:
    net, start = Net(), noise.normal((4, 3), seed=1, purpose="start", dtype=torch.float64)
    scheduler = export(lambda n: Heun().tableau("ddpm", f"uniform:steps={n}"), "ddpm", predicts="noise")
    scheduler.set_timesteps(5)
    x = start
    for time in scheduler.timesteps:
        x = scheduler.step(net(x, time), time, x).prev_sample
    model = Network(net, "ddpm", predicts="noise", time="index", cond="none")
    *_, last = Sampler(Heun().tableau("ddpm", "uniform:steps=5")).steps(model, start)
    assert float((x - last.x_t).abs().max()) < 1e-12 * float(x.abs().max())


def test_an_export_draws_from_the_generators_it_is_given() -> None:
    def run(generator: Any) -> Tensor:
        scheduler = export(SDE().tableau("linear", "uniform:steps=3"), "linear", time="t:scale=1000", predicts="flow")
        x = torch.ones(2, 3)
        for time in scheduler.timesteps:
            x = scheduler.step(-x, time, x, generator=generator, return_dict=False)[0]
        return x

    def seeded(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    assert bool((run(seeded(1)) == run(seeded(1))).all())
    pair = run([seeded(1), seeded(2)])
    assert bool((pair == run([seeded(1), seeded(2)])).all()) and not bool((pair[0] == pair[1]).all())


def test_an_export_begins_where_image_to_image_does() -> None:
    theirs = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    ours = export(lambda n: DDIM().tableau("ddpm", f"uniform:steps={n}"), "ddpm", predicts="noise")
    data, eps = (noise.normal((2, 3), seed=1, purpose=word, dtype=torch.float64) for word in ("data", "eps"))
    ends = []
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(5)
        if scheduler is ours:
            ours.set_begin_index(2)
        x = scheduler.add_noise(data, eps, scheduler.timesteps[2:3])
        for time in scheduler.timesteps[2:]:
            x = scheduler.step(x.sin(), time, x, return_dict=False)[0]
        ends.append(x)
    assert float((ends[0] - ends[1]).abs().max()) < 1e-5  # theirs has its tables in float32


def test_an_export_begins_only_where_it_can() -> None:
    ours = export(Solver.of("dpmpp-2m").tableau("linear", "uniform:steps=5"), "linear", time="t:scale=1000")
    with pytest.raises(InvalidArgument, match="remembers what came before call 2"):
        ours.set_begin_index(2)
    with pytest.raises(InvalidArgument, match=r"calls 0 \.\.\. 4, got 5"):
        ours.set_begin_index(5)
    with pytest.raises(InvalidArgument, match=r"some of this table's \[1000, 800.*got \[7\]"):
        ours.add_noise(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([7]))


@pytest.mark.parametrize(("solver", "calls"), [("ddim", 1), ("heun", 2), ("dpm-solver:stages=3", 3)])
def test_a_later_step_of_an_export_begins_at_its_own_level(solver: str, calls: int) -> None:
    ours = export(lambda n: Solver.of(solver).tableau("ddpm", f"uniform:steps={n}"), "ddpm", predicts="noise")
    ours.set_timesteps(10)
    assert ours.order == calls
    for step in range(10):  # as image-to-image finds its start
        ours.set_begin_index(step * ours.order)
        assert float(ours.timesteps[step * ours.order]) == 999 - 100 * step
    assert export(Heun().tableau("ddpm", "uniform:steps=10"), "ddpm", predicts="noise").order == 1  # steps are calls


def test_an_export_has_what_pipelines_of_flow_ask_for() -> None:
    ours = export(
        lambda n: DDIM().tableau("linear", f"uniform:steps={n}"), "linear", time="t:scale=1000", predicts="flow"
    )
    assert ours.config.get("use_dynamic_shifting") is None and ours.config.get("base_shift", 0.5) == 0.5
    assert ours.config.use_flow_sigmas  # Flux then hands on no levels of its own
    ours.set_timesteps(4, device="cpu", mu=0.8)
    times = ours.timesteps
    ours.set_timesteps(sigmas=[1.0, 0.9, 0.8, 0.7], device="cpu")  # LTX, Lumina, Qwen, HunyuanVideo: levels, no number
    assert bool((ours.timesteps == times).all())
    assert ours.sigmas.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]  # Wan and LTX-2 look them up
    ours.set_begin_index(0)
    data, eps = torch.full((1, 2), 2.0), torch.full((1, 2), -1.0)
    assert bool((ours.scale_noise(data, ours.timesteps[3:], eps) == 0.75 * 2 - 0.25).all())


def test_an_export_refuses_what_is_out_of_order() -> None:
    scheduler = export(DDIM().tableau("ddpm", "uniform:steps=3"), "ddpm", predicts="noise")
    with pytest.raises(InvalidArgument, match="in order"):
        scheduler.step(torch.ones(1, 2), scheduler.timesteps[1], torch.ones(1, 2))
    with pytest.raises(InvalidArgument, match="3 calls"):
        scheduler.set_timesteps(4)


@pytest.mark.parametrize(("kind", "ours"), [("Euler", "ddim"), ("DPMSolverMultistep", "dpmpp-2m"), ("DDIM", "ddim")])
def test_the_end_of_no_signal_is_read_whatever_stands_for_zero(kind: str, ours: str) -> None:
    name = kind + ("DiscreteScheduler" if kind == "Euler" else "Scheduler")
    for spacing in ("leading", "trailing"):
        settings = f"rescale_betas_zero_snr=true,prediction_type=v_prediction,timestep_spacing={spacing}"
        seen = foreign(f"{name},{settings}").look(5)
        assert seen.schedule == DDPM(zero_terminal_snr=True)
        assert (seen.tableau.moments[0].alpha == 0) == (spacing == "trailing")
        found = match(seen.tableau, seen.schedule)
        if spacing == "leading" or ours == "ddim":
            assert found is not None and found.comparison.same and found.solver.spec == ours


def test_a_learned_variance_is_no_table() -> None:
    with pytest.raises(NotLinear, match="its network makes the variance: set variance_type='fixed_small'"):
        foreign("DDPMScheduler,variance_type=learned_range").look(5)


def test_an_export_is_for_a_network_of_the_tables_schedule() -> None:
    betas = export(lambda n: DDIM().tableau("ddpm", f"uniform:steps={n}"), "ddpm:betas=scaled-linear", predicts="v")
    with pytest.raises(InvalidArgument, match="of another schedule than the model's, ddpm:betas=scaled-linear"):
        betas.set_timesteps(5)
    with pytest.raises(InvalidArgument, match="index counts to 1000, ddpm:count=50 has 50"):
        export(DDIM().tableau("ddpm:count=50", "uniform:steps=5"), "ddpm:count=50")


def test_specs_name_what_they_do_not_know() -> None:
    with pytest.raises(UnknownName, match="DDIMScheduler"):
        foreign("DDIMSchedular")
    with pytest.raises(UnknownName, match="eta"):
        foreign("DDIMScheduler,etta=1")


@pytest.mark.parametrize("by", ["nsr", "log-nsr"])
@pytest.mark.parametrize("base", [DDPM(), DDPM("scaled-linear", 100, 0.00085, 0.012)], ids=["ddpm", "100"])
def test_between_indices_is_a_schedule_like_others(by: str, base: DDPM) -> None:
    path: Schedule = Between(base, by)
    for law in laws_of(path):
        verdict = law.verdict(path)
        assert verdict.ok, verdict
    at = (torch.arange(base.count, dtype=torch.float64) + 1) / base.count
    assert float((path.alpha(at) - base.alpha(at)).abs().max()) < 1e-12


def test_a_table_is_saved_and_loaded(tmp_path: Any) -> None:
    table = xray(diffusers.UniPCMultistepScheduler(), 5)
    table.save(tmp_path / "table.json")
    assert Tableau.load(tmp_path / "table.json") == table


def test_what_look_returns_says_how_their_loop_starts() -> None:
    assert look(diffusers.EDMEulerScheduler(), 3).start == pytest.approx((80**2 + 1) ** 0.5)
    assert look(diffusers.DDIMScheduler(clip_sample=False), 3).start == 1.0


def test_a_function_that_makes_tables_is_told_what_the_network_predicts() -> None:
    with pytest.raises(InvalidArgument, match=r"predicts .* got None: .*predicts='noise'"):
        export(lambda n: DDIM().tableau("ddpm", f"uniform:steps={n}"), "ddpm")
    table = DDIM().tableau("ddpm", "uniform:steps=4").on_face(Prediction.of("noise"))
    assert export(table, "ddpm").config.prediction_type == "epsilon"


FLUX = {"in_channels": 4, "num_layers": 1, "num_single_layers": 0, "axes_dims_rope": (2, 2, 4)}
SD3 = {"sample_size": 2, "in_channels": 4, "num_layers": 1, "caption_projection_dim": 8, "pos_embed_max_size": 2}
SMALL = {"attention_head_dim": 8, "num_attention_heads": 1, "joint_attention_dim": 4, "pooled_projection_dim": 4}


@pytest.mark.parametrize(
    ("net", "time", "fixed", "shape"),
    [
        (
            lambda: diffusers.FluxTransformer2DModel(**SMALL, **FLUX),
            "t",
            {"img_ids": torch.zeros(4, 3), "txt_ids": torch.zeros(3, 3)},
            (2, 4, 4),
        ),
        (lambda: diffusers.SD3Transformer2DModel(**SMALL, **SD3, out_channels=4), "t:scale=1000", {}, (2, 4, 2, 2)),
    ],
)
def test_networks_of_diffusers_embed_a_thousand_times_t(
    net: Any, time: str, fixed: Any, shape: tuple[int, ...]
) -> None:
    theirs = net().eval()
    told: list[Tensor] = []
    theirs.time_text_embed.register_forward_pre_hook(lambda _, given: told.append(given[0]))

    def called(x_t: Tensor, t: Tensor, cond: Any) -> Any:
        return theirs(x_t, timestep=t, **cond, **fixed, return_dict=False)[0]

    cond = {"encoder_hidden_states": torch.zeros(2, 3, 4), "pooled_projections": torch.zeros(2, 4)}
    Network(called, "linear", predicts="flow", time=time)(torch.zeros(shape), 0.25, cond)
    assert told[0].tolist() == [250.0, 250.0]

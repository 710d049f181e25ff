"""`obverse compare` as people use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from obverse.cli import main
from obverse.sampler import DDIM

pytestmark = pytest.mark.usefixtures("elsewhere")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_two_names_of_one_algorithm_are_said_to_be_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "ddim", "euler", "--schedule", "cosine", "--steps", "5"]) == 0
    assert "the same algorithm: 5 calls" in said(capsys)


def test_different_algorithms_part_at_a_call_and_give_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "ddim", "dpmpp-2m", "--schedule", "vp", "--grid", "uniform:start=0.9", "--json"]) == 1
    found = json.loads(said(capsys))
    assert found["same"] is False and found["first"] == 3 and found["calls"] == [10, 10]


def test_a_solver_takes_the_levels_of_the_scheduler_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "dpmpp-2m", "diffusers:DPMSolverMultistepScheduler", "--steps", "6"]) == 0
    assert main(["compare", "diffusers:HeunDiscreteScheduler", "heun:face=noise", "--steps", "4"]) == 0
    assert main(["compare", "sde", "diffusers:DDIMScheduler,eta=1.0", "--steps", "4"]) == 0
    assert said(capsys).count("the same algorithm") == 3


def test_where_they_stop_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    flow = "diffusers:DEISMultistepScheduler,use_flow_sigmas=true,prediction_type=flow_prediction"
    assert main(["compare", "ddim", flow, "--steps", "10"]) == 1
    out = said(capsys)
    assert f"{flow}: it stops at sigma/alpha = 0.111 instead of 0." in out


def test_a_saved_table_can_be_compared(capsys: pytest.CaptureFixture[str]) -> None:
    DDIM().tableau("linear", "uniform:steps=7").save("mine.json")
    assert main(["compare", "mine.json", "ddim", "--steps", "7"]) == 0
    assert "the same algorithm: 7 calls" in said(capsys)


@pytest.mark.parametrize("name", ["both.svg", "both.png"])
def test_a_comparison_is_drawn(name: str) -> None:
    assert main(["compare", "ddim", "sde", "--steps", "5", "--out", f"figures/{name}"]) == 1
    head = Path(f"figures/{name}").read_bytes()[:5]
    assert head in (b"<?xml", b"\x89PNG\r")


def test_a_comparison_of_different_lengths_is_drawn() -> None:
    assert main(["compare", "ddim", "heun", "--steps", "3", "--out", "both.svg"]) == 1
    assert "different numbers of calls" in Path("both.svg").read_text()
    assert ">2.5<" not in Path("both.svg").read_text()  # calls are counted


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["ddim"], "two samplers"),
        (["ddim", "diffusers:DDIMSchedular"], "DDIMScheduler"),
        (["ddim", "diffusers:DDIMScheduler,clip_sample=true"], "clip_sample=False"),
        (["ddim", "diffusers:AmusedScheduler"], "tokens"),
        (["ddim", "dimm"], "did you mean 'ddim'"),
        (["ddim", "gone.json"], "no file"),
        (["ddim", "ddim", "--steps", "0"], "steps >= 1"),
        (["diffusers:DDIMScheduler", "ddim", "--steps", "0"], "steps"),
        (["ddim", "sde", "--out", "both.pdf"], ".svg or .png"),
    ],
)
def test_what_cannot_be_compared_is_one_line(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *words]) == 2
    error = capsys.readouterr().err
    assert why in error and error.count("\n") == 1


def test_the_report_says_which_are_identical_and_which_are_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import obverse.report.schedulers as report

    few = ("DDIMScheduler", "DDPMScheduler", "AmusedScheduler", "DEISMultistepScheduler,solver_order=1")
    monkeypatch.setattr(report, "schedulers", lambda: dict.fromkeys(few[:3]))
    monkeypatch.setattr(report, "VARIANTS", few[3:])
    assert main(["compare", "diffusers", "--steps", "4", "--out", "page.md"]) == 0
    page = Path("page.md").read_text()
    assert "## Identical to a member (3)" in page and "| `DDIM` | ddim | 4 |" in page
    assert "| `Amused` | its states are tokens, not numbers |" in page
    assert "3 of 4 are members of ours" in said(capsys)


def test_steps_of_a_grid_beside_other_steps_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "ddim", "heun", "--grid", "uniform:steps=3"]) == 2
    assert "uniform:steps=3 asks for 3 steps, steps for 10" in capsys.readouterr().err
    assert main(["compare", "ddim", "ddim", "--grid", "uniform:steps=3", "--steps", "3"]) == 0

"""Reports: one file that needs nothing else, tells what was measured, and says why something was not."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import wave
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from obverse.data import Scaling
from obverse.ground import extras
from obverse.ground.errors import InvalidArgument, MissingExtra
from obverse.metrics import Features
from obverse.recipes import Recipe, Sampling, Trained, fit
from obverse.recipes.build import Facts
from obverse.report import Report, write
from obverse.report.figures import Line, chart
from obverse.report.page import Mark, Section, marks, page, picture, table
from obverse.report.samples import trajectory
from obverse.report.sounds import audible, players, told
from obverse.report.subject import Subject
from obverse.report.summary import verdict
from obverse.train import Training

FEW = Sampling(steps=4, microbatch=100)
SECTIONS = ["samples", "trajectory", "distances", "samplers", "loss", "noise-error", "coin", "provenance"]
Looked = tuple[Trained, Report, "Reader", list[tuple[str, int, int]]]
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """What a page consists of; elements must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.numbers = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.numbers += data
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def trained(folder: Path, *, steps: int = 20, batch: int = 32, **recipe: object) -> Trained:
    training = Training(steps=steps, batch=batch, log_every=5, save_every=0)
    recipe = {"net": "mlp:width=32", **recipe}
    for _ in fit(Recipe(**recipe, training=training), folder).steps:  # type: ignore[arg-type]
        pass
    return Trained.open(folder)


@pytest.fixture(autouse=True)
def _few_samplers(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are tried once, on digits, before this."""
    monkeypatch.setattr("obverse.report.scores.SAMPLERS", (("ddim", 2), ("sde", 3)))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    place, told = tmp_path_factory.mktemp("digits"), list[tuple[str, int, int]]()
    model = trained(place / "run", data="digits", net="unet:width=8", holdout=0.5)
    report = write(
        model,
        place / "out" / "report.html",
        sampling=FEW,
        count=40,
        progress=lambda *where: told.append(where),
        seconds={"training": 12.5},
    )
    assert [path.name for path in (place / "out").iterdir()] == ["report.html"]
    return model, report, Reader(report.path.read_text()), told


PLACES = {"img": "data:image/png;base64,", "audio": "data:audio/wav;base64,"}  # all that lies inside a page


def stands_alone(text: str) -> bool:
    """Whether no script runs and nothing is fetched: pictures and sounds lie inside, links stay on the page."""
    assert not re.search(r"https?:", text)
    page = Reader(text)
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action"):
            assert (attributes.get(name) or PLACES.get(tag, "#")).startswith(PLACES.get(tag, "#"))
    assert not re.search(r"url\((?!#)|@import", text)
    return [script.get("type") for script in page.all("script")] == ["application/json"]


def test_no_line_ends_within_a_number() -> None:
    """A browser breaks 1e-09 after its hyphen."""
    body = marks([Mark("the coin", "2.1e-16", "of <a> to b (mark: at most 1e-09)", True)])
    body += table("to 3e+07", ["name", "4.e-8"], [["one", "seed 7, the-e-3"]], words=True)
    body += picture(b"", alt="6e-5", caption="7e-6")
    text = page("a", body, [], {})
    assert re.findall(r'<span class="number">([^<]*)</span>', text) == ["2.1e-16", "1e-09", "3e+07", "4.e-8", "7e-6"]
    assert 'alt="6e-5"' in text and "&lt;a&gt;" in text
    assert re.search(r"\.number \{ white-space: nowrap; \}", text)


def test_a_page_needs_nothing_but_itself_and_of_images_plays_nothing(digits: Looked) -> None:
    assert stands_alone(digits[1].path.read_text())
    assert not digits[2].all("audio")


def sounds(folder: Path, *, rate: int, channels: int, length: int, classes: int = 2, each: int = 15) -> Path:
    """Noise that some would call music, as the standard library writes it."""
    random = np.random.default_rng(0)
    for number in range(classes * each):
        path = folder / f"kind-{number % classes}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(
                (random.normal(size=(length, channels)) * 9000).clip(-32768, 32767).astype("<i2").tobytes()
            )
    return folder


def heard(page: Reader) -> list[tuple[str, int, np.ndarray]]:
    """What every player says, and plays: a rate, and (channels, length)."""
    found = []
    for player in page.all("audio"):
        with wave.open(io.BytesIO(base64.b64decode((player["src"] or "").partition(",")[2]))) as file:
            values = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels()).T
            assert file.getsampwidth() == 2
            found.append((player["aria-label"] or "", file.getframerate(), values / 2**15))
    return found


@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_are_heard_beside_their_nearest_as_they_are(tmp_path: Path, channels: int) -> None:
    place = sounds(tmp_path / "sounds", rate=11_025, channels=channels, length=64)
    model = trained(tmp_path / "run", steps=2, data=str(place), net="unet:width=8", holdout=0.3)
    path = write(model, tmp_path / "report.html", sampling=FEW, count=8).path
    page, subject = Reader(path.read_text()), Subject(model, FEW, 8)
    x, train = subject.drawn.x, subject.train.x
    assert subject.drawn.labels is not None
    raw, known = (model.facts.scaling.undo(each).clamp(-1, 1).numpy() for each in (x, train))
    played = heard(page)
    assert [words for words, *_ in played][:3] == [
        "sample 1 of class kind-0", "nearest to sample 1 of class kind-0", "sample 2 of class kind-0"
    ]  # fmt: skip
    assert len(played) == 2 * 2 * 3 and {rate for _, rate, _ in played} == {11_025}
    for kind in range(2):
        rows = (subject.drawn.labels == kind).nonzero().flatten().tolist()
        for n, row in enumerate(rows[:3]):
            nearest = int((train - x[row]).flatten(1).norm(dim=1).argmin())
            mine, other = (values for *_, values in played[6 * kind + 2 * n :][:2])
            assert np.abs(mine - raw[row]).max() <= 2**-15
            assert np.abs(other - known[nearest]).max() < 1e-6  # as it was read
    assert stands_alone(path.read_text())
    assert "on 21 sounds of" in page.text and "each beside its nearest: 0.0058 s at 11,025 Hz" in page.text


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize(
    ("rate", "channels", "length", "groups"),
    [(8_000, 1, 4_096, 5), (22_050, 1, 70_000, 10), (48_000, 2, 48_000, 20), (44_100, 2, 3_000_000, 1), (9, 1, 7, 1)],
)
def test_sounds_fit_into_a_megabyte_and_are_no_shorter_than_that_asks_for(
    rate: int, channels: int, length: int, groups: int, sides: int
) -> None:
    facts = Facts("a", "arrays", (channels, length), (), (), (), Scaling.of_range(-1, 1), rate=rate)
    x, (counts, most) = torch.zeros(1, channels, length).expand(9, -1, -1), audible(facts, groups, sides)
    text = "".join(players(facts, count, most, "", *[x] * sides) for count in counts)
    words = told(facts, most, sides)
    played = heard(Reader(text))
    assert len(text) < 2**20 and sides <= len(played) <= sides * max(6, 2 * groups)
    assert {values.shape for *_, values in played} == {(channels, most)}
    assert most == length or most >= rate or len(text) > 0.9e6
    assert ("the first" in words) == (most < length)
    assert ("nearest" in words) == ("nearest" in text) == (sides == 2)


def test_a_sampler_has_the_ratio_of_the_headline_where_it_draws_the_same(
    digits: Looked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("obverse.report.scores.SAMPLERS", (("thrifty", FEW.steps),))
    place = sounds(tmp_path / "sounds", rate=8_000, channels=1, length=64)
    model = trained(tmp_path / "run", steps=2, data=str(place), net="unet:width=8", holdout=0.3)
    numbers = write(model, tmp_path / "report.html", sampling=FEW, count=8).numbers
    headline = next(one for one in numbers["distances"]["measured"] if one["name"] == "spectra-FD")
    assert numbers["samplers"]["rows"][0]["frechet_ratio"] == pytest.approx(headline["ratio"], rel=1e-6)
    assert "smaller than" not in digits[2].text  # 40 samples there and here


def test_every_picture_has_words_and_can_be_decoded(digits: Looked) -> None:
    page = digits[2]
    assert len(page.all("img")) == 10 * 2 + 2 + 3  # classes and their neighbours, trajectory, coin
    for image in page.all("img"):
        assert (image["alt"] or "").strip()
        data = base64.b64decode((image["src"] or "").partition(",")[2])
        Image.open(io.BytesIO(data)).load()
    assert len(page.all("svg")) == 3
    assert all(svg["aria-label"] and svg["role"] == "img" for svg in page.all("svg"))


def test_all_sections_are_there_in_order(digits: Looked) -> None:
    _, report, page, told = digits
    assert [section["id"] for section in page.all("section")] == SECTIONS
    assert "Absent" not in page.text
    assert all(report.numbers[name] is not None for name in SECTIONS)
    assert len(page.all("h1")) == 1 and len(page.all("h2")) == len(SECTIONS)
    assert len(page.all("caption")) == len(page.all("table"))
    done = [done for _, done, total in told if total == 100]
    assert len(done) == len(told) and done[0] == 0 and done[-1] == 100 and done == sorted(done)
    flipping = [done for title, done, _ in told if title == "The coin"]
    assert len(set(flipping)) > 9 and max(flipping) == 99  # no long silence, and the work was foreseen
    drawing = [done for title, done, _ in told if title == "Samplers"]
    assert len(set(drawing)) > 20
    assert "training" in page.text and "12.5" in page.text


def test_the_numbers_are_in_the_file(digits: Looked) -> None:
    _, report, page, _ = digits
    numbers = json.loads(page.numbers)
    assert numbers == json.loads(json.dumps(report.to_json()))
    assert [mark["name"] for mark in numbers["marks"]] == [
        "Class accuracy",
        "Fréchet distance",
        "Novelty",
        "The coin",
    ]
    assert numbers["distances"]["samples"] == 40
    assert {one["name"] for one in numbers["distances"]["measured"]} == {"frechet", "mmd", "sliced-w2", "energy"}
    assert [row["calls"] for row in numbers["samplers"]["rows"]] == [10, 20, 10, 20, 10, 20, 19, 20, 50]
    assert numbers["provenance"]["step"] == 20
    assert numbers["loss"]["step"] == [5, 10, 15, 20]


def test_an_untrained_model_misses_its_marks_and_the_coin_holds(digits: Looked) -> None:
    passed = {mark.name: mark.passed for mark in digits[1].marks}
    assert passed["Fréchet distance"] is False
    assert passed["The coin"] is True
    coin = digits[1].numbers["coin"]
    assert coin["float64"] < 1e-12 and coin["float32"] < 1e-4 < 0.1 < coin["strangers"]


def test_a_known_law_is_the_floor_that_a_report_shows(tmp_path: Path) -> None:
    model = trained(tmp_path / "run", data="two-moons", steps=60, holdout=0.3)
    report = write(model, tmp_path / "report.html", sampling=FEW, count=400)
    loss, curves = report.numbers["loss"], report.numbers["noise-error"]
    exact, held = np.array(curves["exact floor"]), np.array(curves["held-out data"])
    assert len(loss["floor"]) == len(loss["loss"]) and (np.array(loss["floor"]) < loss["loss"]).all()
    assert (exact < 1.05 * held).all() and exact.mean() < 0.95 * held.mean()
    assert exact[0] == pytest.approx(0, abs=0.01)  # all that is seen is noise
    assert exact[-1] == pytest.approx(1, rel=0.3) and held[-1] > 0.9 * exact[-1]  # noise is finer than the law's own
    text = Reader(report.path.read_text()).text
    for words in ("exact floor, logged for each log-SNR", "the law which two-moons is drawn from", "x its floor"):
        assert words in text
    assert report.path.read_text().count("exact floor</text>") == 3  # in the legend of the loss and of both errors


def test_where_no_law_is_known_none_is_spoken_of(digits: Looked) -> None:
    assert "exact floor" not in digits[2].text and "floor" not in digits[1].numbers["loss"]


def test_the_floor_lies_below_the_model_and_below_a_linear_denoiser(digits: Looked) -> None:
    curves = digits[1].numbers["noise-error"]
    floor, linear = np.array(curves["floor: pure memory"]), np.array(curves["linear denoiser"])
    assert (floor <= 1.05 * np.array(curves["training data"])).all()
    assert (floor <= 1.05 * linear).all()
    assert (linear > 0).all() and (linear < 1).all()


def test_no_held_out_data_and_no_classes_are_said_to_be_absent(tmp_path: Path) -> None:
    np.save(tmp_path / "ring.npy", np.random.default_rng(0).normal(size=(200, 2)))
    model = trained(tmp_path / "run", data=str(tmp_path / "ring.npy"), holdout=0.0)
    report = write(model, tmp_path / "report.html", sampling=FEW, count=30)
    page = Reader(report.path.read_text())
    assert report.numbers["distances"] is None
    assert "Nothing was held out" in page.text and "knows no classes" in page.text and "gap" not in page.text
    assert "class accuracy" not in page.text
    assert [mark.name for mark in report.marks] == ["The coin"]
    assert all(row["frechet_ratio"] is None and row["calls"] for row in report.numbers["samplers"]["rows"])
    assert "held-out data" not in report.numbers["noise-error"]


def test_tables_are_shown_as_scatters_that_say_what_is_in_them_and_as_rows(digits: Looked, tmp_path: Path) -> None:
    lines = ["long,wide,tall", *(f"{i % 7},{-i % 11},{900 * (i == 7)}" for i in range(60))]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    model = trained(tmp_path / "run", data=str(tmp_path / "boxes.csv"))
    report = write(model, tmp_path / "report.html", sampling=replace(FEW, steps=6), count=9)
    page = Reader(report.path.read_text())
    assert len(report.numbers["trajectory"]["logsnr"]) == 4  # each is a picture or two
    assert "long to the right and wide up, the first two of 3 numbers, from -1.7 to 1.7 in" in page.text
    assert "Below each" not in page.text and "the two pictures would be one" in page.text
    assert len(page.all("tr")) > 6 and page.text.index("tall") < page.text.index("From noise")
    assert {image.get("class") for image in page.all("img")} == {"plot"}
    assert {image.get("class") for image in digits[2].all("img")} == {None}  # photographs stay as they are


def test_a_normal_distribution_leaves_the_linear_denoiser_exact(tmp_path: Path) -> None:
    x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "normal.npy", x.numpy())
    model = trained(tmp_path / "run", steps=2, data=str(tmp_path / "normal.npy"), holdout=0.0)
    curves = write(model, tmp_path / "report.html", sampling=FEW, count=8).numbers["noise-error"]
    middle = curves["logsnr"].index(0.0)  # variance 1 in noise of variance 1: half of it stays unknown
    assert curves["linear denoiser"][middle] == pytest.approx(0.5, abs=1e-6)
    assert curves["floor: pure memory"][middle] == pytest.approx(0.5, rel=0.02)


def test_lost_data_leaves_what_needs_none(tmp_path: Path) -> None:
    np.save(tmp_path / "waves.npy", np.random.default_rng(0).normal(size=(60, 2, 16)))
    model = trained(tmp_path / "run", steps=2, data=str(tmp_path / "waves.npy"), net="unet:width=8")
    (tmp_path / "waves.npy").unlink()
    report = write(model, tmp_path / "report.html", sampling=FEW, count=9)
    absent = [name for name, numbers in report.numbers.items() if numbers is None]
    assert absent == ["distances", "noise-error"]
    page = Reader(report.path.read_text())
    assert "neighbours are absent" in page.text and "waves.npy" in page.text
    assert report.numbers["samples"] == {"count": 9}


def test_signals_are_shown_as_large_as_they_are_drawn(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", x=np.random.default_rng(0).normal(size=(60, 1, 16)), label=np.arange(60) % 2)
    model = trained(tmp_path / "run", steps=2, data=str(tmp_path / "w.npz"), net="unet:width=8", label="label")
    page = Reader(write(model, tmp_path / "report.html", sampling=FEW, count=8).path.read_text())
    first = base64.b64decode((page.all("img")[0]["src"] or "").partition(",")[2])
    assert Image.open(io.BytesIO(first)).width < 272  # a card: 17 rem


def test_a_sampler_that_cannot_run_says_why(tmp_path: Path) -> None:
    np.save(tmp_path / "line.npy", np.random.default_rng(0).normal(size=(80, 2)))
    model = trained(tmp_path / "run", steps=2, data=str(tmp_path / "line.npy"), predicts="noise")
    report = write(model, tmp_path / "report.html", sampling=replace(FEW, grid="angle"))
    text = Reader(report.path.read_text()).text
    assert report.numbers["samples"] is None and "noise does not determine" in text
    assert report.numbers["coin"] is not None


def test_without_matplotlib_only_the_curves_are_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(module: str, extra: str) -> object:
        if module.startswith("matplotlib"):
            raise MissingExtra("pip install 'obverse[report]'")
        return extras.load(module, extra)

    monkeypatch.setattr("obverse.report.figures.load", load)
    np.save(tmp_path / "line.npy", np.random.default_rng(0).normal(size=(80, 2)))
    report = write(
        trained(tmp_path / "run", steps=5, data=str(tmp_path / "line.npy")), tmp_path / "report.html", sampling=FEW
    )
    assert [name for name, numbers in report.numbers.items() if numbers is None] == ["loss", "noise-error"]
    assert "obverse[report]" in report.path.read_text()


def test_a_bad_path_or_count_is_refused_before_anything_is_drawn(digits: Looked, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"report\.html"):
        write(digits[0], tmp_path)
    with pytest.raises(InvalidArgument, match="count"):
        write(digits[0], tmp_path / "a.html", count=7)
    assert not list(tmp_path.iterdir())


def test_text_of_others_cannot_leave_its_place() -> None:
    evil = "\"'></script><img src=x onerror=alert(1)>\"'"
    text = page(
        evil,
        marks([Mark(evil, evil, evil, True)]),
        [Section("a", evil, table(evil, [evil], [[evil, evil]]) + picture(b"", evil, evil), None)],
        {evil: evil},
    )
    read = Reader(text)
    assert [image.get("onerror") for image in read.all("img")] == [None]
    assert json.loads(read.numbers) == {evil: evil}


def test_what_is_not_finite_becomes_null() -> None:
    report = Report(Path("a.html"), (), {"a": {"b": [1.5, math.nan, (math.inf, 2)]}})
    assert json.loads(json.dumps(report.to_json(), allow_nan=False)) == {
        "marks": [],
        "a": {"b": [1.5, None, [None, 2]]},
    }


def test_too_little_held_out_data_is_as_good_as_none(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.random.default_rng(0).normal(size=(30, 2)))
    model = trained(tmp_path / "run", steps=2, batch=8, data=str(tmp_path / "few.npy"))
    report = write(model, tmp_path / "a.html", sampling=FEW)
    assert report.numbers["distances"] is None and report.numbers["samples"]["count"] > 8
    assert (
        "3 samples were held out, and judging takes 8: train with holdout=0.27" in Reader(report.path.read_text()).text
    )
    more = trained(tmp_path / "more", steps=2, batch=8, data=str(tmp_path / "few.npy"), holdout=0.27)
    assert write(more, tmp_path / "b.html", sampling=FEW).numbers["distances"] is not None


def test_a_chart_is_a_function_of_its_arguments_and_shares_no_name_with_another() -> None:
    lines = [Line("a", [0.0, 1.0, 2.0], [1.0, 0.1, math.nan]), Line("b", [0.0, 1.0], [2.0, 3.0])]
    first, again = (chart("one", lines, x="x", y="y", log=True) for _ in range(2))
    assert first == again
    other = chart("two", lines[:1], x="x", y="y", bottom=0.5, top=2)
    assert not set(re.findall(r'id="(m[0-9a-f]{8,}|p[0-9a-f]{8,})"', first)) & set(re.findall(r'id="([mp]\w+)"', other))
    assert "currentColor" in first and "xmlns" not in first and "font-family" not in first


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["alpha", "sigma", "nsr", "r", "t"], 1),
        (["held-out data", "training data", "floor: pure memory", "linear denoiser", "exact floor"], 2),
        (["a" * 40, "b" * 40, "c" * 40], 3),
    ],
)
def test_a_legend_has_as_few_rows_as_fit(names: list[str], rows: int) -> None:
    text = chart("one", [Line(name, [0.0, 1.0], [1.0, 2.0]) for name in names], x="", y="")
    places = [re.findall(rf'x="([-\d.]+)" y="([-\d.]+)"[^>]*>{name}</text>', text) for name in names]
    assert all(len(found) == 1 and float(found[0][0]) > 0 for found in places)
    assert len({y for [(_, y)] in places}) == rows


def test_half_a_step_is_no_place_on_an_axis() -> None:
    shown = re.findall(r">([\d.]+)</text>", chart("one", [Line("loss", [30], [1.2])], x="step", y="loss"))
    assert "30" in shown and not any(text.startswith(("28.", "29.", "30.", "31.")) for text in shown)


@pytest.mark.parametrize("features", ["raw", "fashion", "pairs", "spectra"])
def test_the_headline_finds_the_frechet_distance_on_any_features(features: str) -> None:
    measured = [{"name": Features.of(features).title("frechet"), "ratio": 1.25, "sizes": (9, 9)}]
    scores = {"features": features, "measured": measured, "samples": 9, "accuracy": None, "novelty": 1.0}
    assert "1.25 x" in [mark.value for mark in verdict({"distances": scores})]


def test_marks_have_three_digits() -> None:
    measured = [{"name": "frechet", "ratio": 1.20049, "sizes": (9, 9)}]
    scores = {"features": "raw", "measured": measured, "samples": 9, "accuracy": None, "novelty": 521.4}
    marks = verdict({"distances": scores, "coin": {"float64": 1.9e-15}})
    assert [mark.value for mark in marks] == ["1.20 x", "521 x", "1.9e-15"]


@pytest.mark.parametrize(
    ("novelty", "passed", "word"),
    [
        (0.0, False, "copies"),
        (0.74, False, "copies"),
        (0.97, True, ""),
        (1.37, True, ""),
        (17.0, False, "off the data"),
    ],
)
def test_samples_are_as_new_as_held_out_data_neither_copies_nor_off_the_data(
    novelty: float, passed: bool, word: str
) -> None:
    measured = [{"name": "frechet", "ratio": 1.25, "sizes": (9, 9)}]
    scores = {"features": "raw", "measured": measured, "samples": 9, "accuracy": None, "novelty": novelty}
    mark = next(mark for mark in verdict({"distances": scores}) if mark.name == "Novelty")
    assert mark.passed is passed and [w for w in ("copies", "off the data") if w in mark.words] == [word] * bool(word)


def test_a_state_that_was_corrected_is_no_moment_of_its_own(digits: Looked) -> None:
    _, numbers = trajectory(Subject(digits[0], replace(FEW, solver="unipc"), 8))
    assert len(set(numbers["logsnr"])) == len(numbers["logsnr"]) == 4

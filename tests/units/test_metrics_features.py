"""Features: names that say what a number was measured on, networks of one's own, and the one that is shipped."""

from __future__ import annotations

import json
import math
import sys
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from obverse.data import Dataset, load
from obverse.data.sources import FASHION_MNIST
from obverse.ground.errors import InvalidArgument, MissingExtra, UnknownName
from obverse.ground.noise import normal, permutation
from obverse.metrics import Called, Features, Frechet, Metric, against, class_accuracy, fashion, features, frechet
from obverse.recipes import Recipe
from obverse.recipes.build import Facts
from obverse.recipes.evaluation import features_for, neighbours_by

there = pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="dataset-fashion-mnist is not installed")


def draw(n: int, *data: int, step: int = 0) -> Tensor:
    return normal((n, *data), seed=1, purpose="test", step=step)


@pytest.fixture(scope="module")
def unseen() -> Dataset:
    """The test images, of which the network has seen none."""
    return load(FASHION_MNIST / "t10k-images-idx3-ubyte.gz")


@pytest.fixture(scope="module")
def some(unseen: Dataset) -> tuple[Tensor, Tensor]:
    rows = unseen.rows(permutation(len(unseen), seed=0, purpose="test")[:2400])
    assert rows.label is not None
    return rows.x, rows.label


# --- any features


def test_a_metric_on_features_is_the_metric_of_features() -> None:
    x, y = draw(30, 3, 2), draw(30, 3, 2, step=1)
    half = Called(lambda some: some.mean(1), "half")
    for name in Metric.members:
        metric = Metric.of(name)
        assert type(metric)(features=half)(x, y) == metric(x.mean(1), y.mean(1))
    assert Frechet(features=torch.sin)(x, y) == pytest.approx(frechet(x.sin(), y.sin()), rel=1e-6)


def test_features_are_made_once_in_batches_and_without_gradients() -> None:
    seen: list[tuple[int, bool]] = []
    network = nn.Linear(4, 3)

    def counted(x: Tensor) -> Tensor:
        seen.append((len(x), torch.is_grad_enabled()))
        made: Tensor = network(x)
        return made

    x = draw(1600, 4)
    found = against(x[:400], x[400:800], x[800:], metrics=["frechet", "kid", "recall"], features=counted, bootstrap=3)
    assert [one.name for one in found] == ["counted-FD", "counted-KD", "counted-recall"]
    assert max(n for n, _ in seen) <= 256 and not any(grad for _, grad in seen)
    assert sum(n for n, _ in seen) == 400 + 400 + 1200  # samples, held-out, and all that is real for the floor
    with torch.no_grad():
        truth = against(*network(x).split((400, 400, 800)), metrics=["frechet"], bootstrap=3)[0]
    assert found[0].value == pytest.approx(truth.value, rel=1e-5) and found[0].floor == pytest.approx(truth.floor)


def test_features_named_by_a_metric_are_its_own_whatever_else_is_asked() -> None:
    x = draw(60, 1, 28, 28)
    own, asked = (
        Called(lambda some: some.flatten(1)[:, :3], "own"),
        Called(lambda some: some.flatten(1)[:, :5], "asked"),
    )
    metrics = [Frechet(features=own), "frechet", "precision:k=2"]
    found = against(x[:20], x[20:40], x[40:], metrics=metrics, features=asked, bootstrap=2)
    assert [one.name for one in found] == ["own-FD", "asked-FD", "asked-precision:k=2"]
    assert found[0].value != found[1].value


def test_names_say_what_was_measured_and_only_inceptions_are_fid_and_kid() -> None:
    asked = ("frechet:features={}", "kid:features={}", "recall:features={},k=5", "energy:features={}")
    titles = {name: [Metric.of(one.format(name)).title for one in asked] for name in Features.members}
    assert titles == {
        "raw": ["frechet", "kid", "recall:k=5", "energy"],
        "pairs": ["pairs-FD", "pairs-KD", "pairs-recall:k=5", "pairs-energy"],
        "spectra": ["spectra-FD", "spectra-KD", "spectra-recall:k=5", "spectra-energy"],
        "fashion": ["F-FD", "F-KD", "F-recall:k=5", "F-energy"],
        "inception": ["FID", "KID", "Inception-recall:k=5", "Inception-energy"],
    }
    assert Metric.of("recall:features=fashion,k=5").spec == "recall:features=fashion,k=5"


def test_features_that_are_none_are_refused() -> None:
    x = draw(40, 5)
    with pytest.raises(UnknownName, match="fashion"):
        against(x[:20], x[20:], features="fashio")
    with pytest.raises(InvalidArgument, match=r"a name .* or a function of a batch, got 3"):
        against(x[:20], x[20:], features=3)  # type: ignore[arg-type]
    with pytest.raises(
        InvalidArgument, match=r"one vector for each sample: short-features made \(19, 5\) of \(20, 5\)"
    ):
        against(x[:20], x[20:], x, features=Called(lambda some: some[1:], "short"))
    with pytest.raises(InvalidArgument, match="made int"):
        against(x[:20], x[20:], x, features=Called(len, "short"))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="cannot be written in a spec"):
        _ = Frechet(features=torch.sin).spec
    with pytest.raises(InvalidArgument, match=r"\(n 1 28 28\) in \[-1, 1\], got the shape \(20, 5\)"):
        against(x[:20], x[20:], x, features="fashion")


# --- clouds


def test_pairs_are_blind_to_order_and_pose_and_see_size() -> None:
    x = draw(5, 3, 20)
    turn, _ = torch.linalg.qr(draw(3, 3, step=1).double())
    turned = (turn @ x.double()).float()[..., torch.randperm(20, generator=torch.Generator().manual_seed(1))] + 2
    seen = features.Pairs().see(x)
    assert seen.shape == (5, 64)
    assert torch.allclose(features.Pairs().see(turned), seen, atol=1e-5)
    assert torch.allclose(features.Pairs().see(3 * x), 3 * seen, rtol=1e-5)
    every = torch.stack([torch.nn.functional.pdist(cloud.T) for cloud in x])  # 190 distances, in another order
    assert torch.allclose(seen[:, 0], every.sort(1).values[:, :3].mean(1), atol=1e-6)  # ceil(190 / 64) smallest ones


def test_pairs_of_a_single_point_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="points >= 2"):
        features.Pairs().see(draw(4, 3, 1))


# --- sounds

OCTAVES = 512  # values in a window of spectra, whose bin k is the tone of k periods in it


def tone(periods: float, length: int = 4096, size: float = 1.0) -> Tensor:
    """A tone of so many periods in 512 values; (1, 1, length)."""
    return (size * torch.sin(2 * math.pi * periods / OCTAVES * torch.arange(length) + 0.4))[None, None]


def bands(x: Tensor) -> Tensor:
    """What spectra see, by span and band; (n, 4, 15)."""
    return features.Spectra().see(x).reshape(len(x), 4, 15)


def test_spectra_are_blind_to_polarity_and_to_the_order_of_channels() -> None:
    x = draw(5, 2, 3000)
    seen = features.Spectra().see(x)
    assert seen.shape == (5, 60)
    assert torch.equal(features.Spectra().see(-x), seen)
    assert torch.allclose(features.Spectra().see(x * torch.tensor([[1.0], [-1]])), seen, atol=1e-4)
    assert torch.allclose(features.Spectra().see(x.flip(1)), seen, atol=1e-4)


def test_a_pure_tone_lands_in_its_half_octave_at_all_times() -> None:
    lowest = [0, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192]  # periods in 512 values
    for band, periods in [(k, lowest[k]) for k in range(3, 15)] + [(14, 250), (13, 180), (11, 90)]:
        assert (bands(tone(periods)).argmax(2) == band).all()


def test_ten_times_as_loud_is_twenty_decibels_more_in_every_band_that_is_heard() -> None:
    x = draw(3, 1, 4096)
    assert torch.allclose(bands(10 * x) - bands(x), torch.tensor(20.0), atol=0.1)


def test_white_noise_of_deviation_one_is_at_no_decibels_and_silence_at_the_floor() -> None:
    seen = bands(draw(400, 1, 8192))
    power = (10 ** (seen / 10)).mean(0)
    assert (power[1:3] - 1).abs().max() < 0.1  # the ends of a sound fill half a window
    silent = bands(torch.zeros(2, 1, 4096))
    assert silent.unique().numel() == 1 and float(silent.max()) == pytest.approx(-30, abs=0.01)


def test_spectra_tell_when_a_sound_was_and_not_by_how_little_it_moved() -> None:
    hit = torch.zeros(1, 1, 4096)
    hit[..., :200] = draw(1, 1, 200) * 3
    later, moved = hit.roll(2048, -1), hit.roll(10, -1)
    whole = features.Spectra().see
    assert bands(hit)[0].mean(1).argmax() == 0 and bands(later)[0].mean(1).argmax() == 2
    assert (whole(moved) - whole(hit)).norm() < 0.05 * (whole(later) - whole(hit)).norm()
    assert (moved - hit).norm() > 0.5 * (later - hit).norm()


def test_spectra_take_sounds_of_any_length_and_nothing_else() -> None:
    for length in (1, 7, 64, 511, 513):
        seen = features.Spectra().see(draw(2, 1, length))
        assert seen.shape == (2, 60) and seen.isfinite().all()
    with pytest.raises(InvalidArgument, match=r"\(n, channels, length\).*got the shape \(4, 9\)"):
        features.Spectra().see(draw(4, 9))


def test_sounds_are_measured_by_their_spectra_and_other_signals_as_they_are() -> None:
    asked = [Facts.of(Dataset("some", draw(4, 1, 9), kind="arrays", rate=rate)) for rate in (8000, 0)]
    assert [features_for(Recipe(), facts) for facts in asked] == ["spectra", "raw"]


@pytest.mark.parametrize(("points", "kind"), [(None, "clouds"), (9, "arrays")])
def test_clouds_by_name_and_from_files_have_neighbours_whatever_the_order_of_their_points(
    points: int | None, kind: str
) -> None:
    x = draw(4, 3, 9)
    recipe, facts = Recipe(points=points), Facts.of(Dataset("some", x, kind=kind))
    by = neighbours_by(recipe, facts)
    assert torch.equal(by(x), by(x.flip(2))) and features_for(recipe, facts) == "pairs"
    assert neighbours_by(Recipe(), Facts.of(Dataset("some", x, kind="arrays"))).spec == "raw"


# --- Inception


class Inception:
    """As torch-fidelity's: bytes of colour images in, a tuple of the features asked for out."""

    made = 0

    def __init__(self, name: str, features_list: list[str]) -> None:
        Inception.made += 1
        assert features_list == ["2048"]

    def to(self, device: Any) -> Inception:
        return self

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        assert x.dtype == torch.uint8 and x.shape[1:] == (3, 4, 4) and len(x) <= 32
        return (x.flatten(2).float().mean(2),)


def test_inception_is_given_bytes_of_three_colours_and_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Inception
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    features._inception.cache_clear()
    levels = torch.tensor([-1.0, 0.0, 1.0, 1.7, -9.0])  # beyond the range: the nearest that a picture can show
    grey = levels[:, None, None, None].expand(5, 1, 4, 4)
    see = Features.of("inception")
    assert see(grey).tolist() == [[v] * 3 for v in (0, 128, 255, 255, 0)]
    colour = torch.stack([torch.full((4, 4), v) for v in (-1.0, 0.2, 1.0)])[None].expand(40, 3, 4, 4)
    assert see(colour).tolist() == [[0, 153, 255]] * 40
    assert Inception.made == 1
    with pytest.raises(InvalidArgument, match=r"got the shape \(5, 2, 4, 4\)"):
        see(grey.expand(5, 2, 4, 4))
    features._inception.cache_clear()


def test_inception_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    features._inception.cache_clear()
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(MissingExtra, match=r"obverse\[fid\]"):
        Metric.of("frechet:features=inception")(draw(4, 3, 8, 8), draw(4, 3, 8, 8, step=1))


# --- the network that is shipped


def test_the_weights_are_small_halves_and_say_what_they_are() -> None:
    assert fashion.WEIGHTS.stat().st_size < 1_000_000
    assert fashion.WEIGHTS.parent.name == "metrics"  # beside the code, so that a wheel holds it
    with safe_open(fashion.WEIGHTS, "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118
        said = file.metadata()
    assert set(said) >= {"what", "data", "trained", "accuracy", "accuracy on", "classes", "version"}
    assert len(json.loads(said["classes"])) == 10
    assert said == fashion.facts()


def test_features_do_not_depend_on_the_batch_and_the_network_is_frozen() -> None:
    x = draw(300, 1, 28, 28).tanh()
    seen = Features.of("fashion")(x)
    assert seen.shape == (300, 128) and seen.dtype == torch.float32 and not seen.requires_grad
    torch.testing.assert_close(Features.of("fashion")(x[290:]), seen[290:], rtol=1e-4, atol=1e-5)
    network = fashion.network()
    assert not network.training and not any(weight.requires_grad for weight in network.parameters())
    torch.testing.assert_close(network.classify(seen[:5]), network(x[:5]), rtol=1e-4, atol=1e-4)


def test_class_accuracy_refuses_what_it_cannot_know() -> None:
    x, labels = draw(6, 1, 28, 28), torch.arange(6)
    with pytest.raises(InvalidArgument, match=r"\(6, 3, 28, 28\)"):
        class_accuracy(x.expand(6, 3, 28, 28), labels)
    with pytest.raises(InvalidArgument, match="each of 6 rows"):
        class_accuracy(x, labels[:5])
    with pytest.raises(InvalidArgument, match=r"0 \.\.\. 9, got 5 \.\.\. 10"):
        class_accuracy(x, labels + 5)


@there
def test_the_network_names_unseen_garments_as_often_as_its_file_says(unseen: Dataset) -> None:
    rows = unseen.rows(torch.arange(len(unseen)))
    assert rows.label is not None
    right = class_accuracy(rows.x, rows.label)
    assert right == pytest.approx(float(fashion.facts()["accuracy"]), abs=2e-4)  # rounding of another machine
    assert right > 0.9
    assert class_accuracy(rows.x[:1000], rows.label[:1000].roll(1)) < 0.2
    assert class_accuracy(rows.x[:1000] * 0 - 1, rows.label[:1000]) < 0.2


@there
def test_its_classes_are_those_of_the_data() -> None:
    assert fashion.classes() == load("fashion-mnist").classes


@there
def test_f_fd_falls_as_noise_is_taken_away_and_ends_at_its_floor(some: tuple[Tensor, Tensor]) -> None:
    x, _ = some
    noise = draw(600, 1, 28, 28)
    found = [
        against(x[:600] + amount * noise, x[600:1200], x[1200:], metrics=["frechet"], features="fashion", bootstrap=4)[
            0
        ]
        for amount in (1.0, 0.5, 0.25, 0.12, 0.0)
    ]
    assert {one.name for one in found} == {"F-FD"}
    assert all(worse.value > 1.3 * better.value for worse, better in pairwise(found))
    assert found[-1].value == pytest.approx(found[-1].floor, abs=3 * found[-1].floor_spread)
    assert found[-2].ratio > 4 > 2 > found[-1].ratio and found[0].ratio > 20


@there
def test_f_metrics_tell_a_missing_garment_from_all_ten(some: tuple[Tensor, Tensor]) -> None:
    x, labels = some
    samples, kinds = x[:1200], labels[:1200]
    metrics = ["frechet", "kid", "recall", "coverage", "precision"]
    whole, part = (
        against(them, x[1200:1700], x[1700:], metrics=metrics, features="fashion", bootstrap=10)
        for them in (samples[:500], samples[kinds > 3][:500])
    )
    for one in range(2):
        assert part[one].low > whole[one].high and part[one].ratio > 3
    for one in range(2, 4):
        assert part[one].high < whole[one].low and part[one].ratio < 0.88 < 0.9 < whole[one].ratio
    assert math.isclose(part[4].ratio, 1, abs_tol=0.15)  # what there is, is good

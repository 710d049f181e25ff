"""A net in shards takes the steps of a whole one, and is saved as one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from accelerate import FullyShardedDataParallelPlugin
from together import together
from torch import Tensor, nn

from obverse.ground.errors import InvalidArgument
from obverse.train import Training, shards

pytestmark = pytest.mark.needs("torch.cpu:Stream.record_event")

SCRIPT = """
import json, os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
import accelerate, safetensors.torch, torch, torch._dynamo, torch.distributed.fsdp
from obverse.data import Batch
from obverse.ground import noise
from obverse.ground.errors import ObverseError
from obverse.train import Run, Training, train
from obverse.train.processes import here
import obverse.train.loop

torch.set_num_threads(1)
unpacked = obverse.train.checkpoint._unpacked

def shuffled(*args):
    # tensors come out of a file in any order, another one in every process
    return dict(sorted(unpacked(*args).items(), reverse=os.environ.get("RANK") == "1"))

obverse.train.checkpoint._unpacked = shuffled

class Counted(torch.nn.Module):
    # a buffer that the processes do not agree on, and answers that depend on it
    def __init__(self, rank, counts):
        super().__init__()
        self.counts = counts
        self.register_buffer("calls", torch.full((2,), float(rank)))
        self.gain = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        self.calls.add_({"calls": 1, "data": x.detach().mean(), "nothing": 0}[self.counts])
        return x * self.gain + self.calls.mean() / 100

def work(folder, leave=0, dropout=0.0, double=False, bad=-1, recompute=False, counts="calls", **settings):
    group = here()
    rank, count = group.process_index, group.num_processes
    dtype = torch.float64 if double else torch.float32

    def batches(step):
        while True:
            rows = torch.arange(12)[rank::count]
            x = noise.normal((len(rows), 3), seed=1, purpose="x", step=step, samples=rows).to(dtype)
            yield Batch(x, None, rows + 100, step, rows)
            step += 1

    def loss(net, batch, step):
        eps = noise.normal(batch.x.shape, seed=2, purpose="eps", step=step, samples=batch.rows).to(dtype)
        x = torch.where((batch.rows == bad)[:, None] & (step == 3), torch.inf, batch.x) if bad < 12 else batch.x
        each = (net(x + eps) - batch.x).square().mean(1)
        if bad == 12 and step == 3:  # the loss is finite, its gradient is not
            each = each + (net(x) * 0).clamp(min=0).sqrt().mean(1)
        return SimpleNamespace(mean=each.mean(), per_sample=each, logsnr=batch.rows.to(dtype))

    with group.main_process_first():
        run = Run.create(Path(folder), {}, resume=True)
    torch.manual_seed(rank)  # the processes need not agree; they begin with the weights of the first
    block = torch.nn.Sequential(torch.nn.Linear(3, 9), torch.nn.Tanh(), torch.nn.Dropout(dropout))
    net = torch.nn.Sequential(block, torch.nn.Linear(9, 3), Counted(rank, counts), torch.nn.Linear(3, 1)).to(dtype)
    given = dict(steps=12, batch=12, accumulate=2, log_every=5, save_every=4, lr=0.01, clip=0.5, ema=(8.0, 2.0))
    given |= dict(ema_power=(0.1,), snapshot_every=6, weight_decay=0.1, recompute=recompute)
    said = {}
    try:
        for progress in train(net, loss, batches, Training(**given | settings), run=run, start=run.newest()):
            assert progress.logsnr.sort().values.tolist() == list(range(12)), "every row once"
            if progress.step == 6:
                before = {name: value.clone() for name, value in net.state_dict().items()}
                with progress.ema.applied(net):
                    said["drawn"] = net.eval()(torch.ones(1, 3, dtype=dtype)).item()
                assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
                weights = progress.ema.weights.values()
                local = [w.to_local() if hasattr(w, "to_local") else w for w in weights]
                said["part"] = sum(w.numel() for w in local) / sum(w.numel() for w in weights)
            if progress.step == leave:
                break
    except ObverseError as error:
        said["error"] = f"{type(error).__name__}: {error}"
    said["net"] = {name: value.tolist() for name, value in net.state_dict().items()}
    Path(folder, f"said-{count}-{rank}.json").write_text(json.dumps(said))
"""
SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
Work = Callable[..., dict[str, bytes]]


@pytest.fixture(scope="module")
def work() -> Iterator[Work]:
    """Trains in a folder, in so many processes, in shards or not; the bytes of what must not differ by a bit."""
    with together(SCRIPT) as work:

        def train(folder: Path, count: int, sharded: bool = False, **given: object) -> dict[str, bytes]:
            work(count, SHARDED if sharded else {}, folder=str(folder), **given)
            files = [folder / "metrics.jsonl", *folder.glob("[cs]*/**/*.safetensors")]
            return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.exists()}

        yield train


def saved(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the last checkpoint and snapshot."""
    files = [*folder.glob("checkpoints/step-00000012/*.safetensors"), *folder.glob("snapshots/*12/*.safetensors")]
    return {
        f"{path.parent.parent.name}/{path.stem}/{name}": value
        for path in files
        for name, value in safetensors.torch.load_file(path).items()
    }


def said(folder: Path, count: int, rank: int = 0) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / f"said-{count}-{rank}.json").read_text())
    return found


def apart(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """The largest difference; names, shapes and dtypes have to be the same."""
    assert {name: (v.shape, v.dtype) for name, v in one.items()} == {
        name: (v.shape, v.dtype) for name, v in two.items()
    }
    return max(float((one[name].double() - two[name].double()).abs().max()) for name in one)


def test_shards_resume_to_the_last_bit_and_each_process_holds_its_own(work: Work, tmp_path: Path) -> None:
    whole = work(tmp_path / "whole", 2, True, dropout=0.2)
    work(tmp_path / "left", 2, True, leave=7, dropout=0.2)
    assert work(tmp_path / "left", 2, True, dropout=0.2) == whole
    parts = [float(str(said(tmp_path / "whole", 2, rank)["part"])) for rank in (0, 1)]
    assert max(parts) < 0.7 and sum(parts) < 1.1  # nine rows do not divide evenly, and buffers are everybody's


@pytest.mark.parametrize("double", [False, True])
def test_shards_take_the_steps_of_one_process_and_of_two_whole_ones(work: Work, tmp_path: Path, double: bool) -> None:
    ways = {"one": (1, False), "two": (2, False), "shards": (2, True)}
    for name, way in ways.items():
        work(tmp_path / name, *way, double=double)
    for there, back in (("one", "shards"), ("two", "shards"), ("shards", "one"), ("shards", "two")):
        work(tmp_path / f"{there}-{back}", *ways[there], leave=7, double=double)
        work(tmp_path / f"{there}-{back}", *ways[back], double=double)
    found = {path.name: saved(path) for path in tmp_path.iterdir()}
    assert len(found) == 7
    limit = 1e-13 if double else 1e-6
    assert max(apart(found["one"], other) for other in found.values()) <= limit
    assert apart(found["one"], {name: torch.zeros_like(value) for name, value in found["one"].items()}) > 0.1


def test_shards_are_as_many_as_processes(work: Work, tmp_path: Path) -> None:
    work(tmp_path / "one", 1)
    work(tmp_path / "three", 3, True, leave=5)  # more than a matrix of one row has rows
    work(tmp_path / "three", 3, True)
    assert apart(saved(tmp_path / "one"), saved(tmp_path / "three")) <= 1e-6


def test_buffers_are_those_of_the_first_process_as_without_shards(work: Work, tmp_path: Path) -> None:
    order = {"counts": "data"}  # of a process
    work(tmp_path / "whole", 2, **order)
    unbroken = work(tmp_path / "shards", 2, True, **order)
    assert apart(saved(tmp_path / "whole"), saved(tmp_path / "shards")) <= 1e-6
    work(tmp_path / "left", 2, True, leave=7, **order)
    assert work(tmp_path / "left", 2, True, **order) == unbroken


def test_what_is_read_out_agrees_with_one_process(work: Work, tmp_path: Path) -> None:
    for count in (1, 2):
        work(tmp_path / str(count), count, count > 1, double=True)
    lines = [[*map(json.loads, (tmp_path / n / "metrics.jsonl").read_text().splitlines())] for n in "12"]
    assert any("gradient_noise_scale" in line for line in lines[0])
    for one, two in zip(*lines, strict=True):
        assert one.keys() == two.keys()
        for name in one:
            assert torch.tensor(one[name]).allclose(torch.tensor(two[name]), rtol=1e-6), name


def test_the_net_given_holds_what_was_saved_and_draws_with_the_average(work: Work, tmp_path: Path) -> None:
    work(tmp_path / "one", 1, double=True)
    work(tmp_path / "shards", 2, True, double=True)
    last = safetensors.torch.load_file(tmp_path / "shards/checkpoints/step-00000012/net.safetensors")
    for rank in (0, 1):
        found = said(tmp_path / "shards", 2, rank)
        assert found["net"] == {name: value.tolist() for name, value in last.items()}
        drawn = float(str(found["drawn"]))
        assert math.isclose(drawn, float(str(said(tmp_path / "one", 1)["drawn"])), rel_tol=1e-9)


@pytest.mark.parametrize("bad", [7, 12])  # a row of the second process; a gradient
def test_a_step_that_is_not_finite_is_found_by_all_and_named_alike(work: Work, tmp_path: Path, bad: int) -> None:
    work(tmp_path / "one", 1, bad=bad, save_every=1)
    work(tmp_path / "shards", 2, True, bad=bad, save_every=1)
    alone = str(said(tmp_path / "one", 1)["error"])
    first, second = (str(said(tmp_path / "shards", 2, rank)["error"]) for rank in (0, 1))
    assert "Step 3 was not taken" in alone
    assert {7: "sample 107" in second, 12: "gradient of '0.0.weight'" in first}[bad]
    assert alone in (first, second)
    assert all("Step 3 was not taken" in words for words in (first, second))
    names = [sorted(path.name for path in (tmp_path / way / "checkpoints").iterdir()) for way in ("one", "shards")]
    assert names[0] == names[1]  # nothing of the step was saved


def test_recomputing_shards_changes_no_bit(work: Work, tmp_path: Path) -> None:
    order = {"dropout": 0.2, "counts": "nothing"}  # what is computed again would be counted again
    assert work(tmp_path / "a", 2, True, **order) == work(tmp_path / "b", 2, True, recompute=True, **order)


def test_sixteen_bits_err_as_much_in_shards(work: Work, tmp_path: Path) -> None:
    work(tmp_path / "whole", 2, precision="bf16")
    work(tmp_path / "shards", 2, True, precision="bf16")
    assert apart(saved(tmp_path / "whole"), saved(tmp_path / "shards")) <= 1e-4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"optimizer": "muon"}, "optimizer='adamw'"),
        ({"precision": "fp16"}, "precision='bf16'"),
        ({"compile": True}, "compile=False"),
    ],
)
def test_what_shards_cannot_do_is_refused_with_what_to_do(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        shards.check(Training(**settings))  # type: ignore[arg-type]
    shards.check(Training())


def test_only_the_second_kind_of_shards_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCELERATE_USE_FSDP": "true", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidArgument, match=r"got FSDP 1 .*--shard"):
        shards.foreseen(Training())
    monkeypatch.setenv("FSDP_VERSION", "2")
    shards.foreseen(Training())
    with pytest.raises(InvalidArgument, match="optimizer='adamw'"):
        shards.foreseen(Training(optimizer="muon"))
    monkeypatch.setenv("WORLD_SIZE", "1")
    shards.foreseen(Training(optimizer="muon"))  # one process has all


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cpu_offload": True}, "offload"),
        ({"activation_checkpointing": True}, "recompute=True"),
        ({"mixed_precision_policy": "bf16"}, "precision="),
        ({"fsdp_version": 1, "sync_module_states": False}, "got FSDP 1"),
    ],
)
def test_what_train_does_otherwise_is_not_asked_of_accelerate(asked: dict[str, object], said: str) -> None:
    plugin = FullyShardedDataParallelPlugin(**{"fsdp_version": 2, **asked})
    accelerator = SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin), num_processes=2)
    with pytest.raises(InvalidArgument, match=said):
        shards.Sharding.of(accelerator)  # type: ignore[arg-type]
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2, reshard_after_forward=False)
    sharding = shards.Sharding.of(accelerator)  # type: ignore[arg-type]
    assert sharding is not None and not sharding.reshard


def test_tied_weights_stay_in_one_unit() -> None:
    class Tied(nn.Module):
        def __init__(self, tied: bool) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)])
            self.last = nn.Linear(2, 2)
            if tied:
                self.last.weight = self.layers[0].weight  # type: ignore[assignment]

    net = Tied(False)
    assert shards.units(net) == [net.layers[0], net.layers[2]]
    assert shards.units(Tied(True)) == shards.units(nn.Linear(2, 2)) == []


def test_a_parameter_without_dimensions_is_named() -> None:
    net = nn.Linear(2, 1)
    net.gain = nn.Parameter(torch.ones(()))
    with pytest.raises(InvalidArgument, match=r"'gain' has shape \(\) \(make it \(1,\)\)"):
        shards.Sharding().shards(net, torch.device("cpu"))


def test_a_torch_that_has_no_shards_on_cpus_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    shards.check(Training())
    monkeypatch.delattr(torch.cpu.Stream, "record_event")
    with pytest.raises(InvalidArgument, match="newer torch than"):
        shards.check(Training())

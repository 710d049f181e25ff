"""The loader's share of a training step: how long a step waits for its batch, and what making batches costs alone.

Four cases: digits and Fashion-MNIST as bytes in memory, a table of 10^6 rows in a mapped file, and a folder of 28 x 28
PNG files decoded as they are asked for. `waits` is the share of the step time that the loop spends in `next(batches)`;
`slower` is what real batches add to a step over one batch repeated, in turns in one process, medians.

    python benchmarks/loader.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import nn

from obverse.data import Batch, Dataset, batches, load
from obverse.nets import Architecture, Conditions
from obverse.objective import Objective
from obverse.recipes import Recipe, build
from obverse.train.ahead import ahead


def folder_of_images(folder: Path, count: int, side: int) -> Path:
    """PNG files of noise, the least compressible and so the slowest to decode."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).save(folder / f"{number:06d}.png")
    return folder


def table(path: Path, rows: int) -> Path:
    """A float32 table."""
    array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 32))
    array[:] = np.random.default_rng(0).random(array.shape, dtype=np.float32)
    array.flush()
    return path


def steps(net: nn.Module, stream: Iterator[Batch], count: int) -> tuple[list[float], list[float]]:
    """Seconds that each step waits for its batch, and takes as a whole."""
    recipe, objective, optimizer = Recipe(), Objective(), torch.optim.AdamW(net.parameters(), fused=True)
    model, waits, takes = build.model(recipe, net), [], []
    for step in range(count):
        begun = time.perf_counter()
        batch = next(stream)
        waited = time.perf_counter()
        objective(model, batch.x, None, seed=0, step=step, samples=batch.rows).mean.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        waits.append(waited - begun)
        takes.append(time.perf_counter() - begun)
    return waits, takes


def measure(data: Dataset, spec: str, batch: int, count: int) -> dict[str, float]:
    """Shares of one case."""
    net = Architecture.of(spec).build(data.shape, Conditions(classes=0))
    stream = batches(data, batch, seed=0)
    stream = ahead(stream) if data.decoded_later else stream
    same = next(stream)
    repeated = iter(lambda: same, None)
    steps(net, stream, 3)
    waits, real, bare = [], [], []
    for _ in range(5):
        waited, took = steps(net, stream, count)
        waits, real = waits + waited, real + took
        bare += steps(net, repeated, count)[1]
    median = statistics.median
    alone = batches(data, batch, seed=0, start=7)
    begun = time.perf_counter()
    for _ in range(20):
        next(alone)
    return {
        "step": median(real),
        "batch": (time.perf_counter() - begun) / 20,
        "waits": sum(waits) / sum(real),
        "slower": median(real) / median(bare) - 1,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        with mock.patch("obverse.data.images.IN_MEMORY", 0):
            images = load(folder_of_images(folder / "images", 5000, 28))
        cases = {
            "digits, U-Net 32": (load("digits"), "unet:width=32", 128, options.count),
            "fashion, U-Net 32": (load("fashion-mnist"), "unet:width=32", 64, options.count),
            "folder of 28 x 28, U-Net 32": (images, "unet:width=32", 64, options.count),
            "table in a file, MLP": (load(table(folder / "table.npy", 10**6)), "mlp", 256, 20 * options.count),
        }
        for case, (data, spec, batch, count) in cases.items():
            results[case] = found = measure(data, spec, batch, count)
            print(
                f"{case:28} step {1e3 * found['step']:7.2f} ms   batch alone {1e3 * found['batch']:6.2f} ms   waits "
                f"{100 * found['waits']:5.2f} %   slower {100 * found['slower']:+6.2f} %",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

"""What training holds in memory: a large table against its own size, and a long run against its beginning.

The table is 10^6 x 32 of float32. A process of its own trains on 1,000 rows of the same kind of file first, so that
all that training and reading import is there; what it holds at its peak beyond that, an epoch and a half of the whole
later, counts. With `--soak` it trains a tiny network for 200,000 steps instead and fits a line to what it holds after
the first tenth.

    python benchmarks/training_memory.py
    python benchmarks/training_memory.py --formats .npy .npz .safetensors .arrow .parquet
    python benchmarks/training_memory.py --soak
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

COLUMNS, BATCH = 32, 256
SUFFIXES = (".npy", ".npz", ".safetensors", ".arrow", ".parquet")


def held(key: str = "VmRSS") -> float:
    """Megabytes (2^20) that this process holds now, or did at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def write(path: Path, rows: int) -> None:
    """A table in the format of the suffix, written piece by piece."""
    rng, step = np.random.default_rng(0), 50_000
    plain = path.with_suffix(".npy")
    array = np.lib.format.open_memmap(plain, "w+", np.float32, (rows, COLUMNS))
    for start in range(0, rows, step):
        array[start : start + step] = rng.normal(size=(min(step, rows - start), COLUMNS))
    array.flush()
    if path.suffix == ".npz":
        np.savez(path, x=array)
    elif path.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file({"x": np.ascontiguousarray(array)}, path)
    elif path.suffix in (".arrow", ".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({f"c{i}": array[:, i] for i in range(COLUMNS)})
        if path.suffix == ".parquet":
            pq.write_table(table, path)
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=65_536)
    if path != plain:
        plain.unlink()


def train(path: Path, steps: int, net: str = "mlp:width=64", batch: int = BATCH, every: int = 0) -> list[float]:
    """Train on a table; megabytes held after every so many steps."""
    from obverse.recipes import Recipe, fit
    from obverse.train import Training

    settings = Training(steps=steps, batch=batch, save_every=0, log_every=10_000)
    recipe = Recipe(data=str(path), net=net, training=settings)
    with tempfile.TemporaryDirectory() as folder:
        steps = fit(recipe, Path(folder) / "run").steps
        return [held() for progress in steps if every and progress.step % every == 0]


def measure(small: Path, large: Path, steps: int) -> dict[str, float]:
    """In this process: what is held after imports, after training on the small table, and at the most on the large."""
    import accelerate  # noqa: F401

    import obverse.recipes  # noqa: F401

    imported = held()
    train(small, 20)
    ready = held()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    train(large, steps)
    return {"imported": imported, "ready": ready, "peak": held("VmHWM")}


def soak(small: Path, steps: int) -> dict[str, float]:
    """In this process: megabytes for each 1,000 steps, of a line through all but the first tenth."""
    every = max(1, steps // 200)
    seen = np.array(train(small, steps, "mlp:width=8,depth=1", 32, every))[20:]
    slope = np.polyfit(np.arange(len(seen)) * every / 1000, seen, 1)[0]
    return {"first": seen[0], "last": seen[-1], "slope": slope}


def apart(*words: str) -> dict[str, float]:
    """The same in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--soak", action="store_true")
    parser.add_argument("--formats", nargs="*", default=[".npy"], choices=SUFFIXES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", nargs="*", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        found = soak(options.inside[0], options.steps) if options.soak else measure(*options.inside, options.steps)
        print(json.dumps(found))
        return
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.soak:
            small = Path(folder) / "small.npy"
            write(small, 1000)
            results["soak"] = found = apart("--soak", "--steps", str(options.steps or 200_000), "--inside", str(small))
            print(f"{found['first']:.1f} MB, then {found['last']:.1f} MB: {found['slope']:+.4f} MB for 1,000 steps")
        for suffix in [] if options.soak else options.formats:
            small, large = Path(folder) / f"small{suffix}", Path(folder) / f"large{suffix}"
            write(small, 1000)
            write(large, options.rows)
            steps = options.steps or int(1.5 * options.rows / BATCH)
            found = apart("--steps", str(steps), "--inside", str(small), str(large))
            size = options.rows * COLUMNS * 4 / 2**20
            results[suffix] = {**found, "table": size, "times": (found["peak"] - found["ready"]) / size}
            print(
                f"{suffix:12} table {size:.0f} MB; held after import {found['imported']:.0f}, after 1,000 rows "
                f"{found['ready']:.0f}, at most {found['peak']:.0f}: {results[suffix]['times']:.2f} times the table"
            )
            large.unlink()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

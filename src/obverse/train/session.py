"""Where and with what a stretch of training ran: what the last bit of its numbers depends on, beside the recipe."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from obverse.ground.errors import DataError
from obverse.train import files

SESSIONS = "sessions.jsonl"  # a line each time a run began or went on

_BITS = {  # what changes the order of sums, and so the last bit: in words
    "obverse": "version of obverse",
    "torch": "version of torch",
    "threads": "CPU threads",
    "processes": "processes",
    "shards": "a net in shards",
    "device": "device",
    "instructions": "CPU instructions",
    "machine": "machine",
}


def session(processes: int = 1, device: str = "cpu") -> dict[str, Any]:
    """What is true of this process now; JSON values.

    Args:     processes: how many train together.
              device: where the network computes, such as "cpu" or "cuda".
    Example:
        >>> differences(session(), session()), differences(session(processes=2), session())
        ([], ['processes 2 -> 1'])
    """
    import torch

    from obverse.train.processes import sharing

    cuda = device.startswith("cuda")
    return {
        "obverse": version("obverse"),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if cuda else device,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "shards": processes > 1 and sharing(),
        "host": platform.node(),
        "pid": os.getpid(),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words: what differs between two sessions that the last bit depends on."""
    return [
        f"{words} {before[name]} -> {now[name]}"
        for name, words in _BITS.items()
        if name in before and name in now and before[name] != now[name]
    ]


def warning(before: Mapping[str, Any], now: Mapping[str, Any], *, pairs: bool = False) -> str:
    """What a run that goes on elsewhere should know; "" where every bit will be as if it had never stopped.

    Args:     pairs: whether each process pairs its own rows of data and noise.
    """
    apart = differences(before, now)
    if not apart:
        return ""
    fixes = [f"--{name} {before[name]}" for name in ("threads", "processes") if before.get(name) != now.get(name)]
    if before.get("shards", False) != now.get("shards", False):
        fixes.append("--shard" if before.get("shards") else "no --shard")
    needs = f" (they need {' '.join(fixes)})" if fixes else ""
    if pairs and before.get("processes") != now.get("processes"):
        return (
            f"Going on with another {', '.join(apart)}: each process pairs its own rows of data and noise, so the run "
            f"takes other steps than an unbroken one, as good as those{needs}. Coupling pool:base=... pairs the rows "
            "of all processes, however many."
        )
    return (
        f"Going on with another {', '.join(apart)}: sums are added in another order, so the run ends within rounding "
        f"of an unbroken one, not in the same bits{needs}. The order of the data, times, noise and what is dropped do "
        "not change."
    )


def record(folder: Path, step: int, facts: Mapping[str, Any]) -> None:
    """Write down that a run begins, or goes on from a step, here.

    Raises:   CheckpointError when the disk refuses.
    """
    lines = [*read(folder), {"step": step, **facts}]
    with files.refusals(f"{folder / SESSIONS} could not be written"):
        files.put(folder / SESSIONS, "".join(f"{json.dumps(line)}\n" for line in lines).encode())


def read(folder: Path) -> list[dict[str, Any]]:
    """The sessions of a run, the newest last; none for a run older than they are.

    Raises:   DataError for a file that is not what `record` wrote.
    """
    path = folder / SESSIONS
    try:
        return [dict(json.loads(line)) for line in path.read_bytes().splitlines()] if path.exists() else []
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged: {error} (delete it; only `obverse reproduce` reads it).") from error

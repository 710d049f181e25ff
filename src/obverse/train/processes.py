"""Several processes of one training on this machine, started by torch's own launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from obverse.ground.errors import InvalidArgument, require

if TYPE_CHECKING:
    from accelerate import PartialState


_SHARING = "ACCELERATE_USE_FSDP"  # what `accelerate launch --use_fsdp` sets
LEFT = 75  # exit code of a process that went because another had; EX_TEMPFAIL


def left_behind(error: BaseException) -> bool:
    """Whether an error only says that another process of the training has ended; that one knows why."""
    return launched() > 1 and isinstance(error, RuntimeError) and "by peer" in str(error)


def launched() -> int:
    """How many processes a launcher (ours, torchrun, accelerate) has started together with this one; 0 for none."""
    return int(os.environ.get("WORLD_SIZE", "0")) if "LOCAL_RANK" in os.environ else 0


def sharing() -> bool:
    """Whether this process and those it was launched with are asked to hold a part of the net each (FSDP)."""
    return launched() > 1 and os.environ.get(_SHARING, "false").lower() in ("true", "1")


@contextmanager
def asking(shards: bool) -> Iterator[None]:
    """While this lasts, Accelerate is asked for shards, if they are wanted, as by `accelerate launch --use_fsdp`."""
    wanted = {_SHARING: "true", "FSDP_VERSION": "2"} if shards else {}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def here() -> PartialState:
    """This process among those that train together: its number, how many there are, its device.

    Ask this before anything else asks Accelerate, which without GPUs would leave each process to itself.
    """
    from accelerate import PartialState

    from obverse.ground.numerics import fastest

    alone = fastest().type in ("cpu", "mps")  # a GPU of Apple's is one
    return PartialState(cpu=launched() > 1 and alone)


def threaded(count: int) -> None:
    """Compute with so many CPU threads; 0 leaves the choice to torch."""
    import torch

    require(count >= 0, f"threads is a whole number >= 0, got {count} (0 leaves the choice to torch).")
    if count:
        torch.set_num_threads(count)


def part() -> None:
    """Leave the other processes in order: when the last has come, and with no connection open.

    An interpreter that goes while one is open may be ended by its threads (SIGABRT), though all has been done.
    """
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def leave(code: int) -> NoReturn:
    """Part from the others and end this process, its work done, without taking the interpreter down.

    What it would take down on its way has threads of its own (gloo's), and one that still runs ends all with SIGABRT.
    """
    part()
    gone(code)


def gone(code: int) -> NoReturn:
    """End this process as `leave` does, whether or not the others are ready to part: one that failed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def launch(module: str, argv: Sequence[str], count: int) -> int:
    """Run `python -m module argv` in `count` processes that train together: a GPU each, or CPU cores shared evenly.

    They meet at a free port of this machine. The first that fails ends the others; a signal reaches all of them, and
    they have 30 s to save.

    Args:     module: such as "obverse".
              argv: its words; the same for all.
              count: >= 1; at most as many as there are GPUs, where there are any.
    Returns:  0, or the exit code of the first process that failed, or 128 + signal.
    Raises:   InvalidArgument for a count that does not fit.
    """
    import torch

    gpus = torch.cuda.device_count()
    if count < 1 or 0 < gpus < count:
        most = f"in 1 ... {gpus}, a GPU each" if gpus else ">= 1"
        raise InvalidArgument(
            f"processes is {most}, got {count} (CUDA_VISIBLE_DEVICES= hides the GPUs, and the CPU is used)."
        )
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // count)))
    words = ["--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={count}", "-m", module, *argv]
    try:
        with _quiet():
            run(get_args_parser().parse_args(words))  # type: ignore[no-untyped-call]
    except SignalException as stop:
        return 128 + int(stop.sigval)
    except ChildFailedError as error:
        failures = dict(error.failures)
        codes = {rank: int(failure.exitcode) for rank, failure in failures.items()}
        ended_by_us = (LEFT, -signal.SIGTERM, 128 + signal.SIGTERM)
        rank = min(codes, key=lambda rank: (codes[rank] in ended_by_us, failures[rank].timestamp))
        if codes[rank] < 0:
            name = signal.Signals(-codes[rank]).name
            print(f"{module}: process {rank} of {count} was ended by {name}; resume to continue.", file=sys.stderr)
        return 128 - codes[rank] if codes[rank] < 0 else codes[rank]
    return 0


@contextmanager
def _quiet() -> Iterator[None]:
    """What the launcher logs says again what the processes have said themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # torch gives each of its loggers a level of its own
    try:
        yield
    finally:
        logging.disable(before)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Short trainings in several processes, for tests: one process imports everything once, and forks for each of them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

FORKS = """
import faulthandler, json, os, sys, traceback
from obverse.train.processes import part

faulthandler.enable()  # says where, should a process be ended by a library's threads

for line in sys.stdin:
    order = json.loads(line)
    count, port, environment, children = order.pop("count"), order.pop("port"), order.pop("environment"), []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            if count > 1:
                os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, WORLD_SIZE=str(count), **environment)
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(count))
            try:
                work(**order)
                part()  # when the net is gone: one in use may hold up the end of its connections
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children], flush=True)
"""


@contextmanager
def together(script: str) -> Iterator[Callable[..., None]]:
    """Calls the `work` of a script with what it is given, in so many processes at once that know of each other."""
    with subprocess.Popen([sys.executable, "-c", script + FORKS], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdin and process.stdout
        orders, answers = process.stdin, process.stdout

        def work(count: int, environment: Mapping[str, str], **given: object) -> None:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = str(free.getsockname()[1])
            orders.write(json.dumps({"count": count, "port": port, "environment": environment, **given}) + "\n")
            orders.flush()
            codes = answers.readline().strip()
            assert codes == str([0] * count), f"the processes ended with {codes}"

        yield work
        orders.close()

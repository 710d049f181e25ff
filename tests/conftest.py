"""For every test: one thread, no network."""

from __future__ import annotations

import os
from pkgutil import resolve_name

import pytest
from pytest_socket import socket_allow_hosts

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start


@pytest.fixture(autouse=True)
def _offline() -> None:
    """Connections stay on this machine: processes of one test may talk to each other, to nobody else."""
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs what an older package has not is skipped there; `make oldest` runs the oldest ones."""
    for mark in item.iter_markers("needs"):
        try:
            resolve_name(mark.args[0])
        except (AttributeError, ModuleNotFoundError):
            pytest.skip(f"there is no {mark.args[0]} yet")

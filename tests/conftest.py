"""For every test: one thread, no network."""

from __future__ import annotations

import os

import pytest
from pytest_socket import socket_allow_hosts

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start


@pytest.fixture(autouse=True)
def _offline() -> None:
    """Connections stay on this machine: processes of one test may talk to each other, to nobody else."""
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)

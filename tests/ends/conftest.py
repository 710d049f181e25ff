"""For tests that run commands as a user would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from obverse.cli import main


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stands in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """What a verb says to a script."""

    def told(argv: list[str], code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*argv, "--json"]) == code
        values: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return values

    return told

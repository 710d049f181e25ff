"""For tests that run commands as a user would."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stands in an empty folder."""
    monkeypatch.chdir(tmp_path)

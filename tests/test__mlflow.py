"""What a run says of what made it."""

from pathlib import Path

import pytest

from graphids._mlflow import _git_commit


def test_the_commit_is_unknown_where_there_is_no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert _git_commit() == "unknown"

"""What a run says of what made it."""

from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from graphids._mlflow.run_description import tag_run
from graphids.core.callbacks import NOT_WATCHED_TAGS
from graphids.outbox.outbox import Outbox


def tags() -> dict[str, str]:
    """Of a run that trains on the CPU."""
    queue = Mock()
    tag_run(Outbox("run", "0", queue), tau=0.5, seed=0, dataset_digest="0" * 64, device=torch.device("cpu"))
    (told,) = [call.kwargs["tags"] for call in queue.append.call_args_list]
    return dict(told)


def test_a_run_without_a_fit_says_that_nothing_is_watched() -> None:
    assert NOT_WATCHED_TAGS.items() <= tags().items()


def test_the_commit_is_unknown_where_there_is_no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert tags()["graphids.git_commit"] == "unknown"

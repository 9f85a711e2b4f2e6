"""Commands called from Python: in a thread, and where an event loop is running, as in a notebook."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from graphids.commands import publication
from graphids.commands import train as command
from graphids.options import OptionError
from mlflow_graphids import serve
from support.resumed_run import Interruption, TinyRuns

Call = Callable[[], None]
TRAIN = command.train


def in_a_thread(call: Call) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def in_an_event_loop(call: Call) -> None:
    async def cell() -> None:
        call()

    asyncio.run(cell())


def fail() -> None:
    raise RuntimeError("planted")


@pytest.mark.parametrize("where", [in_a_thread, in_an_event_loop], ids=lambda where: where.__name__)
def test_a_training_is_finished_wherever_it_is_called(
    where: Callable[[Call], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = TinyRuns(tmp_path, max_epochs=1)
    monkeypatch.setattr(command, "train", lambda *given: where(lambda: TRAIN(*given)))

    run_id, code = runs.train()

    assert code == 0, runs.log()
    assert "Traceback" not in runs.log()
    assert runs.ask(lambda client: client.get_run(run_id).info.status) == "FINISHED"


def test_a_training_that_fails_in_a_thread_ends_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = TinyRuns(tmp_path, max_epochs=1)
    monkeypatch.setattr(command, "train", lambda *given: in_a_thread(lambda: TRAIN(*given)))

    run_id, _ = runs.train(Interruption(publication, "assess", 0, fail))

    assert runs.ask(lambda client: client.get_run(run_id).info.status) == "FAILED"
    assert "planted" in runs.ask(lambda client: client.get_run(run_id).data.tags["graphids.error"])


def test_a_run_that_is_active_is_left_alone_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = TinyRuns(tmp_path, max_epochs=1)

    def train_within_a_run(*given: Any) -> None:
        with mlflow.start_run() as active:
            (tmp_path / "graphids_runs" / active.info.run_id).mkdir(parents=True)
            TRAIN(*given)

    monkeypatch.setattr(command, "train", train_within_a_run)

    run_id, code = runs.train()

    assert code == 1
    assert f"OptionError: MLflow run {run_id} is active in this thread, expected none" in runs.log()


def test_to_serve_in_a_notebook_is_refused_in_one_line() -> None:
    with pytest.raises(OptionError, match=r"an event loop is running in this thread.* call serve in a thread"):
        in_an_event_loop(lambda: serve("nowhere"))

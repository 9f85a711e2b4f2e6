"""What a run tells MLflow while MLflow is killed, hung, answering 500 or locked: nothing is lost or there twice.

The oracle is always a run of the same words that nothing disturbed, in the same kind of store.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.client import TrackingServiceClient

from graphids._fs import IntegrityError
from graphids._mlflow.tracked_run import NotSentError, tracked_run
from graphids.commands.cli import main
from graphids.core.classifier import WindowClassifier
from graphids.outbox import sender
from graphids.outbox.delivery import OWN_TAGS
from graphids.outbox.durable_queue import DurableQueue, QueueBusyError
from graphids.outbox.outbox import Outbox
from graphids.plots.style import new_figure, png
from mlflow_graphids import load_model, save_model
from support.stores import empty_store
from support.tiny_model import tiny_classifier
from support.tracking_server import FaultyProxy, TrackingServer, content

EPOCHS = 4
PNG = png(new_figure(width=1, height=1))


@pytest.fixture(scope="module")
def classifier() -> WindowClassifier:
    return tiny_classifier()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("server")).start()
    MlflowClient(server.uri).create_experiment("test")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def sqlite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("store")
    uri = empty_store(folder)
    MlflowClient(uri).create_experiment("test", artifact_location=(folder / "artifacts").as_uri())
    return uri


@pytest.fixture
def select(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Use a store from here on, in a working directory of the test's own, with a short patience."""
    monkeypatch.setattr(sender, "PATIENCE_S", 1.0)
    monkeypatch.setattr(sender, "_FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(sender, "_LONGEST_PAUSE_S", 0.2)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "test")
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    yield mlflow.set_tracking_uri
    mlflow.set_tracking_uri(before)


class Training:
    """The words of a run: what `graphids train` says, without the training."""

    def __init__(self, classifier: WindowClassifier) -> None:
        self._classifier = classifier
        self._undisturbed: dict[str, dict[str, Any]] = {}

    def undisturbed(self) -> dict[str, Any]:
        """What the selected store has of a run that nothing disturbs."""
        uri = mlflow.get_tracking_uri()
        if uri not in self._undisturbed:
            self._undisturbed[uri] = content(MlflowClient(uri), self.run())
        return self._undisturbed[uri]

    def run(self, *, after_epoch: Callable[[int], object] = lambda _: None) -> str:
        """Run id; `after_epoch` is called with the epoch that has just been logged."""
        with tracked_run() as outbox:
            self.say(outbox, after_epoch)
        return outbox.run_id

    def say(self, outbox: Outbox, after_epoch: Callable[[int], object] = lambda _: None) -> None:
        outbox.name_run(f"seed=0 {outbox.run_id[:4]} drives")
        outbox.log_dict({"seed": 0}, "config.json")
        outbox.log_params({"tau": 0.5, "lr": 0.003})
        outbox.set_tags({"graphids.seed": 0})
        dataset = outbox.log_input(name="drives", digest="d" * 64, source="drives", profile={"frames": 7})
        for epoch in range(EPOCHS):
            outbox.log_metrics({"train/loss": 1 / (epoch + 1), "val/loss": float("nan")}, step=epoch)
            after_epoch(epoch)
        digest = outbox.log_model(lambda to: save_model(self._classifier, to), name="model", step=1, tags={"t": "0.5"})
        outbox.log_metrics({"test/auroc": 0.75}, model=digest, dataset=dataset)
        for name in ("kinds", "confusion"):
            outbox.log_table({"kind": ["dos", "all"], "auroc": [0.75, None]}, f"{name}.json")
            outbox.log_image(PNG, f"figures/{name}")
        outbox.log_text("the end", "summary.txt")


@pytest.fixture(scope="module")
def training(classifier: WindowClassifier) -> Training:
    return Training(classifier)


def wait_for_senders() -> None:
    """A process that ends takes its thread and its lock along; this one lives on."""
    for thread in threading.enumerate():
        if thread.name == sender.THREAD_NAME:
            thread.join(20)


def sync(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["sync", *words])
    return int(caught.value.code or 0)


def test_a_run_that_nothing_disturbs_is_in_the_store_with_a_model_that_loads_verified(
    select: Callable[[str], None], sqlite_uri: str, training: Training, tmp_path: Path
) -> None:
    select(sqlite_uri)

    run_id = training.run()

    found = content(MlflowClient(), run_id)
    assert found["status"] == "FINISHED"
    assert found["metrics"]["train/loss"] == [(epoch, repr(1 / (epoch + 1))) for epoch in range(EPOCHS)]
    assert {name for name in found["artifacts"] if "/" not in name} == {
        "config.json",
        "summary.txt",
        "kinds.json",
        "confusion.json",
    }
    assert len(found["artifacts"]) == 4 + 2 * 2  # a picture is two files
    assert found["tags"]["mlflow.runName"] == "seed=0 RUN drives"
    assert OWN_TAGS in found["experiment"]
    assert ("train/loss", 1, "0.5", "") in found["model metrics"]
    assert ("test/auroc", 0, "0.75", "drives") in found["model metrics"]
    assert load_model(f"runs:/{run_id}/model").digest == found["model"][2]["graphids.digest"]
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_described_by_its_card_and_a_data_set_by_its_columns(
    select: Callable[[str], None], sqlite_uri: str, classifier: WindowClassifier
) -> None:
    select(sqlite_uri)

    with tracked_run() as outbox:
        outbox.log_input(name="drives", digest="d" * 64, source="drives", profile={"frames": 7})
        save = partial(save_model, classifier, model_card="# Detects")
        outbox.log_model(save, name="model", step=0, tags={"t": "0.5"}, description="# Detects")

    run = MlflowClient().get_run(outbox.run_id)
    model = MlflowClient().get_logged_model(run.outputs.model_outputs[0].model_id)
    assert (model.tags["mlflow.note.content"], model.tags["t"]) == ("# Detects", "0.5")
    columns = json.loads(run.inputs.dataset_inputs[0].dataset.schema)["mlflow_colspec"]
    assert [column["name"] for column in columns][:3] == ["timestamp", "arbitration_id", "dlc"]


def test_all_sent_a_second_time_changes_nothing(
    select: Callable[[str], None], sqlite_uri: str, training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash may lose every note of what MLflow has."""
    select(sqlite_uri)
    close = DurableQueue.close

    def close_a_copy_too(queue: DurableQueue) -> bool:
        assert queue.flush()
        shutil.copytree(queue.folder, tmp_path / "kept")
        return close(queue)

    with monkeypatch.context() as patch:
        patch.setattr(DurableQueue, "close", close_a_copy_too)
        run_id = training.run()
    once = content(MlflowClient(sqlite_uri), run_id)
    (tmp_path / "kept" / "sent.jsonl").unlink()

    assert sync(str(tmp_path / "kept")) == 0

    assert content(MlflowClient(sqlite_uri), run_id) == once


@pytest.mark.parametrize("lost", ["create_logged_model", "log_outputs", "log_model_artifacts", "finalize_logged_model"])
def test_a_model_whose_acknowledgement_was_lost_at_any_request_is_there_once(
    select: Callable[[str], None],
    sqlite_uri: str,
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    select(sqlite_uri)
    request, calls = getattr(MlflowClient, lost), iter(range(1000))

    def carried_out_but_not_answered(*arguments: Any, **named: Any) -> Any:
        answer = request(*arguments, **named)
        if next(calls) == 0:
            raise mlflow.MlflowException("the connection broke")
        return answer

    monkeypatch.setattr(MlflowClient, lost, carried_out_but_not_answered)

    run_id = training.run()

    found = content(MlflowClient(), run_id)  # it asserts that there is one model
    assert found["model"][1] == "READY"
    assert load_model(f"runs:/{run_id}/model").anchored


def test_a_connection_that_breaks_while_mlflow_looks_a_model_up_is_an_outage_and_not_a_refusal(
    select: Callable[[str], None], sqlite_uri: str, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow turns whatever happens there into "the logged model may have been deleted"."""
    select(sqlite_uri)
    log_model_params, first = MlflowClient.log_model_params, iter([True])

    def broken(*_: object) -> None:
        raise mlflow.MlflowException("the connection broke")

    def log_with_a_broken_look_up(client: MlflowClient, *arguments: Any) -> None:
        with monkeypatch.context() as patch:
            if next(first, False):
                patch.setattr(TrackingServiceClient, "get_logged_model", broken)
            log_model_params(client, *arguments)

    monkeypatch.setattr(MlflowClient, "log_model_params", log_with_a_broken_look_up)

    run_id = training.run()

    assert next(first, None) is None
    assert content(MlflowClient(), run_id)["status"] == "FINISHED"
    assert load_model(f"runs:/{run_id}/model").anchored


@pytest.mark.parametrize("fault", ["hang", "500", "refuse"])
def test_a_server_that_fails_in_mid_training_and_comes_back_costs_nothing(
    select: Callable[[str], None], server: TrackingServer, training: Training, fault: str
) -> None:
    select(server.uri)
    undisturbed = training.undisturbed()
    proxy = FaultyProxy(server.port)
    select(proxy.uri)
    began = time.monotonic()

    def disturb(epoch: int) -> None:
        if epoch == 1:
            proxy.fail(fault)
        elif epoch == EPOCHS - 1:
            while not proxy.num_requests_failed:
                time.sleep(0.01)
            proxy.fail("pass")

    run_id = training.run(after_epoch=disturb)

    assert content(MlflowClient(server.uri), run_id) == undisturbed
    assert time.monotonic() - began < 20
    proxy.close()


def test_a_server_that_stays_away_leaves_all_in_a_folder_that_sync_sends(
    select: Callable[[str], None],
    server: TrackingServer,
    training: Training,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    select(server.uri)
    undisturbed = training.undisturbed()
    proxy = FaultyProxy(server.port)
    select(proxy.uri)

    with pytest.raises(NotSentError) as left:
        training.run(after_epoch=lambda epoch: proxy.fail("hang") if epoch == 1 else None)

    (outbox,) = tmp_path.glob("graphids_runs/*/outbox")
    run_id = outbox.parent.name
    assert left.value.code == 75
    said = capsys.readouterr().err
    assert "graphids: MLflow is unreachable (" in said
    assert f"the model among them, are kept in {outbox}. To send them: graphids sync {outbox}" in said
    wait_for_senders()
    assert sync() == 75
    wait_for_senders()
    proxy.fail("pass")
    assert sync(run_id) == 0
    assert f"run {run_id}: sent" in capsys.readouterr().out
    assert content(MlflowClient(server.uri), run_id) == undisturbed
    assert list(tmp_path.iterdir()) == []
    assert sync() == 0
    proxy.close()


def test_a_server_that_is_killed_and_started_again_gets_the_rest(
    select: Callable[[str], None], server: TrackingServer, training: Training
) -> None:
    select(server.uri)
    undisturbed = training.undisturbed()

    with pytest.raises(NotSentError):
        training.run(after_epoch=lambda epoch: server.kill() if epoch == 1 else None)
    wait_for_senders()
    server.start()

    (journal,) = Path("graphids_runs").glob("*/outbox/journal.jsonl")
    assert sync(str(journal.parent.parent)) == 0
    assert content(MlflowClient(server.uri), journal.parent.parent.name) == undisturbed


def test_a_locked_sqlite_store_holds_the_training_for_no_longer_than_its_patience(
    select: Callable[[str], None], sqlite_uri: str, training: Training
) -> None:
    select(sqlite_uri)
    undisturbed = training.undisturbed()
    taken, given_back = threading.Event(), threading.Event()

    def lock() -> None:
        with closing(sqlite3.connect(sqlite_uri.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            taken.set()
            given_back.wait()

    holder = threading.Thread(target=lock)
    stall_s = 0.0

    def disturb(epoch: int) -> None:
        if epoch == 0:
            holder.start()
            taken.wait()

    with tracked_run() as outbox:
        training.say(outbox, disturb)
        began = time.monotonic()
        assert not outbox.flush()
        assert not outbox.flush()
        stall_s = time.monotonic() - began
        given_back.set()
        holder.join()
        while not outbox.flush():  # its patience for this outage is spent
            time.sleep(0.05)

    assert stall_s < 15  # 8 s; twice if each waited
    assert content(MlflowClient(sqlite_uri), outbox.run_id) == undisturbed


def killed_run(sqlite_uri: str, folder: Path, say: Callable[[Outbox], None]) -> str:
    """A run whose process was killed before anything was sent."""
    client = MlflowClient(sqlite_uri)
    experiment = client.get_experiment_by_name("test")
    assert experiment is not None
    run_id: str = client.create_run(experiment.experiment_id).info.run_id
    child = os.fork()
    if child == 0:
        sender.Sender._run = lambda _: None  # type: ignore[method-assign]
        queue = DurableQueue(folder, {"run_id": run_id, "tracking_uri": sqlite_uri})
        say(Outbox(run_id, experiment.experiment_id, queue))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    return run_id


def test_a_run_that_was_killed_is_sent_and_left_running_for_resume(
    select: Callable[[str], None], sqlite_uri: str, training: Training, tmp_path: Path
) -> None:
    select(sqlite_uri)
    run_id = killed_run(sqlite_uri, tmp_path / "outbox", training.say)

    assert sync(str(tmp_path)) == 0

    found = content(MlflowClient(sqlite_uri), run_id)
    assert found["status"] == "RUNNING"
    assert len(found["metrics"]["train/loss"]) == EPOCHS


def test_a_damaged_line_is_named_the_others_are_sent_and_the_folder_stays(
    select: Callable[[str], None],
    sqlite_uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    select(sqlite_uri)

    def say(outbox: Outbox) -> None:
        for name in ("first", "second", "third"):
            outbox.set_tags({name: "x"})

    run_id = killed_run(sqlite_uri, tmp_path / "outbox", say)
    journal = tmp_path / "outbox" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"second", b"sec0nd") + b"0123 unfinished")

    assert sync(str(tmp_path / "outbox")) == 3
    said = capsys.readouterr().err
    assert f"{journal}:3: expected a line that begins with its checksum" in said
    assert f"{journal}:5: an unfinished line of 15 bytes was dropped" in said
    assert {"first", "third"} <= MlflowClient(sqlite_uri).get_run(run_id).data.tags.keys()
    assert sync(str(tmp_path / "outbox")) == 3


def test_a_file_that_changed_since_it_was_kept_is_not_sent(
    select: Callable[[str], None],
    sqlite_uri: str,
    training: Training,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    select(sqlite_uri)
    run_id = killed_run(sqlite_uri, tmp_path / "outbox", training.say)
    largest = max((tmp_path / "outbox" / "spool").iterdir(), key=lambda file: file.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)

    assert sync(str(tmp_path / "outbox")) == 3

    assert f"{largest}: expected sha256 {largest.name}, found" in capsys.readouterr().err
    assert MlflowClient(sqlite_uri).get_run(run_id).outputs.model_outputs == []


def test_two_processes_do_not_send_from_one_outbox(
    select: Callable[[str], None], sqlite_uri: str, tmp_path: Path
) -> None:
    select(sqlite_uri)
    with tracked_run() as outbox:
        (folder,) = tmp_path.glob("graphids_runs/*/outbox")
        with pytest.raises(QueueBusyError, match=f"{folder}: another process is sending its entries"):
            DurableQueue(folder)
        program = "import sys; from graphids.commands.cli import main; main(['sync', sys.argv[1]])"
        other = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True)
        assert other.returncode == 75, other.stderr
        outbox.set_tags({"still": "here"})

    assert MlflowClient(sqlite_uri).get_run(outbox.run_id).data.tags["still"] == "here"


def test_a_folder_without_an_outbox_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert sync("/no/such/folder") == 2
    assert "FOLDER: given '/no/such/folder'; expected the folder of an outbox" in capsys.readouterr().err


def test_a_run_param_named_like_the_anchor_ends_the_run_as_failed(
    select: Callable[[str], None], sqlite_uri: str, training: Training
) -> None:
    select(sqlite_uri)

    def run() -> None:
        with tracked_run() as outbox:
            outbox.log_params({"graphids.digest": "0" * 64})
            training.say(outbox)

    with pytest.raises(IntegrityError, match=r"expected its param graphids\.digest"):
        run()

    newest = MlflowClient(sqlite_uri).search_runs(["1"], order_by=["attributes.start_time DESC"])[0]
    assert newest.info.status == "FAILED"
    assert "expected its param graphids.digest" in newest.data.tags["graphids.error"]

"""MLflow's system metrics reach the run through its outbox, or not at all, and a run never waits for them."""

import importlib.util
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from graphids._mlflow.system_metrics import system_metrics, wants_system_metrics
from graphids._mlflow.tracked_run import NotSentError, tracked_run
from graphids.commands.sync import sync
from graphids.failure import impatient_requests
from graphids.options import DEFAULT_ROOT_DIR
from graphids.outbox.outbox import Outbox
from support.stores import empty_store
from support.tracking_server import TrackingServer

SWITCH = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
INTERVAL = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"


class Kept:
    """Stands for the outbox's queue."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def append(self, op: str, **fields: Any) -> None:
        self.entries.append({"op": op, **fields})

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + 20
        while len(self.entries) < count and time.monotonic() < until:
            time.sleep(0.01)


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "true")
    monkeypatch.setenv(INTERVAL, "0.05")


@pytest.fixture
def kept() -> Iterator[Kept]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")  # nobody answers there, and nobody is asked
    yield Kept()
    mlflow.set_tracking_uri(before)


def sampler() -> threading.Thread | None:
    return next((thread for thread in threading.enumerate() if thread.name == "graphids-system-metrics"), None)


@pytest.mark.parametrize(
    ("setting", "installed", "wanted"),
    [("", True, True), ("", False, False), ("false", True, False), ("true", False, True)],
)
def test_they_are_on_where_nvidia_ml_py_is_installed_unless_mlflows_own_switch_is_set(
    setting: str, installed: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    if setting:
        monkeypatch.setenv(SWITCH, setting)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: (installed and name == "pynvml") or None)

    assert wants_system_metrics() is wanted


def test_samples_are_logged_by_mlflows_names_one_step_after_the_other(kept: Kept) -> None:
    with system_metrics(Outbox("run", "0", kept)):  # type: ignore[arg-type]
        kept.wait_for(2)

    assert [entry["step"] for entry in kept.entries[:2]] == [0, 1]
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(
        kept.entries[0]["metrics"]
    )


def test_a_resumed_run_is_not_searched_for_each_sample(kept: Kept) -> None:
    outbox = Outbox("run", "0", kept, resumed=True)  # type: ignore[arg-type]
    with impatient_requests(), system_metrics(outbox):
        kept.wait_for(1)

    assert kept.entries[0]["unless_logged"] is False


def test_nothing_is_sampled_once_the_block_is_left_or_where_they_are_off(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox("run", "0", kept)  # type: ignore[arg-type]
    with system_metrics(outbox):
        kept.wait_for(1)
        assert sampler() is not None
    assert sampler() is None

    monkeypatch.setenv(SWITCH, "false")
    with system_metrics(outbox):
        assert sampler() is None


def test_a_counter_that_fails_costs_the_samples_and_not_the_run(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: SystemMetricsMonitor) -> None:
        raise PermissionError("/proc/stat")

    monkeypatch.setattr(SystemMetricsMonitor, "collect_metrics", fail)
    with system_metrics(Outbox("run", "0", kept)):  # type: ignore[arg-type]
        thread = sampler()
        if thread is not None:
            thread.join(20)

    assert "graphids: no more system metrics: PermissionError: /proc/stat\n" in capsys.readouterr().err
    assert kept.entries == []


def test_a_sample_that_hangs_does_not_hold_the_end_of_the_run(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, let_go = threading.Event(), threading.Event()

    def hang(_: SystemMetricsMonitor) -> None:
        hangs.set()
        let_go.wait(30)

    monkeypatch.setattr(SystemMetricsMonitor, "collect_metrics", hang)
    monkeypatch.setattr("graphids._mlflow.system_metrics._JOIN_S", 0.01)
    with system_metrics(Outbox("run", "0", kept)):  # type: ignore[arg-type]
        assert hangs.wait(20)
    left = sampler()  # it hangs on; the block is left all the same
    let_go.set()

    assert left is not None
    left.join(20)
    assert not left.is_alive()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrackingServer]:
    before = mlflow.get_tracking_uri()
    empty_store(tmp_path)
    server = TrackingServer(tmp_path).start()
    mlflow.set_tracking_uri(server.uri)
    monkeypatch.chdir(tmp_path)  # runs keep their outbox below it
    yield server
    server.kill()
    mlflow.set_tracking_uri(before)


def test_while_the_server_is_away_samples_are_kept_and_a_resumed_run_continues_their_count(
    server: TrackingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, log_metrics = threading.Semaphore(0), Outbox.log_metrics

    def log_and_count(*arguments: Any, **named: Any) -> None:
        log_metrics(*arguments, **named)
        samples.release()

    def wait_for_samples(count: int) -> None:
        for _ in range(count):
            assert samples.acquire(timeout=20)

    monkeypatch.setattr(Outbox, "log_metrics", log_and_count)
    with pytest.raises(NotSentError), tracked_run() as outbox:  # noqa: PT012 the run continues while it is away
        wait_for_samples(3)
        server.kill()
        wait_for_samples(3)
    server.start()
    assert sync([], Path(DEFAULT_ROOT_DIR)) == 0
    with tracked_run(run_id=outbox.run_id):
        wait_for_samples(3)

    history = mlflow.MlflowClient(server.uri).get_metric_history(outbox.run_id, "system/cpu_utilization_percentage")
    assert [point.step for point in history] == list(range(len(history)))
    assert len(history) >= 9

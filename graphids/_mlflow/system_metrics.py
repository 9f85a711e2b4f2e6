"""MLflow's system metrics, sent through the outbox like everything else that a run logs."""

import importlib.util
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from graphids.outbox.durable_queue import say
from graphids.outbox.outbox import Outbox

# A sample takes milliseconds; a disk that hangs must not hold the end of a run.
_JOIN_S = 2.0


def wants_system_metrics() -> bool:
    """What `MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING` says; unset, whether nvidia-ml-py (extra `gpu`) is installed."""
    switch: Any = MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
    if switch.is_set():
        return bool(switch.get())
    return importlib.util.find_spec("pynvml") is not None


@contextmanager
def system_metrics(outbox: Outbox) -> Iterator[None]:
    """Sample CPU, memory, disk, network and GPUs in a thread, as `system/...`, while the block runs.

    Why not `mlflow.start_run(log_system_metrics=True)`: its thread queries MLflow before each sample, stops for good at
    the first request that fails, writes to a sqlite store concurrently with the sender, and holds up the end of the run
    for as long as its requests take. What is sampled, how often (`MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL`, 10 s) and
    the names are MLflow's. A resumed run continues the count of the samples that MLflow has (`graphids resume` has sent
    what was left). Nothing that fails here ends the run: it costs a line on standard error.

    Args:
        outbox: Of a run that MLflow knows.
    """
    if not wants_system_metrics():
        yield
        return
    stop = threading.Event()
    sampler = threading.Thread(target=_sample, args=(outbox, stop), name="graphids-system-metrics", daemon=True)
    sampler.start()
    try:
        yield
    finally:
        stop.set()
        sampler.join(_JOIN_S)


class _ToOutbox:
    """Replaces the monitor's own logger."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def record_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # MLflow's monitor begins at the step after the last that the run has.
        self._outbox.log_metrics(metrics, step=step or 0, is_new=True)


def _sample(outbox: Outbox, stop: threading.Event) -> None:
    try:
        # In this thread, because finding the step to continue from is a request to MLflow.
        monitor: Any = SystemMetricsMonitor(outbox.run_id, resume_logging=outbox.resumed)  # type: ignore[no-untyped-call]
        monitor.mlflow_logger = _ToOutbox(outbox)
        while True:
            for _ in range(monitor.samples_before_logging):
                monitor.collect_metrics()
                if stop.wait(monitor.sampling_interval):
                    return
            monitor.publish_metrics(monitor.aggregate_metrics())
    except Exception as error:  # drivers, counters, the local disk: none is worth a training
        say(f"no more system metrics: {type(error).__name__}: {error}")

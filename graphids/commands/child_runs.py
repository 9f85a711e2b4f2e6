"""Child runs: commands of this project in processes of their own, which MLflow shows under the run that started them.

A process each, not a call: a training ends its process after Ctrl-C, starts further processes with its own command line
if there are several devices, and leaves its caches on the GPU, which the next training's drift watch would take for a
leak. The price is one round of imports per child.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from graphids._mlflow.tracked_run import STORE_ERRORS
from graphids.commands.run_folder import CONFIG, FOLDER_TAG
from graphids.commands.sync import sync
from graphids.exit_codes import EXIT_NOT_SENT
from graphids.failure import ERROR_TAG, record_failure
from graphids.options import DEFAULT_ROOT_DIR
from graphids.outbox.durable_queue import say
from graphids.outbox.outbox import find_outboxes
from graphids.signals import set_handler

_NOT_INHERITED = ("MLFLOW_EXPERIMENT_NAME", "PL_GLOBAL_SEED")
_RUNNING, _FINISHED = "RUNNING", "FINISHED"
Launch = Callable[[Sequence[str], Mapping[str, str]], int]


def launch(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run `graphids ARGUMENTS` to its end; returns its exit code, negative if a signal ended it.

    When this process is interrupted, the child gets SIGTERM and has ended before the interruption proceeds; a second
    Ctrl-C kills it.
    """
    # In a group of its own: a terminal sends Ctrl-C to the whole group, and a training stops at once at the second.
    # It keeps the lock of the parent's folder, our only inheritable descriptor (`run_folder.locked`).
    command = [sys.executable, "-m", "graphids", *arguments]
    child = subprocess.Popen(command, env=dict(environ), process_group=0, close_fds=False)
    try:
        return child.wait()
    except BaseException:
        _end(child)
        raise


def _end(child: "subprocess.Popen[bytes]") -> None:
    # `mlflow run` follows up on Ctrl-C with a SIGTERM to this process.
    before = set_handler(signal.SIGTERM, signal.SIG_IGN)
    try:
        child.terminate()
        child.wait()
    except KeyboardInterrupt:
        child.kill()
        child.wait()
    finally:
        set_handler(signal.SIGTERM, before)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended.

    Attributes:
        run_id: Its run; empty if MLflow created none.
        reason: Why it has no metrics; empty if it is FINISHED.
        unsent: It is done, but MLflow does not have all of it yet.
    """

    run_id: str
    reason: str = ""
    unsent: bool = False


class ChildRuns:
    """The runs under one parent, each identified by its tags.

    An interrupted child is resumed as the same run; a FINISHED one is left alone.

    Args:
        parent_run_id: The parent.
        experiment_id: Of the parent and of its children.
        root_dir: Folder of the runs' folders.
        launch: Runs a command with these environment variables; returns its exit code.
    """

    def __init__(self, parent_run_id: str, experiment_id: str, root_dir: Path, launch: Launch = launch) -> None:
        self._client = MlflowClient()
        self._parent_run_id = parent_run_id
        self._experiment_id = experiment_id
        self._root_dir = root_dir
        self._launch = launch

    def send_unsent(self) -> None:
        """Send what children could not log before: only its outbox may know that a child is FINISHED."""
        # `retau` uses the default folder, whatever its source used.
        roots = {self._root_dir, Path(DEFAULT_ROOT_DIR).resolve()}
        folders = [root / run.info.run_id for run in self._all() for root in roots]
        if outboxes := [str(outbox) for folder in folders for outbox in find_outboxes(folder)]:
            sync(outboxes, self._root_dir)

    def run(self, tags: Mapping[str, str], arguments: Sequence[str], *, resumable: bool) -> Outcome:
        """Run the child with these tags to its end.

        Args:
            tags: Identify the child.
            arguments: The command that makes it.
            resumable: Whether `graphids resume` can resume it; else the command is run again, for the same run.
        """
        try:
            run = self._find(tags) or self._create(tags)
            run_id: str = run.info.run_id
            if run.info.status == _FINISHED:
                return Outcome(run_id)
            self._forget_error(run)
        except STORE_ERRORS as error:
            return Outcome("", f"MLflow created no run for it ({' '.join(str(error).split())})")
        if resumable and (FOLDER_TAG in run.data.tags or (self._root_dir / run_id / CONFIG).exists()):
            arguments = self._resume(run_id)
        try:
            code = self._launch(arguments, self._environ(run_id))
        except BaseException:
            self._end_if_running(run_id, "KILLED", "It was interrupted before it began.")
            raise
        if code == 0:
            return Outcome(run_id)
        if code == EXIT_NOT_SENT:
            return Outcome(run_id, "MLflow does not have all of it yet", unsent=True)
        reason = f"signal {-code} ended it" if code < 0 else f"it failed with exit code {code}"
        self._end_if_running(run_id, "FAILED", reason)
        return Outcome(run_id, reason)

    def metrics(self, run_id: str) -> dict[str, float]:
        """The latest value of each metric of a child."""
        metrics: dict[str, float] = self._client.get_run(run_id).data.metrics
        return metrics

    def _all(self) -> list[Run]:
        return list(
            self._client.search_runs(
                [self._experiment_id], f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self._parent_run_id}'", max_results=5000
            )
        )

    def _find(self, tags: Mapping[str, str]) -> Run | None:
        return next((run for run in self._all() if tags.items() <= run.data.tags.items()), None)

    def _create(self, tags: Mapping[str, str]) -> Run:
        # Before its process starts: however early that ends, the run is found again.
        return self._client.create_run(
            self._experiment_id, tags=resolve_tags({MLFLOW_PARENT_RUN_ID: self._parent_run_id, **tags})
        )

    def _forget_error(self, run: Run) -> None:
        if ERROR_TAG in run.data.tags:
            self._client.delete_tag(run.info.run_id, ERROR_TAG)

    def _environ(self, run_id: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        return {
            **inherited,
            "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
            "MLFLOW_EXPERIMENT_ID": self._experiment_id,
            "MLFLOW_RUN_ID": run_id,
        }

    def _resume(self, run_id: str) -> list[str]:
        """The command that resumes a child; it looks for no folder outside of the default one unless told."""
        folder = self._root_dir / run_id
        is_told = folder.is_dir() and self._root_dir != Path(DEFAULT_ROOT_DIR).resolve()
        return ["resume", run_id, *(("--folder", str(folder)) if is_told else ())]

    def _end_if_running(self, run_id: str, status: str, reason: str) -> None:
        """Record the end of a child that could not do so itself: it was killed, or failed before its run began."""
        try:
            run = self._client.get_run(run_id)
            if run.info.status == _RUNNING:
                if ERROR_TAG not in run.data.tags:
                    record_failure(run_id, reason)
                self._client.set_terminated(run_id, status)
        except STORE_ERRORS as error:
            say(f"run {run_id}: its status {status} could not be recorded in MLflow: {' '.join(str(error).split())}")

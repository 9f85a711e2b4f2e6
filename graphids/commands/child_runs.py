"""Child runs: commands of this project in processes of their own, which MLflow shows under the run that asked for them.

A process each, not a call: a training ends its process after Ctrl-C, starts other processes by its own command line
where there are several devices, and leaves its caches on the card, which the next one's drift watch would take for a
leak. What it costs: the imports, once per child.
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

from graphids._mlflow.tracked_run import DEFAULT_ROOT_DIR, STORE_ERRORS
from graphids.commands.resume import CONFIG, FOLDER_TAG
from graphids.commands.sync import sync
from graphids.failure import record_failure
from graphids.outbox.durable_queue import say
from graphids.outbox.outbox import EXIT_NOT_SENT, find_outboxes

_PARENTS_OWN = ("MLFLOW_EXPERIMENT_NAME", "PL_GLOBAL_SEED")
_RUNNING, _FINISHED = "RUNNING", "FINISHED"
Launch = Callable[[Sequence[str], Mapping[str, str]], int]


def launch(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run `graphids WORDS` to its end; returns its exit code, negative where a signal ended it.

    When this process is interrupted the child is asked to end by SIGTERM and has ended before the interruption goes on;
    a second Ctrl-C kills it.
    """
    # Of a group of its own: Ctrl-C in a terminal goes to a whole group, and a training stops at once at the second.
    # It keeps the lock of the parent's folder, the one descriptor of ours that is inheritable (`resume.run_folder`).
    command = [sys.executable, "-m", "graphids", *words]
    child = subprocess.Popen(command, env=dict(environ), process_group=0, close_fds=False)
    try:
        return child.wait()
    except BaseException:
        _end(child)
        raise


def _end(child: "subprocess.Popen[bytes]") -> None:
    # `mlflow run` follows up on Ctrl-C with a SIGTERM to this process.
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        child.terminate()
        child.wait()
    except KeyboardInterrupt:
        child.kill()
        child.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended.

    Attributes:
        run_id: Its run; empty where MLflow gave none.
        reason: Why it has no figures; empty where it is FINISHED.
        unsent: It is done, but MLflow does not have all of it.
    """

    run_id: str
    reason: str = ""
    unsent: bool = False


class ChildRuns:
    """The runs under one parent, each known by tags that no two of them share.

    A child that was interrupted goes on as the same run; one that is FINISHED is left alone.

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

    def send_what_is_left(self) -> None:
        """Send what children could not tell MLflow before: that a child is FINISHED may stand in its outbox alone."""
        # `retau` does not ask where its source keeps its folder.
        roots = {self._root_dir, Path(DEFAULT_ROOT_DIR).resolve()}
        folders = [root / run.info.run_id for run in self._all() for root in roots]
        if outboxes := [str(outbox) for folder in folders for outbox in find_outboxes(folder)]:
            sync(outboxes, self._root_dir)

    def run(self, tags: Mapping[str, str], words: Sequence[str], *, resumable: bool) -> Outcome:
        """Bring the child with these tags to its end.

        Args:
            tags: Which child it is.
            words: Command that makes it.
            resumable: Whether `graphids resume` can go on with it; else the command is given again, for the same run.
        """
        try:
            run = self._find(tags) or self._create(tags)
            run_id: str = run.info.run_id
            if run.info.status == _FINISHED:
                return Outcome(run_id)
            self._forget_error(run)
        except STORE_ERRORS as error:
            return Outcome("", f"MLflow gave it no run ({' '.join(str(error).split())})")
        if resumable and (FOLDER_TAG in run.data.tags or (self._root_dir / run_id / CONFIG).exists()):
            words = ["resume", run_id]
        try:
            code = self._launch(words, self._environ(run_id))
        except BaseException:
            self._end_if_running(run_id, "KILLED", "It was interrupted before it had begun.")
            raise
        if code == 0:
            return Outcome(run_id)
        if code == EXIT_NOT_SENT:
            return Outcome(run_id, "MLflow does not have all of it yet", unsent=True)
        reason = f"signal {-code} ended it" if code < 0 else f"it failed with exit code {code}"
        self._end_if_running(run_id, "FAILED", reason)
        return Outcome(run_id, reason)

    def metrics(self, run_id: str) -> dict[str, float]:
        """The last value of each metric of a child."""
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
        # Before the process: it can be found again, however early the process ends.
        return self._client.create_run(
            self._experiment_id, tags=resolve_tags({MLFLOW_PARENT_RUN_ID: self._parent_run_id, **tags})
        )

    def _forget_error(self, run: Run) -> None:
        if "graphids.error" in run.data.tags:
            self._client.delete_tag(run.info.run_id, "graphids.error")

    def _environ(self, run_id: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _PARENTS_OWN}
        return {
            **inherited,
            "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
            "MLFLOW_EXPERIMENT_ID": self._experiment_id,
            "MLFLOW_RUN_ID": run_id,
        }

    def _end_if_running(self, run_id: str, status: str, reason: str) -> None:
        """Say how a child ended that could not say so: it was killed, or wrong before its run had begun."""
        try:
            run = self._client.get_run(run_id)
            if run.info.status == _RUNNING:
                if "graphids.error" not in run.data.tags:
                    record_failure(run_id, reason)
                self._client.set_terminated(run_id, status)
        except STORE_ERRORS as error:
            say(f"run {run_id}: MLflow could not be told that it is {status}: {' '.join(str(error).split())}")

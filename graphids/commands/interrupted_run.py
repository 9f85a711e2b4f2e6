"""An interrupted run, found again: its configuration, its checkpoint, and what MLflow has not been told yet."""

import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from graphids._fs import make_private_folder, read_digested, require_own_folder
from graphids._mlflow.run_outbox import open_queue
from graphids._mlflow.tracked_run import STORE_ERRORS, no_run
from graphids.commands.config import parse_config
from graphids.commands.processes import settle_rank
from graphids.commands.resume_point import find_checkpoint
from graphids.commands.resumed_config import require_own_names
from graphids.commands.run_folder import CHECKPOINTS, CONFIG, DATASET_TAG, FOLDER_TAG, PLAN, locked
from graphids.failure import ERROR_TAG, impatient_requests, record_failure
from graphids.options import DEFAULT_ROOT_DIR, OptionError
from graphids.outbox.durable_queue import JOURNAL, quiet_store
from graphids.outbox.outbox import FOLDER
from graphids.secrets import without_secrets

_MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class InterruptedRun:
    """State needed to resume.

    Attributes:
        run_id: The MLflow run, not finished.
        folder: The run's own folder, named after its id; it may be gone.
        config: Effective configuration.
        checkpoint: The intact one that is furthest along; None if the fit has to start from the beginning.
        dataset_digest: Of the captures that the run has read; None if it did not get that far.
    """

    run_id: str
    folder: Path
    config: dict[str, Any]
    checkpoint: Path | None
    dataset_digest: str | None


@contextmanager
def interrupted_run(run_id: str, folder: Path | None = None) -> Iterator[InterruptedRun]:
    """What is left of a run, after sending MLflow what it could not be told before; held against other processes.

    Until the block ends: a second process that finds it as interrupted would resume it too, or end it as failed.

    Args:
        run_id: MLflow run id.
        folder: The run's folder, if it was moved or is outside of the folder of runs; None takes the one that it names.

    Raises:
        OptionError: If MLflow does not answer or still lacks the run's end; if the run is unknown, deleted, finished or
            at work in another process; or if its configuration cannot be found.
    """
    with ExitStack() as held:
        try:
            with impatient_requests(), quiet_store():
                run = _found(run_id, folder, held)
        except OptionError as error:
            # `mlflow run -e resume` has a run of its own, which shows the reason; cli records what fails before this.
            surrounding = os.environ.get("MLFLOW_RUN_ID")
            if surrounding not in (None, run_id):
                record_failure(surrounding, str(error))
            raise
        yield run


def attach_to(run: InterruptedRun) -> None:
    """Make `run` the one that this process works on.

    `mlflow run -e resume` has created a run of its own around this one: that one is told which run it resumed, as an
    artifact too, since MLflow's compare page fails on runs without any.
    """
    surrounding = os.environ.get("MLFLOW_RUN_ID")
    os.environ["MLFLOW_RUN_ID"] = run.run_id
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return
    try:
        with impatient_requests(), quiet_store():
            _record_what_is_resumed(run.run_id, surrounding)
    except STORE_ERRORS as error:
        raise no_run(error) from None


def _record_what_is_resumed(run_id: str, surrounding: str | None) -> None:
    client = MlflowClient()
    if surrounding not in (None, run_id):
        note = f"Resumed run {run_id}; metrics and model are there."
        client.set_tag(surrounding, "graphids.resumed_run", run_id)
        client.set_tag(surrounding, "mlflow.note.content", note)
        client.log_text(surrounding, f"{note}\n", "summary.txt")
    # The run has not failed any more; error.txt stays as its history.
    if ERROR_TAG in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, ERROR_TAG)


def _found(run_id: str, folder: Path | None, held: ExitStack) -> InterruptedRun:
    folder = _folder(_active(run_id), folder)
    config = _config(run_id, folder)
    settle_rank(None if PLAN in config else config)
    # The other ranks start while rank 0 holds the folder, and nothing may be settled while a process saves there.
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        if not folder.is_dir():
            _unfinished(run_id)
            make_private_folder(folder)
        held.enter_context(locked(folder))
        _send_what_is_unsent(run_id, folder)
    run = _unfinished(run_id)
    checkpoint = find_checkpoint(folder / CHECKPOINTS)
    if PLAN in config:
        rank_zero_info(f"Sweep {run_id} resumes with the runs that are not finished.")
    elif checkpoint is None:
        rank_zero_warn(f"{folder}: no checkpoint of run {run_id} can be loaded; the fit starts from the beginning.")
    else:
        rank_zero_info(f"Run {run_id} resumes from {checkpoint}.")
    return InterruptedRun(run_id, folder, config, checkpoint, run.data.tags.get(DATASET_TAG))


def _unfinished(run_id: str) -> Run:
    run = _active(run_id)
    if run.info.status == "FINISHED":
        raise OptionError(
            f"RUN_ID: run {run_id} is FINISHED, expected one that was interrupted (RUNNING, KILLED or FAILED). "
            "To repeat it, pass its config.json to `graphids train --config`."
        )
    return run


def _active(run_id: str) -> Run:
    try:
        run = MlflowClient().get_run(run_id)
    except STORE_ERRORS as error:
        if not isinstance(error, MlflowException) or error.get_http_status_code() >= 500:  # type: ignore[no-untyped-call]
            raise no_run(error) from None
        raise OptionError(
            without_secrets(
                f"RUN_ID: given {run_id!r}; expected a run that was interrupted, in {mlflow.get_tracking_uri()} "
                f"({error})."
            )
        ) from None
    if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
        raise OptionError(f"RUN_ID: run {run_id} is deleted; restore it with `mlflow runs restore --run-id {run_id}`.")
    return run


def _folder(run: Run, given: Path | None) -> Path:
    run_id: str = run.info.run_id
    if given is not None and (given.resolve().name != run_id or not given.is_dir()):
        raise OptionError(
            f"--folder: given {str(given)!r}, expected an existing folder named after the run's id, {run_id}."
        )
    if given is None:
        given = _tagged_folder(run)
    if given.is_dir():
        require_own_folder(given.resolve())
    return given.resolve()


def _tagged_folder(run: Run) -> Path:
    """The run's folder in the folder of runs, where its tag says; a tag is no reason to leave that folder.

    Whoever may write to the run sets its tags, and what lies in the folder is loaded, run and sent.
    """
    run_id: str = run.info.run_id
    root = Path(DEFAULT_ROOT_DIR).resolve()
    own = root / run_id
    tagged = Path(run.data.tags.get(FOLDER_TAG, own)).resolve()
    if tagged.name == run_id and tagged.is_relative_to(root):
        return tagged
    if own.is_dir() and not own.is_symlink():
        return own
    for folder in (own.resolve(), tagged):
        if folder.is_dir():
            raise OptionError(
                f"RUN_ID: the folder of run {run_id} is said to be {folder}, outside of {root}; whoever may write to "
                f"the run could say so. If it is yours: graphids resume {run_id} --folder {shlex.quote(str(folder))}"
            )
    return own


def _send_what_is_unsent(run_id: str, folder: Path) -> None:
    """Only its outbox may know how the run ended; sent later, that would become the resumed run's status.

    What MLflow refuses, or what is damaged, is reported and holds nothing up: it would never be sent.
    """
    outbox = folder / FOLDER
    if not (outbox / JOURNAL).exists():
        return
    queue = open_queue(run_id, folder.parent)
    queue.close()
    if any(entry["op"] == "end" for entry in queue.waiting()):
        raise OptionError(
            f"{outbox}: MLflow still lacks how run {run_id} ended. Run `graphids sync {outbox}` first, then resume."
        )


def _config(run_id: str, folder: Path) -> dict[str, Any]:
    """From the run's folder, or from its artifacts if the folder is gone."""
    local = folder / CONFIG
    try:
        if os.path.lexists(local):
            text = bytes(read_digested(local, max_bytes=_MAX_CONFIG_BYTES)[0]).decode(errors="replace")
        else:
            text = mlflow.artifacts.load_text(f"runs:/{run_id}/{CONFIG}")
    except (OSError, MlflowException) as error:
        raise OptionError(
            f"{local}: the configuration of run {run_id} is neither there nor among its artifacts ({error}). "
            "Name the run's folder with --folder, or train anew."
        ) from None
    config = parse_config(text, str(local))
    require_own_names(config, str(local))
    return config

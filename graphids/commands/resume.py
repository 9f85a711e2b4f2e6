"""Going on with a run that was interrupted: which one, from which checkpoint, with which configuration."""

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from graphids._fs import IntegrityError, atomic_load, publish_bytes, settle
from graphids._mlflow.run_outbox import open_queue
from graphids._mlflow.tracked_run import STORE_ERRORS, no_run
from graphids.commands.config import parse_config
from graphids.core.callbacks import tau_norm_record
from graphids.failure import impatient_requests, record_failure, without_passwords
from graphids.options import OptionError
from graphids.outbox.durable_queue import JOURNAL, quiet_store
from graphids.outbox.outbox import FOLDER

CONFIG = "config.json"  # the effective configuration, in the run's folder and among its artifacts
FOLDER_TAG = "graphids.folder"
DATASET_TAG = "graphids.dataset_digest"
PLAN = "sweep"  # key of a sweep's plan in its config.json, beside what its trainings have in common
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class InterruptedRun:
    """What going on takes.

    Attributes:
        run_id: The MLflow run, not finished.
        folder: The run's own folder, named by its id; it may be gone.
        config: Effective configuration.
        checkpoint: The one that is furthest along and whole; None where the fit has to begin again.
        dataset_digest: Of the captures that the run has read; None if it had not got that far.
    """

    run_id: str
    folder: Path
    config: dict[str, Any]
    checkpoint: Path | None
    dataset_digest: str | None


def interrupted_run(run_id: str, folder: Path | None = None) -> InterruptedRun:
    """Find what is left of a run; what it could not tell MLflow is sent first.

    Args:
        run_id: MLflow run id.
        folder: The run's folder, where it was moved; None takes the one that the run names.

    Raises:
        OptionError: If MLflow does not answer or still lacks the run's end; if the run is unknown, deleted, finished or
            at work in another process, or its configuration is nowhere to be found.
    """
    try:
        with impatient_requests(), quiet_store():
            return _found(run_id, folder)
    except OptionError as error:
        # `mlflow run -e resume` shows a run of its own; the command line only records what fails before this.
        surrounding = os.environ.get("MLFLOW_RUN_ID")
        if surrounding not in (None, run_id):
            record_failure(surrounding, str(error))
        raise


def find_checkpoint(folder: Path) -> Path | None:
    """The checkpoint in `folder` that is furthest along, of those that verify; None if there is none.

    What a kill has left of a save is put in order first (by rank 0). A checkpoint that does not verify or cannot be
    resumed from is named in a warning, and the next one is taken. Where several are equally far, one whose head is
    as trained comes before one that is tau-normalized, and the last before the best: Lightning never removes the
    checkpoint that a fit was resumed from.
    """
    if not folder.is_dir():
        return None
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        settle(folder)
    progress: dict[Path, tuple[int, int, bool, bool]] = {}
    for path in sorted(folder.glob("*.ckpt")):
        try:
            checkpoint = atomic_load(path)
            epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
            steps = checkpoint["global_step"]
            if "optimizer_states" not in checkpoint:
                raise KeyError("optimizer_states")
            if not isinstance(steps, int) or not isinstance(epochs, int):
                raise ValueError(f"its progress is {steps!r} steps and {epochs!r} epochs, expected whole numbers")
            is_raw, is_last = tau_norm_record(checkpoint) is None, path.stem == ModelCheckpoint.CHECKPOINT_NAME_LAST
            progress[path] = (steps, epochs, is_raw, is_last)
        except (IntegrityError, OSError, ValueError, RuntimeError) as error:
            rank_zero_warn(f"{path} is passed over: {error}")
        except (KeyError, TypeError) as error:
            rank_zero_warn(f"{path} is passed over: it lacks {error}, expected a checkpoint of a whole trainer.")
    return max(progress, key=progress.__getitem__, default=None)


@contextmanager
def run_folder(config: Mapping[str, Any], run_id: str) -> Iterator[Path]:
    """The run's own folder, held by this process alone, with the effective configuration in it.

    Raises:
        OptionError: If another process is training in it.
    """
    folder = Path(config["trainer"]["default_root_dir"]).resolve() / run_id
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder):
        publish_bytes(folder / CONFIG, json.dumps(config, indent=2).encode())
        try:
            yield folder
        except BaseException:
            print(f"graphids: the run can be resumed: graphids resume {run_id}", file=sys.stderr)
            raise


def continue_as(run: InterruptedRun) -> None:
    """Make `run` the one that this process works on.

    `mlflow run -e resume` has made a run of its own around this one: it is told which run it went on with, as text
    too, since MLflow's compare page fails on runs without an artifact.
    """
    surrounding = os.environ.get("MLFLOW_RUN_ID")
    os.environ["MLFLOW_RUN_ID"] = run.run_id
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        return
    try:
        with impatient_requests(), quiet_store():
            _say_what_is_resumed(run.run_id, surrounding)
    except STORE_ERRORS as error:
        raise no_run(error) from None


def _say_what_is_resumed(run_id: str, surrounding: str | None) -> None:
    client = MlflowClient()
    if surrounding not in (None, run_id):
        note = f"Resumed run {run_id}; metrics and model are there."
        client.set_tag(surrounding, "graphids.resumed_run", run_id)
        client.set_tag(surrounding, "mlflow.note.content", note)
        client.log_text(surrounding, f"{note}\n", "summary.txt")
    # What ended the run before no longer does; error.txt stays as its history.
    if "graphids.error" in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, "graphids.error")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    # The lock goes with the process, also after a kill; the file stays.
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    # Child runs hold it too: a sweep that was killed is at work for as long as a child of it is.
    os.set_inheritable(descriptor, True)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OptionError(f"{folder}: another process is at work on this run; wait for it, or end it.") from None
        yield
    finally:
        os.close(descriptor)


def _found(run_id: str, folder: Path | None) -> InterruptedRun:
    folder = _folder(_active(run_id), folder)
    # Other ranks come when rank 0 holds the folder; a process that saves in it must not have it settled.
    is_first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    with _held(folder) if folder.is_dir() and is_first else nullcontext():
        if is_first:
            _send_what_is_left(run_id, folder)
        run = _active(run_id)
        if run.info.status == "FINISHED":
            raise OptionError(
                f"RUN_ID: run {run_id} is FINISHED, expected one that was interrupted (RUNNING, KILLED or FAILED). "
                "To repeat it, pass its config.json to `graphids train --config`."
            )
        config = _config(run_id, folder)
        checkpoint = find_checkpoint(folder / "checkpoints")
    if PLAN in config:
        rank_zero_info(f"Sweep {run_id} goes on with the runs that are not finished.")
    elif checkpoint is None:
        rank_zero_warn(f"{folder}: no checkpoint of run {run_id} can be loaded; the fit starts from the beginning.")
    else:
        rank_zero_info(f"Run {run_id} goes on from {checkpoint}.")
    return InterruptedRun(run_id, folder, config, checkpoint, run.data.tags.get(DATASET_TAG))


def _active(run_id: str) -> Run:
    try:
        run = MlflowClient().get_run(run_id)
    except STORE_ERRORS as error:
        if not isinstance(error, MlflowException) or error.get_http_status_code() >= 500:  # type: ignore[no-untyped-call]
            raise no_run(error) from None
        raise OptionError(
            without_passwords(
                f"RUN_ID: given {run_id!r}; expected a run that was interrupted, in {mlflow.get_tracking_uri()} "
                f"({error})."
            )
        ) from None
    if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
        raise OptionError(f"RUN_ID: run {run_id} is deleted; `mlflow runs restore --run-id {run_id}` brings it back.")
    return run


def _folder(run: Run, given: Path | None) -> Path:
    run_id: str = run.info.run_id
    if given is not None and (given.resolve().name != run_id or not given.is_dir()):
        raise OptionError(
            f"--folder: given {str(given)!r}, expected an existing folder that is named by the run's id, {run_id}."
        )
    return (given or Path(run.data.tags.get(FOLDER_TAG, Path("graphids_runs") / run_id))).resolve()


def _send_what_is_left(run_id: str, folder: Path) -> None:
    """How the run ended may stand in its outbox alone; sent later, that would become the resumed run's status.

    What MLflow refuses, or is damaged, is spoken of and holds nothing up: it would never be sent.
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
    """From the run's folder; from its artifacts where the folder is gone."""
    local = folder / CONFIG
    try:
        text = local.read_text() if local.exists() else mlflow.artifacts.load_text(f"runs:/{run_id}/{CONFIG}")
    except (OSError, MlflowException) as error:
        raise OptionError(
            f"{local}: the configuration of run {run_id} is neither there nor among its artifacts ({error}). "
            "Say where the run's folder lies by --folder, or train anew."
        ) from None
    return parse_config(text, str(local))

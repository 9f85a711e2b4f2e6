"""The MLflow run of this process: how it begins and how it ends."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import fluent
from sqlalchemy.exc import SQLAlchemyError

from graphids._mlflow.run_outbox import open_outbox
from graphids._mlflow.saved_view import experiment_tags
from graphids._mlflow.system_metrics import system_metrics
from graphids.exit_codes import EXIT_NOT_SENT, EXIT_TERMINATED
from graphids.failure import error_tags, impatient_requests, refusal_name
from graphids.options import DEFAULT_ROOT_DIR, OptionError
from graphids.outbox.durable_queue import quiet_store
from graphids.outbox.outbox import Outbox
from graphids.secrets import without_secrets
from graphids.signals import set_handler
from graphids.workspace import workspace_experiment

# What MLflow raises where its server or its database does not answer, or refuses.
STORE_ERRORS = (MlflowException, OSError, SQLAlchemyError)
_RUN_ID_OF_RANK_ZERO = "GRAPHIDS_RUN_ID"


class NotSentError(SystemExit):
    """The work is done, but MLflow does not have everything yet; `graphids sync` sends the rest."""

    def __init__(self) -> None:
        super().__init__(EXIT_NOT_SENT)


class Terminated(SystemExit):
    """SIGTERM arrived; exits with the code that shells and job schedulers expect."""

    def __init__(self) -> None:
        super().__init__(EXIT_TERMINATED)


@contextmanager
def tracked_run(root_dir: str | Path = DEFAULT_ROOT_DIR, *, run_id: str | None = None) -> Iterator[Outbox]:
    """This process's MLflow run, by way of its outbox: the one that `mlflow run` prepared (MLFLOW_RUN_ID) or a new one.

    It ends FINISHED; KILLED after Ctrl-C or SIGTERM; FAILED after anything else, with the reason as a tag; unless the
    training callback has ended it already. Of the processes that Lightning starts for one run, only the first has the
    run; the others know its id.

    Args:
        root_dir: The outbox is in `<root_dir>/<run id>/outbox` until MLflow has everything.
        run_id: An earlier run to continue.

    Raises:
        OptionError: If MLflow gives no run, MLFLOW_RUN_ID names one that is FINISHED, or one is active already.
        NotSentError: If the work is done but MLflow does not have everything yet.
    """
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        yield Outbox(os.environ.get(_RUN_ID_OF_RANK_ZERO, "other-ranks"))
        return
    with impatient_requests(), quiet_store():
        outbox = open_outbox(_start_run(run_id), Path(root_dir))
        before = signal.getsignal(signal.SIGTERM)
        try:  # from here on, whatever happens ends the run
            set_handler(signal.SIGTERM, _raise_terminated)
            os.environ[_RUN_ID_OF_RANK_ZERO] = outbox.run_id
            outbox.set_experiment_tags(experiment_tags(outbox.experiment_id))
            with system_metrics(outbox):
                yield outbox
            outbox.set_terminated("FINISHED")
            outbox.flush()
        except BaseException as error:
            _end_early(outbox, error)
            if isinstance(error, SIGTERMException):
                raise Terminated from None
            raise
        else:
            if not outbox.close():
                raise NotSentError
        finally:
            os.environ.pop(_RUN_ID_OF_RANK_ZERO, None)
            set_handler(signal.SIGTERM, before)
            _leave_active_run()


def _start_run(run_id: str | None) -> mlflow.ActiveRun:
    if (active := mlflow.active_run()) is not None:
        raise OptionError(
            f"MLflow run {active.info.run_id} is active in this thread, expected none: this command begins a run of "
            "its own. End it with mlflow.end_run()."
        )
    try:
        if run_id is None:
            _require_unfinished(os.environ.get("MLFLOW_RUN_ID"))
        try:
            return _begin(run_id)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
            # Several processes created the experiment at once; it exists now.
            return _begin(run_id)
    except STORE_ERRORS as error:
        raise no_run(error) from None


def _begin(run_id: str | None) -> mlflow.ActiveRun:
    experiment_id = None
    if run_id is None and "MLFLOW_RUN_ID" not in os.environ:
        experiment_id = workspace_experiment(fluent._get_experiment_id())
    # Our system metrics go through the outbox.
    return mlflow.start_run(run_id=run_id, experiment_id=experiment_id, log_system_metrics=False)


def _require_unfinished(run_id: str | None) -> None:
    """MLflow itself would resume any run: its metrics, model and summary would be replaced by this process's."""
    if run_id and mlflow.MlflowClient().get_run(run_id).info.status == "FINISHED":
        raise OptionError(
            f"MLFLOW_RUN_ID: run {run_id} is FINISHED, expected one that has not ended: what it logged would be "
            "overwritten. Unset the variable to log to a new run."
        )


def no_run(error: BaseException) -> OptionError:
    """The error where the store gives no run."""
    return OptionError(
        without_secrets(
            f"MLflow at {mlflow.get_tracking_uri()} gives no run ({error}). Nothing was done. "
            "Expected a store that answers: start it, or name another in MLFLOW_TRACKING_URI."
        )
    )


def _end_early(outbox: Outbox, error: BaseException) -> None:
    """End the run after an error; a second error, as from a full disk, must not hide the first."""
    # After Ctrl-C `mlflow run` also sends SIGTERM to this process, which is ending already: it would cut sending short.
    set_handler(signal.SIGTERM, signal.SIG_IGN)
    try:
        if isinstance(error, Exception):
            message = f"{type(error).__name__}: {error}"
            outbox.set_tags(error_tags(message))
            if isinstance(error, OptionError):
                outbox.name_run(refusal_name(str(error)))
        if not outbox.status or isinstance(error, Exception):
            outbox.set_terminated(status_after(error))
        if isinstance(error, Exception):
            outbox.log_text(message, "error.txt")  # last: a full disk may still take a line
    except OSError as second:
        print(f"graphids: not all of why the run failed could be recorded: {second}", file=sys.stderr)
    outbox.close()


def _leave_active_run() -> None:
    """Take the run off MLflow's stack: `mlflow.end_run` would wait for the store, and the outbox ends the run."""
    stack = fluent._active_run_stack.get()  # type: ignore[no-untyped-call]
    if stack:
        stack.pop()


def status_after(error: BaseException) -> str:
    """The status of a run that ended with an error."""
    return "KILLED" if isinstance(error, KeyboardInterrupt | SIGTERMException | Terminated) else "FAILED"


def _raise_terminated(*_signal_and_frame: object) -> None:
    # Lightning's handler calls this one too, and stops at the end of a step, not within it. It is installed after data
    # are read and the fit is set up; until then SIGTERM is ours.
    if signal.getsignal(signal.SIGTERM) is not _raise_terminated:
        return
    print("graphids: SIGTERM; the run ends as KILLED", file=sys.stderr)
    raise Terminated

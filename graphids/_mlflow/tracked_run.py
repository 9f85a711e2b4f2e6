"""The MLflow run of this process: how it begins, what it is told through, how it ends."""

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
from mlflow.utils import name_utils
from sqlalchemy.exc import SQLAlchemyError

from graphids._mlflow.saved_view import experiment_tags
from graphids._mlflow.system_metrics import system_metrics
from graphids.failure import error_tags, impatient_requests, without_passwords
from graphids.options import OptionError
from graphids.outbox.durable_queue import DurableQueue, quiet_store
from graphids.outbox.outbox import EXIT_NOT_SENT, FOLDER, Outbox

DEFAULT_ROOT_DIR = "graphids_runs"
# What MLflow raises where its server or its database does not answer, or answers no.
STORE_ERRORS = (MlflowException, OSError, SQLAlchemyError)
_LOCK_WAIT_S = 30.0  # for a `graphids sync` that is at work when a run is resumed
_RUN_ID_OF_RANK_ZERO = "GRAPHIDS_RUN_ID"


class NotSentError(SystemExit):
    """The work is done, but MLflow does not have everything yet; `graphids sync` sends the rest."""

    def __init__(self) -> None:
        super().__init__(EXIT_NOT_SENT)


class Terminated(SystemExit):
    """SIGTERM arrived; leaves with the code that a shell and a job scheduler expect of it."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def tracked_run(root_dir: str | Path = DEFAULT_ROOT_DIR, *, run_id: str | None = None) -> Iterator[Outbox]:
    """This process's MLflow run, told through its outbox: what `mlflow run` prepared (MLFLOW_RUN_ID), else a new one.

    It ends FINISHED; KILLED after Ctrl-C or SIGTERM; FAILED after anything else, with the reason beside it; unless the
    training callback has ended it already. Of the processes that Lightning starts for one run, the first alone has
    the run, the others only its id.

    Args:
        root_dir: The outbox lies in `<root_dir>/<run id>/outbox` until MLflow has everything.
        run_id: An earlier run to continue.

    Raises:
        OptionError: If MLflow gives no run, or MLFLOW_RUN_ID names one that is FINISHED.
        NotSentError: If the work is done but MLflow does not have everything yet.
    """
    if rank_zero_only.rank:  # type: ignore[attr-defined]
        yield Outbox(os.environ.get(_RUN_ID_OF_RANK_ZERO, "other-ranks"))
        return
    with impatient_requests(), quiet_store():
        outbox = open_outbox(_start_run(run_id), Path(root_dir))
        outbox.set_experiment_tags(experiment_tags(outbox.experiment_id))
        os.environ[_RUN_ID_OF_RANK_ZERO] = outbox.run_id
        before = signal.signal(signal.SIGTERM, _raise_terminated)
        try:
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
            signal.signal(signal.SIGTERM, before)
            _leave_active_run()


def _start_run(run_id: str | None) -> mlflow.ActiveRun:
    try:
        if run_id is None:
            _require_unfinished(os.environ.get("MLFLOW_RUN_ID"))
        try:
            return mlflow.start_run(run_id=run_id, log_system_metrics=False)  # ours go through the outbox
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
            # Several runs were the first of an experiment and made it at once; it is there now.
            return mlflow.start_run(run_id=run_id, log_system_metrics=False)
    except STORE_ERRORS as error:
        raise no_run(error) from None


def _require_unfinished(run_id: str | None) -> None:
    """MLflow itself takes up any run again: its figures, model and words would be replaced by this process's."""
    if run_id and mlflow.MlflowClient().get_run(run_id).info.status == "FINISHED":
        raise OptionError(
            f"MLFLOW_RUN_ID: run {run_id} is FINISHED, expected one that has not ended: what it logged would be "
            "overwritten. Unset the variable to log to a new run."
        )


def no_run(error: BaseException) -> OptionError:
    """What to say where the store gives no run."""
    return OptionError(
        without_passwords(
            f"MLflow at {mlflow.get_tracking_uri()} gives no run ({error}). Nothing was done. "
            "Expected a store that answers: start it, or name another in MLFLOW_TRACKING_URI."
        )
    )


def open_queue(run_id: str, root_dir: Path) -> DurableQueue:
    """A run's entries for the store in use, in `<root_dir>/<run id>/outbox`; what was left there is sent first."""
    fields = {"run_id": run_id, "tracking_uri": _absolute(mlflow.get_tracking_uri())}
    return DurableQueue(root_dir.absolute() / run_id / FOLDER, fields, wait_s=_LOCK_WAIT_S)


def open_outbox(run: mlflow.ActiveRun, root_dir: Path) -> Outbox:
    """Outbox of an active run, over `open_queue`."""
    run_id: str = run.info.run_id
    try:
        queue = open_queue(run_id, root_dir)
    except BaseException:
        mlflow.end_run("FAILED")
        raise
    return Outbox(
        run_id,
        run.info.experiment_id,
        queue,
        resumed=queue.continued or bool(run.data.metrics),
        named=not _is_random(run.info.run_name),
    )


def _is_random(name: str | None) -> bool:
    """Whether MLflow made this name up, "spiffy-goose-417": it does where nobody gives one, and tells no more of it."""
    # Private: where they are gone, every name counts as someone's, and stays.
    predicates, nouns = (getattr(name_utils, f"_GENERATOR_{words}", ()) for words in ("PREDICATES", "NOUNS"))
    parts = (name or "").split("-")
    if len(parts) != 3:
        return False
    predicate, noun, number = parts
    known = predicate in map(str.lower, predicates) and noun in map(str.lower, nouns)
    return known and number.isdecimal() and len(number) <= 4


def _end_early(outbox: Outbox, error: BaseException) -> None:
    """End the run after an error; a second error, of a disk that is full, must not hide the first."""
    # `mlflow run` answers Ctrl-C with a SIGTERM to this process, which is ending already: that would cut sending short.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        if isinstance(error, Exception):
            message = f"{type(error).__name__}: {error}"
            outbox.set_tags(error_tags(message))
        if not outbox.status or isinstance(error, Exception):
            outbox.set_terminated(status_after(error))
        if isinstance(error, Exception):
            outbox.log_text(message, "error.txt")  # last: a disk that is full may still take a line
    except OSError as second:
        print(f"graphids: the run could not be told all of why it failed: {second}", file=sys.stderr)
    outbox.close()


def _leave_active_run() -> None:
    """Take the run off MLflow's stack: `mlflow.end_run` would wait for the store, and the outbox has the end."""
    stack = fluent._active_run_stack.get()  # type: ignore[no-untyped-call]
    if stack:
        stack.pop()


def status_after(error: BaseException) -> str:
    """The status of a run that an error ended."""
    return "KILLED" if isinstance(error, KeyboardInterrupt | SIGTERMException | Terminated) else "FAILED"


def _raise_terminated(*_signal_and_frame: object) -> None:
    # Lightning has its own handler call this one too: it stops at the end of a step, not within it. It puts its handler
    # up when data are read and the fit is set up; until then SIGTERM is ours.
    if signal.getsignal(signal.SIGTERM) is not _raise_terminated:
        return
    print("graphids: SIGTERM; the run ends as KILLED", file=sys.stderr)
    raise Terminated


def _absolute(tracking_uri: str) -> str:
    """A sqlite URI that means the same file in any working directory."""
    scheme, _, path = tracking_uri.partition(":///")
    return f"sqlite:///{Path(path).absolute()}" if scheme == "sqlite" else tracking_uri

"""The run that the caller has begun: logged to, and left as it is otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow

from graphids._mlflow.run_outbox import open_queue
from graphids.failure import impatient_requests
from graphids.options import DEFAULT_ROOT_DIR
from graphids.outbox.durable_queue import quiet_store
from graphids.outbox.outbox import Outbox


@contextmanager
def outbox_of(run: mlflow.ActiveRun, root_dir: str | Path = DEFAULT_ROOT_DIR) -> Iterator[Outbox]:
    """Outbox of a run that someone else ends: its name, status and description stay theirs.

    What MLflow does not take within a few seconds is kept in `root_dir`, for `graphids sync`; standard error says so.
    """
    run_id: str = run.info.run_id
    with impatient_requests(), quiet_store():
        outbox = Outbox(run_id, run.info.experiment_id, open_queue(run_id, Path(root_dir)))
        try:
            yield outbox
            outbox.flush()
        finally:
            outbox.close()

"""The outbox of a run: where its entries are kept until MLflow has them."""

from pathlib import Path

import mlflow

from graphids.failure import is_random_name
from graphids.outbox.durable_queue import DurableQueue
from graphids.outbox.outbox import FOLDER, Outbox
from graphids.workspace import active_workspace

_LOCK_WAIT_S = 30.0  # for a `graphids sync` that is at work when a run is resumed


def open_queue(run_id: str, root_dir: Path) -> DurableQueue:
    """A run's entries for the current store, in `<root_dir>/<run id>/outbox`; what was left there is sent first."""
    fields = {"run_id": run_id, "tracking_uri": store_uri()}
    if workspace := active_workspace():
        fields["workspace"] = workspace
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
        named=not is_random_name(run.info.run_name),
    )


def store_uri() -> str:
    """The current store; a sqlite file is named so that it is the same one from any working directory."""
    tracking_uri: str = mlflow.get_tracking_uri()
    scheme, _, path = tracking_uri.partition(":///")
    return f"sqlite:///{Path(path).absolute()}" if scheme == "sqlite" else tracking_uri

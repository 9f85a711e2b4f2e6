"""The command `sync`: send what runs could not log while MLflow was unreachable."""

from collections.abc import Sequence
from pathlib import Path

from graphids._fs import IntegrityError
from graphids._mlflow.run_outbox import store_uri
from graphids.exit_codes import EXIT_NOT_SENT, EXIT_NOT_VERIFIED, EXIT_OK, EXIT_REFUSED
from graphids.failure import impatient_requests
from graphids.options import OptionError
from graphids.outbox.durable_queue import (
    DurableQueue,
    OtherStoreError,
    OtherWorkspaceError,
    QueueBusyError,
    quiet_store,
)
from graphids.outbox.outbox import find_outboxes
from graphids.wording import printable

# Unlike in a training, nothing else waits for a request: it may take its time.
_REQUEST_TIMEOUT_S = 60
_PATIENCE_S = 120.0


def sync(places: Sequence[str], root_dir: Path) -> int:
    """Send the entries of outboxes, in order, and report on each.

    Args:
        places: Outboxes, folders of runs, their parent folders, or run ids; if empty, `root_dir`.
        root_dir: Folder of the runs' folders; run ids are looked up in it.

    Returns:
        EXIT_OK if MLflow has everything; else the first that applies of EXIT_NOT_VERIFIED (an entry is damaged, or the
        folder cannot be trusted), EXIT_REFUSED (MLflow refused an entry, or another MLflow or workspace is configured)
        and EXIT_NOT_SENT (it is unreachable, or another process is sending).

    Raises:
        OptionError: If a place holds no outbox.
    """
    folders = _outboxes(places, root_dir)
    if not folders:
        print(printable(f"{root_dir}: no run has anything left to send."))
    with impatient_requests(_REQUEST_TIMEOUT_S), quiet_store():
        codes = {_send(folder) for folder in folders}
    return next((code for code in (EXIT_NOT_VERIFIED, EXIT_REFUSED, EXIT_NOT_SENT) if code in codes), EXIT_OK)


def _outboxes(places: Sequence[str], root_dir: Path) -> list[Path]:
    if not places:
        return find_outboxes(root_dir)
    folders: list[Path] = []
    for place in places:
        if Path(place).is_dir():
            folders += find_outboxes(Path(place))
        elif (root_dir / place).is_dir():
            folders += find_outboxes(root_dir / place)
        else:
            raise OptionError(
                f"FOLDER: given {place!r}; expected the folder of an outbox, of a run or of runs, or the id of a run "
                f"in {root_dir}."
            )
    return list(dict.fromkeys(folder.absolute() for folder in folders))


def _send(folder: Path) -> int:
    try:
        queue = DurableQueue(folder, tracking_uri=store_uri(), patience_s=_PATIENCE_S)
    except QueueBusyError as error:
        print(printable(str(error)))
        return EXIT_NOT_SENT
    except (OtherStoreError, OtherWorkspaceError) as error:
        print(printable(str(error)))
        return EXIT_REFUSED
    except IntegrityError as error:
        print(printable(str(error)))
        return EXIT_NOT_VERIFIED
    all_sent = queue.close()
    models = "".join(f", model models:/{model_id}" for model_id in queue.model_ids.values())
    print(f"run {queue.run['run_id']}: sent {queue.num_sent} entries{models}")
    if all_sent:
        return EXIT_OK
    if queue.damage or any(isinstance(refusal, IntegrityError) for refusal in queue.refusals.values()):
        return EXIT_NOT_VERIFIED
    return EXIT_REFUSED if queue.refusals else EXIT_NOT_SENT

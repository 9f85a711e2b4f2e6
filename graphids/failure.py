"""When things fail: why a run failed, where its reader looks, and how long an MLflow that fails may take.

It imports nothing heavy before it is needed: a wrong option is answered at once.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_MAX_TAG_CHARACTERS = 5000
# By default MLflow tries a request eight times, for up to two minutes each: a server that is killed would hold whoever
# asks it for 494 s. What is worth trying again is tried again by the sender, in the background.
_TIMEOUT_S = 8


@contextmanager
def impatient_requests(timeout_s: int = _TIMEOUT_S) -> Iterator[None]:
    """MLflow's requests over HTTP fail after `timeout_s` and are not repeated; what the user has set stands."""
    wanted = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def without_passwords(text: str) -> str:
    """The text with `user:password@` taken out of the URLs in it."""
    return re.sub(r"://[^/@\s]*@", "://", text)


def error_tags(message: str) -> dict[str, str]:
    """Tags that hold the reason; the second is the description that the run's page in the UI begins with."""
    return dict.fromkeys(("graphids.error", "mlflow.note.content"), message[:_MAX_TAG_CHARACTERS])


def record_failure(run_id: str, message: str) -> None:
    """Leave the reason with a run that has no outbox yet.

    It is an artifact too: MLflow's compare page fails on runs without any. A store that is away costs the record, not
    the message.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with impatient_requests():
            client = MlflowClient()
            client.log_text(run_id, message, "error.txt")
            for tag, value in error_tags(message).items():
                client.set_tag(run_id, tag, value)
    except (MlflowException, OSError, SQLAlchemyError) as error:
        print(
            f"graphids: MLflow could not be told why the run failed: {without_passwords(str(error))}", file=sys.stderr
        )

"""When things fail: a run records why, where its reader looks first, and a failing MLflow is not waited for long.

Heavy imports wait until they are needed: a wrong option is answered at once.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from graphids.secrets import without_secrets

ERROR_TAG = "graphids.error"
MAX_TAG_CHARACTERS = 5000  # of MLflow
# By default MLflow tries a request eight times, for up to two minutes each: whoever queries a server that was killed
# would wait for 494 s. The sender retries in the background what is worth retrying.
_TIMEOUT_S = 8


@contextmanager
def impatient_requests(timeout_s: int = _TIMEOUT_S) -> Iterator[None]:
    """Let MLflow's HTTP requests fail after `timeout_s`, without retries; what the user has set takes precedence."""
    wanted = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def error_tags(message: str) -> dict[str, str]:
    """Tags that hold the reason; the second is the description at the top of the run's page in the UI."""
    return dict.fromkeys((ERROR_TAG, "mlflow.note.content"), message[:MAX_TAG_CHARACTERS])


def record_failure(run_id: str, message: str) -> None:
    """Record the reason in a run that has no outbox yet.

    It is an artifact too: MLflow's compare page fails on runs without any. If the store does not answer, the record is
    lost, not the message.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    message = without_secrets(message)  # no outbox does it here
    try:
        with impatient_requests():
            client = MlflowClient()
            client.log_text(run_id, message, "error.txt")
            for tag, value in error_tags(message).items():
                client.set_tag(run_id, tag, value)
    except (MlflowException, OSError, SQLAlchemyError) as error:
        print(f"graphids: the reason could not be recorded in MLflow: {without_secrets(str(error))}", file=sys.stderr)

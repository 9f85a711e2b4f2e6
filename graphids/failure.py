"""When things fail: a run records why, where its reader looks first, and a failing MLflow is not waited for long.

Heavy imports wait until they are needed: a wrong option is answered at once.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from graphids.secrets import without_secrets

ERROR_TAG = "graphids.error"
MAX_TAG_CHARACTERS = 5000  # of MLflow
_MAX_NAME_CHARACTERS = 60
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


def refusal_name(message: str) -> str:
    """Name of a run that was refused: MLflow's own, as "shivering-frog-293", says nothing.

    >>> refusal_name("graphids train: --tua: no such option; did you mean --tau?")
    'refused: tua'
    >>> refusal_name("FOLDER: given 'x'; expected the folder of an outbox")
    'refused: FOLDER'
    """
    found = re.search(r"(?<![\w-])--(\w[\w.-]*)", message) or re.match(r"(?:graphids [\w-]+: )?(\w+): ", message)
    return f"refused: {found[1][:_MAX_NAME_CHARACTERS]}" if found else "refused"


def is_random_name(name: str | None) -> bool:
    """Whether MLflow made this name up, as "spiffy-goose-417": it does not say which names nobody gave."""
    from mlflow.utils import name_utils

    # Private: without them every name counts as given, and stays.
    predicates, nouns = (getattr(name_utils, f"_GENERATOR_{words}", ()) for words in ("PREDICATES", "NOUNS"))
    parts = (name or "").split("-")
    if len(parts) != 3:
        return False
    predicate, noun, number = parts
    known = predicate in map(str.lower, predicates) and noun in map(str.lower, nouns)
    return known and number.isdecimal() and len(number) <= 4


def record_failure(run_id: str, message: str, *, name: str | None = None) -> None:
    """Record the reason in a run that has no outbox yet, unless it has ended: then it is another's.

    It is an artifact too: MLflow's compare page fails on runs without any. If the store does not answer, the record is
    lost, not the message.

    Args:
        run_id: The run.
        message: The reason.
        name: Of the run from now on, if nobody has given it one.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    message = without_secrets(message)  # no outbox does it here
    try:
        with impatient_requests():
            client = MlflowClient()
            info = client.get_run(run_id).info
            if info.status != "RUNNING":
                return
            client.log_text(run_id, message, "error.txt")
            for tag, value in error_tags(message).items():
                client.set_tag(run_id, tag, value)
            if name and is_random_name(info.run_name):
                client.set_tag(run_id, "mlflow.runName", name)
    except (MlflowException, OSError, SQLAlchemyError) as error:
        print(f"graphids: the reason could not be recorded in MLflow: {without_secrets(str(error))}", file=sys.stderr)

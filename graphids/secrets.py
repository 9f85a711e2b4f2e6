"""Credentials stay out of everything that is printed, logged, stored or sent.

There are two doors. What a command prints goes through `guarded_streams`; what a run tells MLflow, and keeps on disk
until then, through `graphids.outbox`. Both call `without_secrets`, and nothing else has to think of it.
"""

import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import quote

HIDDEN = "***"
# Their values are secrets wherever they turn up. One that is shorter may be a word of ours.
_VARIABLES = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "GRAPHIDS_SIGNING_PASSWORD",
    "DATABRICKS_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "PGPASSWORD",
)
_SHORTEST = 8
# `user:password@` of a URL. A password may hold `@`, and SQLAlchemy accepts a slash in it as well; digits between a
# colon and a slash are a port.
_USERINFO = re.compile(
    r"""://(?:[^\s/?\#"'<>]*@|[^\s/?\#"'<>:@]+:(?!\d{1,5}(?:[/?\#]|$))[^\s"'<>]*@)""",
    re.VERBOSE,
)
# `?password=` of a URL, `password=` of libpq, keys and signatures of object stores.
_FIELD = re.compile(
    r"""(
        [?&;][\w.-]*?(?:passw(?:or)?d|passwd|pwd|token|secret|signature|credential|api_?key|access_?key(?:_?id)?)\s*=
        |[?&;](?:sig|sas)=
        |\b(?:ssl)?(?:password|passwd)\s*=\s*(?='|[^\s'])
        |\b(?:AccountKey|SharedAccessSignature)=
    )(?:'[^']*'|[^\s&;"'<>,)]+)""",
    re.VERBOSE | re.IGNORECASE,
)
_HEADER = re.compile(r"\b(Bearer|Basic)\s+(?=\S*[\d=._-])[\w.~+/=-]{8,}")
_MARKS = ("://", "=", "Bearer ", "Basic ")


def without_secrets(text: str) -> str:
    """The text without passwords, tokens and keys.

    >>> without_secrets("MLflow at http://ann:pa@ss@host:5000/x?token=abc does not answer")
    'MLflow at http://host:5000/x?token=*** does not answer'
    """
    return _cleaned(text, _known())


def _cleaned(text: str, known: Sequence[str]) -> str:
    for secret in known:
        text = text.replace(secret, HIDDEN)
    if not any(mark in text for mark in _MARKS):
        return text
    text = _USERINFO.sub("://", text)
    text = _FIELD.sub(rf"\1{HIDDEN}", text)
    return _HEADER.sub(rf"\1 {HIDDEN}", text)


def all_without_secrets(value: Any) -> Any:
    """`value` with `without_secrets` applied to every text in its lists and dicts, keys included."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {all_without_secrets(key): all_without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [all_without_secrets(item) for item in value]
    return value


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Let no secret out through standard output and standard error, whoever writes there.

    Libraries write too, warnings and log lines among them. A traceback is printed after the block has ended: from then
    on `sys.excepthook` takes the secrets out of it.
    """
    before = sys.stdout, sys.stderr
    if not isinstance(sys.excepthook, _GuardedHook):
        sys.excepthook = _GuardedHook()
    sys.stdout, sys.stderr = (s if s is None or isinstance(s, _Guarded) else _Guarded(s) for s in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Guarded:
    """A text stream that takes the secrets out of what is written to it, and is the stream itself in all else.

    Those of the environment are looked up once: `predict` writes a line for each window.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._known = _known()

    def write(self, text: str) -> int:
        """Write the text without its secrets; returns its length, as if all of it had been written."""
        self._stream.write(_cleaned(text, self._known))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _GuardedHook:
    """Python's own report of an error that nothing caught, without secrets."""

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        sys.stderr.write(without_secrets("".join(traceback.format_exception(kind, error, trace))))


def _known() -> list[str]:
    """Values of the environment that are secrets, as they are and as a URL has them; the longest first."""
    values = {value for name in _VARIABLES if len(value := os.environ.get(name, "")) >= _SHORTEST}
    return sorted(values | {quote(value, safe="") for value in values}, key=len, reverse=True)

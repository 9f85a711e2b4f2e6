"""Patch of a sqlite store: several processes may be the first to use it.

Loaded by `import mlflow`, it stays light.
"""

import fcntl
import functools
import inspect
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_UNKNOWN_STORE = (
    "graphids cannot patch this version of MLflow (%s). "
    "If several processes are the first to use a sqlite store at once, some may fail; let one finish first."
)
_logger = logging.getLogger(__name__)


def patch_store(store: ModuleType) -> None:
    """Let one process at a time create the tables of a sqlite store; leave MLflow as it is if it has changed.

    MLflow has such a lock (`_safe_initialize_tables`), but neither its tracking nor its registry store takes it: the
    second process fails on "table ... already exists" or on a half-migrated schema.
    """
    try:
        exist, initialize = store._all_tables_exist, store._initialize_tables
        for function in (exist, initialize):
            if (parameters := list(inspect.signature(function).parameters)) != ["engine"]:
                raise TypeError(f"{function.__name__} has the parameters {parameters}")
        if hasattr(exist, "__wrapped__"):
            return

        @functools.wraps(exist)
        def exist_once_created(engine: Any) -> Any:
            with _store_lock(engine):
                return exist(engine)

        @functools.wraps(initialize)
        def initialize_once(engine: Any) -> Any:
            with _store_lock(engine):
                return None if exist(engine) else initialize(engine)

        vars(store).update(_all_tables_exist=exist_once_created, _initialize_tables=initialize_once)
    except Exception as error:
        _logger.warning(_UNKNOWN_STORE, error)


@contextmanager
def _store_lock(engine: Any) -> Iterator[None]:
    """Lock the folder of a sqlite database against other processes on this machine; other databases lock themselves.

    Not the database file itself: closing it would drop the locks that sqlite holds on it in this process.
    """
    database = engine.url.database if engine.dialect.name == "sqlite" else None
    if not database or database == ":memory:":
        yield
        return
    descriptor = os.open(Path(database).absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        _logger.info("The folder of %s cannot be locked (%s); let one process create the store.", database, error)
    try:
        yield
    finally:
        os.close(descriptor)

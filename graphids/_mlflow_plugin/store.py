"""What is mended in a sqlite store: several processes may be the first to use it.

It is loaded by `import mlflow`, and stays light.
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
    "graphids cannot extend this version of MLflow (%s). "
    "Several processes that are the first to use a sqlite store may fail; let one of them finish first."
)
_logger = logging.getLogger(__name__)


def mend_store(store: ModuleType) -> None:
    """Let one process at a time make the tables of a sqlite store; on any surprise leave MLflow as it is.

    MLflow has such a lock (`_safe_initialize_tables`), but neither its tracking nor its registry store takes it: the
    second process meets "table ... already exists" or a schema that is half migrated.
    """
    try:
        exist, initialize = store._all_tables_exist, store._initialize_tables
        for function in (exist, initialize):
            if (parameters := list(inspect.signature(function).parameters)) != ["engine"]:
                raise TypeError(f"{function.__name__} has the parameters {parameters}")
        if hasattr(exist, "__wrapped__"):
            return

        @functools.wraps(exist)
        def exist_once_made(engine: Any) -> Any:
            with _store_lock(engine):
                return exist(engine)

        @functools.wraps(initialize)
        def initialize_once(engine: Any) -> Any:
            with _store_lock(engine):
                return None if exist(engine) else initialize(engine)

        vars(store).update(_all_tables_exist=exist_once_made, _initialize_tables=initialize_once)
    except Exception as error:
        _logger.warning(_UNKNOWN_STORE, error)


@contextmanager
def _store_lock(engine: Any) -> Iterator[None]:
    """Hold the folder of a sqlite database against other processes of this machine; other databases look after that.

    Not the database's own file: closing it would drop the locks that sqlite holds on it in this process.
    """
    database = engine.url.database if engine.dialect.name == "sqlite" else None
    if not database or database == ":memory:":
        yield
        return
    descriptor = os.open(Path(database).absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        _logger.info("The folder of %s cannot be locked (%s); let one process make the store.", database, error)
    try:
        yield
    finally:
        os.close(descriptor)

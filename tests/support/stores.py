"""Empty tracking stores: MLflow takes seconds to create the tables of one, and copying them takes none."""

import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine


def empty_store(folder: Path) -> str:
    """URI of a store of its own in `folder`/mlflow.db, as MLflow creates it on first use."""
    path = folder / "mlflow.db"
    with closing(sqlite3.connect(":memory:")) as tables, closing(sqlite3.connect(path)) as store:
        tables.deserialize(_tables())
        tables.backup(store)
    return f"sqlite:///{path}"


@cache
def _tables() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        engine = create_sqlalchemy_engine(f"sqlite:///{folder}/mlflow.db")
        _initialize_tables(engine)
        engine.dispose()
        return Path(folder, "mlflow.db").read_bytes()

"""The folder of a run: the names of what lies in it, and the lock that keeps it to one process."""

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from graphids._fs import make_private_folder, publish_bytes, try_lock
from graphids.options import DEFAULT_ROOT_DIR, OptionError
from graphids.secrets import all_without_secrets

CONFIG = "config.json"  # the effective configuration, in the run's folder and among its artifacts
CHECKPOINTS = "checkpoints"  # Lightning's own name in `trainer.default_root_dir`
LOCK = ".lock"
PLAN = "sweep"  # key of a sweep's plan in its config.json, next to what its trainings have in common
FOLDER_TAG = "graphids.folder"
DATASET_TAG = "graphids.dataset_digest"

# Folders that this thread has locked: the one of a run that is resumed, before the run begins.
_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


@contextmanager
def run_folder(config: Mapping[str, Any], run_id: str) -> Iterator[Path]:
    """The run's own folder, locked by this process, with the effective configuration in it.

    Raises:
        OptionError: If another process is at work on the run.
    """
    folder = Path(config["trainer"]["default_root_dir"]).resolve() / run_id
    make_private_folder(folder)
    with locked(folder):
        publish_bytes(folder / CONFIG, json.dumps(all_without_secrets(config), indent=2).encode(), mode=0o600)
        try:
            yield folder
        except BaseException:
            print(f"graphids: the run can be resumed: {resume_command(folder)}", file=sys.stderr)
            raise


def resume_command(folder: Path) -> str:
    """What to type to resume the run of a folder."""
    if folder.parent == Path(DEFAULT_ROOT_DIR).resolve():
        return f"graphids resume {folder.name}"
    return f"graphids resume {folder.name} --folder {shlex.quote(str(folder))}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder against other processes and threads; who holds it already, holds it on.

    Raises:
        OptionError: If another process holds it.
    """
    if folder in _held.get():
        yield
        return
    # Child runs hold it too: a sweep that was killed is at work for as long as one of its children is.
    descriptor = try_lock(folder / LOCK, inherit=True)
    if descriptor is None:
        raise OptionError(f"{folder}: another process is at work on this run; wait for it, or end it.")
    before = _held.set(_held.get() | {folder})
    try:
        yield
    finally:
        _held.reset(before)
        os.close(descriptor)

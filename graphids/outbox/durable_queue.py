"""Entries for MLflow that outlive the process: durable on local disk before `append` returns, sent by a thread.

A folder holds `journal.jsonl` (what to send), `sent.jsonl` (what MLflow has), `spool/` (files, named by their sha256)
and `lock`, which the sending process holds. The folder is removed once everything is sent.
"""

import logging
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from tqdm import tqdm  # type: ignore[import-untyped]

from graphids._fs import (
    IntegrityError,
    delete,
    digest_bytes,
    is_temporary,
    make_private_folder,
    publish_bytes,
    try_lock,
)
from graphids.outbox.delivery import OPTIONAL, Destination, deliver
from graphids.outbox.journal import Journal
from graphids.outbox.sender import PATIENCE_S, THREAD_NAME, Entry, Sender
from graphids.outbox.spool import DIGEST, SPOOL
from graphids.secrets import all_without_secrets, without_secrets
from graphids.workspace import active_workspace

JOURNAL = "journal.jsonl"
SENT = "sent.jsonl"
LOCK = "lock"
_RUN_ID = re.compile(r"[a-zA-Z0-9][\w-]{0,255}", re.ASCII)  # MLflow's own rule


class QueueBusyError(BlockingIOError):
    """Another process is sending from this folder."""


class OtherWorkspaceError(Exception):
    """The run is in another workspace of MLflow than this process."""


class OtherStoreError(ValueError):
    """The entries were kept for another store than the one that is configured."""


class DurableQueue:
    """The entries of one run, kept in a folder and sent in order.

    Args:
        folder: Created if it does not exist; one that a killed run left is continued.
        run: `run_id`, `tracking_uri` and, unless it is the default one, `workspace`. None takes them from the journal.
        tracking_uri: The store to send to where `run` is None. The journal must name the same one: whoever wrote it
            could name any, and would get the user's token.
        patience_s: As in `Sender`.
        wait_s: How long to wait for another process that is sending from this folder.

    Attributes:
        run: As given, or as recorded in the journal, with the credentials of `tracking_uri`.
        continued: Whether the journal had entries before.
        damage: One sentence per line of the journal that cannot be sent.
        refusals: MLflow's refusals, by the number of the entry.
        model_ids: LoggedModels that were created, by digest.
        num_sent: Entries that this process sent.

    Raises:
        QueueBusyError: If another process is sending from the folder.
        OtherStoreError: If the journal names another store than `tracking_uri`.
        OtherWorkspaceError: If `run` is None and the journal names another workspace than the active one.
        IntegrityError: If `run` is None and no line of the journal says which run it belongs to, or if something in the
            folder is a link or somebody else's.
        OSError: If the local disk fails; the error names the file.
    """

    def __init__(
        self,
        folder: Path,
        run: Mapping[str, str] | None = None,
        *,
        tracking_uri: str = "",
        patience_s: float = PATIENCE_S,
        wait_s: float = 0.0,
    ) -> None:
        self.folder = folder
        self._appending = threading.Lock()
        self._lock = _lock(folder, wait_s)
        try:
            self._journal, self._sent = Journal(folder / JOURNAL), Journal(folder / SENT)
            kept, acknowledged = self._journal.read.entries, self._sent.read.entries
            self.run = dict(run) if run is not None else self._recorded_run(kept, tracking_uri)
            _require_active_workspace(folder, self.run.get("workspace", ""))
        except BaseException:
            os.close(self._lock)
            raise
        self.continued = bool(kept)
        self.damage = self._journal.read.damage
        self.refusals: dict[int, Exception] = {}
        self.num_sent = 0
        self.model_ids = {e["digest"]: e["model_id"] for e in acknowledged if e.keys() >= {"digest", "model_id"}}
        for sentence in filter(None, (self._journal.dropped, *self.damage)):
            say(sentence)
        done = {entry["n"] for entry in acknowledged}
        self._last = max(done | {entry["n"] for entry in kept}, default=0)
        self._start([entry for entry in kept if entry["n"] not in done], patience_s)
        if run is not None:
            self.append("run", **run)

    def append(self, op: str, **fields: Any) -> None:
        """Keep an entry, without secrets, and queue it; returns once it is durable. Any thread may call it."""
        with self._appending:
            entry = {"n": self._last + 1, "op": op, "at_ms": int(time.time() * 1000), **all_without_secrets(fields)}
            self._journal.append(entry)
            self._last += 1
            self._sender.put(entry)

    def keep(self, data: bytes) -> str:
        """Keep the content of a file that an entry will refer to; returns its sha256."""
        digest = digest_bytes(data)
        publish_bytes(self.folder / SPOOL / digest, data, mode=0o600)
        return digest

    def waiting(self) -> tuple[Entry, ...]:
        """Entries that MLflow does not have yet."""
        return self._sender.waiting()

    def flush(self) -> bool:
        """Wait as `Sender.flush` does; returns whether MLflow has everything."""
        return self._sender.flush() and not self.refusals and not self.damage

    def close(self) -> bool:
        """Wait as `flush` does, then stop sending; what is left stays in the folder, and is reported.

        Returns:
            Whether MLflow has everything; then the folder is gone.
        """
        all_sent = self.flush()
        if not self._sender.stop() or not all_sent:
            self._report_unsent()
            return False
        self._remove()
        return True

    def _recorded_run(self, kept: Sequence[Entry], tracking_uri: str) -> dict[str, str]:
        """The run that the journal belongs to, if it is one of the store `tracking_uri`."""
        journal = self.folder / JOURNAL
        start = next((entry for entry in reversed(kept) if entry.get("op") == "run"), {})
        run_id, recorded = (str(start.get(field, "")) for field in ("run_id", "tracking_uri"))
        if not _RUN_ID.fullmatch(run_id):
            raise IntegrityError(f"{journal}: expected a line that says which run it belongs to, found none.")
        store = without_secrets(recorded).rstrip("/")
        if store != (configured := without_secrets(tracking_uri).rstrip("/")):
            raise OtherStoreError(
                f"{journal}: kept for MLflow at {store!r}, but {configured} is configured; nothing was sent. If that "
                f"store is meant, name it: MLFLOW_TRACKING_URI={shlex.quote(store)} graphids sync "
                f"{shlex.quote(str(self.folder))}"
            )
        workspace = {"workspace": start["workspace"]} if "workspace" in start else {}
        return {"run_id": run_id, "tracking_uri": tracking_uri, **workspace}

    def _remove(self) -> None:
        """Remove what this class has made, and the folders that are then empty.

        The journal first: without it there is no outbox, and nothing is sent again.
        """
        for name in (JOURNAL, SENT):
            delete(self.folder / name)
        for path in (self.folder / SPOOL).iterdir():
            if DIGEST.fullmatch(path.name) or is_temporary(path.name):
                delete(path)
        delete(self.folder / LOCK)
        for folder in (self.folder / SPOOL, self.folder, self.folder.parent, self.folder.parent.parent):
            with suppress(OSError):
                folder.rmdir()  # unless something else is kept there

    def _start(self, entries: list[Entry], patience_s: float) -> None:
        client = MlflowClient(self.run["tracking_uri"])
        destination = Destination(client, self.run["run_id"], self.folder / SPOOL, self.model_ids)
        self._sender = Sender(
            lambda entry: deliver(entry, destination),
            settled=self._settle,
            outage=self._report_outage,
            on_exit=self._release,
            patience_s=patience_s,
        )
        for entry in entries:
            self._sender.put(entry)

    def _settle(self, entry: Entry, refusal: Exception | None) -> None:
        number, op = entry["n"], str(entry.get("op"))
        if refusal is not None:
            if op not in OPTIONAL:
                self.refusals[number] = refusal
            reason = " ".join(str(refusal).split())
            say(f"{self.folder / JOURNAL}: entry {number} ({op}) was refused by MLflow: {reason}")
            if op not in OPTIONAL:
                return
        self.num_sent += op != "run"
        acknowledgement = {"n": number}
        if op == "model":
            acknowledgement |= {"digest": entry["digest"], "model_id": self.model_ids[entry["digest"]]}
        try:
            self._sent.append(acknowledgement)
        except OSError as error:  # it will be sent once more, without effect
            say(f"MLflow has entry {number}, but that could not be recorded: {error}")

    def _report_outage(self, reason: str) -> None:
        if reason:
            say(f"MLflow is unreachable ({reason}); what the run logs is kept in {self.folder}")
        else:
            say("MLflow is reachable again")

    def _report_unsent(self) -> None:
        left = [entry.get("op") for entry in self.waiting()]
        count = len(left) + len(self.refusals) + len(self.damage)
        model = ", the model among them," if "model" in left else ""
        say(
            f"run {self.run['run_id']}: MLflow does not have everything; {count} entries{model} are kept in "
            f"{self.folder}. To send them: graphids sync {self.folder}"
        )

    def _release(self) -> None:
        self._journal.close()
        self._sent.close()
        os.close(self._lock)


@contextmanager
def quiet_store() -> Iterator[None]:
    """Silence MLflow's traceback for each request that fails on a locked database; the sender reports it once."""
    logger = logging.getLogger("mlflow.store.db.utils")

    def not_of_the_sender(record: logging.LogRecord) -> bool:
        return record.threadName != THREAD_NAME

    logger.addFilter(not_of_the_sender)
    try:
        yield
    finally:
        logger.removeFilter(not_of_the_sender)


def say(sentence: str) -> None:
    """One line on standard error, above a progress bar that is being drawn there."""
    tqdm.write(without_secrets(f"graphids: {sentence}"), file=sys.stderr)


def _require_active_workspace(folder: Path, workspace: str) -> None:
    if workspace == (active := active_workspace()):
        return
    here = f"MLFLOW_WORKSPACE is {active!r}" if active else "MLFLOW_WORKSPACE is not set"
    remedy = f"set MLFLOW_WORKSPACE={workspace}" if workspace else "unset it"
    raise OtherWorkspaceError(
        f"{folder}: its run is in MLflow's workspace {workspace or 'default'!r}, and {here}; {remedy}, then sync again."
    )


def _lock(folder: Path, wait_s: float) -> int:
    """Descriptor of the folder's lock, once this process holds it."""
    path = folder / LOCK
    until = time.monotonic() + wait_s
    while True:
        for private in (folder.parent, folder, folder / SPOOL):
            make_private_folder(private)
        descriptor = try_lock(path)
        if descriptor is None:
            if time.monotonic() >= until:
                raise QueueBusyError(f"{folder}: another process is sending its entries; try again later.")
            time.sleep(0.1)
            continue
        # Its last holder may have removed the folder, once everything was sent.
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)

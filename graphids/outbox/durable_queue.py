"""Entries for MLflow that outlive the process: on local disk before anyone is told so, sent by a thread.

A folder holds `journal.jsonl` (what to send), `sent.jsonl` (what MLflow has), `spool/` (files, named by their sha256)
and `lock`, which is held by whoever sends. The folder is removed once all is sent.
"""

import fcntl
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from tqdm import tqdm  # type: ignore[import-untyped]

from graphids._fs import IntegrityError, digest_bytes, publish_bytes
from graphids.failure import without_passwords
from graphids.outbox.delivery import DISPENSABLE, Destination, deliver
from graphids.outbox.journal import Journal
from graphids.outbox.sender import PATIENCE_S, THREAD_NAME, Entry, Sender

JOURNAL = "journal.jsonl"
SENT = "sent.jsonl"
SPOOL = "spool"
LOCK = "lock"


class QueueBusyError(BlockingIOError):
    """Another process sends from this folder."""


class DurableQueue:
    """The entries of one run, kept in a folder and sent in order.

    Args:
        folder: Made if it is not there; one that a killed run left is continued.
        run: `run_id`, `experiment_id` and `tracking_uri`. None takes them from the journal.
        patience_s: As in `Sender`.
        wait_s: How long to wait for another process that sends from this folder.

    Attributes:
        run: As given, or as the journal has it.
        continued: Whether entries stood in the journal before.
        damage: Sentences about lines of the journal that cannot be sent.
        refusals: What MLflow would not take, by the number of the entry.
        model_ids: LoggedModels that were made, by digest.
        num_sent: Entries that this process sent.

    Raises:
        QueueBusyError: If another process sends from the folder.
        IntegrityError: If `run` is None and no line of the journal says which run it belongs to.
        OSError: If the local disk refuses; the error names the file.
    """

    def __init__(
        self,
        folder: Path,
        run: Mapping[str, str] | None = None,
        *,
        patience_s: float = PATIENCE_S,
        wait_s: float = 0.0,
    ) -> None:
        self.folder = folder
        self._appending = threading.Lock()
        self._lock = _lock(folder, wait_s)
        try:
            self._journal, self._sent = Journal(folder / JOURNAL), Journal(folder / SENT)
            kept, acknowledged = self._journal.read.entries, self._sent.read.entries
            starts = [entry for entry in kept if entry["op"] == "run"]
            if run is None and not starts:
                raise IntegrityError(
                    f"{folder / JOURNAL}: expected a line that says which run it belongs to, found none."
                )
        except BaseException:
            os.close(self._lock)
            raise
        self.run = dict(run or starts[-1])
        self.continued = bool(kept)
        self.damage = self._journal.read.damage
        self.refusals: dict[int, Exception] = {}
        self.num_sent = 0
        self.model_ids = {entry["digest"]: entry["model_id"] for entry in acknowledged if "digest" in entry}
        for sentence in filter(None, (self._journal.dropped, *self.damage)):
            say(sentence)
        done = {entry["n"] for entry in acknowledged}
        self._last = max(done | {entry["n"] for entry in kept}, default=0)
        self._start([entry for entry in kept if entry["n"] not in done], patience_s)
        if run is not None:
            self.append("run", **run)

    def append(self, op: str, **fields: Any) -> None:
        """Keep an entry, then have it sent; returns once the disk has it. Any thread may call it."""
        with self._appending:
            entry = {"n": self._last + 1, "op": op, "at_ms": int(time.time() * 1000), **fields}
            self._journal.append(entry)
            self._last += 1
            self._sender.put(entry)

    def keep(self, data: bytes) -> str:
        """Keep the content of a file that an entry will name; returns its sha256."""
        digest = digest_bytes(data)
        publish_bytes(self.folder / SPOOL / digest, data)
        return digest

    def waiting(self) -> tuple[Entry, ...]:
        """What MLflow does not have yet."""
        return self._sender.waiting()

    def flush(self) -> bool:
        """Wait as `Sender.flush` does; returns whether MLflow has everything."""
        return self._sender.flush() and not self.refusals and not self.damage

    def close(self) -> bool:
        """Wait as `flush` does, then stop sending; what is left stays in the folder, and is spoken of.

        Returns:
            Whether MLflow has everything: then the folder is gone.
        """
        all_sent = self.flush()
        if not self._sender.stop() or not all_sent:
            self._tell_what_is_left()
            return False
        shutil.rmtree(self.folder)
        for parent in (self.folder.parent, self.folder.parent.parent):
            with suppress(OSError):
                parent.rmdir()  # where a run keeps nothing else
        return True

    def _start(self, entries: list[Entry], patience_s: float) -> None:
        client = MlflowClient(self.run["tracking_uri"])
        destination = Destination(client, self.run["run_id"], self.folder / SPOOL, self.model_ids)
        self._sender = Sender(
            lambda entry: deliver(entry, destination),
            settled=self._settle,
            outage=self._tell_of_outage,
            on_exit=self._release,
            patience_s=patience_s,
        )
        for entry in entries:
            self._sender.put(entry)

    def _settle(self, entry: Entry, refusal: Exception | None) -> None:
        number, op = entry["n"], entry["op"]
        if refusal is not None:
            if op not in DISPENSABLE:
                self.refusals[number] = refusal
            reason = without_passwords(" ".join(str(refusal).split()))
            say(f"{self.folder / JOURNAL}: entry {number} ({op}) was not taken by MLflow: {reason}")
            if op not in DISPENSABLE:
                return
        self.num_sent += op != "run"
        acknowledgement = {"n": number}
        if op == "model":
            acknowledgement |= {"digest": entry["digest"], "model_id": self.model_ids[entry["digest"]]}
        try:
            self._sent.append(acknowledgement)
        except OSError as error:  # it will be sent once more, to no effect
            say(f"MLflow has entry {number}, but that could not be noted: {error}")

    def _tell_of_outage(self, reason: str) -> None:
        if reason:
            say(f"MLflow is away ({reason}); what the run tells it is kept in {self.folder}")
        else:
            say("MLflow is back")

    def _tell_what_is_left(self) -> None:
        left = [entry["op"] for entry in self.waiting()]
        count = len(left) + len(self.refusals) + len(self.damage)
        model = ", the model among them," if "model" in left else ""
        say(
            f"run {self.run['run_id']}: MLflow does not have everything; {count} entries{model} lie in {self.folder}. "
            f"To send them: graphids sync {self.folder}"
        )

    def _release(self) -> None:
        self._journal.close()
        self._sent.close()
        os.close(self._lock)


@contextmanager
def quiet_store() -> Iterator[None]:
    """MLflow logs a traceback for each request that a locked database fails; the sender says it in a line, once."""
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
    tqdm.write(f"graphids: {sentence}", file=sys.stderr)


def _lock(folder: Path, wait_s: float) -> int:
    """Descriptor of the lock; the system gives it back when the process ends, however it ends."""
    path = folder / LOCK
    until = time.monotonic() + wait_s
    while True:
        (folder / SPOOL).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() >= until:
                raise QueueBusyError(
                    f"{folder}: another process is sending what lies there; try again later."
                ) from None
            time.sleep(0.1)
            continue
        # Whoever had the lock may have removed the folder, once all was sent.
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)

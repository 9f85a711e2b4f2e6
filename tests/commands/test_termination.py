"""A signal to end leaves no temporary file, and the exit code says which it was."""

import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from graphids.commands.convert import convert
from graphids.commands.predict import predict
from graphids.commands.termination import orderly_termination
from graphids.core.frames import Frames
from graphids.core.simulation.text_writer import candump_text
from support.tiny_model import three_ids, tiny_classifier

ROWS: dict[str, Any] = {"output_format": "jsonl", "every_window": True, "threshold": None}


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    """As a shell starts a program; pytest itself may run under nohup, which ignores SIGHUP."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    assert signal.getsignal(number) is not signal.SIG_DFL, "it would end pytest"
    signal.raise_signal(number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_copy_of_standard_input_is_removed(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []

    def read(_size: int) -> bytes:
        if copies:
            send(number)
        copies.extend(tmp_path.glob("graphids-*/*"))
        return candump_text(three_ids(10))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(read=read)))

    with pytest.raises(SystemExit) as ended:
        predict(tiny_classifier(), Path("-"), output=None, **ROWS)

    assert (ended.value.code, len(copies), list(tmp_path.glob("graphids-*"))) == (code, 1, [])
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)] == [signal.SIG_DFL] * 2


@pytest.mark.parametrize("command", ["predict", "convert"])
def test_what_was_not_written_to_its_end_is_removed_and_what_was_there_stays(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunks(*_: object, **__: object) -> Iterator[Frames]:
        yield three_ids(10)
        send(signal.SIGTERM)

    monkeypatch.setattr(f"graphids.commands.{command}.stream_frames", chunks)
    drive, rows, new = tmp_path / "drive.log", tmp_path / "rows.jsonl", tmp_path / "new.csv.gz"
    drive.write_bytes(b"")
    rows.write_text("of yesterday")

    run = {
        "predict": partial(predict, tiny_classifier(), drive, output=rows, summary=tmp_path / "summary.json", **ROWS),
        "convert": partial(convert, drive, new),
    }

    with pytest.raises(SystemExit):
        run[command]()

    assert rows.read_text() == "of yesterday"
    assert sorted(tmp_path.iterdir()) == [drive, rows]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with orderly_termination():
        send(signal.SIGHUP)

    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_thread_changes_no_handler() -> None:
    """Python lets only the main thread set one."""
    found = []

    def work() -> None:
        with orderly_termination():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert found == [signal.SIG_DFL]

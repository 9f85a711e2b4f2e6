"""An outbox that somebody else has written or arranged: it reaches no file outside of itself, and no other server."""

import hashlib
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from graphids.commands.cli import main
from graphids.outbox import sender
from support.stores import empty_store

SECRET = b"a secret of the victim"
DIGEST = hashlib.sha256(SECRET).hexdigest()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return empty_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def run_id(store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    monkeypatch.setattr(sender, "PATIENCE_S", 1.0)
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(store)
    yield MlflowClient(store).create_run("0").info.run_id
    mlflow.set_tracking_uri(before)


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    folder = tmp_path / "foreign" / "outbox"
    (folder / "spool").mkdir(parents=True)
    (folder / "spool" / DIGEST).write_bytes(SECRET)
    return folder


def write(outbox: Path, *entries: dict[str, Any]) -> None:
    """A journal with the right checksums."""
    lines = [json.dumps({"n": number, "at_ms": 0, **entry}).encode() for number, entry in enumerate(entries, 1)]
    text = b"".join(b"%s %s\n" % (hashlib.sha256(line).hexdigest()[:16].encode(), line) for line in lines)
    (outbox / "journal.jsonl").write_bytes(text)


def start(run_id: str, uri: str) -> dict[str, Any]:
    return {"op": "run", "run_id": run_id, "tracking_uri": uri}


def artifact(name: str, digest: str = DIGEST) -> dict[str, Any]:
    return {"op": "artifact", "name": name, "sha256": digest}


def sync(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["sync", *map(str, words)])
    return int(ended.value.code or 0)


def artifacts(run_id: str) -> list[str]:
    return [file.path for file in MlflowClient().list_artifacts(run_id)]


@pytest.mark.parametrize(
    "name",
    [
        "{outside}",
        "../outside",
        "a/../../outside",
        "..",
        "",
        "a//b",
        "./a",
        "a/",
        "a\nb",
        "a\x1b[2Jb",
        "a\\..\\b",
        "a\0",
    ],
)
def test_a_name_that_leads_out_of_the_run_is_refused_and_the_other_entries_are_sent(
    run_id: str, store: str, outbox: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = name.format(outside=outbox.parent / "outside")
    model = {"op": "model", "digest": "0" * 64, "files": {name: DIGEST}, "name": "m", "step": 0, "tags": {}}
    write(outbox, start(run_id, store), artifact(name), model, artifact("images/plain.png"))

    assert sync(outbox) == 3

    assert "expected a relative name of plain parts" in capsys.readouterr().err
    assert artifacts(run_id) == ["images"]
    assert sorted(path.name for path in outbox.parent.iterdir()) == ["outbox"]


@pytest.mark.parametrize("digest", ["../../secret", "/etc/hostname", "../journal.jsonl", DIGEST.upper(), ""])
def test_only_files_of_the_spool_are_sent(
    run_id: str, store: str, outbox: Path, digest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (outbox.parent / "secret").write_bytes(SECRET)
    write(outbox, start(run_id, store), artifact("stolen.txt", digest))

    assert sync(outbox) == 3

    assert "expected the sha256 of a file there" in capsys.readouterr().err
    assert artifacts(run_id) == []


def replaced_by_link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def replaced_by_hard_link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.hardlink_to(target)


def replaced_by_fifo(path: Path, _target: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


Replace = Callable[[Path, Path], None]


@pytest.mark.parametrize("replace", [replaced_by_link, replaced_by_hard_link, replaced_by_fifo])
@pytest.mark.parametrize("name", ["journal.jsonl", "sent.jsonl", "lock", f"spool/{DIGEST}"])
def test_what_is_not_a_file_of_the_outbox_alone_is_neither_followed_nor_waited_for_nor_changed(
    run_id: str, store: str, outbox: Path, name: str, replace: Replace, capsys: pytest.CaptureFixture[str]
) -> None:
    write(outbox, start(run_id, store), artifact("stolen.txt"))
    victim = outbox.parent / "victim"
    # Without the newline at its end, a journal would be cut off at its last whole line.
    victim.write_bytes((outbox / name).read_bytes() if (outbox / name).exists() else b"not a journal")
    before = victim.read_bytes()
    replace(outbox / name, victim)
    is_read_only = replace is replaced_by_hard_link and name.startswith("spool/")

    assert sync(outbox) == (0 if is_read_only else 3)

    assert victim.read_bytes() == before
    assert artifacts(run_id) == (["stolen.txt"] if is_read_only else [])
    if not is_read_only:
        printed = capsys.readouterr()
        assert f"{outbox / name}: expected a" in printed.out + printed.err


def test_a_link_to_an_outbox_is_not_one(run_id: str, store: str, outbox: Path, tmp_path: Path) -> None:
    write(outbox, start(run_id, store), artifact("stolen.txt"))
    (tmp_path / "graphids_runs" / "run").mkdir(parents=True)
    (tmp_path / "graphids_runs" / "run" / "outbox").symlink_to(outbox)

    assert sync() == 3

    assert artifacts(run_id) == []


def test_an_outbox_of_another_user_is_not_sent(
    run_id: str, store: str, outbox: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(outbox, start(run_id, store), artifact("stolen.txt"))
    if os.geteuid() == 0:
        os.chown(outbox, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        monkeypatch.setattr("graphids._fs.private._owner_of_a_new_file", lambda _: None)

    assert sync(outbox) == 3

    assert "expected a file or folder of your own" in capsys.readouterr().out
    assert artifacts(run_id) == []


def test_the_token_goes_to_no_server_that_only_the_journal_names(
    run_id: str, outbox: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-token-of-the-victim")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        write(outbox, start(run_id, f"http://user:password@{uri.removeprefix('http://')}"), artifact("a.txt"))

        assert sync(outbox) == 2

        with pytest.raises(BlockingIOError):
            server.accept()
    told = capsys.readouterr().out
    assert f"kept for MLflow at '{uri}', but {mlflow.get_tracking_uri()} is configured; nothing was sent" in told
    assert f"MLFLOW_TRACKING_URI={uri} graphids sync {outbox}" in told


@pytest.mark.parametrize(
    "field", [{"n": "1"}, {"n": 0}, {"n": None}, {"op": 7}, {"run_id": "../x"}, {"run_id": "a\nb"}]
)
def test_a_line_that_graphids_cannot_have_written_is_no_traceback(
    run_id: str, store: str, outbox: Path, field: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write(outbox, start(run_id, store) | field)

    assert sync(outbox) == 3

    assert "says which run it belongs to, found none" in capsys.readouterr().out


def test_what_somebody_keeps_in_the_folder_stays_there(run_id: str, store: str, outbox: Path) -> None:
    write(outbox, start(run_id, store), artifact("plain.txt"))
    for name in ("notes.txt", "spool/notes.txt"):
        (outbox / name).write_text("mine")

    assert sync(outbox) == 0

    left = sorted(path.relative_to(outbox).as_posix() for path in outbox.rglob("*"))
    assert left == ["notes.txt", "spool", "spool/notes.txt"]
    assert stat.S_IMODE(outbox.stat().st_mode) == 0o700

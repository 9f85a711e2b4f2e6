"""Passwords, tokens and keys are in nothing that graphids prints, logs, stores or sends."""

import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphids.commands.cli import main
from graphids.secrets import all_without_secrets, guarded_streams, without_secrets
from support.resumed_run import TinyRuns, at_step
from support.tracking_server import TrackingServer

SECRET = "hunter2-in-a-uri"
TOKEN = "hunter3-in-the-environment"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"http://user:{SECRET}@host:5000/#/experiments/1", "http://host:5000/#/experiments/1"),
        (f"http://{SECRET}@host", "http://host"),
        (f"MLflow at postgresql://u:p@{SECRET}@h/db does", "MLflow at postgresql://h/db does"),
        (f"postgresql://u:p/{SECRET}@h/db", "postgresql://h/db"),
        (f"mysql+pymysql://u:{SECRET}%21@h/db", "mysql+pymysql://h/db"),
        (f"s3://KEY:{SECRET}@bucket/x", "s3://bucket/x"),
        (f"http://h/x?password={SECRET}&x=1", "http://h/x?password=***&x=1"),
        (f"postgresql://h/db?user=u&sslpassword={SECRET}", "postgresql://h/db?user=u&sslpassword=***"),
        (f"https://h/c?sv=2020&sig={SECRET}%3D&se=1", "https://h/c?sv=2020&sig=***&se=1"),
        (f"https://h/x?X-Amz-Signature={SECRET}&X-Amz-Security-Token={SECRET}", "X-Amz-Security-Token=***"),
        (f"host=h user=u password='{SECRET} more' dbname=x", "host=h user=u password=*** dbname=x"),
        (f"AccountName=a;AccountKey={SECRET}==;EndpointSuffix=x", "AccountName=a;AccountKey=***;EndpointSuffix=x"),
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer ***"),
        (f'{{"uri": "http://u:{SECRET}@h/x", "to": "a@b"}}', '{"uri": "http://h/x", "to": "a@b"}'),
    ],
)
def test_a_secret_is_taken_out_and_the_rest_stays(text: str, expected: str) -> None:
    assert without_secrets(text).endswith(expected)
    assert SECRET not in without_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/experiments/1@x",
        "num_tokens=133, token=5",
        "git@github.com:graphids/graphids.git",
        "sqlite:////data/a@b/mlflow.db",
        "file:///data/a:b@c/mlruns",
        "Basic windows, Bearer of bad news",
        "--trainer.max_epochs=3",
    ],
)
def test_what_is_not_a_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_a_token_of_the_environment_is_known_wherever_it_turns_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a b/" + TOKEN)
    assert without_secrets(f"sent a b/{TOKEN}, as a%20b%2F{TOKEN}") == "sent ***, as ***"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "test")
    assert without_secrets("test/auroc") == "test/auroc"  # a word of ours


def test_texts_are_found_wherever_a_value_holds_them() -> None:
    uri, clean = "http://u:p@h", "http://h"
    assert all_without_secrets({uri: [uri, 1, {"a": (uri, None)}]}) == {clean: [clean, 1, {"a": [clean, None]}]}


def test_libraries_print_no_secret_either(capfd: pytest.CaptureFixture[str]) -> None:
    descriptor = sys.stdout.fileno()
    with guarded_streams():
        print("out", f"http://u:{SECRET}@h")
        logging.StreamHandler().handle(logging.makeLogRecord({"msg": f"log http://u:{SECRET}@h"}))
        sys.stderr.writelines([f"err http://u:{SECRET}@h\n"])
        with guarded_streams():
            assert sys.stdout.fileno() == descriptor
            print("twice")

    out, err = capfd.readouterr()
    assert out == "out http://h\ntwice\n"
    assert err == "log http://h\nerr http://h\n"


def test_a_traceback_holds_no_secret() -> None:
    program = (
        "from graphids.secrets import guarded_streams\n"
        f"with guarded_streams():\n    raise RuntimeError('http://u:' + '{SECRET}' + '@h')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ended.returncode == 1
    assert ended.stderr.endswith("RuntimeError: http://h\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    server = TrackingServer(tmp_path_factory.mktemp("server")).start()
    yield server
    server.kill()


def assert_no_secret(folder: Path) -> None:
    """In no file, as it is or base64-encoded, and in no name of one."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and any(s in path.read_bytes() + os.fsencode(path) for s in (SECRET.encode(), TOKEN.encode()))
    ]
    assert found == []


def assert_private(folder: Path) -> None:
    """Nobody but the owner enters the folder, or reads what is about to be sent."""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    outbox = folder / "outbox"
    for path in (outbox, *outbox.rglob("*"), folder / "config.json"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_run_with_a_password_in_its_tracking_uri_leaves_it_nowhere(server: TrackingServer) -> None:
    runs = TinyRuns(server.folder, server.uri.replace("//", f"//user:{SECRET}@"))

    def graphids(*words: str) -> int:
        def command() -> None:
            # A server that is away is not waited for.
            os.environ |= {"MLFLOW_TRACKING_TOKEN": TOKEN, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
            main(words)

        return runs._fork(command, ())

    def train_through_an_outage() -> tuple[str, int]:
        before = os.umask(0)
        try:
            return runs.train(at_step(14 + 5, server.kill_from_a_fork))
        finally:
            os.umask(before)

    run_id, code = train_through_an_outage()
    assert code == 75, runs.log()
    assert "To send them: graphids sync" in runs.log()
    assert_private(server.folder / "graphids_runs" / run_id)
    assert_no_secret(server.folder)
    for words in (["verify", f"runs:/{run_id}/model"], ["resume", run_id]):
        assert graphids(*words) != 0
        assert server.uri.removeprefix("http://") in runs.log()
        assert_no_secret(server.folder)

    server.kill()
    server.start()
    assert graphids("sync") == 0, runs.log()
    model = f"runs:/{run_id}/model"
    of_model = (["verify", model], ["verify", "--json", model], ["evaluate", "--model", model])
    for words in (*of_model, ["verify", "runs:/no/x"]):
        code = graphids(*words)
        assert (code == 0) == (words[-1] != "runs:/no/x"), runs.log()
        assert_no_secret(server.folder)
    assert f"look    {server.uri}/#/experiments" in runs.ask(
        lambda client: client.get_run(run_id).data.tags["mlflow.note.content"]
    )

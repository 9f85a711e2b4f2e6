"""The real scoring server on loopback, in processes of their own, as an operator starts it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.models import validate_serving_input
from mlflow.pyfunc.scoring_server import load_model_with_mlflow_config

from graphids._fs import IntegrityError
from graphids.core.classifier import WindowClassifier
from graphids.core.frames import DataError
from graphids.options import OptionError
from mlflow_graphids import load_model, log_model, save_model, serve
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier
from support.damage import flip_bit
from support.ports import free_port
from support.scoring_client import ask, split_body, while_served
from support.tiny_model import tiny_profile_classifier

STARTUP_S = 90
# `mlflow models serve` finds uvicorn by PATH.
ACTIVATED = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
SERVE_BY_MLFLOW = ("-m", "mlflow", "models", "serve", "--env-manager", "local", "--model-uri")


@contextlib.contextmanager
def server(*command: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """URL of a running server; stopped with its workers in the end."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *command, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until_up(process, f"http://127.0.0.1:{port}/ping")
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def wait_until_up(process: "subprocess.Popen[str]", url: str) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the server ended:\n{process.communicate()[0]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"no server after {STARTUP_S} s")


def answer_of(text: str) -> pd.DataFrame:
    return pd.DataFrame(json.loads(text)["predictions"])


def test_the_server_of_an_alias_gives_the_answers_of_the_process_and_refuses_bad_frames(
    classifier: WindowClassifier, table: pd.DataFrame, store: str
) -> None:
    with mlflow.start_run():
        version = log_model(classifier, registered_model_name="served").registered_model_version
    MlflowClient().set_registered_model_alias("served", "champion", version)
    uri = "models:/served@champion"
    model = load_model(uri)
    numbers = table.assign(arbitration_id=[int(text, 16) for text in table["arbitration_id"]])
    settings = {"threshold": 0.65, "stride": 1, "top_k": 2}
    environment = {
        **ACTIVATED,
        "MLFLOW_TRACKING_URI": store,
        "GRAPHIDS_EXPECTED_DIGEST": model.digest,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }

    with server(*SERVE_BY_MLFLOW, uri, environment=environment) as url:
        plain, with_params = ask(url, split_body(table)), ask(url, split_body(table, **settings))
        of_bad, of_numbers = ask(url, split_body(table.assign(data_field="XY"))), ask(url, split_body(numbers))

    assert [answer.status for answer in (plain, with_params, of_bad, of_numbers)] == [200, 200, 400, 400]
    pd.testing.assert_frame_equal(plain.scores, model.predict(table), rtol=1e-6)
    pd.testing.assert_frame_equal(with_params.scores, model.predict(table, settings), rtol=1e-6)
    assert "Row 0: data_field is 'XY', expected hex" in of_bad.text
    assert f"Row 0: arbitration_id is {numbers['arbitration_id'][0]}, expected a string of hex" in of_numbers.text


def test_mlflows_server_does_not_load_a_model_whose_bytes_changed(saved: tuple[Path, str]) -> None:
    flip_bit(saved[0] / "weights.safetensors", offset=-1)

    with pytest.raises(IntegrityError, match=r"weights\.safetensors: expected sha256"):
        load_model_with_mlflow_config(str(saved[0]))


@pytest.mark.usefixtures("store")
def test_serve_verifies_by_the_anchor_and_serves_that_copy(classifier: WindowClassifier, table: pd.DataFrame) -> None:
    with mlflow.start_run():
        uri = log_model(classifier).model_uri

    answer = while_served(lambda url: ask(url, split_body(table)), uri)

    pd.testing.assert_frame_equal(answer.scores, load_model(uri).predict(table), rtol=1e-6)


def test_serve_refuses_a_port_in_use_before_it_loads_the_model(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = rf"host '127.0.0.1', port {port}: no server can listen there \(Address already in use\)"
        with pytest.raises(OptionError, match=message):
            serve(tmp_path / "no model", port=port)


def test_serve_refuses_a_host_that_is_not_this_machine(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"host '192.0.2.1', port 5001: no server can listen there"):
        serve(tmp_path / "no model", host="192.0.2.1", port=5001)


def test_serve_refuses_a_port_that_another_took_while_the_model_was_loaded(
    saved: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, others = free_port(), []

    def load(*arguments: Any, **options: Any) -> VerifiedClassifier:
        others.append(socket.create_server(("127.0.0.1", port)))
        return load_model(*arguments, **options)

    monkeypatch.setattr("mlflow_graphids.serving.server.load_model", load)
    try:
        with pytest.raises(OptionError, match=r"no server can listen there \(Address already in use\)"):
            serve(saved[0], expected_digest=saved[1], port=port)
    finally:
        for other in others:
            other.close()


def test_serve_listens_nowhere_before_the_model_is_verified(
    saved: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()

    def load(*_: Any, **__: Any) -> VerifiedClassifier:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        raise IntegrityError("not verified")

    monkeypatch.setattr("mlflow_graphids.serving.server.load_model", load)
    with pytest.raises(IntegrityError, match="not verified"):
        serve(saved[0], expected_digest=saved[1], port=port)


def test_serve_refuses_a_model_that_has_no_profile_yet(tmp_path: Path) -> None:
    digest = save_model(replace(tiny_profile_classifier(), profile=None), tmp_path / "m")

    with pytest.raises(DataError, match=r"no profile of a vehicle.*`graphids adapt`"):
        serve(tmp_path / "m", expected_digest=digest, port=free_port())


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_serve_refuses_a_port_that_does_not_exist(tmp_path: Path, port: int) -> None:
    with pytest.raises(OptionError, match=f"port is {port}, expected 1 to 65535"):
        serve(tmp_path / "no model", port=port)


def test_mlflow_models_predict_scores_a_file(saved: tuple[Path, str], table: pd.DataFrame, tmp_path: Path) -> None:
    folder, digest = saved
    (tmp_path / "request.json").write_text(split_body(table))

    mlflow.models.predict(
        str(folder),
        input_path=str(tmp_path / "request.json"),
        output_path=str(tmp_path / "answer.json"),
        env_manager="local",
    )

    expected = load_model(folder, expected_digest=digest).predict(table)
    pd.testing.assert_frame_equal(answer_of((tmp_path / "answer.json").read_text()), expected, rtol=1e-6)


def test_a_saved_input_example_validates_as_a_serving_request(
    classifier: WindowClassifier, table: pd.DataFrame, tmp_path: Path
) -> None:
    digest = save_model(classifier, tmp_path / "m", input_example=table)
    request = (tmp_path / "m" / "serving_input_example.json").read_text()

    answer = validate_serving_input(str(tmp_path / "m"), request)

    pd.testing.assert_frame_equal(answer, load_model(tmp_path / "m", expected_digest=digest).predict(table))

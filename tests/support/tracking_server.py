"""A real tracking server, and a proxy in front of it that fails in the ways servers do."""

import contextlib
import hashlib
import multiprocessing
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import werkzeug.serving
from mlflow import MlflowClient

from support.ports import free_port
from support.stores import empty_store

_ANSWER_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class TrackingServer:
    """MLflow's own server over a sqlite store in `folder`; it can be killed and started again on the same port.

    It is a fork of the calling process, where MLflow is imported already: `mlflow server` takes many seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: Any = None

    def start(self) -> "TrackingServer":
        import mlflow.server  # noqa: F401 the child finds it loaded

        if not (self.folder / "mlflow.db").exists():
            empty_store(self.folder)
        self._process = multiprocessing.get_context("fork").Process(target=self._serve, daemon=True)
        self._process.start()
        for _ in range(1200):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return self
            time.sleep(0.05)
        raise RuntimeError((self.folder / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        """As the machine does it: at once, without a word to anyone."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def kill_from_a_fork(self) -> None:
        """As `kill`, in a child of the process that started the server."""
        os.kill(self._process.pid, signal.SIGKILL)

    def _serve(self) -> None:
        log = os.open(self.folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        store = f"sqlite:///{self.folder / 'mlflow.db'}"
        os.environ |= {
            mlflow.server.BACKEND_STORE_URI_ENV_VAR: store,
            mlflow.server.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
            mlflow.server.ARTIFACTS_DESTINATION_ENV_VAR: (self.folder / "artifacts").as_uri(),
            mlflow.server.SERVE_ARTIFACTS_ENV_VAR: "true",
        }
        mlflow.set_tracking_uri(store)
        werkzeug.serving.run_simple("127.0.0.1", self.port, mlflow.server.app, threaded=True)


class FaultyProxy:
    """Passes TCP connections on to a port, or fails them: set `fault` to `pass`, `hang`, `500` or `refuse`.

    A fault also ends the connections that are open: a server that is killed does.
    """

    def __init__(self, to_port: int) -> None:
        self.fault = "pass"
        self.num_requests_failed = 0
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def failing(self, fault: str) -> Iterator[None]:
        self.fail(fault)
        try:
            yield
        finally:
            self.fail("pass")

    def fail(self, fault: str) -> None:
        self.fault = fault
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.fail("refuse")

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        with client, contextlib.suppress(OSError):
            if self.fault == "pass":
                self._pass_on(client)
                return
            self.num_requests_failed += 1
            if self.fault == "hang":
                while client.recv(65536):  # takes the request, and whatever else comes; never answers
                    pass
            elif self.fault == "500":
                client.recv(65536)
                client.sendall(_ANSWER_500)
        self._open.discard(client)

    def _pass_on(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._to_port)) as server:
            self._open.add(server)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()
            self._open.discard(server)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def content(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """All that a store has of a run and of its experiment, without ids and times."""
    run = client.get_run(run_id)
    (output,) = run.outputs.model_outputs
    models = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'")
    (model,) = [client.get_logged_model(found.model_id) for found in models]
    return {
        "status": run.info.status,
        "params": run.data.params,
        **shown(client, run_id),
        "experiment": client.get_experiment(run.info.experiment_id).tags,
        "metrics": {
            name: [(point.step, repr(point.value)) for point in client.get_metric_history(run_id, name)]
            for name in sorted(run.data.metrics)
        },
        "data sets": [(i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs],
        "model": (model.name, model.status, model.params, model.tags, output.model_id == model.model_id, output.step),
        "model metrics": sorted((m.key, m.step, repr(m.value), m.dataset_name or "") for m in model.metrics),
    }


def shown(client: MlflowClient, run_id: str) -> dict[str, dict[str, str]]:
    """What the UI shows of a run beside figures, without ids: its tags (and name), and each artifact by its sha256."""
    run = client.get_run(run_id)
    models = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run_id}'")

    def without_ids(text: str) -> str:
        # A model that MLflow does not have yet is named by its run.
        for model in models:
            text = text.replace(f"models:/{model.model_id}", f"runs:/{run_id}/{model.name}")
        return text.replace(run_id, "RUN").replace(f" {run_id[:4]} ", " RUN ")

    folder = Path(client.download_artifacts(run_id, ""))
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    of_the_process = ("mlflow.source", "mlflow.user")
    return {
        "tags": {k: without_ids(value) for k, value in run.data.tags.items() if not k.startswith(of_the_process)},
        "artifacts": {name: _digest(path.read_bytes(), without_ids) for name, path in sorted(files.items())},
    }


def _digest(data: bytes, without_ids: Callable[[str], str]) -> str:
    with contextlib.suppress(UnicodeDecodeError):
        data = without_ids(data.decode()).encode()
    return hashlib.sha256(data).hexdigest()

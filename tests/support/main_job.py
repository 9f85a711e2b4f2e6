"""What the end-to-end tests share: `mlflow run` as a user types it, with a tracking store of the test's own."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import mlflow
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from support.paths import ROOT
from support.stores import empty_store


@dataclass(frozen=True)
class Store:
    """A sqlite tracking store with its artifacts in one folder, and commands that run against it."""

    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def create(self) -> "Store":
        """Make the store and an experiment whose artifacts lie in the folder, not in the working directory."""
        empty_store(self.folder)
        self.client().create_experiment("test", artifact_location=(self.folder / "artifacts").as_uri())
        return self

    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def environment(self, **variables: str) -> dict[str, str]:
        """Variables of a command: this store, this Python, and none of the caller's MLflow settings."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")},
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_EXPERIMENT_NAME": "test",
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **variables,
        }

    def command(
        self, *words: str, cwd: Path | None = None, timeout_s: float = 600, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's commands to its end."""
        return subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment(**variables),
            cwd=cwd or self.folder,
            timeout=timeout_s,
        )

    def start(self, *words: str, log: TextIO) -> "subprocess.Popen[str]":
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            words,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment(),
            cwd=self.folder,
            start_new_session=True,
            # A shell has its background jobs ignore Ctrl-C, and they hand that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @staticmethod
    def stop(process: "subprocess.Popen[str]") -> None:
        """End the process and its children."""
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)

    def mlflow_run(self, *parameters: str, entry_point: str = "main") -> subprocess.CompletedProcess[str]:
        """`mlflow run . -e ENTRY -P ...`, with checkpoints beside the store."""
        words = [word for parameter in parameters for word in ("-P", parameter)]
        if entry_point == "main":
            words += ["-P", f"trainer.default_root_dir={self.folder / 'runs'}"]
        return self.command("mlflow", "run", ".", "-e", entry_point, "--experiment-name", "test", *words, cwd=ROOT)

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        experiment = self.client().get_experiment_by_name("test")
        assert experiment is not None
        return list(self.client().search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"]))

    def model_uri(self, run: Run) -> str:
        assert run.outputs is not None
        (output,) = run.outputs.model_outputs
        return f"models:/{output.model_id}"

    def select(self) -> None:
        """Make this the store of the test's own process."""
        mlflow.set_tracking_uri(self.uri)

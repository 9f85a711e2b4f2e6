"""A tiny real run, interrupted where a test says and resumed, and what it left: weights and metrics.

Each process is a fork of the calling one, which has the imports and the compiled kernels warm and opens no store.
"""

import json
import os
import signal
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from unittest import mock

import mlflow
import mlflow.store.tracking.sqlalchemy_store  # the children find it loaded
from mlflow.tracking import MlflowClient

from graphids._fs import atomic_load, digest_bytes
from graphids.commands import sweep
from graphids.commands import train as entry_points
from graphids.commands.cli import main
from graphids.commands.config import render_config
from graphids.core.data.datamodule import CANDataModule
from graphids.core.models.detector import Detector
from graphids.options import OPTIONS
from graphids.report import pictures
from support.sketches import sketch
from support.stores import empty_store
from support.tracking_server import shown

PARAMETERS = {"data": "simulated", "max_epochs": 3, "batch_size": 64, "accelerator": "cpu"}
SIZES = (
    "--data.simulated_captures_per_kind=1",
    "--data.simulated_duration_s=12",
    "--model.hidden=8",
    "--model.heads=2",
    "--model.layers=1",
)
Act = Callable[[], object]
ALWAYS = -1


@dataclass(frozen=True, slots=True)
class Interruption:
    """`act` is called before the `nth` call (from 0, or ALWAYS) of a method of `owner` in a process."""

    owner: Any
    method: str
    nth: int
    act: Act

    @contextmanager
    def armed(self) -> Iterator[None]:
        method, calls = getattr(self.owner, self.method), iter(range(sys.maxsize))

        @wraps(method)
        def counted(*arguments: Any, **named: Any) -> Any:
            if self.nth in (next(calls), ALWAYS):
                self.act()
            return method(*arguments, **named)

        with mock.patch.object(self.owner, self.method, counted):
            yield


def send(number: signal.Signals) -> Act:
    """A real signal to the process itself."""
    return lambda: os.kill(os.getpid(), number)


def at_step(step: int, act: Act) -> Interruption:
    """In the forward pass of a training step, counted from 0 over the process's life."""
    return Interruption(Detector, "training_step", step, act)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run left.

    Attributes:
        status: As MLflow says.
        weights: sha256 of each tensor of the best and the last checkpoint, by `best/<key>` and `last/<key>`.
        metrics: Step and value of each point of each metric, in the order of steps.
        params: Of the run.
        models: `graphids.digest` of each LoggedModel of the run, and what its page shows.
        tags: Of the run, its name and the words above its page among them; without its id.
        artifacts: sha256 of each file, but for what once went wrong and the configuration: a resumed run has its
            folder in it as an absolute path.
    """

    status: str
    weights: dict[str, str]
    metrics: dict[str, list[tuple[int, float]]]
    params: dict[str, str]
    models: list[list[str]]
    tags: dict[str, str]
    artifacts: dict[str, str]


class TinyRuns:
    """Runs of a few steps in a store and a folder of their own.

    Args:
        folder: Store, artifacts and checkpoints go there; a store that is there is used.
        tracking_uri: None stands for a sqlite store in the folder.
        drawn: Whether the pictures are drawn; else they are sketches, which takes half the time.
        parameters: Of the project, in addition to `PARAMETERS`.
    """

    def __init__(
        self, folder: Path, tracking_uri: str | None = None, *, drawn: bool = False, **parameters: Any
    ) -> None:
        self.folder = folder
        self.log_name = "log.txt"
        self.drawn = drawn
        if tracking_uri is None and not (folder / "mlflow.db").exists():
            empty_store(folder)
        self.tracking_uri = tracking_uri or f"sqlite:///{folder / 'mlflow.db'}"
        defaults = {option.name: option.default for option in OPTIONS}
        self.config = render_config({**defaults, **PARAMETERS, **parameters})
        self.overrides = SIZES

    def train(self, *interruptions: Interruption) -> tuple[str, int]:
        """Run id, and the exit code of the process (negative: the signal that ended it)."""
        before = self._run_ids()
        code = self._fork(lambda: entry_points.train(self.config, self.overrides), interruptions)
        (run_id,) = self._run_ids() - before
        return run_id, code

    def resume(self, run_id: str, *interruptions: Interruption, words: tuple[str, ...] = (), **environ: str) -> int:
        """Exit code of `graphids resume RUN_ID`."""

        def command() -> None:
            os.environ.update(environ)
            main(["resume", run_id, *words])

        return self._fork(command, interruptions)

    def call(self, work: Callable[[], object]) -> int:
        """Exit code of a process that does `work` in the runs' folder."""
        return self._fork(work, ())

    def sync(self) -> int:
        """Exit code of `graphids sync`."""
        return self._fork(lambda: main(["sync"]), ())

    def ask(self, question: Callable[[MlflowClient], Any]) -> Any:
        """What a question to the store answers, JSON-able; another process asks it."""
        out = self.folder / "answer.json"
        assert self._fork(lambda: out.write_text(json.dumps(question(MlflowClient()))), ()) == 0, self.log()
        return json.loads(out.read_text())

    def steps_per_epoch(self) -> int:
        datamodule = CANDataModule(
            **{**self.config["data"], "simulated_captures_per_kind": 1, "simulated_duration_s": 12}
        )
        datamodule.setup()
        return len(datamodule.train_dataloader())

    def checkpoints(self, run_id: str) -> Path:
        return self.folder / "graphids_runs" / run_id / "checkpoints"

    def result(self, run_id: str) -> Result:
        """What the run left, read by another process."""
        read = self.ask(lambda client: _result(client, run_id, self.checkpoints(run_id)))
        metrics = {key: [(int(step), value) for step, value in points] for key, points in read.pop("metrics").items()}
        return Result(metrics=metrics, **read)

    def log(self) -> str:
        """What the last process wrote to its standard streams."""
        return (self.folder / self.log_name).read_text(errors="replace")

    def _run_ids(self) -> set[str]:
        root = self.folder / "graphids_runs"
        return {path.name for path in root.iterdir()} if root.exists() else set()

    def _fork(self, work: Callable[[], object], interruptions: tuple[Interruption, ...]) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = self._work(work, interruptions)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def _work(self, work: Callable[[], object], interruptions: tuple[Interruption, ...]) -> int:
        os.chdir(self.folder)
        descriptor = os.open(self.log_name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        # Under pytest nobody has asked for these; a shell gives a program the defaults.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            del os.environ[name]
        # How many samples a run has depends on how long it took: runs are compared by all that they logged.
        os.environ["MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"] = "false"
        mlflow.set_tracking_uri(self.tracking_uri)
        try:
            with ExitStack() as patches:
                for module in () if self.drawn else (pictures, sweep):
                    patches.enter_context(mock.patch.object(module, "png", sketch))
                for interruption in interruptions:
                    patches.enter_context(interruption.armed())
                work()
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            traceback.print_exc()
            return 1
        return 0


def interrupted_at_step(runs: TinyRuns, step: int, number: signal.Signals = signal.SIGTERM) -> Result:
    """Train in a child, send it a signal in training step `step` (from 0), resume in another, and read what is left."""
    run_id, _ = runs.train(at_step(step, send(number)))
    code = runs.resume(run_id)
    assert code == 0, runs.log()
    return runs.result(run_id)


def _result(client: MlflowClient, run_id: str, checkpoints: Path) -> dict[str, Any]:
    run = client.get_run(run_id)
    last = atomic_load(checkpoints / "last.ckpt")
    # Not by what lies in the folder: Lightning keeps the checkpoint that a fit was resumed from.
    (best_path,) = (state["best_model_path"] for state in last["callbacks"].values() if "best_model_path" in state)
    weights = {
        f"{name}/{key}": digest_bytes(value.numpy().tobytes())
        for name, checkpoint in (("best", atomic_load(best_path)), ("last", last))
        for key, value in checkpoint["state_dict"].items()
    }
    metrics = defaultdict(list)
    for key in run.data.metrics:
        metrics[key] = sorted((point.step, point.value) for point in client.get_metric_history(run_id, key))
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
    show = shown(client, run_id)
    return {
        "status": run.info.status,
        "weights": weights,
        "metrics": metrics,
        "params": run.data.params,
        "models": [[model.params["graphids.digest"], model.tags["mlflow.note.content"]] for model in models],
        "tags": show["tags"],
        "artifacts": {k: digest for k, digest in show["artifacts"].items() if k not in ("error.txt", "config.json")},
    }

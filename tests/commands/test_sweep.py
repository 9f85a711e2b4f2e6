"""A sweep: one training per seed, each under every tau, as children of one run that sums them up."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from graphids.assessment.tau_study import CRITERION, METRICS
from graphids.commands import child_runs, sweep
from graphids.commands.cli import main
from graphids.commands.interrupted_run import interrupted_run
from graphids.commands.run_folder import FOLDER_TAG, run_folder
from graphids.commands.sweep import SweepPlan
from graphids.options import OptionError
from graphids.outbox import durable_queue
from graphids.outbox.durable_queue import DurableQueue
from graphids.outbox.sender import UnreachableError
from support.forked_commands import forked_commands
from support.main_job import Store
from support.resumed_run import PARAMETERS, SIZES, TinyRuns

WORDS = (*(f"--{name}={value}" for name, value in PARAMETERS.items()), "--max_epochs=1", *SIZES)
SEEDS, TAUS = (0, 1), ("0.5", "0")
Planted = Mapping[int, Callable[[str], int]]


def command(arguments: Sequence[str]) -> tuple[str, str]:
    """The command of a child, and its tau."""
    taus = (argument.removeprefix("--tau=") for argument in arguments if argument.startswith("--tau="))
    return arguments[0], next(taus, "")


@dataclass
class Sweeps:
    """Sweeps in a process of their own.

    Attributes:
        runs: Their store and folder.
        commands: The children of the last sweep, as they were launched.
        said: What the last sweep wrote to its standard streams.
    """

    runs: TinyRuns
    commands: list[list[str]] = field(default_factory=list)
    said: str = ""
    known: list[dict[str, Any]] | None = None

    def sweep(self, seeds: Sequence[int] = SEEDS, taus: Sequence[str] = TAUS, *, planted: Planted | None = None) -> int:
        """Exit code of a sweep whose children are played, those of the numbers in `planted` by it."""
        return self._parent(self._sweep(seeds, taus), self._played(planted or {}))

    def sweep_in_earnest(self) -> int:
        """Exit code of a sweep whose children are real: each a fork of this process as it is now."""
        with forked_commands(self._real_child) as launch:
            return self._parent(self._sweep(SEEDS, TAUS), launch)

    def resume(self, run_id: str) -> int:
        """Exit code of resuming, with children that are played."""

        def work(launch: child_runs.Launch) -> None:
            with interrupted_run(run_id) as run:
                sweep.resume_sweep(run, launch=launch)

        return self._parent(work, self._played({}))

    def parent(self) -> dict[str, Any]:
        (only,) = (run for run in self.all() if "mlflow.parentRunId" not in run["tags"])
        return only

    def children(self) -> dict[tuple[str, int], dict[str, Any]]:
        """By tau and seed."""
        return {
            (run["tags"][sweep.TAU_TAG], int(run["tags"][sweep.SEED_TAG])): run
            for run in self.all()
            if "mlflow.parentRunId" in run["tags"]
        }

    def all(self) -> list[dict[str, Any]]:
        if self.known is None:
            self.known = list(self.runs.ask(_all_runs))
        return self.known

    def _sweep(self, seeds: Sequence[int], taus: Sequence[str]) -> Callable[[child_runs.Launch], None]:
        plan = SweepPlan(tuple(seeds), tuple(taus), WORDS)
        return lambda launch: sweep.sweep(plan, self.runs.config, SIZES, launch=launch)

    def _parent(self, work: Callable[[child_runs.Launch], None], launch: child_runs.Launch) -> int:
        listed = self.runs.folder / "commands.jsonl"
        listed.write_text("")

        def listing(words: Sequence[str], environ: Mapping[str, str]) -> int:
            with listed.open("a") as log:
                print(json.dumps(list(words)), file=log)
            return launch(words, environ)

        code = self.runs._fork(lambda: work(listing), ())
        self.said, self.known = self.runs.log(), None
        self.commands = [json.loads(line) for line in listed.read_text().splitlines()]
        return code

    def _played(self, planted: Planted) -> child_runs.Launch:
        """What a child leaves, without the training."""
        numbers = count()

        def launch(_: Sequence[str], environ: Mapping[str, str]) -> int:
            return planted.get(next(numbers), finish)(environ["MLFLOW_RUN_ID"])

        return launch

    def _real_child(self, words: list[str], environ: dict[str, str]) -> int:
        def work() -> None:
            os.environ.update(environ)
            main(words)

        self.runs.log_name = "child_log.txt"
        return self.runs._fork(work, ())


def finish(run_id: str) -> int:
    """A child that finishes."""
    client = MlflowClient()
    run = client.get_run(run_id)
    tau, seed = run.data.tags[sweep.TAU_TAG], run.data.tags[sweep.SEED_TAG]
    for metric in METRICS:
        client.log_metric(run_id, metric, (float(tau) + int(seed)) / 4)
    client.set_terminated(run_id)
    return 0


def fail(_run_id: str) -> int:
    """A child that fails before its run has begun."""
    return 1


def fail_in_training(run_id: str) -> int:
    """A child that fails once its configuration is logged."""
    MlflowClient().set_tag(run_id, FOLDER_TAG, "somewhere")
    return 1


def leave_unsent(run_id: str) -> int:
    """A child that is done while MLflow is unreachable."""
    folder = Path("graphids_runs") / run_id / "outbox"
    with mock.patch.object(durable_queue, "deliver", side_effect=UnreachableError("planted")):
        queue = DurableQueue(folder, {"run_id": run_id, "tracking_uri": mlflow.get_tracking_uri()}, patience_s=0.1)
        queue.append("end", status="FINISHED")
        queue.close()
    return 75


def terminate_the_parent(_run_id: str) -> int:
    """SIGTERM to the sweep while the child is at work."""
    os.kill(os.getpid(), signal.SIGTERM)
    return 0


def _all_runs(client: MlflowClient) -> list[dict[str, Any]]:
    return [
        {
            "id": run.info.run_id,
            "status": run.info.status,
            "tags": run.data.tags,
            "params": run.data.params,
            "metrics": run.data.metrics,
            "artifacts": [file.path for file in client.list_artifacts(run.info.run_id)],
            "models": len(client.search_logged_models(["0"], f"source_run_id = '{run.info.run_id}'")),
        }
        for run in client.search_runs(["0"])
    ]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Sweeps:
    """Two real trainings under two taus each."""
    sweeps = Sweeps(TinyRuns(tmp_path_factory.mktemp("swept")))
    code = sweeps.sweep_in_earnest()
    assert code == 0, sweeps.said
    return sweeps


def test_each_seed_is_trained_once_and_each_tau_is_a_child_with_a_model_of_its_own(swept: Sweeps) -> None:
    assert [command(words) for words in swept.commands] == [("train", "0.5"), ("retau", "0")] * 2
    children = swept.children()
    assert set(children) == {(tau, seed) for tau in TAUS for seed in SEEDS}
    for (tau, seed), run in children.items():
        assert (run["status"], run["models"]) == ("FINISHED", 1)
        assert (float(run["params"]["tau"]), run["params"]["seed"]) == (float(tau), str(seed))
        assert set(METRICS) <= set(run["metrics"])
        assert run["tags"]["mlflow.parentRunId"] == swept.parent()["id"]
    # The heads of one seed are one network's: made from the training's own model.
    assert children["0", 0]["tags"]["graphids.retau_of"] == children["0.5", 0]["id"]


def test_the_parent_has_mean_and_deviation_of_its_childrens_metrics(swept: Sweeps) -> None:
    parent, children = swept.parent(), swept.children()

    for tau in TAUS:
        for metric in METRICS:
            first, second = (children[tau, seed]["metrics"][metric] for seed in SEEDS)
            prefix = f"tau_{tau}/{metric}"
            assert parent["metrics"][f"{prefix}/mean"] == pytest.approx((first + second) / 2)
            assert parent["metrics"][f"{prefix}/std"] == pytest.approx(abs(first - second) / 2**0.5)
            assert parent["metrics"][f"{prefix}/n"] == 2


def test_the_parent_says_what_it_is_and_what_came_out(swept: Sweeps) -> None:
    parent = swept.parent()

    assert parent["status"] == "FINISHED"
    assert parent["tags"]["mlflow.runName"] == "tau sweep: 2 seeds x 2 taus"
    assert (parent["params"]["seeds"], parent["params"]["model.hidden"]) == ("0,1", "8")
    assert parent["params"]["data"] == swept.runs.config["data"]["data"]
    assert parent["tags"]["graphids.best_tau"] in TAUS
    assert "4 of 4 runs have metrics" in parent["tags"]["mlflow.note.content"]
    assert f"tau={parent['tags']['graphids.best_tau']} has the best mean" in parent["tags"]["mlflow.note.content"]
    assert {"config.json", "images", "summary.txt", "tau_study.json"} <= set(parent["artifacts"])


def test_a_finished_sweep_is_not_resumed(swept: Sweeps) -> None:
    run_id = swept.parent()["id"]

    assert swept.runs.resume(run_id) == 2
    assert f"run {run_id} is FINISHED" in swept.runs.log()


@pytest.fixture
def sweeps(tmp_path: Path) -> Sweeps:
    return Sweeps(TinyRuns(tmp_path))


def test_a_child_that_fails_stops_no_other_and_its_metrics_are_not_counted(sweeps: Sweeps) -> None:
    assert sweeps.sweep(SEEDS, ("0.5", "1"), planted={0: fail}) == 1

    assert [command(words) for words in sweeps.commands] == [("train", "0.5"), ("train", "0.5"), ("retau", "1")]
    parent, children = sweeps.parent(), sweeps.children()
    assert (parent["status"], children["0.5", 0]["status"]) == ("FAILED", "FAILED")
    assert "seed 0, tau 0.5" in parent["tags"]["graphids.error"]
    assert children["0.5", 0]["artifacts"] == ["error.txt"]  # the compare page fails on runs without an artifact
    assert parent["metrics"][f"tau_1/{CRITERION}/n"] == 1
    for sentence in (
        "2 of 4 runs have metrics",
        f"seed 0, tau 0.5, run {children['0.5', 0]['id']}: it failed with exit code 1",
        "seed 0, tau 1: not run, there is no model to derive them from",
        f"graphids resume {parent['id']}",
    ):
        assert sentence in parent["tags"]["mlflow.note.content"]


def test_a_resumed_sweep_makes_what_is_missing_as_the_same_runs(sweeps: Sweeps) -> None:
    sweeps.sweep(SEEDS, ("0.5", "1"), planted={0: fail})
    before = sweeps.children()

    assert sweeps.resume(sweeps.parent()["id"]) == 0, sweeps.said

    assert [command(words) for words in sweeps.commands] == [("train", "0.5"), ("retau", "1")]
    parent, after = sweeps.parent(), sweeps.children()
    assert (parent["status"], len(after)) == ("FINISHED", 4)
    assert {key: after[key]["id"] for key in before} == {key: run["id"] for key, run in before.items()}
    assert parent["metrics"][f"tau_1/{CRITERION}/n"] == 2  # not what it was when one child was missing
    assert "graphids.error" not in parent["tags"]
    assert "missing:" not in parent["tags"]["mlflow.note.content"]


def test_a_sweep_without_metrics_has_no_picture(sweeps: Sweeps) -> None:
    assert sweeps.sweep((0,), ("0.5",), planted={0: fail}) == 1

    assert "images" not in sweeps.parent()["artifacts"]


def test_a_training_that_had_begun_is_resumed_not_trained_anew(sweeps: Sweeps) -> None:
    sweeps.sweep((0,), ("0.5",), planted={0: fail_in_training})

    assert sweeps.resume(sweeps.parent()["id"]) == 0, sweeps.said

    assert sweeps.commands == [["resume", sweeps.children()["0.5", 0]["id"]]]


def test_a_sweep_that_is_terminated_is_killed_with_its_child_and_says_how_to_resume(sweeps: Sweeps) -> None:
    assert sweeps.sweep((0,), ("0.5", "0", "1"), planted={1: terminate_the_parent}) == 143

    parent, children = sweeps.parent(), sweeps.children()
    assert parent["status"] == "KILLED"
    assert {tau: run["status"] for (tau, _), run in children.items()} == {"0.5": "FINISHED", "0": "KILLED"}
    assert f"graphids: the run can be resumed: graphids resume {parent['id']}" in sweeps.said

    assert sweeps.resume(parent["id"]) == 0, sweeps.said

    assert [command(words) for words in sweeps.commands] == [("retau", "0"), ("retau", "1")]
    assert [run["status"] for run in sweeps.all()] == ["FINISHED"] * 4


def test_what_mlflow_does_not_have_yet_is_told_apart_from_what_failed(sweeps: Sweeps) -> None:
    assert sweeps.sweep((0, 1), ("0.5", "1"), planted={0: leave_unsent}) == 75

    assert "MLflow does not have all of it yet" in sweeps.said
    assert "seed 0, tau 1: not run, MLflow needs its model first" in sweeps.said

    assert sweeps.resume(sweeps.parent()["id"]) == 0, sweeps.said

    assert [command(words) for words in sweeps.commands] == [("retau", "1")]  # what was left has been sent


def test_a_second_sweep_is_not_confused_by_the_first(sweeps: Sweeps) -> None:
    sweeps.sweep((0,), ("0.5",))

    sweeps.sweep((0,), ("0.5",))

    assert len(sweeps.commands) == 1
    assert len({run["tags"].get("mlflow.parentRunId") for run in sweeps.all()}) == 3  # none, and two parents


def test_an_invalid_configuration_is_refused_before_there_is_a_run(sweeps: Sweeps) -> None:
    code = sweeps.runs._fork(lambda: main(["sweep", "--model.hiden=8"]), ())

    assert code == 2
    assert "did you mean --model.hidden?" in sweeps.runs.log()
    assert sweeps.all() == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--seeds", "0,0"], "--seeds: given '0,0', which contains 0 more than once"),
        (["--taus", "0.5,0.50"], "--taus: given '0.5,0.50', which contains 0.5 more than once"),
        (["--taus", "0,half"], "--taus=0,half: given 'half'; allowed is"),
        (["--seeds", ""], "--seeds=: given ''; allowed is"),
        (["--tau", "0.5"], "did you mean --taus?"),
        (["--config", "config.json"], "--config: no such option"),
    ],
)
def test_wrong_use_is_one_line(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["sweep", *words])

    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for `python -m graphids` that says when it has begun and ends by SIGTERM after half a second."""
    program = tmp_path / "python"
    program.write_text(
        f"""#!{sys.executable}
import os, pathlib, signal, sys, time
folder = pathlib.Path({str(tmp_path)!r})
def end(*_):
    time.sleep(0.5)
    (folder / "ended").write_text("properly")
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
(folder / "begun").write_text(" ".join(sys.argv[1:]))
(folder / "pid.new").write_text(str(os.getpid()))
(folder / "pid.new").rename(folder / "pid")
time.sleep(60 if "long" in sys.argv else 0)
sys.exit(7)
"""
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return tmp_path


def test_a_child_is_this_interpreters_graphids_and_its_exit_code_is_returned(stand_in: Path) -> None:
    assert child_runs.launch(["retau", "--tau=1"], os.environ) == 7
    assert (stand_in / "begun").read_text() == "-m graphids retau --tau=1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_parent_ends_after_its_child(stand_in: Path, number: signal.Signals) -> None:
    def raise_interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def interrupt_once_begun() -> None:
        while not (stand_in / "begun").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    before = {known: signal.signal(known, raise_interrupt) for known in (signal.SIGTERM, signal.SIGINT)}
    try:
        threading.Thread(target=interrupt_once_begun).start()
        with pytest.raises(KeyboardInterrupt):
            child_runs.launch(["long"], os.environ)
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)

    assert (stand_in / "ended").read_text() == "properly"


def test_a_sweep_that_was_killed_is_not_resumed_while_its_child_is_at_work(stand_in: Path) -> None:
    config = {"trainer": {"default_root_dir": str(stand_in)}}
    parent = os.fork()
    if parent == 0:
        with run_folder(config, "sweep"):
            child_runs.launch(["long"], os.environ)
    while not (stand_in / "pid").exists():
        time.sleep(0.02)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)

    with pytest.raises(OptionError, match="sweep: another process is at work on this run"), run_folder(config, "sweep"):
        pass

    os.kill(int((stand_in / "pid").read_text()), signal.SIGKILL)
    while True:
        with suppress(OptionError), run_folder(config, "sweep"):
            break
        time.sleep(0.02)


@pytest.mark.slow
def test_mlflow_run_sweeps(tmp_path: Path) -> None:
    store = Store(tmp_path).create()
    parameters = ("data=simulated", "seeds=0", "taus=0.5,1", "max_epochs=2", "accelerator=cpu")
    sizes = tuple(word.removeprefix("--") for word in SIZES)

    answer = store.mlflow_run(*parameters, *sizes, f"trainer.default_root_dir={tmp_path / 'runs'}", entry_point="sweep")

    assert answer.returncode == 0, answer.stderr[-3000:]
    parents = [run for run in store.runs() if "mlflow.parentRunId" not in run.data.tags]
    assert [run.info.status for run in store.runs()] == ["FINISHED"] * 3
    assert len(parents) == 1
    assert parents[0].data.metrics[f"tau_1/{CRITERION}/n"] == 1


@pytest.fixture(autouse=True)
def tracking_uri_stays() -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)

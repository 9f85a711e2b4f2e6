"""The main job, end to end: `mlflow run . -P tau=0.5` trains, logs, verifies and serves."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.entities import Run
from safetensors.torch import load_file

from graphids.commands.cli import main
from graphids.core.explanation import explain
from graphids.core.injection.inject import KINDS as INJECTED_KINDS
from graphids.core.simulation.simulate import ATTACK_KINDS, simulate, simulate_vehicle, write_dataset
from mlflow_graphids.frames_schema import frames_from_table
from support.main_job import Store
from support.paths import ROOT

# Few and short drives, for tests that do not ask how well anything is detected.
SMALL = ("data=simulated", "data.simulated_captures_per_kind=3", "data.simulated_duration_s=10")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store")).create()


@pytest.fixture(scope="module")
def answer(store: Store) -> subprocess.CompletedProcess[str]:
    """The literal command of the README."""
    return store.mlflow_run("tau=0.5")


@pytest.fixture(scope="module")
def run(store: Store, answer: subprocess.CompletedProcess[str]) -> Run:
    assert answer.returncode == 0, answer.stderr[-3000:]
    (only,) = store.runs()
    return only


@pytest.fixture
def model_uri(store: Store, run: Run) -> str:
    store.select()
    return store.model_uri(run)


@pytest.fixture
def here(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store, selected for commands that this process runs by `main`: they need no imports of their own."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(store.folder)
    store.select()
    return store


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """A drive that no run was trained on, with a spoofed message, as the model's input."""
    frames = simulate_vehicle(seed=4711, duration_s=10.0, attack="spoof")
    return pd.DataFrame(
        {
            "timestamp": frames.timestamp,
            "arbitration_id": [f"{i:03X}" for i in frames.arbitration_id],
            "data_field": [bytes(p[:n]).hex().upper() for p, n in zip(frames.payload, frames.dlc, strict=True)],
        }
    )


def test_the_run_finishes_and_reports_each_attack_kind_beside_the_baseline(run: Run) -> None:
    assert run.info.status == "FINISHED"
    for kind in (*INJECTED_KINDS, "all"):
        for metric in ("auroc", "average_precision", "recall"):
            assert 0.0 <= run.data.metrics[f"test/{kind}/{metric}"] <= 1.0
        assert 0.0 <= run.data.metrics[f"test_rule/{kind}/auroc"] <= 1.0


def test_on_a_vehicle_that_was_held_out_all_but_masquerades_are_found_and_none_by_the_baseline_alone(run: Run) -> None:
    detector, baseline = (
        {kind: run.data.metrics[f"{of}/{kind}/auroc"] for kind in INJECTED_KINDS} for of in ("test", "test_rule")
    )
    masquerades = {kind for kind in INJECTED_KINDS if kind.startswith("masquerade")}

    assert run.data.metrics["test/vehicle/vehicle-4/macro_auroc"] >= 0.85
    assert {kind for kind in INJECTED_KINDS if detector[kind] < 0.95} <= masquerades
    assert all(baseline[kind] < 0.7 for kind in masquerades)
    assert all(detector[kind] >= baseline[kind] for kind in INJECTED_KINDS)


def test_the_summary_names_what_a_user_needs_next(
    store: Store, run: Run, answer: subprocess.CompletedProcess[str]
) -> None:
    digest = store.client().get_logged_model(store.model_uri(run).removeprefix("models:/")).params["graphids.digest"]
    for words in (
        store.model_uri(run),
        digest,
        f"mlflow ui --backend-store-uri {store.uri}",
        f"/runs/{run.info.run_id}",
        "mlflow.graphids.load_model",
        f"graphids serve {store.model_uri(run)}",
        "baseline AUROC",
        "vehicle-4 was held out",
        "The model carries its profile",
        f"graphids simulate drives && graphids predict drives/spoof-1.csv --model {store.model_uri(run)}",
        "tau-normalization with tau=0.5",
    ):
        assert words in answer.stdout


def test_an_epoch_is_one_point_of_every_chart(store: Store, run: Run) -> None:
    history = {
        name: store.client().get_metric_history(run.info.run_id, name)
        for name in ("train/loss", "val/loss", "val/macro_auroc", "learning_rate")
    }

    steps = [[point.step for point in points] for points in history.values()]

    assert steps[0] == list(range(len(steps[0])))
    assert all(of_metric == steps[0] for of_metric in steps)
    # One batch: an epoch's metrics share their timestamp.
    assert len({points[0].timestamp for points in history.values()}) == 1


def test_parameters_are_logged_once_beside_those_of_mlproject(run: Run) -> None:
    assert run.data.params["tau"] == "0.5"
    assert run.data.params["model.size"] == "small"
    assert run.data.params["window"] == "256"
    assert run.data.params["model.hidden"] == "32"
    assert "data.window_size" not in run.data.params


def test_tags_say_what_made_the_run(run: Run) -> None:
    assert run.data.tags["graphids.tau"] == "0.5"
    assert run.data.metrics["tau"] == 0.5
    assert run.data.tags["graphids.seed"] == "0"
    assert len(run.data.tags["graphids.dataset_digest"]) == 64
    assert run.data.tags["graphids.version.torch"]
    assert run.data.tags["graphids.device"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.data.tags["graphids.git_commit"] == head.stdout.strip()


def test_the_model_is_linked_to_metrics_and_data_set(store: Store, run: Run) -> None:
    model = store.client().get_logged_model(store.model_uri(run).removeprefix("models:/"))
    linked = {metric.key: metric for metric in model.metrics or []}

    assert run.inputs is not None
    (data,) = [entry.dataset for entry in run.inputs.dataset_inputs]
    assert linked["test/all/auroc"].dataset_digest == data.digest
    assert run.data.tags["graphids.dataset_digest"].startswith(data.digest)


def test_the_model_stands_at_the_epoch_of_its_weights(store: Store, run: Run) -> None:
    model = store.client().get_logged_model(store.model_uri(run).removeprefix("models:/"))
    shown = {metric.key: metric.value for metric in model.metrics or []}
    history = store.client().get_metric_history(run.info.run_id, "val/macro_auroc")

    assert shown["val/macro_auroc"] == max(point.value for point in history)
    assert shown["best_epoch"] == max(history, key=lambda point: point.value).step


def test_validation_is_logged_before_and_after_tau_normalization(run: Run) -> None:
    for metric in ("macro/auroc", "balanced_accuracy"):
        assert 0.0 <= run.data.metrics[f"val_before_tau/{metric}"] <= 1.0
        assert 0.0 <= run.data.metrics[f"val_after_tau/{metric}"] <= 1.0


def test_checkpoints_lie_in_a_folder_of_the_run_and_sha256sum_accepts_them(store: Store, run: Run) -> None:
    checkpoints = store.folder / "runs" / run.info.run_id / "checkpoints"
    sidecars = sorted(path.name for path in checkpoints.glob("*.sha256"))

    assert len(sidecars) == 2  # best and last
    for name in sidecars:
        checked = subprocess.run(["sha256sum", "--check", "--strict", name], cwd=checkpoints, capture_output=True)
        assert checked.returncode == 0, checked.stderr


def test_the_model_holds_the_tau_normalized_head_of_the_best_checkpoint(store: Store, run: Run, model_uri: str) -> None:
    (best,) = (store.folder / "runs" / run.info.run_id / "checkpoints").glob("epoch=*.ckpt")
    weights = torch.load(best, weights_only=True)["state_dict"]
    model = mlflow.graphids.load_model(model_uri)

    assert model.tau_record["tau"] == 0.5
    raw_head = model.tau_record["raw_head"]
    by_hand = raw_head / raw_head.norm(dim=1, keepdim=True) ** 0.5
    torch.testing.assert_close(model.gat.fc_layers[-1].weight, by_hand)
    for name, weight in model.gat.state_dict().items():
        assert torch.equal(weight, weights[f"gat.{name}"]), name


def test_another_process_in_another_folder_gets_the_same_scores(
    store: Store, model_uri: str, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "frames.csv", index=False)
    program = (
        "import mlflow, pandas as pd\n"
        "table = pd.read_csv('frames.csv', dtype={'arbitration_id': str, 'data_field': str})\n"
        f"scores = mlflow.graphids.load_model('{model_uri}').predict(table)\n"
        "scores.to_json('scores.json', orient='records', double_precision=15)\n"
    )

    done = store.command("python", "-c", program, cwd=tmp_path, MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false")

    assert done.returncode == 0, done.stderr[-2000:]
    there = pd.read_json(tmp_path / "scores.json", orient="records")
    here = mlflow.graphids.load_model(model_uri).predict(table)
    np.testing.assert_allclose(there["score"], here["score"], rtol=0, atol=1e-12)
    assert there["kind"].tolist() == here["kind"].tolist()


def test_one_flipped_bit_is_refused(store: Store, model_uri: str, tmp_path: Path) -> None:
    digest = store.client().get_logged_model(model_uri.removeprefix("models:/")).params["graphids.digest"]
    folder = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=str(tmp_path)))
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0x10
    weights.write_bytes(content)
    load_file(weights)  # the format itself notices nothing

    with pytest.raises(mlflow.graphids.IntegrityError, match=r"weights\.safetensors"):
        mlflow.graphids.load_model(str(folder), expected_digest=digest)


@pytest.fixture
def server(store: Store, model_uri: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["mlflow", "models", "serve", "-m", model_uri, "--env-manager", "local", "--port", str(port)]
    with (store.folder / "server.log").open("w") as log:
        process = store.start(*words, log=log)
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_until_healthy(process, address)
            yield address
        finally:
            store.stop(process)


def _wait_until_healthy(process: subprocess.Popen[str], address: str) -> None:
    for _ in range(240):
        assert process.poll() is None, "the scoring server ended"
        try:
            urllib.request.urlopen(f"{address}/ping", timeout=2)
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail("the scoring server did not become healthy")


def test_the_scoring_server_answers_as_the_model_in_this_process(
    server: str, model_uri: str, table: pd.DataFrame
) -> None:
    part = table.head(2000)
    body = json.dumps({"dataframe_split": part.to_dict(orient="split", index=False)}).encode()
    request = urllib.request.Request(f"{server}/invocations", body, {"Content-Type": "application/json"})

    served = pd.DataFrame(json.loads(urllib.request.urlopen(request, timeout=60).read())["predictions"])

    expected = mlflow.graphids.load_model(model_uri).predict(part)
    np.testing.assert_allclose(served["score"], expected["score"], rtol=0, atol=1e-12)
    assert served["arbitration_ids"].tolist() == expected["arbitration_ids"].tolist()


def test_the_spoofed_id_ranks_first_in_nine_of_ten_alerted_windows(model_uri: str) -> None:
    model = mlflow.graphids.load_model(model_uri)
    first = []
    for seed in range(9000, 9006):
        victim = simulate(seed, 20.0, "spoof").targets[0]
        drive = simulate(seed, 20.0, "spoof", target=victim)
        scores = model.score(drive.frames, top_k=1)
        hits = [
            ids[0] == f"{victim:03X}"
            for ids, alert, start in zip(scores.arbitration_ids, scores.alert, scores.start_s, strict=True)
            if alert and any(begin <= start <= end for begin, end in drive.intervals)
        ]
        assert hits, f"no alert on drive {seed}"
        first += hits

    assert np.mean(first) >= 0.9


def test_without_the_spoofed_ids_frames_the_score_of_its_windows_falls(model_uri: str) -> None:
    model = mlflow.graphids.load_model(model_uri)
    victim = simulate(9000, 20.0, "spoof").targets[0]
    drive = simulate(9000, 20.0, "spoof", target=victim)
    scores = model.score(drive.frames)
    alerted = [k for k in np.flatnonzero(scores.alert) if any(a <= scores.start_s[k] <= b for a, b in drive.intervals)]

    explanations = [explain(model, drive.frames, int(k)) for k in alerted[::8]]

    falls = [i.score_without < e.score for e in explanations for i in e.ids if i.arbitration_id == f"{victim:03X}"]
    assert len(falls) >= 5
    assert np.mean(falls) >= 0.9


def test_an_explanation_has_the_order_of_ids_that_top_k_gives_as_data(model_uri: str, table: pd.DataFrame) -> None:
    model = mlflow.graphids.load_model(model_uri)
    rows = mlflow.pyfunc.load_model(model_uri).predict(table, params={"top_k": 5})
    alerted = np.flatnonzero(rows["alert"])[:5]
    assert len(alerted)

    for k in alerted:
        explanation = explain(model, frames_from_table(table), int(k))
        assert [i.arbitration_id for i in explanation.ids[:5]] == rows["arbitration_ids"][k]


def test_predict_joins_the_alerts_of_a_capture_into_incidents(here: Store, model_uri: str, tmp_path: Path) -> None:
    main(["simulate", str(tmp_path / "drives"), "--seed", "5", "--gzip"])
    capture, rows_csv = str(tmp_path / "drives" / "spoof-1.csv.gz"), str(tmp_path / "rows.csv")

    as_json = here.command("graphids", "predict", capture, "--model", model_uri)
    main(["predict", capture, "--model", model_uri, "--format", "csv", "--output", rows_csv, "--all"])

    assert as_json.returncode == 0, as_json.stderr
    incidents = [json.loads(line) for line in as_json.stdout.splitlines()]
    rows = pd.read_csv(rows_csv)
    assert incidents
    assert sum(incident["windows"] for incident in incidents) == rows["alert"].sum()
    assert max(incident["score"] for incident in incidents) == pytest.approx(rows["score"].max(), abs=1e-6)


def test_retau_logs_a_new_model_and_leaves_the_first(here: Store, run_on_files: Run) -> None:
    store, run, model_uri = here, run_on_files, here.model_uri(run_on_files)
    digest = store.client().get_logged_model(model_uri.removeprefix("models:/")).params["graphids.digest"]

    main(["retau", "--run_id", run.info.run_id, "--tau", "1.0"])

    newest = store.runs()[0]
    assert newest.data.tags["graphids.retau_of"] == run.info.run_id
    assert (newest.data.params["tau"], newest.data.params["model.hidden"]) == ("1.0", "32")
    assert store.model_uri(newest) != model_uri
    norms = mlflow.graphids.load_model(store.model_uri(newest)).gat.fc_layers[-1].weight.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    mlflow.graphids.load_model(model_uri, expected_digest=digest)


def test_retune_logs_the_same_network_with_the_threshold_of_another_rate(
    here: Store, run_on_files: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    store, run, model_uri = here, run_on_files, here.model_uri(run_on_files)

    main(["retune", run.info.run_id, "--false-alarms-per-hour", "6000"])

    newest = store.runs()[0]
    new_uri = store.model_uri(newest)
    assert newest.info.status == "FINISHED"
    assert newest.info.run_name == f"6000 false alarms/h tau=0.5 seed=0 retune of {run.info.run_id[:8]}"
    assert newest.data.tags["graphids.retune_of"] == run.info.run_id
    assert newest.data.tags["graphids.source_model"] == model_uri != new_uri
    changed = {name for name, value in newest.data.params.items() if run.data.params[name] != value}
    assert changed == {"model.false_alarms_per_hour"}
    assert newest.data.metrics["test/macro/auroc"] == run.data.metrics["test/macro/auroc"]
    assert newest.data.metrics["threshold"] < run.data.metrics["threshold"]
    rate = mlflow.artifacts.load_dict(f"runs:/{newest.info.run_id}/assessment.json")["operating_point"]
    assert rate["asked_per_hour"] == 6000.0
    assert rate["validation"]["false_alarms"] == pytest.approx(6000 * rate["validation"]["hours"], abs=1)
    assert "for 6000 false alarms an hour" in capsys.readouterr().out

    old, new = (mlflow.graphids.load_model(uri) for uri in (model_uri, new_uri))
    assert new.anchored
    assert (new.threshold, new.digest != old.digest) == (newest.data.metrics["threshold"], True)
    torch.testing.assert_close(dict(new.gat.state_dict()), dict(old.gat.state_dict()), rtol=0, atol=0)

    # A retune keeps what a retau changed, and the other way round.
    main(["retau", "--run_id", newest.info.run_id, "--tau", "0"])
    assert store.runs()[0].data.params["model.false_alarms_per_hour"] == "6000.0"


def test_retau_without_a_tau_takes_the_one_that_validation_prefers(store: Store, run_on_files: Run) -> None:
    answer = store.mlflow_run(f"run_id={run_on_files.info.run_id}", entry_point="retau")

    assert answer.returncode == 0, answer.stderr[-3000:]
    newest = store.runs()[0]
    tau, model = newest.data.metrics["tau"], store.client().get_logged_model(store.model_uri(newest).split("/")[-1])
    # The parameter is what was asked for, the rest what came of it.
    assert newest.data.params["tau"] == "auto"
    assert newest.data.tags["graphids.tau"] == model.tags["graphids.tau"] == str(tau)
    assert mlflow.graphids.load_model(store.model_uri(newest)).tau_record["tau"] == tau
    assert f"tau-normalization with tau={tau:g} (chosen on validation by macro-F1 from 21 values)" in answer.stdout
    # Chosen by macro-F1 on validation, no tau of the grid does worse: the head as trained (0) is one of them.
    assert newest.data.metrics["val_after_tau/macro_f1"] >= newest.data.metrics["val_before_tau/macro_f1"]


def test_evaluate_measures_a_logged_model_on_other_captures(here: Store, model_uri: str, tmp_path: Path) -> None:
    """That `mlflow run -e evaluate` is this command, with these options, is in tests/commands/test_cli.py."""
    write_dataset(tmp_path / "drives", seed=6, captures_per_kind=1)

    main(["evaluate", "--model", model_uri, "--data", str(tmp_path / "drives")])

    newest = here.runs()[0]
    assert newest.data.metrics["test/spoof/auroc"] > 0.9
    assert newest.data.tags["graphids.evaluated_model"] == model_uri


@pytest.mark.usefixtures("here")
def test_verify_says_that_every_file_matches(model_uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["verify", model_uri])

    assert "every file matches" in capsys.readouterr().out


def test_a_wrong_value_ends_the_run_with_one_line(store: Store) -> None:
    """The other wrong values, and who refuses them, are in tests/commands/test_cli.py."""
    line = "graphids train: --tau: given 'abc'; allowed is a finite number >= 0"

    answer = store.mlflow_run("tau=abc")

    assert answer.returncode != 0
    assert "Traceback" not in answer.stderr
    assert "usage:" not in answer.stderr
    (ours,) = [text for text in answer.stderr.splitlines() if text.startswith("graphids train:")]
    assert line in ours
    failed = store.runs()[0]
    assert failed.info.status == "FAILED"
    assert line in failed.data.tags["mlflow.note.content"]
    # The compare page fails on a run without an artifact.
    assert [file.path for file in store.client().list_artifacts(failed.info.run_id)]


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captures as files, few and short."""
    folder = tmp_path_factory.mktemp("files") / "drives"
    write_dataset(folder, seed=7, gzip=True, duration_s=10.0, captures_per_kind=3)
    return folder


@pytest.fixture(scope="module")
def run_on_files(store: Store, drives: Path) -> Run:
    """Two epochs on the captures that a glob matches, which no shell may expand on its way to the program."""
    answer = store.mlflow_run("tau=0.5", f"data={drives / '*.csv.gz'}", "max_epochs=2")
    assert answer.returncode == 0, answer.stderr[-3000:]
    return store.runs()[0]


def test_captures_of_a_glob_are_trained_on(run_on_files: Run, drives: Path) -> None:
    # MLflow logs a parameter as it quotes it for the shell.
    assert run_on_files.data.params["data"] == shlex.quote(str(drives / "*.csv.gz"))
    assert {f"test/{kind}/auroc" for kind in ATTACK_KINDS} <= run_on_files.data.metrics.keys()


def test_the_same_command_twice_gives_the_same_run_and_so_does_its_config(
    here: Store, run_on_files: Run, drives: Path
) -> None:
    config = mlflow.artifacts.download_artifacts(f"runs:/{run_on_files.info.run_id}/config.json")

    root = f"--trainer.default_root_dir={here.folder / 'runs'}"
    main(["train", "--tau=0.5", f"--data={drives / '*.csv.gz'}", "--max_epochs=2", root])
    main(["train", "--config", config])

    first, second, third = run_on_files, *here.runs()[:2]
    assert len({run.info.run_id for run in (first, second, third)}) == 3
    digests = [mlflow.graphids.load_model(here.model_uri(run)).digest for run in (first, second, third)]
    assert len(set(digests)) == 1
    assert first.data.metrics == second.data.metrics == third.data.metrics


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_an_interrupted_mlflow_run_is_killed(store: Store, number: signal.Signals) -> None:
    """What `graphids train` itself leaves by either signal, and its exit code, is in tests/commands/test_resume.py."""
    settings = (*SMALL, "max_epochs=1000", "patience=1000", f"trainer.default_root_dir={store.folder / 'runs'}")
    as_given = [f"-P{setting}" for setting in settings]
    with (store.folder / "interrupted.log").open("w") as log:
        process = store.start("mlflow", "run", str(ROOT), "--experiment-name", "test", *as_given, log=log)
        try:
            _wait_for_an_epoch(store)
        finally:
            os.killpg(process.pid, number)  # a terminal and a scheduler signal the whole group

    try:
        assert process.wait(timeout=120) != 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # it would train on beside the other tests
        raise
    # SIGTERM ends `mlflow run` itself at once; the training below it finishes its batch first.
    for _ in range(120):
        if store.runs()[0].info.status != "RUNNING":
            break
        time.sleep(0.5)
    assert store.runs()[0].info.status == "KILLED"


def _wait_for_an_epoch(store: Store) -> None:
    for _ in range(240):
        if any(run.info.status == "RUNNING" and "train/loss" in run.data.metrics for run in store.runs()[:1]):
            return
        time.sleep(0.5)
    pytest.fail("no epoch was logged")


def test_recordings_of_real_cars_are_trained_on(here: Store, captures_dir: Path) -> None:
    main(["train", "--tau=0.5", f"--data={captures_dir / 'semisynthetic'}", "--data.split=time", "--max_epochs=3"])

    metrics = here.runs()[0].data.metrics
    assert metrics["test/macro/auroc"] > metrics["test_rule/macro/auroc"]


@pytest.mark.slow
def test_conda_yaml_builds_an_environment_that_runs_the_project(store: Store) -> None:
    """Minutes and gigabytes: uv, as conda would, takes torch with its CUDA libraries."""
    if shutil.which("uv") is None:
        pytest.skip("needs uv: pip install uv")
    answer = store.command(
        "mlflow",
        *("run", ".", "--env-manager", "uv", "--experiment-name", "test"),
        *("-P", "tau=0.5", "-P", "max_epochs=1", "-P", f"trainer.default_root_dir={store.folder / 'runs'}"),
        cwd=ROOT,
        timeout_s=3600,
    )

    assert answer.returncode == 0, answer.stderr[-3000:]
    assert store.runs()[0].info.status == "FINISHED"


@pytest.mark.cuda
def test_the_full_run_on_cuda(store: Store) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    answer = store.mlflow_run("tau=0.5", "accelerator=gpu", "precision=bf16-mixed", "max_epochs=3")

    assert answer.returncode == 0, answer.stderr[-3000:]
    newest = store.runs()[0]
    assert newest.data.tags["graphids.device"].startswith("cuda")
    assert newest.data.metrics["vram/free_mib"] > 0


def test_the_repository_holds_no_capture() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()

    assert [name for name in tracked if name.endswith((".gz", ".blf", ".mf4", ".asc", ".trc", ".log"))] == []

"""GRAPHIDS_EXPECTED_DIGEST binds every door: a deployment that pins a model gets that model or none."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mlflow
import pytest
from mlflow.models.model import ModelInfo

from graphids.commands import cli
from mlflow_graphids import (
    IntegrityError,
    _load_pyfunc,
    load_model,
    serve,
    sign_model,
    verification_report,
    verify_model,
)
from support.ports import free_port

OTHER = "0" * 64
pytestmark = pytest.mark.usefixtures("store")


class Door(NamedTuple):
    """A model in a folder, the same as a LoggedModel of a run, and a capture."""

    folder: str
    logged: ModelInfo
    capture: str


def spark_udf(door: Door) -> object:
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("needs pyspark")
    from pyspark.sql import SparkSession

    return mlflow.pyfunc.spark_udf(SparkSession.builder.getOrCreate(), door.folder, env_manager="local")


def report(door: Door) -> None:
    if error := verification_report(door.folder).error:
        raise IntegrityError(error)


IN_PYTHON: dict[str, Callable[[Door], object]] = {
    "load_model": lambda door: load_model(door.folder),
    "load_model, integrity-only": lambda door: load_model(door.folder, policy="integrity-only"),
    "load_model of a LoggedModel": lambda door: load_model(door.logged.model_uri),
    "load_model of a run": lambda door: load_model(f"runs:/{door.logged.run_id}/detector"),
    "mlflow.graphids.load_model": lambda door: mlflow.graphids.load_model(door.folder),
    "verify_model": lambda door: verify_model(door.folder),
    "verification_report": report,
    "sign_model": lambda door: sign_model(door.folder, "none.pem"),
    "serve": lambda door: serve(door.folder, port=free_port()),
    "_load_pyfunc": lambda door: _load_pyfunc(door.folder),
    "mlflow.pyfunc.load_model": lambda door: mlflow.pyfunc.load_model(door.folder),
    "mlflow.pyfunc.load_model of a LoggedModel": lambda door: mlflow.pyfunc.load_model(door.logged.model_uri),
    "mlflow.pyfunc.spark_udf": spark_udf,
}
COMMANDS: dict[str, Callable[[Door], list[str]]] = {
    "verify": lambda door: ["verify", door.folder],
    "verify --policy": lambda door: ["verify", door.folder, "--policy", "integrity-only"],
    "predict": lambda door: ["predict", door.capture, "--model", door.folder],
    "explain": lambda door: ["explain", door.capture, "--window", "0", "--model", door.folder],
    "report": lambda door: ["report", door.capture, "--model", door.folder],
    "inspect": lambda door: ["inspect", door.capture, "--model", door.folder],
    "evaluate": lambda door: ["evaluate", "--model", door.folder],
    "adapt": lambda door: ["adapt", door.folder, door.capture, "--output", f"{door.folder}-adapted"],
    "serve": lambda door: ["serve", door.folder],
    "sign": lambda door: ["sign", door.folder, "--key", "none.pem"],
    "retau": lambda door: ["retau", "--run_id", str(door.logged.run_id)],
    "retune": lambda door: ["retune", str(door.logged.run_id), "--false-alarms-per-hour", "6"],
}
MODELESS = {
    "train", "sweep", "resume", "sync", "adopt", "convert", "simulate", "inject", "profile", "completion",
}  # fmt: skip


@pytest.fixture
def door(saved: tuple[Path, str], logged: ModelInfo, tmp_path: Path) -> Door:
    capture = tmp_path / "drive.log"
    capture.write_text("(1.000000) can0 1A4#00\n")
    return Door(str(saved[0]), logged, str(capture))


def test_every_command_that_takes_a_model_is_a_door() -> None:
    assert {name.split()[0] for name in COMMANDS} == cli._COMMANDS.keys() - MODELESS


@pytest.mark.parametrize("name", IN_PYTHON)
def test_another_model_than_the_deployments_is_refused_in_python(
    door: Door, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", OTHER)

    with pytest.raises(IntegrityError, match=rf"expected sha256 {OTHER} \(from GRAPHIDS_EXPECTED_DIGEST\)"):
        IN_PYTHON[name](door)


@pytest.mark.parametrize("name", COMMANDS)
def test_another_model_than_the_deployments_is_refused_by_every_command(
    door: Door, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", OTHER)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit, match="3"):
        cli.main(COMMANDS[name](door))

    assert f"expected sha256 {OTHER} (from GRAPHIDS_EXPECTED_DIGEST)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["load_model", "verify_model", "_load_pyfunc", "mlflow.pyfunc.load_model"])
def test_the_deployments_own_model_passes(
    door: Door, saved: tuple[Path, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", saved[1])

    assert IN_PYTHON[name](door)


def test_where_the_registry_names_another_model_than_the_deployment_the_deployment_decides(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "GRAPHIDS_EXPECTED_DIGEST", mlflow.get_logged_model(door.logged.model_id).params["graphids.digest"]
    )

    assert load_model(door.logged.model_uri).anchored


@pytest.mark.parametrize("value", ["yes", "0" * 63, "A" * 64, f" {OTHER}"])
def test_a_malformed_digest_is_an_error_and_not_none(door: Door, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHIDS_EXPECTED_DIGEST", value)

    for name in ("load_model", "verify_model", "_load_pyfunc", "sign_model"):
        with pytest.raises(ValueError, match=r"GRAPHIDS_EXPECTED_DIGEST is .*, expected a sha256"):
            IN_PYTHON[name](door)

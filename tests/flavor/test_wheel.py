"""A model carries the wheel of the graphids that saved it, and an environment can be built from it."""

import base64
import contextlib
import csv
import hashlib
import importlib.metadata
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import graphids
from graphids._fs import digest_file
from graphids.core.classifier import WindowClassifier
from mlflow_graphids import load_model, save_model
from mlflow_graphids.environment import get_default_pip_requirements
from mlflow_graphids.wheel import own_wheel
from support.paths import ROOT
from support.ports import free_port
from support.tampering import WHEEL

Saved = tuple[Path, str]
ENVIRONMENT = ("requirements.txt", "conda.yaml", "python_env.yaml")


@pytest.fixture
def built_anew() -> Iterator[None]:
    """The wheel is built once per process: a test that changes what it is built from builds it again, and drops it."""
    own_wheel.cache_clear()
    yield
    own_wheel.cache_clear()


def archive(folder: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(folder / WHEEL)


def pip(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", *arguments]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("needs pip in this environment")
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def wheel_requirement(folder: Path) -> str:
    """The first requirement, by its URL alone: pips before 24.1 read no relative URL after a name."""
    return (folder / "requirements.txt").read_text().splitlines()[0].partition(" @ ")[2]


def test_the_wheel_holds_every_module_and_nothing_else_of_the_two_packages(saved: Saved) -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "graphids", "flavor"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    sources = {name.removeprefix("flavor/") for name in listed if (ROOT / name).is_file()}
    with archive(saved[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert names == sources


def test_every_row_of_its_record_is_the_digest_of_a_file(saved: Saved) -> None:
    with archive(saved[0]) as wheel:
        contents = {name: wheel.read(name) for name in wheel.namelist()}
    (record,) = (name for name in contents if name.endswith("/RECORD"))
    rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(contents[record].decode()))}

    assert rows.pop(record) == ("", "")
    assert rows == {
        name: (f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')}", str(len(data)))
        for name, data in contents.items()
        if name != record
    }


@pytest.mark.usefixtures("built_anew")
def test_it_has_the_metadata_of_the_installed_distribution_and_not_of_a_clone_that_stands_before_it(
    classifier: WindowClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.metadata.distributions(name="mlflow-graphids")
    installed = next(d for d in found if d.read_text("METADATA") is not None)
    clone = tmp_path / "clone" / "mlflow_graphids.egg-info"
    clone.mkdir(parents=True)
    (clone / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: mlflow-graphids\nVersion: {graphids.__version__}\n")
    monkeypatch.syspath_prepend(clone.parent)

    save_model(classifier, tmp_path / "model")

    with archive(tmp_path / "model") as wheel:
        folder = f"mlflow_graphids-{graphids.__version__}.dist-info"
        assert wheel.read(f"{folder}/METADATA").decode() == installed.read_text("METADATA")
        assert wheel.read(f"{folder}/entry_points.txt").decode() == installed.read_text("entry_points.txt")


@pytest.mark.usefixtures("built_anew")
def test_one_installation_gives_one_wheel_and_one_digest(
    classifier: WindowClassifier, saved: Saved, tmp_path: Path
) -> None:
    assert save_model(classifier, tmp_path / "again") == saved[1]
    assert (tmp_path / "again" / WHEEL).read_bytes() == (saved[0] / WHEEL).read_bytes()


def test_the_environment_files_require_it_by_relative_path_and_digest_and_all_else_by_version(saved: Saved) -> None:
    requirement = f"mlflow-graphids @ file:{WHEEL}#sha256={digest_file(saved[0] / WHEEL)}"
    conda = yaml.safe_load((saved[0] / "conda.yaml").read_text())
    python = yaml.safe_load((saved[0] / "python_env.yaml").read_text())

    assert (saved[0] / "requirements.txt").read_text().splitlines() == [requirement, *get_default_pip_requirements()]
    assert conda["dependencies"][-1] == {"pip": [requirement, *get_default_pip_requirements()]}
    assert python["dependencies"] == ["-r requirements.txt"]


@pytest.mark.parametrize(
    ("installed", "required"),
    [("23.2.1", "pip>=24.1"), ("24.1", "pip==24.1"), ("26.0", "pip==26.0"), (None, "pip>=24.1")],
)
def test_a_pip_that_does_not_read_such_a_requirement_is_replaced(
    classifier: WindowClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: str | None, required: str
) -> None:
    monkeypatch.setattr("mlflow.utils.environment._get_package_version", lambda name: {"pip": installed}.get(name))
    save_model(classifier, tmp_path / "m")

    assert yaml.safe_load((tmp_path / "m" / "python_env.yaml").read_text())["build_dependencies"][0] == required
    conda = yaml.safe_load((tmp_path / "m" / "conda.yaml").read_text())["dependencies"]
    assert conda[1] == required.replace("==", "<=")


def test_requirements_of_the_callers_own_name_what_the_caller_wants(
    classifier: WindowClassifier, tmp_path: Path
) -> None:
    def requirements(name: str, **arguments: list[str]) -> list[str]:
        save_model(classifier, tmp_path / name, **arguments)
        return (tmp_path / name / "requirements.txt").read_text().splitlines()

    beside = requirements("beside", extra_pip_requirements=["fastparquet==1"])
    assert [beside[0].partition("#")[0], beside[-1]] == [f"mlflow-graphids @ file:{WHEEL}", "fastparquet==1"]
    other = "/wheels/mlflow_graphids-0.2.0-py3-none-any.whl"
    assert [line for line in requirements("other", extra_pip_requirements=[other]) if "graphids" in line] == [other]
    assert requirements("own", pip_requirements=["mlflow"]) == ["mlflow"]


def left_out(classifier: WindowClassifier, folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    """The warning of a model that carries no wheel."""
    with caplog.at_level(logging.WARNING, logger="mlflow_graphids.wheel"):
        digest = save_model(classifier, folder)
        save_model(classifier, folder.with_name("again"))
    assert load_model(folder, expected_digest=digest).digest == digest
    assert not (folder / "wheels").exists()
    for name in ENVIRONMENT:
        assert "graphids" not in (folder / name).read_text()
    (record,) = (record for record in caplog.records if record.name == "mlflow_graphids.wheel")
    return record.getMessage()


@pytest.mark.usefixtures("built_anew")
def test_without_metadata_no_wheel_is_built_and_one_sentence_says_so(
    classifier: WindowClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise PackageNotFoundError("mlflow-graphids")

    monkeypatch.setattr("mlflow_graphids.wheel._installed", missing)

    assert re.search(
        r"will lack it: No package metadata.*Install graphids from", left_out(classifier, tmp_path / "m", caplog)
    )


@pytest.mark.usefixtures("built_anew")
def test_metadata_of_another_version_is_not_put_into_a_wheel(
    classifier: WindowClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Old:
        version = "0.0.1"

    monkeypatch.setattr("mlflow_graphids.wheel._installed", Old)

    assert f"is of version 0.0.1, the code of {graphids.__version__}. Install" in left_out(
        classifier, tmp_path / "m", caplog
    )


@pytest.mark.usefixtures("built_anew")
def test_graphids_in_an_archive_is_not_packed_again(
    classifier: WindowClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(graphids, "__file__", "/app.pyz/graphids/__init__.py")

    assert "/app.pyz/graphids is not a folder" in left_out(classifier, tmp_path / "m", caplog)


@pytest.mark.usefixtures("built_anew")
def test_what_lies_beside_the_modules_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "graphids"
    for name in ("__init__.py", "core/frames.py", "core/__pycache__/frames.cpython-311.pyc", ".env", "notes.txt"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(graphids, "__file__", os.fspath(package / "__init__.py"))
    wheel = own_wheel()

    assert wheel is not None
    names = zipfile.ZipFile(io.BytesIO(wheel.data)).namelist()
    assert [name for name in names if name.startswith("graphids/")] == [
        "graphids/__init__.py",
        "graphids/core/frames.py",
    ]


def test_pip_installs_it_and_the_graphids_in_it_verifies_the_model(saved: Saved, tmp_path: Path) -> None:
    folder, digest = saved
    installed = pip("--target", str(tmp_path / "site"), wheel_requirement(folder), folder=folder)
    assert installed.returncode == 0, installed.stderr

    program = (
        "import graphids, sys; print(graphids.__file__); from graphids.commands.cli import main; main(sys.argv[1:])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, "verify", str(folder), "--expected-digest", digest],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[0] == str(tmp_path / "site" / "graphids" / "__init__.py")
    assert f"every file matches; graphids.digest {digest}" in answer.stdout


def test_pip_refuses_a_wheel_that_is_not_the_required_one(saved: Saved, tmp_path: Path) -> None:
    folder, _ = saved
    with zipfile.ZipFile(folder / WHEEL, "a") as wheel:
        wheel.writestr("graphids/planted.py", "")

    refused = pip("--target", str(tmp_path / "site"), wheel_requirement(folder), folder=folder)

    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "site").exists()


def test_outside_the_models_folder_the_requirement_finds_nothing_and_asks_no_index(
    saved: Saved, tmp_path: Path
) -> None:
    refused = pip("--target", str(tmp_path / "site"), wheel_requirement(saved[0]), folder=tmp_path)

    assert refused.returncode != 0
    assert re.search(rf"No such file or directory: .*{re.escape(Path(WHEEL).name)}", refused.stderr)


def test_the_copy_that_load_model_keeps_has_it_too(saved: Saved, tmp_path: Path) -> None:
    load_model(saved[0], expected_digest=saved[1], dst_path=tmp_path / "kept")

    assert (tmp_path / "kept" / WHEEL).read_bytes() == (saved[0] / WHEEL).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_mlflow_builds_an_environment_from_a_model_and_serves_from_it(
    saved: Saved, table: pd.DataFrame, tmp_path: Path
) -> None:
    """The command that MLflow's documentation gives, with nothing installed beforehand: 3 minutes and 2 GB."""
    manager = next((name for name, tool in (("virtualenv", "pyenv"), ("uv", "uv")) if shutil.which(tool)), None)
    if manager is None:
        pytest.skip("MLflow builds environments with pyenv or uv, and neither is on PATH")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(saved[0]), "--env-manager", manager]
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")},
        "MLFLOW_ENV_ROOT": str(tmp_path / "environments"),
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "GRAPHIDS_EXPECTED_DIGEST": saved[1],
    }
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "-p", str(port)],
            env=environment,
            cwd=tmp_path,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        answer = asked(f"http://127.0.0.1:{port}/invocations", table.to_json(orient="split"), server)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    expected = load_model(saved[0], expected_digest=saved[1]).predict(table)["score"]
    assert answer is not None, (tmp_path / "log").read_text()[-3000:]
    np.testing.assert_allclose([row["score"] for row in answer["predictions"]], expected, rtol=1e-5)
    (site,) = (tmp_path / "environments").glob("**/site-packages/graphids")
    assert (site.parent / f"mlflow_graphids-{graphids.__version__}.dist-info" / "direct_url.json").exists()


def asked(url: str, table: str, server: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """The server's answer once it answers; None if it ends instead."""
    request = urllib.request.Request(
        url, f'{{"dataframe_split": {table}}}'.encode(), {"Content-Type": "application/json"}
    )
    while server.poll() is None:
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)  # type: ignore[no-any-return]
        time.sleep(1)
    return None

"""One set of versions in conda.yaml, constraints.txt, pyproject.toml and the flavor's requirements."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mlflow_graphids
from graphids import __version__
from graphids.commands.cli import main
from mlflow_graphids.verification import signing
from support.paths import ROOT


def _constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): pin for name, pin in pins}


def _project_requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(text) for text in project["dependencies"]]


def _conda_pins() -> dict[str, str]:
    dependencies = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    requirements = [Requirement(text) for text in pip if text != "."]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in requirements}


def test_constraints_satisfy_every_requirement_of_the_project() -> None:
    pins = _constraints()
    for requirement in _project_requirements():
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_lock_has_every_dependency_but_torch_at_its_constraint_and_with_digests() -> None:
    pins = _constraints()
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().strip())
    locked = {canonicalize_name(re.match(r"[\w.-]+", entry)[0]): entry for entry in entries}  # type: ignore[index]

    names = {canonicalize_name(requirement.name) for requirement in _project_requirements()}
    assert names - locked.keys() == {"torch"}
    for name, entry in locked.items():
        assert re.findall(r"--hash=sha256:[0-9a-f]{64}", entry), name
        if name in pins:
            assert entry.partition("==")[2].startswith(f"{pins[name]} "), name
        elif name != "setuptools":  # which `pip freeze` leaves out, and with it constraints.txt
            assert re.search(r"; .*(?:sys_platform|platform_system|os_name|python_)", entry), name


def test_conda_yaml_pins_every_dependency_of_the_project_to_the_constraint() -> None:
    pins = _constraints()
    names = {canonicalize_name(r.name) for r in _project_requirements()}

    assert _conda_pins() == {name: pins[name] for name in names}


def test_conda_yaml_installs_the_project_from_the_copy_that_mlflow_makes() -> None:
    assert re.search(r"^      - \.$", (ROOT / "conda.yaml").read_text(), flags=re.MULTILINE)


def test_the_flavor_requires_the_versions_of_the_constraints() -> None:
    pins = _constraints()
    for text in mlflow_graphids.get_default_pip_requirements():
        requirement = Requirement(text)
        assert str(requirement.specifier) == f"=={pins[canonicalize_name(requirement.name)]}", text


@pytest.mark.parametrize("bad", ["2.6.2", "2.6.3"])
def test_the_malicious_lightning_uploads_are_excluded(bad: str) -> None:
    lightning = next(r for r in _project_requirements() if r.name == "lightning")

    assert not lightning.specifier.contains(bad)


def test_the_package_has_one_source_of_its_version() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert "version" not in pyproject["project"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "graphids.__version__"}


def test_the_command_line_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])

    assert capsys.readouterr().out == f"graphids {__version__}\n"


def test_the_message_about_signatures_names_what_the_extra_installs() -> None:
    sign = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["sign"]

    assert sign[0] == signing.LIBRARY

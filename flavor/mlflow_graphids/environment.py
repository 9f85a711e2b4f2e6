"""The environment files of a model: MLflow writes and reads them, graphids never opens them to load a model."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from mlflow.environment_variables import MLFLOW_LOCK_MODEL_DEPENDENCIES
from mlflow.utils.environment import (
    _mlflow_conda_env,
    _process_conda_env,
    _process_pip_requirements,
    _PythonEnv,
)
from packaging.version import Version

# What scoring imports, without graphids itself, which is on no package index: there its name is another project's. A
# model requires the wheel that it carries.
REQUIREMENTS = (
    "cloudpickle",
    "mlflow",
    "numba",
    "numpy",
    "pandas",
    "safetensors",
    "torch",
    "torch-geometric",
    "torchmetrics",
)
# The first pip that installs a wheel by its relative path and digest (`name @ file:wheels/...#sha256=...`).
_FIRST_PIP = Version("24.1")
_PIP_PIN = re.compile(r"pip(?:[=<]=(?P<version>.+))?")
_GRAPHIDS = re.compile(r"mlflow[-_.]graphids")


def get_default_pip_requirements() -> list[str]:
    """Requirements at their installed versions, without local labels such as `+cpu`, which no index serves.

    Without graphids, which no index serves either: a saved model adds the wheel that it carries.
    """
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def get_default_conda_env() -> dict[str, Any]:
    """Conda environment with `get_default_pip_requirements`."""
    environment: dict[str, Any] = _mlflow_conda_env(  # type: ignore[no-untyped-call]
        additional_pip_deps=get_default_pip_requirements(), install_mlflow=False
    )
    return environment


def write_environment(
    folder: Path, wheel: str | None, conda_env: Any, pip_requirements: Any, extra_pip_requirements: Any
) -> None:
    """Write conda.yaml, requirements.txt, python_env.yaml and, if the requirements name constraints, constraints.txt.

    Args:
        folder: The model.
        wheel: Requirement of the wheel in the model, added to the default requirements; None if it carries none.
        conda_env: As in every MLflow flavor, and so are the others.
        pip_requirements: See there.
        extra_pip_requirements: See there.
    """
    is_default = conda_env is pip_requirements is extra_pip_requirements is None
    if is_default and not MLFLOW_LOCK_MODEL_DEPENDENCIES.get():  # type: ignore[no-untyped-call]
        # MLflow would take a second to compare these with what is installed, where they come from.
        environment, requirements, constraints = get_default_conda_env(), get_default_pip_requirements(), None
    elif conda_env is None:
        # Given explicitly: MLflow would otherwise load the model in a subprocess to see what it imports.
        environment, requirements, constraints = _process_pip_requirements(  # type: ignore[no-untyped-call]
            get_default_pip_requirements(), pip_requirements, extra_pip_requirements
        )
    else:
        environment, requirements, constraints = _process_conda_env(conda_env)  # type: ignore[no-untyped-call]
    python_env = _PythonEnv.current()  # type: ignore[no-untyped-call]
    names_graphids = any(map(_GRAPHIDS.search, requirements))
    if wheel is not None and conda_env is pip_requirements is None and not names_graphids:
        requirements = [wheel, *requirements]
        environment = _with_wheel(environment, wheel)
        python_env.build_dependencies = _with_new_enough_pip(python_env.build_dependencies)
    (folder / "conda.yaml").write_text(yaml.safe_dump(environment, default_flow_style=False))
    (folder / "requirements.txt").write_text("\n".join(requirements))
    if constraints:
        (folder / "constraints.txt").write_text("\n".join(constraints))
    python_env.to_yaml(str(folder / "python_env.yaml"))


def _with_wheel(environment: dict[str, Any], wheel: str) -> dict[str, Any]:
    *dependencies, pip = environment["dependencies"]
    pip = {"pip": [wheel, *pip["pip"]]}
    return {**environment, "dependencies": [*_with_new_enough_pip(dependencies), pip]}


def _with_new_enough_pip(dependencies: list[str]) -> list[str]:
    """These, with a pip that installs the wheel: the pinned one if it does."""
    pins = [(text, _PIP_PIN.fullmatch(text)) for text in dependencies]
    return [f"pip>={_FIRST_PIP}" if pin and _is_old(pin["version"]) else text for text, pin in pins]


def _is_old(pip_version: str | None) -> bool:
    return pip_version is None or Version(pip_version) < _FIRST_PIP

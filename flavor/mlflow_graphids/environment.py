"""The environment files of a model: MLflow writes and reads them, graphids never opens them to load a model."""

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

# What scoring imports, without graphids itself, which is on no package index: there its name is another project's, and
# an environment that MLflow builds from a model would run a stranger's code. `extra_pip_requirements` can name a wheel
# of it; the manifest says which version.
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


def get_default_pip_requirements() -> list[str]:
    """Requirements at their installed versions, without local labels such as `+cpu`, which no index serves."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]


def get_default_conda_env() -> dict[str, Any]:
    """Conda environment with `get_default_pip_requirements`."""
    environment: dict[str, Any] = _mlflow_conda_env(  # type: ignore[no-untyped-call]
        additional_pip_deps=get_default_pip_requirements(), install_mlflow=False
    )
    return environment


def write_environment(folder: Path, conda_env: Any, pip_requirements: Any, extra_pip_requirements: Any) -> None:
    """Write conda.yaml, requirements.txt, python_env.yaml and, if the requirements name constraints, constraints.txt.

    Args:
        folder: The model.
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
    (folder / "conda.yaml").write_text(yaml.safe_dump(environment, default_flow_style=False))
    (folder / "requirements.txt").write_text("\n".join(requirements))
    if constraints:
        (folder / "constraints.txt").write_text("\n".join(constraints))
    _PythonEnv.current().to_yaml(str(folder / "python_env.yaml"))  # type: ignore[no-untyped-call]

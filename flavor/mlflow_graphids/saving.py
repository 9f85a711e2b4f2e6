"""Saving: payload, manifest, MLmodel and environment in a folder on disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import pyfunc
from mlflow.models import Model, ModelInputExample, ModelSignature
from mlflow.models.utils import _save_example
from mlflow.utils.environment import _validate_env_arguments
from mlflow.utils.model_utils import _validate_and_copy_code_paths, _validate_and_prepare_target_save_path

from graphids._fs import digest_bytes, publish_bytes
from graphids.core.classifier import WindowClassifier
from graphids.logged_model import DIGEST_KEY
from mlflow_graphids.artifacts import to_payload
from mlflow_graphids.environment import write_environment
from mlflow_graphids.frames_schema import default_signature
from mlflow_graphids.pyfunc_wrapper import own_settings, require_settings
from mlflow_graphids.reader import CaptureReader, pickle_reader, reader_versions
from mlflow_graphids.verification.manifest import (
    CARD_FILE,
    CODE_FOLDER,
    FLAVOR_NAME,
    LOADER_MODULE,
    MANIFEST_FILE,
    MLMODEL_FILE,
    READER_FILE,
    parse_manifest,
    render_manifest,
)
from mlflow_graphids.wheel import own_wheel


def save_model(
    graphids_model: WindowClassifier,
    path: str | Path,
    mlflow_model: Model | None = None,
    signature: ModelSignature | None = None,
    input_example: ModelInputExample | None = None,
    conda_env: Mapping[str, Any] | str | None = None,
    pip_requirements: Sequence[str] | str | None = None,
    extra_pip_requirements: Sequence[str] | str | None = None,
    code_paths: list[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    model_config: Mapping[str, Any] | None = None,
    capture_reader: CaptureReader | None = None,
    model_card: str | None = None,
    carry_wheel: bool = True,
) -> str:
    """Save a classifier as an MLflow model in a new folder.

    Equal classifiers saved with equal arguments by one installation of graphids have equal digests. The model carries
    the wheel of that installation, and the environment files require it, unless `pip_requirements` or `conda_env` is
    given.

    Args:
        graphids_model: What to save; its threshold, preprocessing and tau record travel with it.
        path: Folder that does not exist yet, or is empty.
        mlflow_model: MLflow's description, extended in place.
        signature: By default the one of `frames_schema`.
        input_example: A table of at least `window_size` frames, or a tuple of it and a dict of params.
        conda_env: As in every MLflow flavor.
        pip_requirements: As in every MLflow flavor; by default the wheel and `get_default_pip_requirements`.
        extra_pip_requirements: As in every MLflow flavor.
        code_paths: Files and folders that `mlflow.pyfunc` puts on `sys.path`. They are part of the digest;
            `load_model` imports none of them.
        metadata: Added to MLmodel's.
        model_config: Defaults of the params `threshold`, `stride` and `top_k`.
        capture_reader: A function from the path of a capture to its frames, for a format that graphids does not read.
            It is pickled into the model and listed in the manifest; `load_model(..., allow_code=True)` loads it.
            Without one a model contains no pickle.
        model_card: Markdown for readers who have the model but not its run: MODEL_CARD.md, under the digest like the
            weights. Loading reads nothing from it.
        carry_wheel: False for a model that is part of an installation of graphids.

    Returns:
        The root digest, `graphids.digest`: what `load_model` takes as `expected_digest`.

    Raises:
        ValueError: If a weight is not finite in float32, `model_config` holds anything else or a value out of range,
            or a file of `code_paths` has a name
            that means another file elsewhere.
        TypeError: If `capture_reader` cannot be called.
        MlflowException: If `path` is not empty.
    """
    _validate_env_arguments(conda_env, pip_requirements, extra_pip_requirements)  # type: ignore[no-untyped-call]
    require_settings(model_config or {}, "model_config")
    # All of them, always: at load time MLflow lets a caller override only what MLmodel names.
    settings = {**own_settings(graphids_model), **(model_config or {})}
    files = to_payload(graphids_model)
    if capture_reader is not None:
        files[READER_FILE] = pickle_reader(capture_reader)
    if model_card is not None:
        files[CARD_FILE] = model_card.encode()
    wheel = own_wheel() if carry_wheel else None
    if wheel is not None:
        files[wheel.path] = wheel.data
    folder = Path(path).absolute()
    _validate_and_prepare_target_save_path(folder)  # type: ignore[no-untyped-call]
    code = _validate_and_copy_code_paths(code_paths, str(folder), CODE_FOLDER)  # type: ignore[no-untyped-call]
    mlflow_model = mlflow_model or Model()
    mlflow_model.signature = signature or default_signature()
    manifest = render_manifest(
        files | _code_files(folder),
        signature=mlflow_model.signature.to_dict(),
        model_config=settings,
        reader=None if capture_reader is None else reader_versions(),
    )
    for name, data in {**files, MANIFEST_FILE: manifest}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        publish_bytes(folder / name, data)
    _save_example(mlflow_model, input_example, str(folder))
    _describe(mlflow_model, manifest, code, metadata, settings)
    mlflow_model.save(str(folder / MLMODEL_FILE))
    required = None if wheel is None else wheel.requirement
    write_environment(folder, required, conda_env, pip_requirements, extra_pip_requirements)
    return digest_bytes(manifest)


def _code_files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted((folder / CODE_FOLDER).rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.suffix != ".pyc"}


def _describe(
    mlflow_model: Model,
    manifest: bytes,
    code: str | None,
    metadata: Mapping[str, Any] | None,
    settings: dict[str, Any],
) -> None:
    """Fill in MLmodel: both flavors, and the digests for its readers."""
    section = parse_manifest(manifest).flavor_section(digest_bytes(manifest))
    pyfunc.add_to_model(
        mlflow_model,
        loader_module=LOADER_MODULE,
        code=code,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
        model_config=settings,
    )
    mlflow_model.add_flavor(FLAVOR_NAME, **section)
    digests = {DIGEST_KEY: section["digest"], f"{FLAVOR_NAME}.files": dict(section["files"])}
    mlflow_model.metadata = {**(mlflow_model.metadata or {}), **(metadata or {}), **digests}

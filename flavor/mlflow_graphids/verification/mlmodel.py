"""MLmodel: MLflow's file, which MLflow rewrites when a model is logged or downloaded.

So it is not hashed; what it says about graphids is compared with the manifest, and nothing else in it is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphids._fs import IntegrityError
from mlflow_graphids.verification.manifest import (
    CODE_FOLDER,
    FLAVOR_NAME,
    LOADER_MODULE,
    MLMODEL_FILE,
    PYFUNC_NAME,
    Manifest,
)
from mlflow_graphids.verification.strict import Buffer, parse_yaml, shown

# Keys that MLflow needs and that do not change how the verified bytes are used.
_FREE_KEYS = {FLAVOR_NAME: frozenset({"code"}), PYFUNC_NAME: frozenset({"env", "python_version"})}


@dataclass(frozen=True, slots=True)
class MLmodel:
    """The part of MLmodel that is compared; a flavor section that is not a mapping counts as empty."""

    signature: Any
    flavors: Mapping[str, Mapping[str, Any]]

    @property
    def digest(self) -> str:
        """The root digest that it names; used only if nothing else names one."""
        return str(self.flavors.get(FLAVOR_NAME, {}).get("digest"))


def parse_mlmodel(data: Buffer) -> MLmodel:
    """What MLmodel says about flavors and signature.

    Raises:
        IntegrityError: If it is not strict YAML, or names no flavors.
    """
    content = parse_yaml(data, MLMODEL_FILE)
    if not isinstance(content, dict) or not isinstance(content.get("flavors"), dict):
        raise IntegrityError(f"{MLMODEL_FILE}: names no flavors")
    sections = content["flavors"].items()
    return MLmodel(
        signature=content.get("signature"),
        flavors={str(name): section if isinstance(section, dict) else {} for name, section in sections},
    )


def contradictions(mlmodel: MLmodel, manifest: Manifest, digest: str) -> list[str]:
    """Where MLmodel and the manifest with that digest differ in what MLflow acts on before it calls us."""
    expected = {
        "signature": manifest.signature,
        "flavors": [FLAVOR_NAME, PYFUNC_NAME],
        **{f"flavors.{FLAVOR_NAME}.{key}": value for key, value in manifest.flavor_section(digest).items()},
        f"flavors.{PYFUNC_NAME}.loader_module": LOADER_MODULE,
        f"flavors.{PYFUNC_NAME}.code": CODE_FOLDER if manifest.has_code else None,
        f"flavors.{PYFUNC_NAME}.config": manifest.model_config,
    }
    found: dict[str, Any] = {"signature": mlmodel.signature, "flavors": sorted(mlmodel.flavors)}
    for name in (FLAVOR_NAME, PYFUNC_NAME):
        given = {f"flavors.{name}.{key}": value for key, value in mlmodel.flavors.get(name, {}).items()}
        free = {f"flavors.{name}.{key}" for key in _FREE_KEYS[name]} - expected.keys()
        found |= {key: value for key, value in given.items() if key not in free}
    return [
        f"{shown(key)} is {found.get(key)!r:.200}, expected {expected.get(key)!r:.200}"
        for key in expected | found
        if found.get(key) != expected.get(key)
    ]

"""The configuration of a run: rendered by jsonnet from the project's parameters, or read from an earlier run."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import _jsonnet

from graphids.options import NAMESPACES, OptionError


def render_config(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate `gat.jsonnet` with the project's parameters as its top-level arguments.

    Raises:
        OptionError: In one line, if jsonnet refuses them.
    """
    arguments = {name: json.dumps(value) for name, value in parameters.items()}
    with as_file(files("graphids") / "configs") as folder:
        try:
            text = _jsonnet.evaluate_file(str(folder / "gat.jsonnet"), tla_codes=arguments)
        except RuntimeError as error:  # all that jsonnet raises, with a trace of its own
            raise OptionError(
                f"The options give no configuration: jsonnet says {' '.join(str(error).split())}; expected values that "
                "JSON can hold, and the files of an unchanged installation."
            ) from None
    rendered: dict[str, Any] = json.loads(text)
    return rendered


def read_config(path: Path) -> dict[str, Any]:
    """Read the effective configuration that an earlier run logged as `config.json`.

    Raises:
        OptionError: If the file cannot be read, or holds something else.
    """
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise OptionError(f"--config: cannot read {path}: {error}; expected the config.json of a run.") from None
    return parse_config(text, f"--config: {path}")


def parse_config(text: str, where: str) -> dict[str, Any]:
    """Parse the JSON of an effective configuration.

    Raises:
        OptionError: If the text, found at `where`, is something else.
    """
    try:
        config: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{where}: not JSON ({error}); expected the config.json of a run.") from None
    sections = [config.get(name) for name in NAMESPACES] if isinstance(config, dict) else [None]
    if not all(isinstance(section, dict) and section for section in sections):
        raise OptionError(f"{where} lacks one of {', '.join(NAMESPACES)}; expected the config.json of a run.")
    return config


def root_dir_of(config: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """The folder in which each run makes one of its own."""
    roots = [override.partition("=")[2] for override in overrides if override.startswith("--trainer.default_root_dir=")]
    root_dir: str = roots[-1] if roots else config["trainer"].get("default_root_dir", ".")
    return root_dir

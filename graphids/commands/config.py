"""From the project's parameters to a Trainer, a Detector and a data module, by jsonnet and Lightning's CLI."""

import difflib
import inspect
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import _jsonnet
import lightning.pytorch as pl
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningCLI

from graphids.core.data.datamodule import CANDataModule
from graphids.core.models.detector import Detector
from graphids.options import NAMESPACES, OptionError

_OWNERS: dict[str, type] = {"model": Detector, "data": CANDataModule, "trainer": pl.Trainer}


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a run is made of, and the effective configuration that makes it again."""

    trainer: pl.Trainer
    detector: Detector
    datamodule: CANDataModule
    config: dict[str, Any]


def render_config(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """`gat.jsonnet` called with the project's parameters as its top-level arguments."""
    arguments = {name: json.dumps(value) for name, value in parameters.items()}
    with as_file(files("graphids") / "configs") as folder:
        rendered: dict[str, Any] = json.loads(_jsonnet.evaluate_file(str(folder / "gat.jsonnet"), tla_codes=arguments))
    return rendered


def read_config(path: Path) -> dict[str, Any]:
    """An effective configuration that an earlier run logged as `config.json`.

    Raises:
        OptionError: If the file does not hold one.
    """
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise OptionError(f"--config: cannot read {path}: {error}; expected the config.json of a run.") from None
    return parse_config(text, f"--config: {path}")


def parse_config(text: str, where: str) -> dict[str, Any]:
    """An effective configuration from its JSON.

    Raises:
        OptionError: If the text, found at `where`, does not hold one.
    """
    try:
        config: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise OptionError(f"{where}: cannot be read: {error}; expected the config.json of a run.") from None
    sections = [config.get(name) for name in NAMESPACES] if isinstance(config, dict) else [None]
    if not all(isinstance(section, dict) and section for section in sections):
        raise OptionError(f"{where} lacks one of {', '.join(NAMESPACES)}; expected the config.json of a run.")
    return config


class _CLI(LightningCLI):
    """Lightning's CLI as a typed reader of one configuration, without subcommands."""

    def __init__(self, arguments: Sequence[str]) -> None:
        super().__init__(
            Detector,
            CANDataModule,
            args=list(arguments),
            run=False,
            # It refuses to save into a folder that holds a configuration already; the run logs its own.
            save_config_callback=None,
            parser_kwargs={"exit_on_error": False, "default_env": False},
            load_from_checkpoint_support=False,
        )


def root_dir_of(config: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """The folder in which each run makes one of its own."""
    roots = [word.partition("=")[2] for word in overrides if word.startswith("--trainer.default_root_dir=")]
    root_dir: str = roots[-1] if roots else config["trainer"].get("default_root_dir", ".")
    return root_dir


def wire(config: Mapping[str, Any], overrides: Sequence[str], run_id: str) -> Wiring:
    """Instantiate a run.

    Args:
        config: Rendered or effective configuration.
        overrides: `--model.heads=8` and the like; they win.
        run_id: Names the run's folder in `trainer.default_root_dir`: checkpoints of two runs never share one.

    Raises:
        OptionError: For a key or a value that the configuration's types refuse, in one line.
    """
    root_dir = root_dir_of(config, overrides)
    with TemporaryDirectory() as folder:
        source = Path(folder) / "config.json"
        source.write_text(json.dumps(config))
        own_dir = f"--trainer.default_root_dir={Path(root_dir) / run_id}"
        # Our own command line is read already; Lightning warns that it is not used.
        warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
        try:
            cli = _CLI([f"--config={source}", *overrides, own_dir])
        except (ArgumentError, ValueError, MisconfigurationException) as error:
            raise OptionError(_one_line(str(error))) from None
    effective = json.loads(cli.parser.dump(cli.config, format="json", skip_unset=False))
    effective.pop("config", None)
    effective["trainer"]["default_root_dir"] = root_dir
    return Wiring(cli.trainer, cli.model, cli.datamodule, effective)


def _one_line(message: str) -> str:
    """The complaint of jsonargparse or Lightning, on one line, with the keys that exist where one was misspelled."""
    if "No supported gpu backend" in message:
        return "--accelerator: given 'gpu', but torch finds no GPU on this machine; use auto or cpu."
    refused = re.match(r'Parser key "([\w.]+)": .*?(?:Got value|Given value): (\S+)', " ".join(message.split()))
    if refused is not None:
        key, value = refused.groups()
        namespace, _, name = key.partition(".")
        allowed = inspect.signature(_OWNERS[namespace]).parameters.get(name) if namespace in _OWNERS else None
        kind = f"; allowed is {inspect.formatannotation(allowed.annotation)}" if allowed else ""
        return f"--{key}: given {value!r}{kind}."
    unknown = re.match(r"unrecognized arguments: --(\w+)\.(\S+?)=", message)
    if unknown is None:
        return " ".join(message.split())
    namespace, key = unknown.groups()
    known = list(inspect.signature(_OWNERS[namespace]).parameters)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean --{namespace}.{near[0]}? " if near else ""
    return f"--{namespace}.{key}: no such key; {hint}allowed are {', '.join(known)}."

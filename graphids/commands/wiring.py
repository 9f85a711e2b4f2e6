"""From a configuration to a Trainer, a Detector and a data module, by Lightning's CLI."""

import difflib
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as pl
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningCLI

from graphids.commands.config import root_dir_of
from graphids.commands.processes import require_launched_as_configured
from graphids.core.callbacks.checkpoint import require_digests
from graphids.core.data.datamodule import CANDataModule
from graphids.core.models.detector import Detector
from graphids.options import OptionError

_OWNERS: dict[str, type] = {"model": Detector, "data": CANDataModule, "trainer": pl.Trainer}


@dataclass(frozen=True, slots=True)
class Wiring:
    """The objects of a run, and the effective configuration that reproduces them."""

    trainer: pl.Trainer
    detector: Detector
    datamodule: CANDataModule
    config: dict[str, Any]


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


def wire(config: Mapping[str, Any], overrides: Sequence[str], run_id: str) -> Wiring:
    """Instantiate a run.

    Args:
        config: Rendered or effective configuration.
        overrides: `--model.heads=8` and the like; they take precedence.
        run_id: Names the run's folder in `trainer.default_root_dir`, so that no two runs share their checkpoints.

    Raises:
        OptionError: In one line, if the configuration's types do not accept a key or a value.
    """
    root_dir = root_dir_of(config, overrides)
    with TemporaryDirectory() as folder:
        source = Path(folder) / "config.json"
        source.write_text(json.dumps(config))
        own_dir = f"--trainer.default_root_dir={Path(root_dir) / run_id}"
        try:
            cli = _CLI([f"--config={source}", *overrides, own_dir])
            require_launched_as_configured(cli.trainer)
            require_digests(cli.trainer.strategy)
        # RuntimeError: what Lightning says of SLURM's variables.
        except (ArgumentError, ValueError, RuntimeError, MisconfigurationException) as error:
            raise OptionError(_one_line(str(error))) from None
    effective = json.loads(cli.parser.dump(cli.config, format="json", skip_unset=False))
    effective.pop("config", None)
    effective["trainer"]["default_root_dir"] = root_dir
    return Wiring(cli.trainer, cli.model, cli.datamodule, effective)


def _one_line(message: str) -> str:
    """The error of jsonargparse or Lightning in one line, with the known keys if one was misspelled."""
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

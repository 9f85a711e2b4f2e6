"""Which of a run's processes this one is: what its trainer says, whatever variables a launcher has left behind."""

import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import yaml  # type: ignore[import-untyped]
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities import rank_zero_only

from graphids.options import OptionError

# What Lightning takes for this process's rank when it is imported, before there is a trainer.
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
_WORLD = ("accelerator", "devices", "num_nodes", "strategy")
_RANK_ZERO_LOGGER = "lightning.pytorch.utilities.rank_zero"


def settle_rank(config: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()) -> None:
    """Give this process its rank (`rank_zero_only.rank`); only rank 0 has the MLflow run.

    A rank variable that does not belong to the trainer's processes is ignored, with one line.

    Args:
        config: Of the run whose trainer decides; None where a command has none, and is one process.
        overrides: Dotted overrides of it.

    Raises:
        OptionError: If the variables make this process one that the trainer does not have.
    """
    rank = 0
    if config is not None:
        trainer = _trainer(config["trainer"], overrides)
        if trainer is None:
            return
        if trainer.world_size > 1:
            if trainer.global_rank >= trainer.world_size:
                raise OptionError(
                    f"NODE_RANK, LOCAL_RANK: given this process as number {trainer.global_rank}, but the trainer has "
                    f"{trainer.world_size}, numbered from 0; unset what another launcher left, or set "
                    "--trainer.devices and --trainer.num_nodes."
                )
            rank = trainer.global_rank
    rank_zero_only.rank = rank  # type: ignore[attr-defined]
    if rank == 0:
        for name in _RANK_VARIABLES:
            if os.environ.get(name, "0") != "0":
                _say_ignored(name, "here one process does all the work; --trainer.devices asks for several")
                os.environ[name] = "0"


def require_launched_as_configured(trainer: pl.Trainer) -> None:
    """Compare the trainer's devices and nodes with what SLURM or torchrun has started, before anything is trained.

    Lightning compares them when it launches, and not at all for a trainer of one process: each of the tasks would train
    the same.

    Raises:
        ValueError: If they differ, or the trainer would start processes that cannot share a run.
    """
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise ValueError(
            "--trainer.strategy: given one that copies this process (ddp_spawn, ddp_fork, ddp_notebook), and the "
            "thread that talks to MLflow cannot be copied; use auto or ddp."
        )
    environment = trainer._accelerator_connector.cluster_environment
    environment.validate_settings(num_devices=trainer.num_devices, num_nodes=trainer.num_nodes)


def _trainer(settings: Mapping[str, Any], overrides: Sequence[str]) -> pl.Trainer | None:
    """A trainer with the same processes; None where Lightning makes none, whose reason the run's own wiring gives."""
    world = {name: settings[name] for name in _WORLD if name in settings}
    for override in overrides:
        name, _, value = override.removeprefix("--trainer.").partition("=")
        if name in _WORLD:
            try:
                world[name] = yaml.safe_load(value)
            except yaml.YAMLError:
                return None
    trainer = _silent_trainer(world)
    strategy = getattr(trainer, "strategy", None)
    if (
        trainer is not None
        and trainer.world_size > 1
        and isinstance(getattr(strategy, "cluster_environment", None), LightningEnvironment)
        and "LOCAL_RANK" in os.environ
        and "WORLD_SIZE" not in os.environ
    ):
        # Lightning would wait for processes that nobody starts. Its own launcher sets both variables.
        _say_ignored("LOCAL_RANK", "WORLD_SIZE is not set, so that no launcher has started the trainer's processes")
        del os.environ["LOCAL_RANK"]
        return _silent_trainer(world)
    return trainer


def _silent_trainer(world: Mapping[str, Any]) -> pl.Trainer | None:
    logger = logging.getLogger(_RANK_ZERO_LOGGER)
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = pl.Trainer(
                **world,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            require_launched_as_configured(trainer)
            return trainer
    except Exception:
        return None
    finally:
        logger.disabled = before


def _say_ignored(name: str, reason: str) -> None:
    print(f"graphids: {name}={os.environ[name]} is ignored: {reason}.", file=sys.stderr)

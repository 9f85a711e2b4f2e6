"""A resumed configuration names what graphids' own can, and nothing else."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphids.commands.config import render_config
from graphids.commands.resumed_config import require_own_names
from graphids.commands.sweep import SweepPlan
from graphids.commands.wiring import wire
from graphids.options import OPTIONS, OptionError

DEFAULTS = {option.name: option.default for option in OPTIONS}
Change = Callable[[dict[str, Any]], object]
EVIL = {"class_path": "evil.Callback"}
FOREIGN: dict[str, tuple[Change, str]] = {
    "callback": (lambda c: c["trainer"]["callbacks"].append(EVIL), "trainer.callbacks.7.class_path is 'evil.Callback'"),
    "callback by its path": (lambda c: c["trainer"].update(callbacks=["evil.Callback"]), "trainer.callbacks.0"),
    "callback as YAML": (lambda c: c["trainer"].update(callbacks="{class_path: evil}"), "trainer.callbacks"),
    "short class name": (
        lambda c: c["trainer"]["callbacks"].append({"class_path": "Timer"}),
        "trainer.callbacks.7.class_path is 'Timer'",
    ),
    "one callback": (lambda c: c["trainer"].update(callbacks=EVIL), "trainer.callbacks.class_path"),
    "logger": (lambda c: c["trainer"].update(logger=EVIL), "trainer.logger.class_path"),
    "strategy": (lambda c: c["trainer"].update(strategy="evil.Strategy"), "trainer.strategy"),
    "file": (lambda c: c["trainer"].update(profiler="/tmp/evil"), "trainer.profiler"),
    "function": (
        lambda c: c["trainer"]["callbacks"][-1]["init_args"].update(save_model="os.system"),
        "trainer.callbacks.6.init_args.save_model is 'os.system'",
    ),
    "folder of checkpoints": (
        lambda c: c["trainer"]["callbacks"][1]["init_args"].update(dirpath="/etc"),
        "trainer.callbacks.1.init_args.dirpath",
    ),
    "data": (lambda c: c["data"].update(EVIL), "data.class_path"),
    "model": (lambda c: c["model"].update(loss="evil.loss"), "model.loss"),
    "optimizer": (lambda c: c.update(optimizer=EVIL), "optimizer"),
    "another section": (lambda c: c.update({"trainer.logger": EVIL}), "trainer.logger"),
    "another config": (lambda c: c["sweep"]["shared"].append("--config=/tmp/evil.json"), "sweep.shared"),
    "override": (lambda c: c["sweep"]["shared"].append("--trainer.logger=evil.Logger"), "sweep.shared"),
    "override as JSON": (lambda c: c["sweep"]["shared"].append('--model={"class_path": "e"}'), "sweep.shared"),
    "seed": (lambda c: c["sweep"].update(seeds=["--config=x"]), "sweep.seeds"),
    "tau": (lambda c: c["sweep"].update(taus=["0 --config=x"]), "sweep.taus"),
    "no plan": (lambda c: c.update(sweep="evil"), "sweep"),
}


@pytest.fixture(scope="module")
def effective(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The configuration of a sweep with overrides that people type, as its run logs it."""
    overrides = (
        "--trainer.max_time=00:12:00:00",
        "--trainer.strategy=ddp_find_unused_parameters_true",
        "--model.lr=1e-3",
        "--data.data_seed=3",
        f"--trainer.default_root_dir={tmp_path_factory.mktemp('runs')}",
    )
    config = wire(render_config({**DEFAULTS, "tau": "auto"}), overrides, "run").config
    plan = SweepPlan((0, 1), ("auto", "0.25"), ("--data=a dir/*.log", "--max_epochs=3", *overrides))
    return {**config, "sweep": plan.as_dict()}


def test_what_a_run_logs_itself_is_resumed(effective: dict[str, Any]) -> None:
    require_own_names(effective, "config.json")


@pytest.mark.parametrize("name", FOREIGN)
def test_what_graphids_never_names_is_refused(effective: dict[str, Any], name: str, tmp_path: Path) -> None:
    change, found = FOREIGN[name]
    config = copy.deepcopy(effective)
    change(config)

    with pytest.raises(OptionError) as refused:
        require_own_names(config, str(tmp_path / "config.json"))

    assert str(refused.value).startswith(f"{tmp_path / 'config.json'}: {found}")
    assert "which graphids' own configuration never names" in str(refused.value)

"""From a configuration to a wired run: what is refused, and that the effective configuration is complete."""

import inspect
import json
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import EarlyStopping

from graphids._mlflow import MLflowTrainingCallback
from graphids.assessment.tau_sweep import choose_tau
from graphids.commands.config import read_config, render_config
from graphids.commands.wiring import wire
from graphids.core.callbacks import Sha256ModelCheckpoint, TauNormCallback, VRAMDriftCallback
from graphids.core.data.datamodule import CANDataModule
from graphids.core.models.detector import Detector
from graphids.options import OPTIONS, OptionError

DEFAULTS = {option.name: option.default for option in OPTIONS}


def test_the_parameters_reach_what_they_are_for(tmp_path: Path) -> None:
    given = {"tau": 0.25, "patience": 7, "vram_threshold": 0.4, "lr": 0.01, "window": 64, "stride": 32, "max_epochs": 3}
    wiring = wire(render_config({**DEFAULTS, **given}), [f"--trainer.default_root_dir={tmp_path}"], "run")
    of_kind = {type(callback): callback for callback in wiring.trainer.callbacks}  # type: ignore[attr-defined]

    assert of_kind[TauNormCallback].tau == 0.25
    assert of_kind[EarlyStopping].patience == 7
    assert of_kind[VRAMDriftCallback].threshold == 0.4
    assert wiring.detector.hparams["lr"] == 0.01
    assert (wiring.datamodule.hparams["window_size"], wiring.datamodule.hparams["stride"]) == (64, 32)
    assert wiring.trainer.max_epochs == 3
    assert Path(wiring.trainer.default_root_dir) == tmp_path / "run"


def test_the_model_is_logged_after_tau_normalization_and_checkpoints_come_last(tmp_path: Path) -> None:
    wiring = wire(render_config(DEFAULTS), [f"--trainer.default_root_dir={tmp_path}"], "run")
    order = [type(callback) for callback in wiring.trainer.callbacks]  # type: ignore[attr-defined]

    assert order.index(TauNormCallback) < order.index(MLflowTrainingCallback) < order.index(Sha256ModelCheckpoint)


@pytest.mark.parametrize(("section", "owner"), [("model", Detector), ("data", CANDataModule)])
def test_a_setting_has_one_default(section: str, owner: type) -> None:
    parameters = inspect.signature(owner).parameters

    rendered = render_config(DEFAULTS)[section]

    assert rendered == {name: parameters[name].default for name in rendered}


def test_overrides_win_and_stand_in_the_effective_configuration(tmp_path: Path) -> None:
    overrides = ["--model.heads=2", "--trainer.gradient_clip_val=0.5", f"--trainer.default_root_dir={tmp_path}"]

    wiring = wire(render_config(DEFAULTS), overrides, "run")

    assert wiring.config["model"]["heads"] == 2
    assert wiring.trainer.gradient_clip_val == 0.5
    assert wiring.config["trainer"]["default_root_dir"] == str(tmp_path)


def test_tau_auto_comes_with_the_function_that_it_asks(tmp_path: Path) -> None:
    wiring = wire(render_config({**DEFAULTS, "tau": "auto"}), [f"--trainer.default_root_dir={tmp_path}"], "run")
    (tau_norm,) = (c for c in wiring.trainer.callbacks if isinstance(c, TauNormCallback))  # type: ignore[attr-defined]

    assert (tau_norm.tau, tau_norm.choose_tau) == ("auto", choose_tau)
    (stored,) = (c for c in wiring.config["trainer"]["callbacks"] if c["class_path"].endswith("TauNormCallback"))
    assert stored["init_args"] == {"tau": "auto", "choose_tau": "graphids.assessment.tau_sweep.choose_tau"}


def test_the_effective_configuration_wires_the_same_run(tmp_path: Path) -> None:
    first = wire(render_config(DEFAULTS), ["--model.hidden=16", f"--trainer.default_root_dir={tmp_path}"], "a")
    stored = tmp_path / "config.json"
    stored.write_text(json.dumps(first.config))

    again = wire(read_config(stored), [], "b")

    assert again.config == first.config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--model.haeds=8", "--model.haeds: no such key; did you mean --model.heads? allowed are size"),
        ("--model.heads=many", r"--model.heads: given 'many'; allowed is int \| None"),
        ("--model.heads=5", "expected hidden a multiple of heads=5, found hidden=32"),
        ("--model.size=huge", "model.size is 'huge', expected one of small, large"),
        ("--trainer.accelerator=gpu", "--accelerator: given 'gpu', but torch finds no GPU"),
        ("--trainer.enable_checkpointing=false", "enable_checkpointing=False"),
    ],
)
def test_what_the_configuration_refuses_is_one_line(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message.replace("?", r"\?")) as caught:
        wire(render_config(DEFAULTS), [override, f"--trainer.default_root_dir={tmp_path}"], "run")

    assert "\n" not in str(caught.value)

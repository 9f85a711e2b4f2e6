"""An interrupted run is found again: the checkpoint that it is resumed from."""

from pathlib import Path
from typing import Any

import pytest
import torch

from graphids._fs import atomic_save, sidecar_path
from graphids.commands.resume_point import find_checkpoint


def checkpoint(step: int, **extra: Any) -> dict[str, Any]:
    """As much of a checkpoint as tells how far it is."""
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": step // 10}}}}
    return {"global_step": step, "loops": loops, "optimizer_states": [], "state_dict": {}, **extra}


def test_the_checkpoint_that_is_furthest_and_whole_is_resumed_from(tmp_path: Path) -> None:
    for name, step in (("a", 30), ("b", 20), ("c", 10)):
        atomic_save(checkpoint(step), tmp_path / f"{name}.ckpt")
    assert find_checkpoint(tmp_path) == tmp_path / "a.ckpt"

    with (tmp_path / "a.ckpt").open("r+b") as file:
        file.truncate(100)
    with pytest.warns(UserWarning, match=r"a\.ckpt is skipped: .*expected sha256"):
        assert find_checkpoint(tmp_path) == tmp_path / "b.ckpt"

    atomic_save(checkpoint(20) | {"extra": Path("code")}, tmp_path / "b.ckpt")
    with pytest.warns(UserWarning, match=r"b\.ckpt is skipped: .*do not load with weights_only"):
        assert find_checkpoint(tmp_path) == tmp_path / "c.ckpt"

    atomic_save(checkpoint(20) | {"global_step": "20"}, tmp_path / "b.ckpt")
    with pytest.warns(UserWarning, match=r"b\.ckpt is skipped: its progress is '20' steps"):
        assert find_checkpoint(tmp_path) == tmp_path / "c.ckpt"

    sidecar_path(tmp_path / "b.ckpt").unlink()
    with pytest.warns(UserWarning, match=r"b\.ckpt is skipped: .*expected its digest"):
        assert find_checkpoint(tmp_path) == tmp_path / "c.ckpt"


def test_weights_without_the_state_of_a_trainer_are_skipped(tmp_path: Path) -> None:
    atomic_save({"state_dict": {}}, tmp_path / "weights.ckpt")

    with pytest.warns(UserWarning, match="it lacks 'loops'; expected a checkpoint of a whole trainer"):
        assert find_checkpoint(tmp_path) is None


def test_a_raw_head_comes_before_a_tau_normalized_one_and_last_before_best(tmp_path: Path) -> None:
    record = {"tau": 0.5, "key": "gat.fc_layers.3.weight", "raw_head": torch.ones(2, 2)}
    atomic_save(checkpoint(10, graphids_tau_norm=record), tmp_path / "last.ckpt")
    atomic_save(checkpoint(10), tmp_path / "best.ckpt")
    assert find_checkpoint(tmp_path) == tmp_path / "best.ckpt"

    atomic_save(checkpoint(10), tmp_path / "last.ckpt")
    assert find_checkpoint(tmp_path) == tmp_path / "last.ckpt"


def test_what_a_kill_left_of_a_save_is_settled_and_is_not_corruption(tmp_path: Path) -> None:
    digest = atomic_save(checkpoint(10), tmp_path / "last.ckpt")
    sidecar_path(tmp_path / "last.ckpt").write_text(f"{digest}  last.ckpt\n# {'0' * 64}\n")

    assert find_checkpoint(tmp_path) == tmp_path / "last.ckpt"
    assert sidecar_path(tmp_path / "last.ckpt").read_text() == f"{digest}  last.ckpt\n"


def test_a_folder_that_is_not_there_holds_no_checkpoint(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path / "checkpoints") is None

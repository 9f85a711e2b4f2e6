"""The checkpoint that an interrupted run is resumed from."""

import os
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from graphids._fs import IntegrityError, atomic_load, require_own_folder, settle
from graphids.core.callbacks import tau_norm_record


def find_checkpoint(folder: Path) -> Path | None:
    """The checkpoint in `folder` that is furthest along, of those that verify; None if there is none.

    What a kill left of a save is settled first (by rank 0). A checkpoint that does not verify or cannot be resumed from
    is named in a warning and skipped. Among equals, a head as trained is preferred to a tau-normalized one, and the
    last checkpoint to the best: Lightning never removes the checkpoint that a fit was resumed from.
    """
    if not os.path.lexists(folder):
        return None
    require_own_folder(folder)
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        settle(folder)
    progress: dict[Path, tuple[int, int, bool, bool]] = {}
    for path in sorted(folder.glob("*.ckpt")):
        try:
            checkpoint = atomic_load(path)
            epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
            steps = checkpoint["global_step"]
            if "optimizer_states" not in checkpoint:
                raise KeyError("optimizer_states")
            if not isinstance(steps, int) or not isinstance(epochs, int):
                raise ValueError(f"its progress is {steps!r} steps and {epochs!r} epochs, expected whole numbers")
            is_raw, is_last = tau_norm_record(checkpoint) is None, path.stem == ModelCheckpoint.CHECKPOINT_NAME_LAST
            progress[path] = (steps, epochs, is_raw, is_last)
        except (IntegrityError, OSError, ValueError, RuntimeError) as error:
            rank_zero_warn(f"{path} is skipped: {error}")
        except (KeyError, TypeError) as error:
            rank_zero_warn(f"{path} is skipped: it lacks {error}; expected a checkpoint of a whole trainer.")
    return max(progress, key=progress.__getitem__, default=None)

"""The public doors: a Trainer's resume, `mlflow.graphids.load_model` and `graphids verify`, and their answers."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mlflow
from lightning.pytorch import Trainer

from faults.subjects import batches, new_detector, quiet, quiet_trainer
from graphids._fs import IntegrityError
from graphids.commands.cli import main as graphids
from graphids.core.callbacks import DigestCheckpointIO, Sha256ModelCheckpoint
from graphids.core.models.detector import Detector
from graphids.core.profile.profile_file import profile_bytes
from graphids.exit_codes import EXIT_NOT_VERIFIED

# Building a network takes a third of a resume. One whose resume was refused can be used again: the next resume that
# succeeds replaces every weight.
_unused: list[Detector] = []


Kind = Literal["loaded", "refused", "absent", "failed"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a door answered.

    Attributes:
        kind: "failed" is neither a load nor a refusal: an exception that says nothing about verification.
        used: What was loaded, in the shape of `Saved.checkpoint_truth` or `Saved.model_truth`.
        message: The error's text.
    """

    kind: Kind
    used: Any = None
    message: str = ""


def resume(path: Path, *, settling: bool = True) -> Answer:
    """`Trainer.fit(ckpt_path=...)` of a finished fit: it restores everything and has no step left.

    Args:
        path: Checkpoint.
        settling: Put the folder in order first, as the checkpoint callback of a new run does. Not while another
            process still saves there.
    """
    detector = _unused.pop() if _unused else new_detector()

    def restore() -> dict[str, Any]:
        callbacks = (Sha256ModelCheckpoint(dirpath=path.parent),) if settling else ()
        trainer = quiet_trainer(path.parent, callbacks=callbacks)
        trainer.fit(detector, batches(), ckpt_path=path, weights_only=True)
        return _restored(trainer, detector)

    answered = answer(restore)
    if answered.kind == "refused":
        _unused.append(detector)
    return answered


def read_checkpoint(path: Path) -> Answer:
    """The checkpoint plugin alone, as a reader beside a writer uses it."""

    def read() -> Any:
        return DigestCheckpointIO().load_checkpoint(path)

    return answer(read)


def load_model(uri: str | Path, expected_digest: str | None = None) -> Answer:
    """`mlflow.graphids.load_model`."""

    def load() -> dict[str, Any]:
        return parts_of(mlflow.graphids.load_model(str(uri), expected_digest=expected_digest))

    return answer(load)


def parts_of(model: Any) -> dict[str, Any]:
    """The parts of a loaded model, in the shape of `Saved.model_truth`."""
    return {
        "weights": dict(model.gat.state_dict()),
        "raw_head": model.tau_record.get("raw_head"),
        "preprocessing": model.preprocessing.to_dict(),
        "threshold": model.threshold,
        "tau_norm": {key: model.tau_record[key] for key in ("tau", "key", "row_norms")},
        "overridden": dict(model.model_config),
        "profile": profile_bytes(model.profile),
    }


def verify(uri: str | Path, expected_digest: str | None = None) -> Answer:
    """`graphids verify`, by its exit code; it uses nothing of what it verifies."""
    arguments = ["verify", str(uri)]
    arguments += [] if expected_digest is None else ["--expected-digest", expected_digest]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), quiet():
            graphids(arguments)
    except SystemExit as end:
        if end.code in (None, 0):
            return Answer("loaded")
        kind: Kind = "refused" if end.code == EXIT_NOT_VERIFIED else "failed"
        return Answer(kind, message=f"{end.code}: {output.getvalue()}")
    except Exception as error:
        return Answer("failed", message=_text(error))
    return Answer("loaded")


def answer(load: Callable[[], Any]) -> Answer:
    """The outcome of a load."""
    try:
        with quiet():
            return Answer("loaded", load())
    except IntegrityError as error:
        return Answer("refused", message=str(error))
    except FileNotFoundError as error:
        return Answer("absent", message=str(error))
    except Exception as error:
        return Answer("failed", message=_text(error))


def _restored(trainer: Trainer, detector: Any) -> dict[str, Any]:
    return {
        "weights": dict(detector.state_dict()),
        "optimizer": trainer.optimizers[0].state_dict(),
        "scheduler": trainer.lr_scheduler_configs[0].scheduler.last_epoch,
        "preprocessing": detector.preprocessing_dict,
        "step": trainer.global_step,
    }


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

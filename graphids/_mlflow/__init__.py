"""What a run tells MLflow: its beginning and end, metrics per epoch, tags, and the view of its experiment.

The door hands on the training callback when it is asked for: the rest of the room stays free of Lightning's trainer.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphids._mlflow.training_callback import MLflowTrainingCallback

__all__ = ["MLflowTrainingCallback"]


def __getattr__(name: str) -> Any:
    if name == "MLflowTrainingCallback":
        from graphids._mlflow.training_callback import MLflowTrainingCallback

        return MLflowTrainingCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

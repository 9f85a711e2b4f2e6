"""What a run tells MLflow: its beginning and end, metrics per epoch, tags, and the view of its experiment.

The training callback is imported on first use: the rest of the package stays free of Lightning's trainer.
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

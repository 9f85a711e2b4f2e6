"""Why a run failed, where its reader looks: the run's description, a tag and an artifact.

It imports nothing heavy before it is needed: a wrong option is answered at once.
"""

_MAX_TAG_CHARACTERS = 5000


def record_failure(run_id: str, message: str) -> None:
    """Leave the reason with the run. MLflow's compare page also fails on runs without any artifact."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    client.log_text(run_id, message, "error.txt")
    for tag in ("graphids.error", "mlflow.note.content"):
        client.set_tag(run_id, tag, message[:_MAX_TAG_CHARACTERS])

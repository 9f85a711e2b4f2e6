"""A finished run whose model is logged again, changed but not trained: its network, its captures, its settings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from graphids._mlflow.dataset_profile import dataset_profile
from graphids._mlflow.run_description import tag_run
from graphids.commands.config import parse_config
from graphids.commands.publication import LoggedData, NormalizedNetwork, publish
from graphids.commands.run_folder import CONFIG, DATASET_TAG
from graphids.core.callbacks import TauNormRecord
from graphids.core.classifier import WindowClassifier
from graphids.core.data.datamodule import CANDataModule
from graphids.options import OptionError
from graphids.outbox.outbox import Outbox

# Tag of a run of `graphids adapt`: sha256 of the profile.
PROFILE_TAG = "graphids.profile_sha256"


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that logged one model.

    Attributes:
        run: As MLflow has it.
        model_uri: Its model.
        classifier: The same, verified.
        config: Its effective configuration; what is changed here is what the new run logs.
    """

    run: mlflow.entities.Run
    model_uri: str
    classifier: WindowClassifier
    config: dict[str, Any]

    @classmethod
    def of(cls, run_id: str, load_model: Callable[..., Any]) -> "FinishedRun":
        """The run of that id, with its model loaded.

        Raises:
            OptionError: If the run is unknown, has not logged exactly one model or has no configuration.
            IntegrityError: If its model does not verify.
        """
        run = _trained_run(run_id)
        model_uri = _model_uri(run)
        classifier = load_model(model_uri)
        config = parse_config(mlflow.artifacts.load_text(f"runs:/{run_id}/{CONFIG}"), f"{CONFIG} of run {run_id}")
        return cls(run, model_uri, classifier, config)

    def read_captures(self, outbox: Outbox) -> LoggedData:
        """The captures that it was trained on, read again and logged as the new run's data set.

        Raises:
            IntegrityError: If they have changed since.
        """
        datamodule = CANDataModule(**self.config["data"])
        datamodule.setup("fit")
        datamodule.require_digest(self.run.data.tags[DATASET_TAG])
        source = str(self.config["data"]["data"])
        dataset = outbox.log_input(
            name=Path(source).name,
            digest=datamodule.dataset_digest,
            source=source,
            profile=dataset_profile(datamodule.summary),
        )
        return LoggedData(datamodule, dataset)

    def publish_as(
        self,
        outbox: Outbox,
        record: TauNormRecord,
        data: LoggedData,
        changed: dict[str, Any],
        save_model: Callable[..., str],
    ) -> None:
        """Log the network under its present head as a new model, with everything that a training logs of one.

        Args:
            outbox: Of the new run.
            record: What the head was normalized by.
            data: From `read_captures`.
            changed: Parameters that differ from this run's. All others are the same, so that runs can be compared by
                parameter.
            save_model: `mlflow_graphids.save_model`.
        """
        parameters = {**self.run.data.params, **changed}
        gat = self.classifier.gat
        tag_run(
            outbox,
            tau=parameters["tau"],
            seed=self.config["seed_everything"],
            dataset_digest=self.run.data.tags[DATASET_TAG],
            device=gat.head.weight.device,
        )
        outbox.log_params(parameters)
        outbox.set_tags({"graphids.source_model": self.model_uri})
        outbox.log_dict(self.config, CONFIG)
        publish(
            outbox,
            NormalizedNetwork(gat, record, self.classifier.preprocessing),
            data,
            false_alarms_per_hour=self.config["model"]["false_alarms_per_hour"],
            save_model=save_model,
        )


def _trained_run(run_id: str) -> mlflow.entities.Run:
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException as error:
        raise OptionError(
            f"--run_id: given {run_id!r}; expected a run that trained a model in {mlflow.get_tracking_uri()} ({error})."
        ) from None


def _model_uri(run: mlflow.entities.Run) -> str:
    if PROFILE_TAG in run.data.tags:
        raise OptionError(
            f"--run_id: run {run.info.run_id} gave a model the profile of a vehicle and trained nothing. Name the run "
            f"that trained {run.data.tags['graphids.source_model']}, and adapt what comes of it again."
        )
    outputs = run.outputs.model_outputs if run.outputs else []
    if len(outputs) != 1:
        raise OptionError(
            f"--run_id: run {run.info.run_id} logged {len(outputs)} models, expected one. Its status is "
            f"{run.info.status}; name a run that `mlflow run .` finished."
        )
    return f"models:/{outputs[0].model_id}"

"""The command `retau`: a run's model under another tau, without training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import mlflow
import torch
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from torch import Tensor

from graphids._mlflow.dataset_profile import dataset_profile
from graphids._mlflow.run_description import tag_run
from graphids._mlflow.tracked_run import tracked_run
from graphids.assessment.tau_sweep import best_tau
from graphids.commands.processes import settle_rank
from graphids.commands.publication import LoggedData, NormalizedNetwork, publish
from graphids.commands.run_folder import CONFIG, DATASET_TAG
from graphids.core.callbacks import NOT_WATCHED_TAGS, TauNormRecord, head_key
from graphids.core.data.datamodule import CANDataModule
from graphids.core.models.gat import GAT
from graphids.options import AUTO, OptionError


def retau(
    source_run_id: str, tau: float | Literal["auto"], *, load_model: Callable[..., Any], save_model: Callable[..., str]
) -> None:
    """Log the model of `source_run_id` again under another tau, from its raw head; threshold and metrics are new.

    The captures are read again and must be the ones that the run was trained on: their digest is compared. With "auto"
    their validation split chooses tau.

    Raises:
        OptionError: If the run is unknown or has not logged exactly one model.
        IntegrityError: If its model does not verify, or its captures have changed since.
    """
    settle_rank()
    with tracked_run() as outbox:
        # Before anything can fail: a failed run needs a name too.
        outbox.name_run(f"tau={_shown(tau)} retau of {source_run_id[:8]}")
        outbox.set_tags({**NOT_WATCHED_TAGS, "graphids.tau": tau, "graphids.retau_of": source_run_id})
        source = _trained_run(source_run_id)
        model_uri = _model_uri(source)
        classifier = load_model(model_uri)
        config = json.loads(mlflow.artifacts.load_text(f"runs:/{source_run_id}/{CONFIG}"))
        datamodule = CANDataModule(**config["data"])
        datamodule.setup("fit")
        trained_on = source.data.tags[DATASET_TAG]
        datamodule.require_digest(trained_on)
        dataset = outbox.log_input(
            name=Path(config["data"]["data"]).name,
            digest=datamodule.dataset_digest,
            source=str(config["data"]["data"]),
            profile=dataset_profile(datamodule.summary),
        )
        budget = config["model"]["false_alarms_per_hour"]
        raw_head: Tensor = classifier.tau_record["raw_head"]
        gat: GAT = classifier.gat
        number = best_tau(gat, raw_head, datamodule, budget) if tau == AUTO else tau
        record = TauNormRecord(number, head_key(gat.state_dict()), raw_head, chosen=tau == AUTO)
        with torch.no_grad():
            gat.head.weight.copy_(record.normed_head())
        seed = config["seed_everything"]
        tag_run(outbox, tau=tau, seed=seed, dataset_digest=trained_on, device=gat.head.weight.device)
        # All other parameters are those of the source, so that runs under several taus can be compared by parameter.
        outbox.log_params({**source.data.params, "tau": tau})
        outbox.name_run(f"tau={number:g} seed={seed} retau of {source_run_id[:8]}")
        outbox.set_tags({"graphids.source_model": model_uri})
        for callback in config["trainer"]["callbacks"]:
            if callback["class_path"].endswith(".TauNormCallback"):
                callback["init_args"] |= {"tau": tau, "choose_tau": "graphids.assessment.tau_sweep.choose_tau"}
        outbox.log_dict(config, CONFIG)
        publish(
            outbox,
            NormalizedNetwork(gat, record, classifier.preprocessing),
            LoggedData(datamodule, dataset),
            false_alarms_per_hour=budget,
            save_model=save_model,
        )


def _shown(tau: float | str) -> str:
    return tau if isinstance(tau, str) else f"{tau:g}"


def _trained_run(run_id: str) -> mlflow.entities.Run:
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException as error:
        raise OptionError(
            f"--run_id: given {run_id!r}; expected a run that trained a model in {mlflow.get_tracking_uri()} ({error})."
        ) from None


def _model_uri(run: mlflow.entities.Run) -> str:
    outputs = run.outputs.model_outputs if run.outputs else []
    if len(outputs) != 1:
        raise OptionError(
            f"--run_id: run {run.info.run_id} logged {len(outputs)} models, expected one. Its status is "
            f"{run.info.status}; name a run that `mlflow run .` finished."
        )
    return f"models:/{outputs[0].model_id}"

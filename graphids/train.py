"""Train, evaluate, re-normalize: what the project's entry points do within an MLflow run."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import torch
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from torch import Tensor

from graphids._mlflow import MLflowTrainingCallback, tag_run
from graphids.assessment import Assessment, assess, measure
from graphids.config import root_dir_of, wire
from graphids.core.callbacks import TauNormCallback, TauNormRecord, apply_tau_norm, head_key
from graphids.core.classifier import WindowClassifier
from graphids.core.data.captures import OnBadLine
from graphids.core.data.datamodule import CANDataModule
from graphids.core.data.dataset import dataset_digest, labelled_windows, load_captures
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.models.gat import GAT
from graphids.options import SIMULATED, OptionError
from graphids.outbox import Outbox
from graphids.resume import CONFIG, FOLDER_TAG, InterruptedRun, continue_as, interrupted_run, run_folder
from graphids.scored_split import score_split
from graphids.summary import evaluation_summary, training_summary
from graphids.tracked_run import Terminated, tracked_run

MODEL_NAME = "model"
# Validation figures that the UI compares before and after tau-normalization.
CHANGED_BY_TAU = ("macro/auroc", "all/auroc", "all/recall", "accuracy", "balanced_accuracy", "false_alarms_per_hour")
# Seed of simulated drives that no run with the default data has seen.
UNSEEN_DRIVES = 1_000_003


def train(config: Mapping[str, Any], overrides: Sequence[str], *, going_on: InterruptedRun | None = None) -> None:
    """Fit, tau-normalize, choose the threshold, measure, log the model and say what came out.

    Args:
        config: Rendered from the project's parameters, or the effective configuration of an earlier run.
        overrides: Dotted overrides, `--model.heads=8`.
        going_on: The run that this process goes on with; None begins one.

    Raises:
        OptionError: For a configuration that cannot be, or if another process is training this run.
        IntegrityError: If the captures are not those that the run was trained on.
    """
    with tracked_run(root_dir_of(config, overrides)) as outbox, ExitStack() as held:
        wiring = wire(config, overrides, outbox.run_id)
        checkpoint = None
        if going_on is not None:
            # Before anything is written: what is refused stays as it was.
            checkpoint = going_on.checkpoint
            wiring.datamodule.setup("fit")
            wiring.datamodule.require_digest(going_on.dataset_digest or wiring.datamodule.dataset_digest)
        if wiring.trainer.is_global_zero:
            # Logged before the first step: a run that fails has to be repeatable too.
            folder = held.enter_context(run_folder(wiring.config, outbox.run_id))
            outbox.set_tags({FOLDER_TAG: folder})
            outbox.log_dict(wiring.config, CONFIG)
        callbacks = wiring.trainer.callbacks  # type: ignore[attr-defined]
        forward = next(c for c in callbacks if isinstance(c, MLflowTrainingCallback))
        forward.outbox = outbox
        wiring.trainer.fit(wiring.detector, datamodule=wiring.datamodule, ckpt_path=checkpoint)
        if wiring.trainer.received_sigterm:
            raise Terminated  # after the last step Lightning takes note of it, and goes on
        if not wiring.trainer.is_global_zero:
            return
        tau_norm = next(c for c in callbacks if isinstance(c, TauNormCallback))
        if tau_norm.record is None or forward.dataset is None:
            raise RuntimeError("The fit ended before it began: expected a tau-normalized head and a logged data set.")
        publish(
            outbox,
            wiring.detector.gat,
            record=tau_norm.record,
            preprocessing=wiring.datamodule.preprocessing,
            datamodule=wiring.datamodule,
            false_alarms_per_hour=wiring.detector.hparams["false_alarms_per_hour"],
            save_model=forward.save_model,
            dataset=forward.dataset,
            epoch=tau_norm.best_epoch,
        )


def resume(run_id: str, folder: Path | None = None) -> None:
    """Go on with a run that was interrupted, as the same MLflow run; errors as in `interrupted_run` and `train`.

    Args:
        run_id: MLflow run id.
        folder: The run's folder, where it was moved.
    """
    run = interrupted_run(run_id, folder)
    continue_as(run)
    train(run.config, [f"--trainer.default_root_dir={run.folder.parent}"], going_on=run)


def publish(
    outbox: Outbox,
    gat: GAT,
    *,
    record: TauNormRecord,
    preprocessing: Preprocessing,
    datamodule: CANDataModule,
    false_alarms_per_hour: float,
    save_model: Callable[..., str],
    dataset: Mapping[str, str],
    epoch: int | None = None,
) -> None:
    """Measure a tau-normalized network, log it as a model and write the run's closing words.

    Args:
        outbox: Of the run.
        gat: The network with its head tau-normalized.
        record: Tau and the head's weight before; it travels in the model, for `retau`.
        preprocessing: What was fitted on the training split of `datamodule`.
        datamodule: Set up; its validation split gives the threshold, its test split the figures.
        false_alarms_per_hour: Budget for the threshold.
        save_model: `mlflow_graphids.save_model`.
        dataset: The captures as MLflow knows them; metrics are linked to it.
        epoch: Epoch of the weights, where this run trained them: MLflow shows the metrics of that step with the model.
    """
    val, test = (score_split(gat, datamodule.graphs[split], preprocessing) for split in ("val", "test"))
    raw = val.under(gat, record.raw_head)
    assessment = assess(val, raw, test, datamodule.rule_scores, false_alarms_per_hour)
    before, after = record.row_norms()
    tau_record = {
        "tau": record.tau,
        "key": head_key(gat.state_dict()),
        "raw_head": record.raw_head,
        "row_norms": before,
    }
    classifier = WindowClassifier(gat.cpu(), preprocessing, assessment.threshold, tau_record)
    digest = outbox.log_model(
        lambda folder: save_model(classifier, folder),
        name=MODEL_NAME,
        step=epoch or 0,
        tags={"graphids.tau": str(record.tau)},
    )
    metrics = _metrics(assessment) if epoch is None else {**_metrics(assessment), "best_epoch": epoch}
    outbox.log_metrics(metrics, model=digest, dataset=dataset)
    head = {name: {"before": b, "after": a} for name, b, a in zip(preprocessing.classes, before, after, strict=True)}
    outbox.log_dict({**asdict(assessment), "head_row_norms": head}, "assessment.json")
    outbox.flush()
    text = training_summary(
        assessment,
        tau=record.tau,
        split_note=datamodule.summary["split_reason"],
        model_uri=outbox.model_uri(digest, MODEL_NAME),
        digest=digest,
        run_id=outbox.run_id,
        experiment_id=outbox.experiment_id,
        tracking_uri=mlflow.get_tracking_uri(),
    )
    _close_with(outbox, text)


def _metrics(assessment: Assessment) -> dict[str, float]:
    """Metric names as the UI groups them: test/, rule/, and validation around tau-normalization.

    What is the same for every detector stands under test/ alone; assessment.json has all of it.
    """
    return {
        **{f"test/{name}": value for name, value in assessment.test.items()},
        **{
            f"rule/{name}": value
            for name, value in assessment.rule.items()
            if not name.endswith(("/windows", "/prevalence"))
        },
        **{f"val_before_tau/{name}": assessment.before[name] for name in CHANGED_BY_TAU if name in assessment.before},
        **{f"val_after_tau/{name}": assessment.after[name] for name in CHANGED_BY_TAU if name in assessment.after},
        "threshold": assessment.threshold,
    }


def _close_with(outbox: Outbox, text: str) -> None:
    """Say it on the terminal, and where the run's page in the UI begins."""
    outbox.log_text(text, "summary.txt")
    outbox.set_tags({"mlflow.note.content": f"```\n{text.strip()}\n```"})
    print(text, flush=True)


def retau(source_run_id: str, tau: float, *, load_model: Callable[..., Any], save_model: Callable[..., str]) -> None:
    """Log the model of `source_run_id` again with another tau, from its raw head; threshold and figures are made anew.

    The captures are read again and have to be the ones that the run was trained on: their digest is compared.

    Raises:
        OptionError: If the run is unknown or has not logged one model.
        IntegrityError: If its model does not verify, or its captures have changed since.
    """
    with tracked_run() as outbox:
        source = _trained_run(source_run_id)
        model_uri = _model_uri(source)
        classifier = load_model(model_uri)
        config = json.loads(mlflow.artifacts.load_text(f"runs:/{source_run_id}/{CONFIG}"))
        datamodule = CANDataModule(**config["data"])
        datamodule.setup("fit")
        trained_on = source.data.tags["graphids.dataset_digest"]
        datamodule.require_digest(trained_on)
        dataset = outbox.log_input(
            name=Path(config["data"]["data"]).name,
            digest=datamodule.dataset_digest,
            source=str(config["data"]["data"]),
            profile=datamodule.summary,
        )
        raw_head: Tensor = classifier.tau_record["raw_head"]
        gat: GAT = classifier.gat
        with torch.no_grad():
            gat.head.weight.copy_(apply_tau_norm(raw_head.clone(), tau))
        seed = config["seed_everything"]
        tag_run(outbox, tau=tau, seed=seed, dataset_digest=trained_on, device=gat.head.weight.device)
        # The rest of what made the model is as it was: runs of several taus are then compared by their parameters.
        outbox.log_params({**source.data.params, "tau": tau})
        outbox.set_tags({"graphids.retau_of": source_run_id, "graphids.source_model": model_uri})
        for callback in config["trainer"]["callbacks"]:
            if callback["class_path"].endswith(".TauNormCallback"):
                callback["init_args"]["tau"] = tau
        outbox.log_dict(config, CONFIG)
        publish(
            outbox,
            gat,
            record=TauNormRecord(tau, head_key(gat.state_dict()), raw_head),
            preprocessing=classifier.preprocessing,
            datamodule=datamodule,
            false_alarms_per_hour=config["model"]["false_alarms_per_hour"],
            save_model=save_model,
            dataset=dataset,
        )


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


def evaluate(
    classifier: WindowClassifier,
    model_uri: str,
    data: str,
    *,
    on_bad_line: OnBadLine = "raise",
    model_id: str | None = None,
) -> None:
    """Measure a model on captures that it may never have seen, at its own threshold; log and print the figures.

    Args:
        classifier: A verified model.
        model_uri: Where it came from.
        data: Captures with labels; `simulated` stands for drives that no default run was trained on.
        on_bad_line: As in `read_captures`.
        model_id: LoggedModel that the figures belong to.
    """
    with tracked_run() as outbox:
        captures = load_captures(data, on_bad_line=on_bad_line, data_seed=UNSEEN_DRIVES)
        graphs = labelled_windows(captures, classifier.preprocessing.window_size, classifier.preprocessing.stride)
        digest = dataset_digest(captures)
        scored = score_split(classifier.gat, graphs, classifier.preprocessing, graphs.classes)
        figures = measure(scored, classifier.threshold)
        dataset = outbox.log_input(
            name=f"{SIMULATED}-unseen" if data == SIMULATED else Path(data).name,
            digest=digest,
            source=data,
            profile={"captures": len(captures), "frames": sum(len(c.frames) for c in captures)},
            context="evaluation",
        )
        outbox.set_tags({"graphids.evaluated_model": model_uri, "graphids.dataset_digest": digest})
        if model_id is not None:
            outbox.log_input_model(model_id)
        outbox.log_dict(figures, "assessment.json")
        outbox.log_metrics({f"test/{k}": v for k, v in figures.items()}, model_id=model_id, dataset=dataset)
        text = evaluation_summary(figures, graphs.classes, threshold=classifier.threshold, model_uri=model_uri)
        _close_with(outbox, text)

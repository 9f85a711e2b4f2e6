"""From a tau-normalized network to a run that is worth looking at: threshold, figures, model, card, pictures, words."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import mlflow

from graphids._mlflow.saved_view import CHANGED_BY_TAU
from graphids.assessment.assess import Assessment, assess
from graphids.assessment.scored_split import score_split
from graphids.assessment.tau_sweep import sweep_tau
from graphids.core.callbacks import TauNormRecord, VRAMDriftCallback, head_key
from graphids.core.classifier import WindowClassifier
from graphids.core.data.datamodule import CANDataModule
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.models.gat import GAT
from graphids.outbox.outbox import Outbox
from graphids.report.model_card import model_card
from graphids.report.pictures import log_training_report
from graphids.report.summary import headline, training_summary

MODEL_NAME = "model"


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
    drift: VRAMDriftCallback | None = None,
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
        drift: What watched the GPU's memory, where this run trained.
    """
    val, test = (score_split(gat, datamodule.graphs[split], preprocessing) for split in ("val", "test"))
    raw = val.under(gat, record.raw_head)
    assessment = assess(val, raw, test, datamodule.rule_scores, false_alarms_per_hour)
    sweep = sweep_tau(gat, raw, record.raw_head, false_alarms_per_hour)
    # From here on the number; until now what was asked for, which may be "auto".
    outbox.set_tags({"graphids.tau": record.tau})
    before, after = record.row_norms()
    tau_record = {
        "tau": record.tau,
        "key": head_key(gat.state_dict()),
        "raw_head": record.raw_head,
        "row_norms": before,
    }
    classifier = WindowClassifier(gat.cpu(), preprocessing, assessment.threshold, tau_record)
    card = model_card(
        assessment,
        record=record,
        sweep=sweep,
        preprocessing=preprocessing,
        data=Path(datamodule.hparams["data"]).name,
        dataset_digest=datamodule.dataset_digest,
        summary=datamodule.summary,
    )
    digest = outbox.log_model(
        lambda folder: save_model(classifier, folder, model_card=card),
        name=MODEL_NAME,
        step=epoch or 0,
        tags={"graphids.tau": str(record.tau)},
        description=card,
    )
    metrics = {**_metrics(assessment), "tau": record.tau, **({} if epoch is None else {"best_epoch": epoch})}
    outbox.log_metrics(metrics, model=digest, dataset=dataset)
    head = {name: {"before": b, "after": a} for name, b, a in zip(preprocessing.classes, before, after, strict=True)}
    outbox.log_dict({**asdict(assessment), "head_row_norms": head}, "assessment.json")
    log_training_report(
        outbox,
        assessment=assessment,
        test=test,
        rule_scores=datamodule.rule_scores,
        sweep=sweep,
        tau=record.tau,
        drift=drift,
    )
    outbox.flush()
    text = training_summary(
        assessment,
        record=record,
        sweep=sweep,
        split_note=datamodule.summary["split_reason"],
        model_uri=outbox.model_uri(digest, MODEL_NAME),
        digest=digest,
        run_id=outbox.run_id,
        experiment_id=outbox.experiment_id,
        tracking_uri=mlflow.get_tracking_uri(),
    )
    words = headline(assessment.test, rule=assessment.rule, tau=record.tau)
    close_with(outbox, words, text)


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


def close_with(outbox: Outbox, headline: str, text: str) -> None:
    """Say it on the terminal, and where the run's page in the UI begins: that shows few lines unasked."""
    outbox.log_text(text, "summary.txt")
    outbox.set_tags({"mlflow.note.content": f"{headline}\n\n```\n{text.strip()}\n```"})
    print(text, flush=True)

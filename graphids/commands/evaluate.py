"""The command `evaluate`: a finished model on captures that it may never have seen."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient

from graphids._mlflow.saved_view import asked_first
from graphids._mlflow.tracked_run import STORE_ERRORS, tracked_run
from graphids.assessment.assess import Measurement, measure
from graphids.assessment.captures_covered import captures_covered
from graphids.assessment.incident_metrics import (
    JudgedCapture,
    incidents_record,
    judge,
    measure_incidents,
)
from graphids.assessment.scored_split import score_split
from graphids.commands.attack_free import labelled_or_attack_free
from graphids.commands.processes import settle_rank
from graphids.commands.publication import close_with, links_of
from graphids.commands.run_folder import DATASET_TAG
from graphids.core.callbacks import NOT_WATCHED_TAGS
from graphids.core.captures.read import OnBadLine
from graphids.core.classifier import WindowClassifier
from graphids.core.data.dataset import dataset_digest, labelled_windows, load_captures
from graphids.core.frames import Capture
from graphids.core.graphs.packed import PackedGraphs
from graphids.options import SIMULATED
from graphids.outbox.outbox import Outbox
from graphids.report.incident_table import NO_ATTACK, NO_LABELS, incident_summary
from graphids.report.pictures import log_evaluation_report
from graphids.report.summary import OWN_CAPTURES, evaluation_summary, headline
from graphids.wording import counted

# Seed of the simulated drives, which no run with the default data has seen.
UNSEEN_DRIVES = 1_000_003


class EvaluatedModel(NamedTuple):
    """A verified model, where it came from, and the LoggedModel that its metrics belong to, if there is one."""

    classifier: WindowClassifier
    uri: str
    model_id: str | None


class EvaluationData(NamedTuple):
    """Labelled captures, what to call them, and where they came from."""

    captures: Sequence[Capture]
    name: str
    source: str


class Measured(NamedTuple):
    """What an evaluation found: labelled windows, verdicts on each capture, metrics by name, and in words."""

    windows: PackedGraphs
    judged: Sequence[JudgedCapture]
    metrics: dict[str, float]
    headline: str
    summary: str


def evaluate(
    classifier: WindowClassifier,
    model_uri: str,
    data: str,
    *,
    on_bad_line: OnBadLine = "raise",
    model_id: str | None = None,
) -> None:
    """Measure a model on captures that it may never have seen, at its own threshold; log and print the metrics.

    Windows are measured by the network's score, incidents as `predict` says them. Captures of which none has labels are
    taken for attack-free, and only false alarms, time in alarm and coverage are measured.

    Captures that the model does not cover (`captures_covered`) are measured all the same: the summary, the metrics
    `test/coverage` and `test/id_coverage` and the tag `graphids.not_covered` say so, `coverage.json` of each capture.

    Args:
        classifier: A verified model.
        model_uri: Where it came from.
        data: Captures with labels, or all without; `simulated` stands for drives that no default run was trained on.
        on_bad_line: As in `read_captures`.
        model_id: LoggedModel that the metrics belong to.
    """
    settle_rank()
    with tracked_run() as outbox:
        # Before anything can fail: a failed run needs a name too.
        name = name_of(data)
        outbox.name_run(f"evaluate {name}")
        model = EvaluatedModel(classifier, model_uri, model_id)
        tag_evaluation(outbox, model)
        captures = load_captures(data, on_bad_line=on_bad_line, data_seed=UNSEEN_DRIVES)
        measured = measure_on(outbox, model, EvaluationData(captures, name, data))
        close_with(outbox, measured.headline, measured.summary)


def name_of(data: str) -> str:
    """What a run calls the captures of an evaluation."""
    return f"{SIMULATED}-unseen" if data == SIMULATED else Path(data).name


def tag_evaluation(outbox: Outbox, model: EvaluatedModel) -> None:
    """Say which model a run evaluates, before its captures are read."""
    record = model.classifier.tau_record
    tau = {"graphids.tau": record["tau"]} if record else {}
    outbox.set_tags({**NOT_WATCHED_TAGS, **tau, "graphids.evaluated_model": model.uri})


def measure_on(outbox: Outbox, model: EvaluatedModel, data: EvaluationData) -> Measured:
    """Measure a model on captures and log what was found: metrics, tables, pictures and coverage."""
    classifier, model_id = model.classifier, model.model_id
    fitted = classifier.preprocessing
    captures = labelled_or_attack_free(data.captures)
    graphs = labelled_windows(captures, fitted.window_size, fitted.stride, classifier.required_profile())
    digest = dataset_digest(data.captures)
    scored = score_split(classifier.gat, graphs, fitted, graphs.classes)
    measured = _defined(measure(scored, classifier.threshold))
    judged = [judge(classifier, capture) for capture in captures]
    incidents = measure_incidents(judged, _asked_per_hour(classifier))
    covered = captures_covered(data.captures, classifier.known_ids)
    dataset = outbox.log_input(
        name=data.name,
        digest=digest,
        source=data.source,
        profile={"captures": len(data.captures), "frames": sum(len(c.frames) for c in data.captures)},
        context="evaluation",
    )
    is_own = model_id is not None and digest == _trained_on(model_id)
    outbox.set_tags(
        {
            DATASET_TAG: digest,
            "graphids.evaluated_on": "training" if is_own else "other",
            "graphids.not_covered": f"{len(covered.not_covered)} of {counted(len(data.captures), 'capture')}",
        }
    )
    if model_id is not None:
        outbox.log_input_model(model_id)
    metrics = {**asked_first(measured.metrics), **covered.metrics(), **incidents.metrics()}
    outbox.log_dict(incidents_record(judged, incidents), "incidents.json")
    outbox.log_dict(metrics, "assessment.json")
    outbox.log_dict(covered.to_dict(), "coverage.json")
    metrics = {f"test/{name}": value for name, value in metrics.items()}
    outbox.log_metrics(metrics, model_id=model_id, dataset=dataset)
    log_evaluation_report(outbox, measured, scored, fitted.classes)
    attack_free = NO_ATTACK if not incidents.by_kind else ""
    if captures is not data.captures:
        attack_free = NO_LABELS + attack_free
    notes = (OWN_CAPTURES if is_own else "", covered.note(), attack_free)
    words = incident_summary(incidents)
    text = evaluation_summary(measured, notes=notes, model_uri=model.uri, run=links_of(outbox), incidents=words)
    return Measured(graphs, judged, metrics, " ".join(filter(None, (*notes, headline(measured.metrics)))), text)


def _defined(measured: Measurement) -> Measurement:
    """Without attacks only the false alarms: zero windows of none are no figure."""
    if measured.metrics["all/windows"]:
        return measured
    return replace(measured, metrics={"false_alarms_per_hour": measured.metrics["false_alarms_per_hour"]})


def _asked_per_hour(classifier: WindowClassifier) -> float | None:
    """False-alarm incidents that the vehicle's alarms were chosen for."""
    alarms = classifier.profile.alarms if classifier.profile is not None and classifier.has_own_alarms else None
    return None if alarms is None else alarms.per_hour


def _trained_on(model_id: str) -> str | None:
    """Digest of the captures that a LoggedModel's run was trained on; None if MLflow does not know it."""
    client = MlflowClient()
    try:
        source = client.get_logged_model(model_id).source_run_id
        digest: str | None = client.get_run(source).data.tags.get(DATASET_TAG) if source else None
    except STORE_ERRORS:
        return None
    return digest

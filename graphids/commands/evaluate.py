"""The command `evaluate`: a finished model on captures that it may never have seen."""

from pathlib import Path

from mlflow import MlflowClient

from graphids._mlflow.saved_view import asked_first
from graphids._mlflow.tracked_run import STORE_ERRORS, tracked_run
from graphids.assessment.assess import measure
from graphids.assessment.captures_covered import captures_covered
from graphids.assessment.scored_split import score_split
from graphids.commands.processes import settle_rank
from graphids.commands.publication import close_with, links_of
from graphids.commands.run_folder import DATASET_TAG
from graphids.core.callbacks import NOT_WATCHED_TAGS
from graphids.core.captures.read import OnBadLine
from graphids.core.classifier import WindowClassifier
from graphids.core.data.dataset import dataset_digest, labelled_windows, load_captures
from graphids.options import SIMULATED
from graphids.report.pictures import log_evaluation_report
from graphids.report.summary import OWN_CAPTURES, evaluation_summary, headline
from graphids.wording import counted

# Seed of the simulated drives, which no run with the default data has seen.
UNSEEN_DRIVES = 1_000_003


def evaluate(
    classifier: WindowClassifier,
    model_uri: str,
    data: str,
    *,
    on_bad_line: OnBadLine = "raise",
    model_id: str | None = None,
) -> None:
    """Measure a model on captures that it may never have seen, at its own threshold; log and print the metrics.

    Captures that the model does not cover (`captures_covered`) are measured all the same: the summary, the metrics
    `test/coverage` and `test/id_coverage` and the tag `graphids.not_covered` say so, `coverage.json` of each capture.

    Args:
        classifier: A verified model.
        model_uri: Where it came from.
        data: Captures with labels; `simulated` stands for drives that no default run was trained on.
        on_bad_line: As in `read_captures`.
        model_id: LoggedModel that the metrics belong to.
    """
    settle_rank()
    with tracked_run() as outbox:
        # Before anything can fail: a failed run needs a name too.
        name = f"{SIMULATED}-unseen" if data == SIMULATED else Path(data).name
        outbox.name_run(f"evaluate {name}")
        tau = {"graphids.tau": classifier.tau_record["tau"]} if classifier.tau_record else {}
        outbox.set_tags({**NOT_WATCHED_TAGS, **tau, "graphids.evaluated_model": model_uri})
        captures = load_captures(data, on_bad_line=on_bad_line, data_seed=UNSEEN_DRIVES)
        graphs = labelled_windows(captures, classifier.preprocessing.window_size, classifier.preprocessing.stride)
        digest = dataset_digest(captures)
        scored = score_split(classifier.gat, graphs, classifier.preprocessing, graphs.classes)
        measured = measure(scored, classifier.threshold)
        covered = captures_covered(captures, classifier.preprocessing)
        dataset = outbox.log_input(
            name=name,
            digest=digest,
            source=data,
            profile={"captures": len(captures), "frames": sum(len(c.frames) for c in captures)},
            context="evaluation",
        )
        is_own = model_id is not None and digest == _trained_on(model_id)
        outbox.set_tags(
            {
                DATASET_TAG: digest,
                "graphids.evaluated_on": "training" if is_own else "other",
                "graphids.not_covered": f"{len(covered.not_covered)} of {counted(len(captures), 'capture')}",
            }
        )
        if model_id is not None:
            outbox.log_input_model(model_id)
        metrics = {**asked_first(measured.metrics), **covered.metrics()}
        outbox.log_dict(metrics, "assessment.json")
        outbox.log_dict(covered.to_dict(), "coverage.json")
        outbox.log_metrics({f"test/{k}": v for k, v in metrics.items()}, model_id=model_id, dataset=dataset)
        log_evaluation_report(outbox, measured, scored, classifier.preprocessing.classes)
        note = covered.note()
        text = evaluation_summary(measured, is_own=is_own, model_uri=model_uri, run=links_of(outbox), not_covered=note)
        notes = (OWN_CAPTURES if is_own else "", note)
        close_with(outbox, " ".join(filter(None, (*notes, headline(measured.metrics)))), text)


def _trained_on(model_id: str) -> str | None:
    """Digest of the captures that a LoggedModel's run was trained on; None if MLflow does not know it."""
    client = MlflowClient()
    try:
        source = client.get_logged_model(model_id).source_run_id
        digest: str | None = client.get_run(source).data.tags.get(DATASET_TAG) if source else None
    except STORE_ERRORS:
        return None
    return digest

"""Pictures and tables of a run, with the same names and columns in every run.

They come after the model, its metrics and the assessment. What cannot be drawn is named in the tag `graphids.pictures`
and in a warning, and the run goes on: hours of training do not fail over a picture.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from graphids.assessment.assess import Measurement
from graphids.assessment.curves import Scoring, confusion
from graphids.assessment.scored_split import ScoredSplit
from graphids.core.callbacks import VRAMDriftCallback
from graphids.core.evaluation import ALL
from graphids.outbox.outbox import Outbox
from graphids.plots.calibration import draw_reliability
from graphids.plots.detection import draw_confusion, draw_kinds
from graphids.plots.drift import draw_drift
from graphids.plots.rates import draw_precision_recall, draw_roc
from graphids.plots.style import png
from graphids.plots.tau import draw_tau_sweep
from graphids.plots.timeline import draw_score_over_time
from graphids.report.findings import Findings

PICTURES_TAG = "graphids.pictures"
_PER_KIND = ("auroc", "average_precision", "recall")
_SWEPT = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auroc", "all_recall", "moved")

logger = logging.getLogger(__name__)
Cell = str | float | None
Pictures = Mapping[str, Callable[[], Figure]]


def log_training_report(
    outbox: Outbox,
    findings: Findings,
    test: ScoredSplit,
    rule_scores: NDArray[np.float64],
    drift: VRAMDriftCallback | None,
) -> None:
    """Log the pictures and tables of a model that this run made.

    Args:
        outbox: Of the run.
        findings: What was measured of the model.
        test: Test under the model's head.
        rule_scores: The rule baseline's score per window of `test`.
        drift: What watched the GPU's memory, where the run trained.
    """
    assessment, sweep = findings.assessment, findings.sweep
    scorings = [
        Scoring("GAT", test.score, assessment.threshold, assessment.test),
        # Its last word: legends have little room.
        Scoring(findings.baseline.split()[-1], rule_scores, assessment.rule_threshold, assessment.rule),
    ]
    _log_detection_tables(outbox, test, scorings, test.classes)
    columns = sweep.to_dict()
    undefined = [None] * len(sweep.taus)
    outbox.log_table(
        {"tau": columns["tau"], **{name: columns.get(name, undefined) for name in _SWEPT}}, "tau_sweep.json"
    )
    history, threshold, cause = (drift.history, drift.threshold, drift.cause) if drift is not None else ([], 1.0, "")
    _log_pictures(
        outbox,
        {
            **_detection_pictures(test, scorings, test.classes),
            "tau_sweep": lambda: draw_tau_sweep(sweep, findings.record.tau),
            "vram_drift": lambda: draw_drift(history, threshold=threshold, cause=cause),
        },
    )


def log_evaluation_report(
    outbox: Outbox, measured: Measurement, scored: ScoredSplit, predicted_classes: Sequence[str]
) -> None:
    """Log the pictures and tables of a finished model on captures that it was given.

    Args:
        outbox: Of the run.
        measured: What was measured on these captures.
        scored: The captures' windows; their classes need not be the model's.
        predicted_classes: The model's, in the order of its logits.
    """
    scorings = [Scoring("GAT", scored.score, measured.threshold, measured.metrics)]
    _log_detection_tables(outbox, scored, scorings, predicted_classes)
    _log_pictures(outbox, _detection_pictures(scored, scorings, predicted_classes))


def _detection_pictures(scored: ScoredSplit, scorings: Sequence[Scoring], predicted: Sequence[str]) -> Pictures:
    return {
        "kinds": lambda: draw_kinds(scored, scorings),
        "confusion": lambda: draw_confusion(confusion(scored), scored.classes, predicted),
        "roc": lambda: draw_roc(scored, scorings),
        "precision_recall": lambda: draw_precision_recall(scored, scorings),
        "reliability": lambda: draw_reliability(scored),
        "score_over_time": lambda: draw_score_over_time(scored, scorings[0]),
    }


def _log_pictures(outbox: Outbox, pictures: Pictures) -> None:
    missing = []
    for name, draw in pictures.items():
        try:
            picture = png(draw())
        # Whatever a drawing library raises at names and numbers that nobody foresaw. Only drawing is guarded: what the
        # outbox raises, a full disk or a refusal, fails the run.
        except Exception as error:
            logger.warning("The picture %r of this run could not be drawn.", name, exc_info=True)
            missing.append(f"{name} ({type(error).__name__}: {error})")
        else:
            log_picture(outbox, name, picture)
    outbox.set_tags({PICTURES_TAG: f"missing: {'; '.join(missing)}" if missing else "complete"})


def log_picture(outbox: Outbox, name: str, picture: bytes) -> None:
    """Log a PNG where each of the UI's pages looks for one."""
    # Without a slash the UI's own charts have it in their last section: they show it small, below all parameters.
    outbox.log_image(picture, name)
    # The compare page shows only files of the run's top folder.
    outbox.log_bytes(picture, f"{name}.png")


def _log_detection_tables(
    outbox: Outbox, scored: ScoredSplit, scorings: Sequence[Scoring], predicted: Sequence[str]
) -> None:
    outbox.log_table(attack_kinds_table(scored.classes, scorings), "attack_kinds.json")
    outbox.log_table(confusion_table(confusion(scored), scored.classes, predicted), "confusion.json")


def attack_kinds_table(classes: Sequence[str], scorings: Sequence[Scoring]) -> dict[str, list[Cell]]:
    """A row per attack kind and one for all: None where a metric is undefined or there is no rule baseline.

    Args:
        classes: `("normal", kind, ...)`.
        scorings: The model's, and the rule baseline's if there is one.
    """
    kinds = [*classes[1:], ALL]
    model, rules = scorings[0].metrics, scorings[1].metrics if len(scorings) > 1 else {}

    def column(metrics: Mapping[str, float], name: str) -> list[Cell]:
        return [metrics.get(f"{kind}/{name}") for kind in kinds]

    return {
        "kind": list(kinds),
        "windows": column(model, "windows"),
        "prevalence": column(model, "prevalence"),
        **{name: column(model, name) for name in _PER_KIND},
        # Over all windows, beside each recall: what that recall costs.
        "false_alarms_per_hour": [model.get("false_alarms_per_hour")] * len(kinds),
        **{f"rule_{name}": column(rules, name) for name in _PER_KIND},
        "rule_false_alarms_per_hour": [rules.get("false_alarms_per_hour")] * len(kinds),
    }


def confusion_table(
    counts: NDArray[np.int64], classes: Sequence[str], predicted: Sequence[str]
) -> dict[str, list[Cell]]:
    """A row per cell that has windows; a column per class would differ between runs on different data.

    Args:
        counts: int64 [len(classes), len(predicted)].
        classes: Of the labels.
        predicted: Of the model.
    """
    cells = [(int(i), int(j)) for i, j in np.argwhere(counts)]
    totals = counts.sum(axis=1)
    return {
        "true_kind": [classes[i] for i, _ in cells],
        "predicted_kind": [predicted[j] for _, j in cells],
        "windows": [int(counts[i, j]) for i, j in cells],
        "share_of_true_kind": [float(counts[i, j] / totals[i]) for i, j in cells],
    }

"""What the UI shows of an experiment before anyone configures it: the view "Drift and tau" and a description.

MLflow keeps a saved view as a tag of the experiment, `mlflow.sharedViewState.<key>`: an envelope with the view's name
and, as JSON in a string, the UI's own state. The format is private to MLflow, found by saving views in the UI of
MLflow 3.17; a UI that does not know it ignores it or says that the link is invalid.
"""

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from graphids.workspace import active_workspace

VIEW_NAME = "Drift and tau"
VIEW_KEY = "drift-and-tau"

# A section per prefix, what a person asks for first in front; True where it is open. Metrics that are not named here,
# such as those of each attack kind, follow in sections of MLflow's making, one per prefix.
_SECTIONS = {
    "test": True,
    "tau": True,
    "vram": True,
    "figures": True,
    "val": True,
    "train": True,
    "val_before_tau": False,
    "val_after_tau": False,
    "test_rule": True,
}
# Columns and their widths in pixels: names of metrics are long.
_COLUMNS = {
    ("tags", "graphids.tau"): 110,
    ("tags", "graphids.vram_drift"): 160,
    ("metrics", "vram/drift_max"): 130,
    ("metrics", "test/macro/auroc"): 150,
    ("metrics", "test/all/recall"): 130,
    ("metrics", "test/false_alarms_per_hour"): 210,
    ("metrics", "test_rule/macro/auroc"): 150,
    ("params", "data"): 120,
    ("params", "seed"): 70,
    ("attributes", "Duration"): 100,
    ("attributes", "Dataset"): 200,
    ("attributes", "Models"): 150,
}
# Always shown, so not among the columns to select; by default 20 characters wide, where our names begin alike.
_RUN_NAME = "attributes.`Run Name`"
_RUN_NAME_WIDTH = 260
# Validation metrics that the UI compares before and after tau-normalization.
CHANGED_BY_TAU = (
    "macro/auroc",
    "all/auroc",
    "all/recall",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "false_alarms_per_hour",
)
# Metrics of detection that a person asks for first.
ASKED_FIRST = ("macro/auroc", "all/recall", "false_alarms_per_hour", "all/average_precision", "all/auroc")
PICTURE_SECTION = "figures"
PICTURES = (
    "kinds",
    "confusion",
    "roc",
    "precision_recall",
    "reliability",
    "score_over_time",
)

# Without it the UI shows the menu for language models around an experiment's pages.
_AS_TRAINING = "workflowType=machine_learning"


def asked_first(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics, those first that a person asks for first: MLflow's compare page opens on the first one of a run."""
    return {name: metrics[name] for name in (*ASKED_FIRST, *metrics) if name in metrics}


def run_page(experiment_id: str, run_id: str) -> str:
    """A run's address, relative to that of an MLflow server."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{_query()}"


def view_page(experiment_id: str, *, charts: bool = False) -> str:
    """The view's address, relative to that of an MLflow server; its charts or else its table."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW_KEY}{mode}&{_query()}"


def _query() -> str:
    """What every address ends in; without its workspace, a server of several looks in the default one."""
    workspace = quote(active_workspace(), safe="")
    return f"{_AS_TRAINING}&workspace={workspace}" if workspace else _AS_TRAINING


def experiment_tags(experiment_id: str) -> dict[str, str]:
    """Tags that make an experiment readable, the same for each of its runs."""
    return {
        f"mlflow.sharedViewState.{VIEW_KEY}": _view(),
        "mlflow.note.content": _description(experiment_id),
        # Where MLflow has no switch between GenAI and model training, this chooses the experiment's pages.
        "mlflow.experimentKind": "custom_model_development",
    }


def _description(experiment_id: str) -> str:
    # MLflow's front page prints the beginning of a description as it is written; the experiment's own page, where it is
    # markdown, folds it to its first line. So there are words first, which name the view, and links below.
    return (
        f"Runs that train or measure an intrusion detector for a CAN bus. {VIEW_NAME}, under Views on the page of "
        "runs, lays them side by side: tau, GPU memory drift and detection on the test split.\n\n"
        f"Open it here: [{VIEW_NAME}]({view_page(experiment_id)}), [charts]({view_page(experiment_id, charts=True)}). "
        "A run's page begins with its summary; a model's page shows its model card."
    )


def _view() -> str:
    state = base64.b64encode(zlib.compress(json.dumps(_state()).encode())).decode()
    # Uncompressed it is near MLflow's limit of 20,000 characters. With fixed times every run writes the same tag.
    return json.dumps({"name": VIEW_NAME, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{state}"})


def _state() -> dict[str, Any]:
    widths = {f"{group}.`{name}`": width for (group, name), width in _COLUMNS.items()}
    return {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(widths),
        "columnOrder": [_RUN_NAME, *widths],
        "columnWidths": {_RUN_NAME: _RUN_NAME_WIDTH, **widths},
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "chartsSearchFilter": "",
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "compareRunSections": [_section(name, is_open) for name, is_open in _SECTIONS.items()],
        "compareRunCharts": list(_charts()),
    }


def _section(name: str, is_open: bool) -> dict[str, Any]:
    return {
        "uuid": name,
        "name": name,
        "display": is_open,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        # A tile shows one run's picture at a time, in a square as wide as the tile: high enough to show all of it.
        **({"columns": 2, "cardHeight": 640} if name == PICTURE_SECTION else {}),
    }


def _charts() -> Iterator[dict[str, Any]]:
    for metric in ASKED_FIRST:
        yield _bar("test", metric)
    for metric in ASKED_FIRST[:3]:
        yield _against_tau(metric)
    yield _picture("tau", "tau_sweep")
    yield _picture("tau", "tau_study")  # of sweeps alone
    # Every run has this picture: the section is not empty even where no GPU is watched.
    yield _picture("vram", "vram_drift")
    yield _bar("vram", "drift_max")
    for metric in ("drift", "warning", "free_mib", "other_mib", "allocated_mib", "reserved_mib"):
        yield _line("vram", metric)
    for picture in PICTURES:
        yield _picture("figures", picture)
    for metric in ("macro_auroc", "loss", "auroc", "average_precision"):
        yield _line("val", metric)
    yield _line("train", "loss")
    for section in ("val_before_tau", "val_after_tau"):
        for metric in CHANGED_BY_TAU:
            yield _bar(section, metric)
    for metric in ASKED_FIRST:
        yield _bar("test_rule", metric)


def _bar(section: str, metric: str) -> dict[str, Any]:
    return _chart(section, "BAR", metric, metricKey=f"{section}/{metric}")


def _picture(section: str, name: str) -> dict[str, Any]:
    return _chart(section, "IMAGE", name, imageKeys=[name], step=0, showRunParams=False)


def _chart(section: str, kind: str, title: str, **settings: Any) -> dict[str, Any]:
    return {
        "uuid": f"{section} {kind} {title}",
        "type": kind,
        "runsCountToCompare": 20,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "displayName": title,
        **settings,
    }


def _line(section: str, metric: str) -> dict[str, Any]:
    key = f"{section}/{metric}"
    return _chart(
        section,
        "LINE",
        metric,
        metricKey=key,
        selectedMetricKeys=[key],
        xAxisKey="step",
        selectedXAxisMetricKey="",
        xAxisScaleType="linear",
        scaleType="linear",
        yAxisKey="metric",
        yAxisExpressions=[],
        range={},
        lineSmoothness=0,
        ignoreOutliers=False,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )


def _against_tau(metric: str) -> dict[str, Any]:
    return _chart(
        "tau",
        "SCATTER",
        f"test/{metric} against tau",
        xaxis={"key": "tau", "type": "METRIC"},
        yaxis={"key": f"test/{metric}", "type": "METRIC"},
    )

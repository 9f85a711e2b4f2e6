"""Evaluation from Python: what `mlflow.models.evaluate` cannot do with a model whose predictions are not its rows.

A row of the model's input is a frame, a row of its output a window. `evaluate` measures windows and logs them;
`evaluation_windows` gives them as rows, with label and prediction, which `mlflow.models.evaluate` takes as data.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from numpy.typing import NDArray

from graphids._mlflow.active_run import outbox_of
from graphids._mlflow.tracked_run import NotSentError, tracked_run
from graphids.assessment.incident_metrics import JudgedCapture, judge
from graphids.commands.attack_free import labelled_or_attack_free
from graphids.commands.evaluate import (
    UNSEEN_DRIVES,
    EvaluatedModel,
    EvaluationData,
    measure_on,
    name_of,
    tag_evaluation,
)
from graphids.commands.processes import settle_rank
from graphids.commands.publication import close_with
from graphids.core.captures.clock import Clock
from graphids.core.captures.read import OnBadLine
from graphids.core.data.dataset import labelled_windows, load_captures
from graphids.core.frames import NORMAL, UNNAMED_KIND, Capture, DataError, Frames
from graphids.core.graphs.packed import PackedGraphs
from graphids.outbox.outbox import Outbox
from mlflow_graphids.frames_schema import frames_from_table
from mlflow_graphids.loading import load_model
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier

ATTACK, KIND = "attack", "attack_kind"
_TABLE = "table"

Data = str | os.PathLike[str] | pd.DataFrame | Mapping[str, pd.DataFrame]
Model = str | os.PathLike[str] | VerifiedClassifier


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        run_id: The run that has it.
        metrics: By the names that the run has, such as `test/dos/auroc`.
        artifacts: URIs of the run's tables, pictures and texts, by their paths.
        windows: As `evaluation_windows`.
        summary: What `graphids evaluate` prints.
    """

    run_id: str
    metrics: dict[str, float]
    artifacts: dict[str, str]
    windows: pd.DataFrame
    summary: str


def evaluate(
    model: Model, data: Data, *, expected_digest: str | None = None, on_bad_line: OnBadLine = "raise"
) -> Evaluation:
    """Measure a model on labelled captures, as `graphids evaluate` does, and log it to the active run.

    Without an active run it is logged to one of its own. The name, description and status of an active run stay as
    they are.

    Args:
        model: URI as in `load_model`, or what `load_model` returned.
        data: Captures with labels, or files that all have none: a file, a folder or a glob, `simulated`, or tables of
            frames, one for each recording, by its name: the columns of the model's input, and `attack` (0 or 1, bool)
            and optionally `attack_kind` (str, "normal" where there is none).
        expected_digest: As in `load_model`.
        on_bad_line: Of files, "raise" or "drop".

    Raises:
        IntegrityError: If the model does not verify.
        DataError: If the captures cannot be read, only some of the files or a table have no labels, or no window is
            normal.
    """
    evaluated = _evaluated(model, expected_digest)
    active = mlflow.active_run()
    settle_rank()
    # The outbox has said what MLflow does not have yet; an interpreter should not exit over it, as a command does.
    with suppress(NotSentError), tracked_run() if active is None else outbox_of(active) as outbox:
        if active is None:
            outbox.name_run(f"evaluate {_read_name(data)}")
        tag_evaluation(outbox, evaluated)
        measured = measure_on(outbox, evaluated, _evaluation_data(data, on_bad_line))
        if active is None:
            close_with(outbox, measured.headline, measured.summary)
        else:
            outbox.log_text(measured.summary, "summary.txt")
        artifacts = _artifacts(outbox)
    windows = _windows(measured.windows, measured.judged)
    return Evaluation(outbox.run_id, measured.metrics, artifacts, windows, measured.summary)


def evaluation_windows(
    model: Model, data: Data, *, expected_digest: str | None = None, on_bad_line: OnBadLine = "raise"
) -> pd.DataFrame:
    """Labelled windows with the model's verdict, for `mlflow.models.evaluate` without a model.

    `mlflow.models.evaluate(data=windows, targets="label", predictions="prediction", model_type="classifier")`

    Args:
        model: As in `evaluate`; so are the other arguments and the errors.
        data: As in `evaluate`.
        expected_digest: As in `load_model`.
        on_bad_line: Of files, "raise" or "drop".

    Returns:
        A row per window: `capture`, `start_s`, `end_s`, `label` (1 for an attack) and `kind`, the truth; `score`,
        `prediction` (1 where `predict` alerts, by the network's score or by experts) and `predicted_kind`. All three
        are what `predict` says by default, the warm-up of a model with a profile included.
    """
    classifier = _evaluated(model, expected_digest).classifier
    fitted = classifier.preprocessing
    captures = labelled_or_attack_free(_evaluation_data(data, on_bad_line).captures)
    graphs = labelled_windows(captures, fitted.window_size, fitted.stride, classifier.required_profile())
    return _windows(graphs, [judge(classifier, capture) for capture in captures])


def _evaluated(model: Model, expected_digest: str | None) -> EvaluatedModel:
    if not isinstance(model, VerifiedClassifier):
        loaded = load_model(model, expected_digest)
        return EvaluatedModel(loaded, os.fspath(model), loaded.model_id)
    if expected_digest is not None and model.digest != expected_digest:
        raise ValueError(f"expected_digest is {expected_digest}, but the model was loaded with {model.digest}.")
    uri = f"models:/{model.model_id}" if model.model_id else f"digest {model.digest}"
    return EvaluatedModel(model, uri, model.model_id)


def _read_name(data: Data) -> str:
    return _TABLE if isinstance(data, pd.DataFrame | Mapping) else name_of(os.fspath(data))


def _evaluation_data(data: Data, on_bad_line: OnBadLine) -> EvaluationData:
    name = _read_name(data)
    if isinstance(data, pd.DataFrame):
        return EvaluationData(_captures_of_table(name, data), name, name)
    if isinstance(data, Mapping):
        captures = [capture for table_name, table in data.items() for capture in _captures_of_table(table_name, table)]
        return EvaluationData(captures, name, name)
    source = os.fspath(data)
    return EvaluationData(load_captures(source, on_bad_line=on_bad_line, data_seed=UNSEEN_DRIVES), name, source)


def _captures_of_table(name: str, table: pd.DataFrame) -> list[Capture]:
    """One capture for each bus of a table."""
    frames = _labelled(name, table, frames_from_table(table))
    Clock(name).observe(frames)
    captures = []
    for index in np.unique(frames.channel):
        bus, rows = frames.channels[index], frames.take(frames.channel == index)
        part = replace(rows, channel=np.zeros(len(rows), np.uint8), channels=(bus,))
        captures.append(Capture(f"{name}:{bus}" if bus else name, part, source=name))
    return captures


def _labelled(name: str, table: pd.DataFrame, frames: Frames) -> Frames:
    if ATTACK not in table.columns:
        raise DataError(
            f"{name}: no column {ATTACK!r}; an evaluation needs labels: 1 for a frame that an attack injected or "
            f"altered, 0 for any other, and optionally {KIND!r}, the attack's name."
        )
    values = table[ATTACK].tolist()
    if bad := next(((row, value) for row, value in enumerate(values) if value not in (0, 1)), None):
        raise DataError(f"{name}: row {bad[0]}: {ATTACK} is {bad[1]!r}, expected 0 or 1.")
    attack = np.array(values, np.uint8)
    named = table[KIND].tolist() if KIND in table.columns else [UNNAMED_KIND if value else NORMAL for value in attack]
    for row, (value, kind) in enumerate(zip(attack, named, strict=True)):
        if not isinstance(kind, str) or not kind or (value and kind == NORMAL):
            expected = "a name, 'normal' only where attack is 0"
            raise DataError(f"{name}: row {row}: {KIND} is {kind!r} where attack is {value}, expected {expected}.")
    kinds = (NORMAL, *sorted(set(named) - {NORMAL}))
    index = {kind: number for number, kind in enumerate(kinds)}
    return replace(frames, attack=attack, attack_kind=np.array([index[kind] for kind in named], np.int16), kinds=kinds)


def _windows(graphs: PackedGraphs, judged: Sequence[JudgedCapture]) -> pd.DataFrame:
    """The truth, and the verdicts on the same windows."""
    verdicts = [capture.verdicts for capture in judged]
    return pd.DataFrame(
        {
            "capture": _names(np.array(graphs.capture_names)[graphs.capture]),
            "start_s": graphs.start_s,
            "end_s": graphs.end_s,
            "label": (graphs.label > 0).astype(np.int64),
            "kind": _names(np.array(graphs.classes)[graphs.label]),
            "score": np.concatenate([each.score for each in verdicts]),
            "prediction": np.concatenate([each.alert for each in verdicts]).astype(np.int64),
            "predicted_kind": _names(np.concatenate([each.kind for each in verdicts])),
        }
    )


def _names(values: NDArray[np.str_]) -> "pd.Series[Any]":
    """Text as objects: MLflow's classifier evaluator asks numpy what a column's type is, and fails on pandas' `str`."""
    return pd.Series(values.tolist(), dtype=object)


def _artifacts(outbox: Outbox) -> dict[str, str]:
    """What the run has in its top folder; nothing while MLflow does not have all of it."""
    if not outbox.flush():
        return {}
    client = MlflowClient()
    root = client.get_run(outbox.run_id).info.artifact_uri.rstrip("/")
    return {file.path: f"{root}/{file.path}" for file in client.list_artifacts(outbox.run_id) if not file.is_dir}

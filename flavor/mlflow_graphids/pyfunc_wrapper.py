"""The model as its users see it: a DataFrame of raw frames in, one row per window or incident out."""

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd

from graphids.core.captures.clock import Clock
from graphids.core.classifier import DEFAULT_TOP_K, WindowClassifier
from graphids.core.frames import DataError, Frames
from graphids.core.incidents.detection import Subject, incidents_of
from graphids.core.incidents.incident import Incident
from graphids.core.window_scores import ScoredCapture, WindowScores
from mlflow_graphids.frames_schema import frames_from_table, short_repr, table_from_incidents, table_from_scores

# Within every float type: an integer can be beyond them all, and infinity is beyond it.
_HIGHEST = 1e38
# Type, lowest and highest value of every param of `predict`, and how a message describes them.
_RANGES: dict[str, tuple[Any, int, float, str]] = {
    "threshold": (Real, 0, 1, "a finite number of at least 0 and at most 1: scores are between 0 and 1"),
    "stride": (Integral, 1, _HIGHEST, "a whole number of at least 1: frames between window starts"),
    "top_k": (Integral, 0, _HIGHEST, "a whole number of at least 0: arbitration IDs per alert"),
}
PARAMETERS = tuple(_RANGES)
# A param of `predict` that no model has a value of its own for.
OUTPUT, WINDOWS, INCIDENTS = "output", "windows", "incidents"


class NotCoveredWarning(UserWarning):
    """The model knows too few of a bus's frames to judge it."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class VerifiedClassifier(WindowClassifier):
    """A `WindowClassifier` whose bytes were verified, and which also takes tables.

    Attributes:
        digest: sha256 of the manifest that its bytes were compared with, the `graphids.digest`.
        anchored: True if that digest came from outside the artifact (caller, LoggedModel or environment). False means
            that only the absence of accidental damage is known.
        model_id: LoggedModel that the URI resolved to; None if there is none.
        model_config: Defaults of `predict`'s params that differ from the classifier's own.
        capture_reader: The reader that the model carries, if `load_model(..., allow_code=True)` loaded it.

    Raises:
        ValueError: If `model_config` holds anything but `threshold`, `stride` and `top_k`, or one is out of range.
    """

    model_config: Mapping[str, Any] = field(default_factory=dict)
    # Not arguments, so that a copy by `dataclasses.replace` with other parts does not claim to be verified.
    digest: str = field(default="", init=False)
    anchored: bool = field(default=False, init=False)
    model_id: str | None = field(default=None, init=False)
    capture_reader: Callable[[Path], Frames] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is a new class, which the zero-argument form does not know.
        WindowClassifier.__post_init__(self)
        require_settings(self.model_config, "model_config")

    @classmethod
    def of(
        cls,
        classifier: WindowClassifier,
        *,
        digest: str,
        anchored: bool,
        model_config: Mapping[str, Any],
        model_id: str | None = None,
        capture_reader: Callable[[Path], Frames] | None = None,
    ) -> "VerifiedClassifier":
        """The same classifier, with what verification established."""
        own = own_settings(classifier)
        verified = cls(
            **{part.name: getattr(classifier, part.name) for part in fields(WindowClassifier)},
            model_config={name: value for name, value in model_config.items() if value != own.get(name)},
        )
        object.__setattr__(verified, "digest", digest)
        object.__setattr__(verified, "anchored", anchored)
        object.__setattr__(verified, "model_id", model_id)
        object.__setattr__(verified, "capture_reader", capture_reader)
        return verified

    def __repr__(self) -> str:
        """One line, without the weights."""
        window, tau, profile = self.preprocessing, self.tau_record.get("tau"), self.profile
        vehicle = "" if window.features == "raw" else f"profile={f'{profile.frames} frames' if profile else None}, "
        return (
            f"VerifiedClassifier(classes={list(window.classes)}, window_size={window.window_size}, "
            f"stride={window.stride}, threshold={self.threshold:.6g}, tau={tau}, {vehicle}"
            f"known_ids={len(self.known_ids)}, model_id={self.model_id}, anchored={self.anchored}, "
            f"digest={self.digest})"
        )

    def read(self, path: str | os.PathLike[str]) -> Frames:
        """Frames of a capture, by the reader that the model carries.

        Raises:
            DataError: If no reader was loaded, it cannot read the capture or returns something other than frames, or
                their times cannot be seconds in recorded order.
        """
        if self.capture_reader is None:
            raise DataError(
                f"{os.fspath(path)}: this model was loaded without a capture reader. If it carries one, load it "
                "with allow_code=True; otherwise read the capture with graphids.core.captures.read.read_captures."
            )
        frames = self.capture_reader(Path(path))
        Clock(path).observe(frames)
        return frames

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Score a table of frames; the name and the arguments are MLflow's.

        With a profile a window is judged by the frames before it too: each bus begins with the first row of the table
        that is of it, so that a slice of a drive may get other scores than it has within the whole.

        Args:
            model_input: One capture, as `frames_schema.frames_from_table` takes it.
            params: Optional `threshold`, `stride` and `top_k`; None means the model's own. `output`: "windows", which
                None means too, or "incidents".

        Returns:
            Of incidents one row for each, with the columns of `graphids.core.incidents.incident_rows`. Of windows:
            One row per window: its number `window`, `start_s`, `end_s`, `score`, `alert`, `kind`, `arbitration_ids` (a
            list), `channel`; `coverage` and `id_coverage`, the shares of the window's frames and of its distinct IDs
            that the model knows; `bus_coverage` and `bus_id_coverage`, the same of all frames on its bus; and
            `is_covered`, whether that is enough to judge the bus. If it is not, neither an alert nor its absence means
            anything, and a `NotCoveredWarning` says so.

        Raises:
            DataError: A ValueError: if a value is missing or not what its column holds, times cannot be seconds in
                recorded order (see `Clock`), a parameter is unknown or out of range, a bus has fewer frames than
                a window (no row would look like no attack), or a score would not be finite.
        """
        return _answer(self, scored_table(self, model_input, params), params)


@dataclass(frozen=True, slots=True)
class ServedClassifier:
    """What `mlflow.pyfunc` and MLflow's servers call: a verified model that takes what its signature says.

    Identifiers are strings here. MLflow checks a DataFrame against the signature, but lets integers of a JSON request
    pass for strings.
    """

    model: VerifiedClassifier

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """As `VerifiedClassifier.predict`, but an integer as `arbitration_id` is a ValueError.

        So is a call by `mlflow.models.evaluate`, which would compare windows with the rows of a table of frames.
        """
        _require_no_evaluator()
        return _answer(self.model, scored_table(self.model, model_input, params, integer_ids=False), params)

    def get_raw_model(self) -> VerifiedClassifier:
        """The model itself; the name is MLflow's."""
        return self.model


def _require_no_evaluator() -> None:
    """Refuse to be evaluated row by row: MLflow fails then, in its own code, over tables of different lengths."""
    caller: FrameType | None = sys._getframe(2)  # MLflow says nowhere else who asks
    while caller is not None and caller.f_globals.get("__name__") == "mlflow.pyfunc":
        caller = caller.f_back
    # A function that a user evaluates stands between the two, and may well make one row of each prediction.
    if caller is not None and str(caller.f_globals.get("__name__")).startswith("mlflow.models.evaluation"):
        raise DataError(
            "mlflow.models.evaluate compares predictions with rows, and here a row is a frame and a prediction a "
            "window of them: call mlflow.graphids.evaluate(model_uri, captures), or give mlflow.models.evaluate "
            "mlflow.graphids.evaluation_windows(model_uri, captures) as data, with targets='label', "
            "predictions='prediction', model_type='classifier' and no model."
        )


def _answer(model: VerifiedClassifier, scored: ScoredCapture, params: Mapping[str, Any] | None) -> pd.DataFrame:
    for bus, known in scored.scores.bus_coverage.items():
        if problem := known.problem():
            warnings.warn(f"Not covered{f', bus {bus!r}' if bus else ''}: {problem}.", NotCoveredWarning, stacklevel=3)
    if asks_for_incidents(params):
        return table_from_incidents(incidents_in(model, scored))
    return table_from_scores(scored.scores)


def asks_for_incidents(params: Mapping[str, Any] | None) -> bool:
    """Whether a prediction is to be one of incidents.

    Raises:
        DataError: If `output` is neither "windows" nor "incidents" nor None.
    """
    output = (params or {}).get(OUTPUT)
    if output not in (None, WINDOWS, INCIDENTS):
        raise DataError(f"{OUTPUT} is {short_repr(output)}, expected {WINDOWS!r} or {INCIDENTS!r}.")
    return bool(output == INCIDENTS)


def incidents_in(model: VerifiedClassifier, scored: ScoredCapture) -> list[Incident]:
    """The incidents of a table that was scored."""
    return list(incidents_of(scored.chunks, Subject.of(model, model_digest=model.digest)))


def scored_table(
    model: VerifiedClassifier, table: pd.DataFrame, params: Mapping[str, Any] | None, *, integer_ids: bool = True
) -> ScoredCapture:
    """Scores of a table of frames, and its frames; arguments and errors as `VerifiedClassifier.predict` has them.

    Args:
        model: Verified.
        table: One capture.
        params: Over the model's own settings.
        integer_ids: False refuses integers as identifiers.
    """
    asks_for_incidents(params)
    settings = prediction_settings(model, params)
    frames = frames_from_table(table, integer_ids=integer_ids)
    # Even for a short request: of 20,543 slices of 128 to 8,192 frames of recorded captures, none was refused.
    Clock("The table").observe(frames)
    window_size = model.preprocessing.window_size
    # Larger values change nothing: a window names no more IDs than it has frames, and one window starts at frame 0.
    limits = {"top_k": window_size, "stride": max(len(frames), 1)}
    settings |= {name: min(settings[name], limits[name]) for name in limits}
    scored = model.score_buses(frames, **settings)
    _require_a_window_per_bus(frames, scored.scores, window_size)
    return scored


def prediction_settings(model: VerifiedClassifier, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """`threshold`, `stride` and `top_k` of one prediction: `params` over the model's own.

    Raises:
        DataError: If one is unknown, of the wrong type or out of range.
    """
    # MLflow passes None for every param that the caller did not set.
    passed = {name: value for name, value in (params or {}).items() if name != OUTPUT}
    given = {name: value for name, value in passed.items() if value is not None or name not in PARAMETERS}
    try:
        require_settings(given, "params")
    except ValueError as error:
        raise DataError(str(error)) from error
    return {**own_settings(model), **model.model_config, **given}


def own_settings(classifier: WindowClassifier) -> dict[str, Any]:
    """Values of `predict`'s params unless a caller or `model_config` sets others."""
    return {
        "threshold": float(classifier.threshold),
        "stride": int(classifier.preprocessing.stride),
        "top_k": DEFAULT_TOP_K,
    }


def require_settings(settings: Mapping[str, Any], name: str) -> None:
    """Refuse what `predict` could not use: a misspelled threshold, or one that no score reaches.

    Raises:
        ValueError: If a setting is unknown, of the wrong type or out of range.
    """
    if unknown := sorted(set(settings) - set(PARAMETERS)):
        raise ValueError(f"{name} holds {unknown}, expected some of {list(PARAMETERS)}.")
    for parameter, value in settings.items():
        kind, lowest, highest, expected = _RANGES[parameter]
        # `not` around it: NaN compares false with everything.
        if isinstance(value, bool) or not isinstance(value, kind) or not lowest <= value <= highest:
            raise ValueError(f"{parameter} is {short_repr(value)}, expected {expected}.")


def _require_a_window_per_bus(frames: Frames, scores: WindowScores, window_size: int) -> None:
    scored = set(scores.channel.tolist())
    short = {name: count for name, count in scores.unscored_frames.items() if name not in scored}
    if short or not len(frames):
        found = ", ".join(f"{count} on bus {name!r}" for name, count in short.items()) or "none"
        raise DataError(
            f"Too few frames for a score: found {found}, but a window takes {window_size} consecutive frames of one "
            "bus without a jump of its clock. Send at least that many; overlap requests so that no window falls "
            "between two of them."
        )

"""Captures over time: scores, alerts, and the attacks in them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from graphids.assessment.curves import Scoring, present_kinds, ranked_kinds
from graphids.assessment.scored_split import ScoredSplit
from graphids.core.evaluation import attack_margin
from graphids.plots.style import COLOURS, FAINT, INK, new_figure, plain, say_instead, written

MAX_KINDS = 5
MAX_CAPTURES = 2
# Nats of log-odds: P(attack) from 6e-6 to 1 - 6e-6.
_LIMIT = 12.0
_PROBABILITIES = (1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


class Interval(NamedTuple):
    """Consecutive windows of one attack kind: index into the classes, from and to in seconds."""

    kind: int
    start_s: float
    end_s: float


def chosen_captures(scored: ScoredSplit, scoring: Scoring) -> list[int]:
    """Of each of the `MAX_CAPTURES` hardest kinds the capture with most of its windows, the hardest first.

    Without attacks it is the capture with the most windows; empty without a window.
    """
    if not len(scored.label):
        return []
    kinds = present_kinds(scored)
    ranked = ranked_kinds(kinds, scoring)[:MAX_CAPTURES]
    windows = [kinds[name] for name in ranked] or [np.ones(len(scored.label), np.bool_)]
    return list(dict.fromkeys(int(np.bincount(scored.graphs.capture[of_kind]).argmax()) for of_kind in windows))


def attack_intervals(
    label: NDArray[np.int64], start_s: NDArray[np.float64], end_s: NDArray[np.float64]
) -> list[Interval]:
    """Runs of windows with one attack label, in recorded order; none spans a gap in the recording."""
    step_s = np.diff(start_s)
    gap = step_s > 5 * np.median(step_s) if len(step_s) else np.zeros(0, np.bool_)
    first = np.flatnonzero(np.append(True, gap | (np.diff(label) != 0)))
    last = np.append(first[1:], len(label)) - 1
    runs = [(i, j) for i, j in zip(first, last, strict=True) if label[i] > 0]
    return [Interval(int(label[i]), float(start_s[i]), float(end_s[j])) for i, j in runs]


def draw_score_over_time(scored: ScoredSplit, scoring: Scoring) -> Figure:
    """The scores of the captures with the hardest kinds over time, with their attacks shaded by kind.

    A dot is a window, placed at its end: that is when an alert can be raised. The axis is that of log-odds, because
    scores of a trained model lie close to 0 and to 1.
    """
    captures = chosen_captures(scored, scoring)
    figure = new_figure(height=5.8)
    if not captures:
        return say_instead(figure, "No windows: nothing to show over time.")
    margin = np.clip(attack_margin(scored.logits).numpy(), -_LIMIT, _LIMIT)
    alert = scored.score >= scoring.threshold
    shown = np.isin(scored.graphs.capture, captures)
    colours = _colours(scored.label[shown])
    panels = figure.subplots(len(captures), squeeze=False, sharey=True)[:, 0]
    for axes, capture in zip(map(plain, panels), captures, strict=True):
        axes.set_title(written(scored.graphs.capture_names[capture], longest=60), fontsize=9, loc="left")
        _draw_capture(axes, _windows_of(scored, capture, margin, alert), colours)
        threshold = axes.axhline(_log_odds(scoring.threshold), color=INK, label=f"threshold {scoring.threshold:.6g}")
    _probability_axis(panels[0], margin[shown], scoring.threshold)
    # Which is not the capture's first where a split by time put that into another split.
    panels[-1].set_xlabel("seconds from the first window shown")
    figure.supylabel("P(attack) of a window", fontsize=10)
    handles = [*_marks(scored.label[shown], alert[shown]), threshold, *_patches(scored.classes, colours)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle(_title(len(present_kinds(scored)), len(captures)), fontsize=11)
    return figure


def _title(num_kinds: int, num_captures: int) -> str:
    if num_kinds <= MAX_CAPTURES:
        return "Score over time"
    captures = "the capture" if num_captures == 1 else "the captures"
    return f"Score over time: {captures} of the {MAX_CAPTURES} hardest of {num_kinds} kinds"


class _Windows(NamedTuple):
    """Windows to draw, [G] each, in the order of their time."""

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    margin: NDArray[np.float64]
    label: NDArray[np.int64]
    alert: NDArray[np.bool_]


def _windows_of(scored: ScoredSplit, capture: int, margin: NDArray[np.float64], alert: NDArray[np.bool_]) -> _Windows:
    """One capture's, in seconds from the first one."""
    chosen = np.flatnonzero(scored.graphs.capture == capture)
    chosen = chosen[np.argsort(scored.graphs.start_s[chosen], kind="stable")]
    start_s, end_s = scored.graphs.start_s[chosen], scored.graphs.end_s[chosen]
    return _Windows(start_s - start_s[0], end_s - start_s[0], margin[chosen], scored.label[chosen], alert[chosen])


def _colours(label: NDArray[np.int64]) -> dict[int, str]:
    """A colour for each attack kind, one and the same for those that are too many."""
    kinds = np.unique(label[label > 0]).tolist()
    return {kind: COLOURS[place] if place < MAX_KINDS else FAINT for place, kind in enumerate(kinds)}


def _draw_capture(axes: Axes, windows: _Windows, colours: dict[int, str]) -> None:
    for interval in attack_intervals(windows.label, windows.start_s, windows.end_s):
        # `color` is that of the edge too: even a single short window of an attack can be seen.
        axes.axvspan(interval.start_s, interval.end_s, color=colours[interval.kind], alpha=0.22, zorder=0)
    for mark in _MARKS:
        chosen = mark.of(windows.label, windows.alert)
        if chosen.any():
            end_s, margin = windows.end_s[chosen], windows.margin[chosen]
            axes.scatter(end_s, margin, mark.size, mark.colour, marker=mark.marker, linewidth=1.0, zorder=3)
    axes.margins(x=0.01)


def _patches(classes: tuple[str, ...], colours: dict[int, str]) -> list[Patch]:
    """What the shades mean, for the legend."""
    named = list(colours)[:MAX_KINDS]
    patches = [Patch(color=colours[k], alpha=0.35, label=f"attack: {written(classes[k])}") for k in named]
    if len(colours) > MAX_KINDS:
        patches.append(Patch(color=FAINT, alpha=0.35, label=f"attack: {len(colours) - MAX_KINDS} other kinds"))
    return patches


class _Mark(NamedTuple):
    """How windows are drawn that are labelled so and alert or not."""

    name: str
    of: Callable[[NDArray[np.int64], NDArray[np.bool_]], NDArray[np.bool_]]
    marker: str
    colour: str
    size: int


_MARKS = (
    _Mark("normal, silent", lambda label, alert: (label == 0) & ~alert, ".", FAINT, 9),
    _Mark("unlabelled", lambda label, _: label < 0, "+", FAINT, 20),
    _Mark("attack, found", lambda label, alert: (label > 0) & alert, "o", COLOURS[0], 14),
    _Mark("attack, missed", lambda label, alert: (label > 0) & ~alert, "x", INK, 26),
    _Mark("false alarm", lambda label, alert: (label == 0) & alert, "^", COLOURS[4], 42),
)


def _marks(label: NDArray[np.int64], alert: NDArray[np.bool_]) -> list[Line2D]:
    """What the dots mean and how many there are, for the legend."""
    counts = [(mark, int(mark.of(label, alert).sum())) for mark in _MARKS]
    return [
        Line2D([], [], linestyle="none", marker=mark.marker, color=mark.colour, label=f"{mark.name} ({count:,})")
        for mark, count in counts
        if count
    ]


def _log_odds(probability: float) -> float:
    if not 0 < probability < 1:
        return -_LIMIT if probability <= 0 else _LIMIT
    return float(np.clip(np.log(probability / (1 - probability)), -_LIMIT, _LIMIT))


def _probability_axis(axes: Axes, margin: NDArray[np.float64], threshold: float) -> None:
    shown = np.append(margin, _log_odds(threshold))
    axes.set_ylim(shown.min() - 0.8, shown.max() + 0.8)
    low, high = axes.get_ylim()
    ticks = [p for p in _PROBABILITIES if low <= _log_odds(p) <= high]
    if len(ticks) < 3:  # all scores are alike
        between = MaxNLocator(5).tick_values(1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high)))
        ticks = [float(p) for p in between if 0 < p < 1 and low <= np.log(p / (1 - p)) <= high]
    axes.set_yticks([_log_odds(p) for p in ticks], [np.format_float_positional(p, 6, trim="-") for p in ticks])

"""Every threshold at once: ROC, and precision against recall."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from graphids.assessment.curves import (
    Points,
    Scoring,
    hardest_kinds,
    precision_recall_points,
    present_kinds,
    roc_points,
)
from graphids.assessment.scored_split import ScoredSplit
from graphids.core.evaluation import ALL
from graphids.plots.style import COLOURS, FAINT, INK, legend_below, new_figure, plain, say_instead, written

MAX_LINES = len(COLOURS)
_ONE_CLASS = "No curve: the labelled windows are all attacks or all normal."


def draw_roc(scored: ScoredSplit, scorings: Sequence[Scoring]) -> Figure:
    """True against false positive rate, logarithmic because the left end is what counts; dots: operating points."""
    figure = new_figure(height=5.8)
    num_normal = int((scored.label == 0).sum())
    if not (num_normal and present_kinds(scored)):
        return say_instead(figure, _ONE_CLASS)
    axes = plain(figure.subplots())
    # A rate of 0 has no place on a logarithmic axis: it is drawn at the rate of half a window.
    none = 0.5 / num_normal
    view = _View(lambda score, is_attack: _on_log_axis(roc_points(score, is_attack), none), _rates, "default")
    left_out = _draw_lines(axes, scored, scorings, view)
    chance = np.geomspace(none, 1, 200)
    axes.plot(chance, chance, color=FAINT, linestyle=":", label="chance")
    axes.set(xscale="log", xlim=(none * 0.85, 1.12), ylim=(-0.03, 1.03))
    axes.xaxis.set_major_locator(FixedLocator([none, *(10.0**e for e in range(-9, 1) if 10.0**e > none * 1.5)]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if x == none else f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="false positive rate (share of normal windows that alert)", ylabel="true positive rate (recall)")
    _add_alarms_axis(axes, none, num_normal / scored.hours)
    figure.suptitle(f"ROC on {num_normal:,} normal windows{left_out}", fontsize=11)
    legend_below(figure, axes)
    return figure


def draw_precision_recall(scored: ScoredSplit, scorings: Sequence[Scoring]) -> Figure:
    """Precision against recall of each kind's windows among themselves and all normal ones; prevalence beside it."""
    figure = new_figure(height=5.8)
    num_normal = int((scored.label == 0).sum())
    if not (num_normal and present_kinds(scored)):
        return say_instead(figure, _ONE_CLASS)
    axes = plain(figure.subplots())
    view = _View(precision_recall_points, _recall_and_precision, "steps-pre", tells_prevalence=True)
    left_out = _draw_lines(axes, scored, scorings, view)
    prevalence = scorings[0].metrics[f"{ALL}/prevalence"]
    axes.axhline(prevalence, color=FAINT, linestyle=":", label=f"chance on all: prevalence {prevalence:.3g}")
    axes.set(xlim=(-0.02, 1.03), ylim=(-0.02, 1.04), xlabel="recall", ylabel="precision, at the prevalence given below")
    figure.suptitle(f"Precision and recall{left_out}", fontsize=11)
    legend_below(figure, axes)
    return figure


def _add_alarms_axis(axes: Axes, none: float, per_rate: float) -> None:
    """False alarms per hour above the false positive rates: 0 above 0, and no mark below one false alarm."""
    hours = axes.secondary_xaxis(
        "top", functions=(lambda x: np.multiply(x, per_rate), lambda x: np.divide(x, per_rate))
    )
    zero = none * per_rate
    steps = [step * 10.0**e for e in range(-9, 10) for step in (1, 2, 5)]
    fitting = [step for step in steps if 2 * zero < step <= per_rate]
    decades = [step for step in fitting if np.log10(step) == round(np.log10(step))]
    hours.xaxis.set_major_locator(FixedLocator([zero, *(decades if len(decades) > 1 else fitting)]))
    hours.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if x == zero else f"{x:,.12g}"))
    hours.xaxis.set_minor_locator(NullLocator())
    hours.set_xlabel("false alarms per hour of normal traffic")


@dataclass(frozen=True, slots=True)
class _View:
    """Which rates are drawn: their points, the point of a threshold, and how points are joined."""

    points: Callable[[NDArray[np.float64], NDArray[np.bool_]], Points]
    operating_point: Callable[[NDArray[np.float64], NDArray[np.bool_], float], tuple[float, float]]
    drawstyle: Literal["default", "steps-pre"]
    tells_prevalence: bool = False


def _draw_lines(axes: Axes, scored: ScoredSplit, scorings: Sequence[Scoring], view: _View) -> str:
    """The model's line for each kind and for all, the others' for all; returns which kinds are left out, in words."""
    kinds = present_kinds(scored)
    shown = hardest_kinds(kinds, scorings[0], MAX_LINES)
    lines = [(scorings[0], name, kinds[name], colour, "-") for name, colour in zip(shown, COLOURS, strict=False)]
    attack = scored.label > 0
    lines.append((scorings[0], f"{ALL} attacks", attack, INK, "-"))
    lines += [(scoring, f"{ALL} attacks, {scoring.name}", attack, INK, "--") for scoring in scorings[1:]]
    for scoring, name, chosen, colour, dashes in lines:
        compared = chosen | (scored.label == 0)
        score, is_attack = scoring.score[compared], chosen[compared]
        share = f" (prevalence {is_attack.mean():.2g})" if view.tells_prevalence else ""
        x_points, y_points = view.points(score, is_attack)
        label = written(name, longest=28) + share
        axes.plot(x_points, y_points, color=colour, linestyle=dashes, drawstyle=view.drawstyle, label=label)
        x, y = view.operating_point(score, is_attack, scoring.threshold)
        # A ring, which shows around the model's dot where the two coincide.
        face, size = (colour, 7) if dashes == "-" else ("none", 11)
        # Not left of the line, whose first point is where a rate of 0 is drawn.
        axes.plot([max(x, x_points[0])], [y], "o", color=colour, mfc=face, markersize=size, clip_on=False, zorder=5)
    axes.plot([], [], "o", color=FAINT, label="at the threshold from validation")
    return f", the {MAX_LINES} hardest of {len(kinds)} kinds" if len(kinds) > MAX_LINES else ""


def _on_log_axis(points: Points, lowest: float) -> Points:
    """The same line with more points: what is straight on a linear axis bends on a logarithmic one."""
    x, y = points
    between = np.setdiff1d(np.geomspace(lowest, 1, 200), x)
    right = np.searchsorted(x, between)
    share = (between - x[right - 1]) / (x[right] - x[right - 1])
    between_y = y[right - 1] + share * (y[right] - y[right - 1])
    return np.maximum(np.insert(x, right, between), lowest), np.insert(y, right, between_y)


def _rates(score: NDArray[np.float64], is_attack: NDArray[np.bool_], threshold: float) -> tuple[float, float]:
    alert = score >= threshold
    return float(alert[~is_attack].mean()), float(alert[is_attack].mean())


def _recall_and_precision(
    score: NDArray[np.float64], is_attack: NDArray[np.bool_], threshold: float
) -> tuple[float, float]:
    """Precision is undefined, NaN, where nothing alerts: no mark is drawn."""
    alert = score >= threshold
    precision = float(is_attack[alert].mean()) if alert.any() else float("nan")
    return float(alert[is_attack].mean()), precision

"""One capture over time: scores, alerts, and the attacks in it."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from graphids.assessment.scored_split import ScoredSplit
from graphids.core.evaluation import attack_margin
from graphids.plots.style import COLOURS, FAINT, INK, new_figure, plain, say_instead, written

MAX_KINDS = 5
# Nats of log-odds: P(attack) from 6e-6 to 1 - 6e-6.
_LIMIT = 12.0
_PROBABILITIES = (1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


class Interval(NamedTuple):
    """Consecutive windows of one attack kind: index into the classes, from and to in seconds."""

    kind: int
    start_s: float
    end_s: float


def chosen_capture(scored: ScoredSplit) -> int | None:
    """The capture with the most attack kinds, then the most attack windows, then the most windows; None without any."""
    if not len(scored.label):
        return None

    def merit(capture: int) -> tuple[int, int, int]:
        label = scored.label[scored.graphs.capture == capture]
        return len(np.unique(label[label > 0])), int((label > 0).sum()), len(label)

    return int(max(np.unique(scored.graphs.capture), key=merit))


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


def draw_score_over_time(scored: ScoredSplit, threshold: float) -> Figure:
    """The scores of one capture of a split over time, with its attacks shaded by kind.

    A dot is a window, placed at its end: that is when an alert can be raised. The axis is that of log-odds, because
    scores of a trained model lie close to 0 and to 1.
    """
    figure = new_figure(height=5.8)
    capture = chosen_capture(scored)
    if capture is None:
        return say_instead(figure, "No windows: nothing to show over time.")
    chosen = np.flatnonzero(scored.graphs.capture == capture)
    chosen = chosen[np.argsort(scored.graphs.start_s[chosen], kind="stable")]
    label = scored.label[chosen]
    zero = float(scored.graphs.start_s[chosen].min())
    start_s, end_s = scored.graphs.start_s[chosen] - zero, scored.graphs.end_s[chosen] - zero
    axes = plain(figure.subplots())
    patches = _shade(axes, scored.classes, attack_intervals(label, start_s, end_s))
    margin = np.clip(attack_margin(scored.logits[chosen]).numpy(), -_LIMIT, _LIMIT)
    _mark(axes, _Windows(end_s, margin, label, scored.score[chosen] >= threshold))
    axes.axhline(_log_odds(threshold), color=INK, linewidth=1.2, label=f"threshold {threshold:.6g}")
    _probability_axis(axes, margin, threshold)
    # Which is not the capture's first where a split by time put that into another split.
    axes.set(xlabel="seconds from the first window shown", ylabel="P(attack) of a window")
    axes.margins(x=0.01)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        [*handles, *patches],
        [*labels, *(str(patch.get_label()) for patch in patches)],
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=9,
    )
    figure.suptitle(f"Score over time: {written(scored.graphs.capture_names[capture], longest=48)}", fontsize=11)
    return figure


def _shade(axes: Axes, classes: tuple[str, ...], intervals: list[Interval]) -> list[Patch]:
    kinds = list(dict.fromkeys(interval.kind for interval in intervals))
    colours = {kind: COLOURS[place] if place < MAX_KINDS else FAINT for place, kind in enumerate(kinds)}
    for interval in intervals:
        # `color` is that of the edge too: even a single short window of an attack can be seen.
        axes.axvspan(interval.start_s, interval.end_s, color=colours[interval.kind], alpha=0.22, zorder=0)
    patches = [Patch(color=colours[k], alpha=0.35, label=f"attack: {written(classes[k])}") for k in kinds[:MAX_KINDS]]
    if len(kinds) > MAX_KINDS:
        patches.append(Patch(color=FAINT, alpha=0.35, label=f"attack: {len(kinds) - MAX_KINDS} other kinds"))
    return patches


class _Windows(NamedTuple):
    """Windows to draw, [G] each."""

    end_s: NDArray[np.float64]
    margin: NDArray[np.float64]
    label: NDArray[np.int64]
    alert: NDArray[np.bool_]


def _mark(axes: Axes, windows: _Windows) -> None:
    """A dot per window; its shape and colour say what the window is and whether it alerts."""
    end_s, margin, label, alert = windows
    groups = (
        ("normal, silent", (label == 0) & ~alert, ".", FAINT, 9),
        ("unlabelled", label < 0, "+", FAINT, 20),
        ("attack, found", (label > 0) & alert, "o", COLOURS[0], 14),
        ("attack, missed", (label > 0) & ~alert, "x", INK, 26),
        ("false alarm", (label == 0) & alert, "^", COLOURS[4], 42),
    )
    for name, chosen, marker, colour, size in groups:
        if chosen.any():
            words = f"{name} ({int(chosen.sum()):,})"
            axes.scatter(
                end_s[chosen], margin[chosen], size, colour, marker=marker, label=words, linewidth=1.0, zorder=3
            )


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

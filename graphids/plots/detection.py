"""What is detected of each attack kind, and what is mistaken for what."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from graphids.assessment.curves import Scoring, hardest_kinds, present_kinds
from graphids.assessment.scored_split import ScoredSplit
from graphids.core.evaluation import ALL
from graphids.plots.style import COLOURS, FAINT, INK, legend_below, new_figure, plain, say_instead, written

MAX_KINDS = 12
MAX_CLASSES = 9


def draw_kinds(scored: ScoredSplit, scorings: Sequence[Scoring]) -> Figure:
    """Bars of AUROC and recall per attack kind, one colour per scoring; a dash where undefined."""
    kinds = present_kinds(scored)
    if not kinds:
        alarms = f"false alarms per hour: {_alarms(scorings)}"
        return say_instead(new_figure(), f"No attack windows: nothing to detect.\n{alarms}")
    names = [ALL, *hardest_kinds(kinds, scorings[0], MAX_KINDS)]
    figure = new_figure(height=max(3.6, 1.9 + 0.46 * len(names)))
    panels = figure.subplots(1, 2, sharey=True)
    rows = np.arange(len(names))[::-1]
    thick = 0.8 / len(scorings)
    for axes, key, title in zip(panels, ("auroc", "recall"), ("AUROC", "recall at the threshold"), strict=True):
        plain(axes).grid(visible=False, axis="y")
        for place, scoring in enumerate(scorings):
            values = [scoring.metrics.get(f"{name}/{key}") for name in names]
            y = rows + 0.4 - thick * (place + 0.5)
            axes.barh(y, [v or 0.0 for v in values], thick * 0.92, color=COLOURS[place], label=scoring.name)
            for at, value in zip(y, values, strict=True):
                axes.text(1.03, at, "-" if value is None else f"{value:.3f}", va="center", fontsize=8)
        axes.set(xlim=(0, 1.22), xticks=[0, 0.5, 1], xlabel=title)
    panels[0].axvline(0.5, color=FAINT, linestyle=":", linewidth=1)
    panels[0].set_yticks(rows, [_row_title(name, scorings[0].metrics) for name in names], fontsize=8)
    panels[0].tick_params(axis="y", length=0)
    panels[1].tick_params(axis="y", length=0)
    left_out = f": the {MAX_KINDS} hardest of {len(kinds)}" if len(kinds) > MAX_KINDS else ""
    figure.suptitle(f"Detection per attack kind{left_out}\nfalse alarms per hour: {_alarms(scorings)}", fontsize=11)
    legend_below(figure, panels[0])
    return figure


def draw_confusion(counts: NDArray[np.int64], classes: Sequence[str], predicted: Sequence[str]) -> Figure:
    """Windows by true class (row) and likeliest class (column), and each cell's share of its row.

    Args:
        counts: int64 [len(classes), len(predicted)].
        classes: Of the labels; of more than `MAX_CLASSES`, those with the fewest windows are drawn as one.
        predicted: Classes that the model knows.
    """
    kept = list(dict.fromkeys((*classes, *predicted)))
    if len(kept) > MAX_CLASSES:
        by_windows = np.argsort(-counts.sum(axis=1), kind="stable")[:MAX_CLASSES]
        kept = [classes[index] for index in sorted(by_windows)]
    rows, row_names = _groups(classes, kept)
    columns, column_names = _groups(predicted, kept)
    counts = np.array([[counts[np.ix_(row, column)].sum() for column in columns] for row in rows])
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(totals, totals, 1)
    figure = new_figure(width=max(5.4, 0.6 * len(columns) + 2.2), height=max(4.6, 0.5 * len(rows) + 2.0))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        text = f"{count:,}\n{100 * shares[row, column]:.3g} %" if count else "0"
        colour = FAINT if not count else "white" if shares[row, column] > 0.6 else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), [written(n, longest=14) for n in column_names], rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), [written(n, longest=18) for n in row_names])
    axes.tick_params(labelsize=9, length=0)
    axes.set(xlabel="likeliest class, by the model", ylabel="true class of the window")
    axes.set_title("Confusion: windows, and share of the true class", fontsize=11)
    return figure


def _row_title(name: str, metrics: Mapping[str, float]) -> str:
    prevalence = metrics.get(f"{name}/prevalence")
    share = "" if prevalence is None else f", prevalence {prevalence:.2g}"
    return f"{written(name)}\n{metrics.get(f'{name}/windows', 0.0):,.0f} windows{share}"


def _alarms(scorings: Sequence[Scoring]) -> str:
    rates = [(scoring.name, scoring.metrics.get("false_alarms_per_hour")) for scoring in scorings]
    return ", ".join(f"{name} {'-' if rate is None else f'{rate:,.1f}'}" for name, rate in rates)


def _groups(names: Sequence[str], kept: Sequence[str]) -> tuple[list[list[int]], list[str]]:
    """Indices and titles of the rows to draw: the kept names in their order, then all others as one."""
    groups, titles = [[names.index(name)] for name in kept if name in names], [name for name in kept if name in names]
    others = [index for index, name in enumerate(names) if name not in kept]
    if others:
        groups.append(others)
        titles.append(f"{len(others)} others")
    return groups, titles

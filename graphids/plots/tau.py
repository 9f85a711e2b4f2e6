"""A tau sweep: what every tau would do on validation."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphids.assessment.tau_sweep import TauSweep
from graphids.plots.style import COLOURS, FAINT, INK, legend_below, new_figure, plain

_LINES = {
    "macro_f1": ("macro-F1", "o"),
    "balanced_accuracy": ("balanced accuracy", "s"),
    "accuracy": ("accuracy", "D"),
    "macro_auroc": ("macro AUROC", "^"),
    "all_recall": ("recall at the budget", "v"),
}
_LEAST_CHANGE = 0.001


def draw_tau_sweep(sweep: TauSweep, chosen: float) -> Figure:
    """What each tau changes of the validation metrics; the head as trained, this run's tau and the best one are marked.

    Drawn are differences from tau=0, whose values the legend has: metrics lie far apart, and what tau does to one of
    them is small beside that.

    Args:
        sweep: Of the run's validation split.
        chosen: The tau of the run's model, which need not be one of the sweep's.
    """
    figure = new_figure(height=5.8)
    axes = plain(figure.subplots())
    # Hollow, each smaller than the one before: where metrics are equal, all of them show.
    for place, ((name, (words, marker)), colour) in enumerate(zip(_LINES.items(), COLOURS, strict=False)):
        if name in sweep.metrics:
            values = np.array(sweep.metrics[name])
            label = f"{words}, from {values[0]:.4f}"
            (line,) = axes.plot(sweep.taus, values - values[0], marker=marker, color=colour, label=label)
            line.set(markersize=9 - 1.5 * place, fillstyle="none")
    _mark_taus(axes, sweep.best, chosen)
    changes = [value - values[0] for values in sweep.metrics.values() for value in values]
    low, high = min(changes, default=0.0), max(changes, default=0.0)
    # A change in the third digit is the least that is worth a look.
    room = max(0.06 * (high - low), _LEAST_CHANGE)
    axes.set(ylim=(low - room, high + room), xlabel="tau", ylabel="change on validation against the head as trained")
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:+.3g}" if y else "0")
    figure.suptitle("What tau changes on validation, without training again", fontsize=11)
    legend_below(figure, axes)
    axes.text(
        0.5,
        -0.17,
        "\n".join(textwrap.wrap(sweep.sentence(), 92)),
        transform=axes.transAxes,
        ha="center",
        va="top",
        fontsize=8,
        color=INK,
    )
    return figure


def _mark_taus(axes: Axes, best: float, chosen: float) -> None:
    """A vertical line at each tau that means something, labelled with all that it means."""
    meanings = ((0.0, "the head as trained"), (chosen, "this run's model"), (best, "auto's choice"))
    looks = {0.0: (FAINT, ":"), best: (INK, "--"), chosen: (INK, "-")}  # where a tau is several of these, the last
    for tau, (colour, style) in looks.items():
        words = ", ".join(meaning for value, meaning in meanings if value == tau)
        label = "\n".join(textwrap.wrap(f"tau={tau:g}: {words}", 44))
        axes.axvline(tau, color=colour, linestyle=style, linewidth=1.6, label=label)

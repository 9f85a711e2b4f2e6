"""A tau sweep: what every tau would do on validation."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphids.assessment.tau_sweep import TauSweep
from graphids.plots.style import COLOURS, FAINT, INK, legend_below, new_figure, plain

_LINES = {
    "macro_f1": ("macro-F1", "o"),
    "balanced_accuracy": ("balanced accuracy", "s"),
    "accuracy": ("accuracy", "D"),
    "macro_auroc": ("macro AUROC", "^"),
    "all_recall": ("recall at the false-alarm budget", "v"),
}


def draw_tau_sweep(sweep: TauSweep, chosen: float) -> Figure:
    """Validation metrics against tau; the head as trained, this run's tau and the best one are marked.

    Args:
        sweep: Of the run's validation split.
        chosen: The tau of the run's model, which need not be one of the sweep's.
    """
    figure = new_figure(height=5.8)
    axes = plain(figure.subplots())
    # Hollow, each smaller than the one before: where metrics are equal, all of them show.
    for place, ((name, (words, marker)), colour) in enumerate(zip(_LINES.items(), COLOURS, strict=False)):
        if name in sweep.metrics:
            (line,) = axes.plot(sweep.taus, sweep.metrics[name], marker=marker, color=colour, label=words)
            line.set(markersize=9 - 1.5 * place, fillstyle="none")
    _mark_taus(axes, sweep.best, chosen)
    low = min((min(values) for values in sweep.metrics.values()), default=0.0)
    high = max((max(values) for values in sweep.metrics.values()), default=1.0)
    room = max(0.05 * (high - low), 0.01)
    low, high = low - max(room, 0.03 - (high - low)), high + room
    axes.set(ylim=(low, high), xlabel="tau", ylabel="metric on validation")
    # No tick outside [0, 1], which no metric can leave.
    axes.set_yticks([tick for tick in axes.get_yticks() if max(low, 0) <= tick <= min(high, 1)])
    figure.suptitle("tau on validation, without training again", fontsize=11)
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
        axes.axvline(tau, color=colour, linestyle=style, linewidth=1.6, label=f"tau={tau:g}: {words}")

"""What every tau would do on validation."""

import textwrap

from matplotlib.figure import Figure

from graphids.plots.style import COLOURS, FAINT, INK, legend_below, new_figure, plain
from graphids.tau_sweep import TauSweep

_LINES = {
    "macro_f1": ("macro-F1", "o"),
    "balanced_accuracy": ("balanced accuracy", "s"),
    "accuracy": ("accuracy", "D"),
    "macro_auroc": ("macro AUROC", "^"),
    "all_recall": ("recall at the false-alarm budget", "v"),
}


def draw_tau_sweep(sweep: TauSweep, chosen: float) -> Figure:
    """Validation figures against tau; the head as trained, the tau of this run and the best one marked.

    Args:
        sweep: Of the run's validation split.
        chosen: The tau of the run's model, which need not be one of the sweep's.
    """
    figure = new_figure(height=5.8)
    axes = plain(figure.subplots())
    for (name, (words, marker)), colour in zip(_LINES.items(), COLOURS, strict=False):
        if name in sweep.figures:
            axes.plot(sweep.taus, sweep.figures[name], marker=marker, color=colour, markersize=4, label=words)
    axes.axvline(0, color=FAINT, linestyle=":", linewidth=1.6, label="tau=0, the head as trained")
    axes.axvline(chosen, color=INK, linewidth=1.6, label=f"tau={chosen:g}, of this run's model")
    if sweep.best != chosen:
        axes.axvline(sweep.best, color=INK, linestyle="--", label=f"tau={sweep.best:g}, that auto would choose")
    low = min((min(values) for values in sweep.figures.values()), default=0.0)
    high = max((max(values) for values in sweep.figures.values()), default=1.0)
    room = max(0.05 * (high - low), 0.002)
    axes.set(ylim=(low - room, high + room), xlabel="tau", ylabel="figure on validation")
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

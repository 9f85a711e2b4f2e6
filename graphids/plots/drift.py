"""The GPU's memory over a fit."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graphids.plots.style import COLOURS, FAINT, INK, legend_below, new_figure, plain, say_instead

_LINES = {
    "free_mib": ("usable (free and own cached pool)", "o"),
    "allocated_mib": ("allocated by this process", "s"),
    "other_mib": ("used by others", "^"),
}


def draw_drift(history: Sequence[dict[str, float]], *, threshold: float, cause: str = "") -> Figure:
    """Memory per epoch, the baseline of the fit, and the threshold of the warning.

    Args:
        history: As `VRAMDriftCallback.history`; empty where nothing was watched.
        threshold: Share of the baseline whose loss is worth a warning.
        cause: Of the warning, if there was one.
    """
    figure = new_figure(height=5.6)
    if not history:
        return say_instead(figure, "GPU memory was not watched:\nno training on a GPU in this run.")
    axes = plain(figure.subplots())
    epochs = np.array([entry["epoch"] for entry in history])
    for (name, (words, marker)), colour in zip(_LINES.items(), COLOURS, strict=False):
        axes.plot(epochs, [entry[name] for entry in history], marker=marker, color=colour, markersize=4, label=words)
    # From each epoch's own reading: a run that was resumed has a baseline for each of its processes.
    kept = np.array([1.0 - entry["drift"] for entry in history])
    free = np.array([entry["free_mib"] for entry in history])
    baseline = np.divide(free, kept, out=np.full(len(free), np.nan), where=kept > 0)
    axes.plot(epochs, baseline, color=FAINT, linestyle=":", label="usable when the fit began")
    axes.plot(epochs, baseline * (1 - threshold), color=INK, linestyle="--", label=f"{threshold:.0%} of it gone")
    warned = np.array([bool(entry["warning"]) for entry in history])
    if warned.any():
        first = epochs[warned][0]
        # Fragmentation is warned of too, and then the usable memory lies above the threshold.
        label = f"warned, first after epoch {first:g}"
        axes.plot(epochs[warned], free[warned], "o", color=COLOURS[4], fillstyle="none", markersize=11, label=label)
    axes.set(ylim=(0, None), xlabel="epoch", ylabel="GPU memory (MiB)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    drift = max(entry["drift"] for entry in history)
    title = f"GPU memory per epoch: at most {max(drift, 0.0):.0%} of the usable memory gone"
    # The advice comes after a semicolon; it is in the tag and in the warning.
    figure.suptitle("\n".join([title, *textwrap.wrap(cause.partition(";")[0], 78)]), fontsize=9)
    legend_below(figure, axes)
    return figure

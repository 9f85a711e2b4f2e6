"""Reliability: whether the probabilities that a model gives are borne out."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from graphids.assessment.curves import reliability
from graphids.assessment.scored_split import ScoredSplit
from graphids.plots.style import COLOURS, FAINT, legend_below, new_figure, plain, say_instead


def draw_reliability(scored: ScoredSplit) -> Figure:
    """Observed share of attacks against the predicted probability; below, the windows per bin."""
    figure = new_figure(height=5.6)
    known = scored.label >= 0
    if not known.any():
        return say_instead(figure, "No labelled windows: nothing to compare the probabilities with.")
    found = reliability(scored.score[known], scored.label[known] > 0)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    plain(top).plot([0, 1], [0, 1], color=FAINT, linestyle=":", label="perfectly calibrated")
    filled = found.windows > 0
    low, high = found.interval()
    top.vlines(found.mean_score[filled], low[filled], high[filled], color=COLOURS[0], alpha=0.6, label="95 % interval")
    top.plot(found.mean_score[filled], found.share[filled], "o-", color=COLOURS[0], clip_on=False, label="model")
    top.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.03), ylabel="observed share of attacks")
    plain(below)
    centre, width = (found.edges[:-1] + found.edges[1:]) / 2, np.diff(found.edges) * 0.9
    below.bar(centre, found.windows, width, color=COLOURS[0])
    below.set(
        yscale="symlog", ylim=(0, max(10.0, found.windows.max() * 8.0)), ylabel="windows", xlabel="predicted P(attack)"
    )
    below.set_yticks([0, *(10**e for e in range(1, 9) if 10**e <= found.windows.max() * 2)])
    below.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    below.minorticks_off()
    for x, windows in zip(centre, found.windows, strict=True):
        below.text(x, max(windows * 1.2, 0.1), f"{windows:,}" if windows else "", ha="center", va="bottom", fontsize=8)
    prevalence = (scored.label[known] > 0).mean()
    figure.suptitle(
        f"Reliability: expected calibration error {found.error:.3f}\n"
        f"{int(known.sum()):,} windows, prevalence of attacks {prevalence:.3f}",
        fontsize=11,
    )
    legend_below(figure, top)
    return figure

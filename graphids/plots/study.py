"""A tau study: metrics over taus, and how much seeds change them."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphids.assessment.tau_study import CRITERION, METRICS, TauStudy
from graphids.options import AUTO
from graphids.plots.style import COLOURS, FAINT, new_figure, plain

_PANELS = (CRITERION, "test/macro/auroc")
_BLUE, _CHOSEN = COLOURS[0], COLOURS[4]
_MOST_TICKS = 7
_BESIDE = 0.15  # of the distance between two taus, so that bars do not cover the dots


def draw_study(study: TauStudy) -> Figure:
    """Validation left, test right: mean and standard deviation over seeds per tau, each seed as a thin line.

    Taus are equally spaced, in the order of the study; `auto` is not a number, so no line leads to it. The tau with
    the best mean on validation is marked in both panels; test chooses nothing.
    """
    figure = new_figure(height=4.4)
    for axes, name in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        _draw_panel(axes, study, name)
    best = "" if study.best is None else f"; diamond: tau={study.best}, the best fixed tau on validation"
    figure.supxlabel(f"thin: one seed each; bold: mean ± standard deviation{best}", fontsize="small")
    return figure


def _draw_panel(axes: Axes, study: TauStudy, name: str) -> None:
    plain(axes)
    at = {tau: float(i) for i, tau in enumerate(study.taus)}
    for seed in study.seeds:
        values = {tau: known[seed] for tau in study.taus if seed in (known := study.values(tau, name))}
        numbers = [tau for tau in values if tau != AUTO]
        axes.plot([at[tau] for tau in numbers], [values[tau] for tau in numbers], color=FAINT, linewidth=0.8, alpha=0.6)
        axes.plot([at[tau] for tau in values], list(values.values()), "o", color=FAINT, markersize=3.5)
    for tau in study.taus:
        spread = study.spread(tau, name)
        if spread is not None:
            chosen = tau == study.best
            look = {"fmt": "D", "color": _CHOSEN, "markersize": 7} if chosen else {"fmt": "s", "color": _BLUE}
            axes.errorbar(at[tau] + _BESIDE, spread.mean, yerr=spread.std, capsize=3, linewidth=1.8, zorder=3, **look)
    every = -(-len(study.taus) // _MOST_TICKS)
    axes.set_xticks(range(0, len(study.taus), every), study.taus[::every])
    axes.set_xlim(-0.5, len(study.taus) - 0.5)
    axes.set_xlabel("tau")
    axes.set_title(METRICS[name], fontsize="medium")

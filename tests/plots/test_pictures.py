"""What the pictures show, read from the drawn artists, and that odd data do not keep them from being drawn."""

import io
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from graphids.assessment.curves import Scoring, confusion
from graphids.assessment.scored_split import ScoredSplit
from graphids.assessment.tau_sweep import TauSweep
from graphids.plots.calibration import draw_reliability
from graphids.plots.detection import draw_confusion, draw_kinds
from graphids.plots.drift import draw_drift
from graphids.plots.rates import draw_precision_recall, draw_roc
from graphids.plots.style import COLOURS, png, written
from graphids.plots.tau import draw_tau_sweep
from graphids.plots.timeline import attack_intervals, chosen_captures, draw_score_over_time
from support.figures import pixels
from support.scored_windows import many, scored_windows, scoring

SWEEP = TauSweep(
    taus=(0.0, 0.5, 1.0),
    metrics={"macro_f1": (0.5, 0.7, 0.6), "all_recall": (0.8, 0.8, 0.8)},
    best=0.5,
    moved=(0, 3, 4),
    windows=100,
    row_norms=(1.0, 2.0, 3.0),
)


def _texts(figure: Figure) -> list[str]:
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    texts += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    texts += [text.get_text() for text in figure.texts]
    return [*texts, figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]


def _line(axes: Axes, label: str) -> Line2D:
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def _drift(drops: list[float], *, baseline: float = 1000.0, threshold: float = 0.2) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch,
            "free_mib": baseline * (1 - drop),
            "allocated_mib": 10.0,
            "other_mib": 50.0 + baseline * drop,
            "drift": drop,
            "warning": float(drop > threshold),
        }
        for epoch, drop in enumerate(drops)
    ]


def test_kinds_shows_a_bar_per_scoring_and_a_dash_where_a_metric_is_undefined() -> None:
    scored = scored_windows([0.9, 0.3, 0.1, 0.2], [1, 1, 0, 0])
    model, rules = scoring(scored, 0.5), scoring(scored, 0.95, "rules")
    del rules.metrics["dos/auroc"]

    figure = draw_kinds(scored, [model, rules])

    assert [bar.get_width() for bar in figure.axes[1].patches] == [0.5, 0.5, 0.0, 0.0]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.000", "1.000", "1.000", "-"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][1] == "dos\n2 windows, prevalence 0.5"
    assert "false alarms per hour: GAT 0.0, rules 0.0" in figure.get_suptitle()


def test_without_attacks_the_false_alarms_are_still_told() -> None:
    scored = scored_windows([0.9, 0.1], [0, 0], hours=0.5)

    assert "false alarms per hour: GAT 2.0" in draw_kinds(scored, [scoring(scored, 0.5)]).texts[0].get_text()


def test_the_confusion_matrix_has_true_kinds_as_rows_and_shares_of_them() -> None:
    figure = draw_confusion(np.array([[3, 1], [0, 4]]), ["normal", "dos"], ["normal", "dos"])

    (axes,) = figure.axes
    assert {text.get_position(): text.get_text() for text in axes.texts}[(1, 0)] == "1\n25 %"
    assert {text.get_position(): text.get_text() for text in axes.texts}[(0, 1)] == "0"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["normal", "dos"]


def test_classes_that_the_model_does_not_know_have_a_row_and_no_column() -> None:
    figure = draw_confusion(np.array([[3, 0], [1, 4]]), ["normal", "unknown"], ["normal", "dos"])

    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["normal", "unknown"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["normal", "dos"]


def test_no_window_is_lost_where_hundreds_of_kinds_are_drawn_as_few() -> None:
    scored = many(900, num_kinds=200)

    figure = draw_confusion(confusion(scored), scored.classes, scored.classes)

    counts = [int(text.get_text().split("\n")[0].replace(",", "")) for text in figure.axes[0].texts]
    assert sum(counts) == 900
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][-1] == "192 others"


def test_the_operating_point_on_the_roc_is_that_of_the_threshold() -> None:
    scored = many()
    figure = draw_roc(scored, [scoring(scored, 0.6), scoring(scored, 0.7, "rules")])

    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o" and len(line.get_xdata())]
    points = {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in marks}
    alert, normal = scored.score >= 0.6, scored.label == 0
    assert (alert[normal].mean(), alert[~normal].mean()) in points
    assert (alert[normal].mean(), alert[scored.label == 2].mean()) in points


def test_the_upper_axis_of_the_roc_counts_false_alarms_per_hour() -> None:
    scored = scored_windows([0.9, *[0.1] * 100], [1, *[0] * 100], hours=0.5)
    figure = draw_roc(scored, [scoring(scored, 0.5)])
    figure.draw_without_rendering()

    (hours,) = figure.axes[0].child_axes
    assert np.asarray(hours.get_xlim()) / np.asarray(figure.axes[0].get_xlim()) == pytest.approx([200, 200])


def test_the_upper_axis_of_the_roc_is_marked_at_0_and_from_about_one_false_alarm_on() -> None:
    # 10 false alarms an hour would be a fifth of a window.
    scored = scored_windows([0.9, *[0.1] * 1000], [1, *[0] * 1000], hours=0.02)
    figure = draw_roc(scored, [scoring(scored, 0.5)])
    figure.draw_without_rendering()

    (hours,) = figure.axes[0].child_axes
    assert [label.get_text() for label in hours.get_xticklabels()] == ["0", "100", "1,000", "10,000"]
    assert hours.get_xticks()[0] == pytest.approx(figure.axes[0].get_xticks()[0] * 50_000)


def test_two_scorings_at_one_operating_point_are_both_seen() -> None:
    scored = scored_windows([0.9, 0.1], [1, 0])

    lines = draw_roc(scored, [scoring(scored, 0.5), scoring(scored, 0.5, "rules")]).axes[0].lines

    model, rules = [line for line in lines if line.get_marker() == "o" and len(line.get_xdata())][-2:]
    assert rules.get_markerfacecolor() == "none"
    assert rules.get_markersize() > model.get_markersize()


def test_a_roc_line_between_two_scores_is_the_chord_also_on_the_logarithmic_axis() -> None:
    # All scores tie: any false positive rate costs as much as it gives.
    scored = scored_windows([0.5] * 200, [1, 0] * 100)

    line = _line(draw_roc(scored, [scoring(scored, 0.5)]).axes[0], "all attacks")

    np.testing.assert_allclose(line.get_ydata()[1:], line.get_xdata()[1:], atol=1e-12)
    assert len(line.get_xdata()) > 100


def test_chance_on_precision_and_recall_is_the_prevalence() -> None:
    scored = many()
    figure = draw_precision_recall(scored, [scoring(scored, 0.6)])

    prevalence = (scored.label > 0).mean()
    assert _line(figure.axes[0], f"chance on all: prevalence {prevalence:.3g}").get_ydata()[0] == prevalence


def test_where_nothing_alerts_precision_is_undefined_and_has_no_mark() -> None:
    scored = many()
    figure = draw_precision_recall(scored, [scoring(scored, 1.0)])

    marks = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() == "o" and len(line.get_ydata())]
    assert np.isnan(marks).all()


def test_the_sweep_marks_tau_0_the_tau_of_the_run_and_the_best_one() -> None:
    figure = draw_tau_sweep(SWEEP, 0.25)

    upright = {float(line.get_xdata()[0]) for line in figure.axes[0].lines if set(line.get_ydata()) == {0, 1}}
    assert upright == {0.0, 0.25, 0.5}
    assert "tau=0.5: auto's choice" in _texts(figure)


def test_a_tau_that_is_two_things_at_once_has_one_mark_that_says_both() -> None:
    idle = replace(SWEEP, best=0.0)

    def marks(chosen: float) -> list[str]:
        lines = draw_tau_sweep(idle, chosen).axes[0].lines
        return [" ".join(str(line.get_label()).split()) for line in lines if set(line.get_ydata()) == {0, 1}]

    assert marks(0.5) == ["tau=0: the head as trained, auto's choice", "tau=0.5: this run's model"]
    assert marks(0.0) == ["tau=0: the head as trained, this run's model, auto's choice"]


def test_a_sweep_shows_what_tau_changes_however_far_apart_the_metrics_lie() -> None:
    metrics = {"macro_f1": (0.9, 0.92, 0.91), "macro_auroc": (0.995, 0.995, 0.996), "all_recall": (0.0, 0.0, 0.0)}
    (axes,) = draw_tau_sweep(replace(SWEEP, metrics=metrics), 0.5).axes

    f1 = _line(axes, "macro-F1, from 0.9000")
    assert np.allclose(f1.get_ydata(), [0.0, 0.02, 0.01])
    low, high = axes.get_ylim()
    assert 0.8 * (high - low) < 0.02
    assert low < 0.0 < 0.02 < high


def test_a_tau_that_changes_nothing_is_a_flat_line_and_equal_ones_do_not_hide_each_other() -> None:
    same = (1.0, 1.0, 1.0)
    (axes,) = draw_tau_sweep(replace(SWEEP, metrics={"macro_f1": same, "accuracy": same}), 0.5).axes

    assert axes.get_ylim() == pytest.approx((-0.001, 0.001))
    below, above = (_line(axes, f"{name}, from 1.0000") for name in ("macro-F1", "accuracy"))
    assert below.get_markersize() > above.get_markersize()


def test_intervals_of_attacks_end_where_the_kind_changes_or_the_recording_has_a_gap() -> None:
    start = np.array([0.0, 1.0, 2.0, 3.0, 100.0, 101.0])

    found = attack_intervals(np.array([0, 1, 1, 2, 2, 0]), start, start + 1.5)

    assert found == [(1, 1.0, 3.5), (2, 3.0, 4.5), (2, 100.0, 101.5)]


def test_the_captures_shown_are_those_of_the_hardest_kinds() -> None:
    # An easy kind in capture 0, the hardest in 1 and, once, in 0; of equal AUROC with the easy one, but missed, in 2.
    label, capture = [1, 1, 0, 2, 2, 2, 3, 0], [0, 0, 0, 0, 1, 1, 2, 2]
    score = [0.9, 0.9, 0.1, 0.2, 0.05, 0.05, 0.3, 0.1]
    scored = scored_windows(score, label, capture=capture, classes=("normal", "easy", "hard", "quiet"))

    assert chosen_captures(scored, scoring(scored, 0.5)) == [1, 2]
    title, *_ = draw_score_over_time(scored, scoring(scored, 0.5)).axes
    assert title.get_title(loc="left") == "capture 1"


def test_without_an_attack_the_longest_capture_is_shown_and_without_a_window_none() -> None:
    quiet, none = scored_windows([0.5] * 3, [0, 0, 0], capture=[0, 1, 1]), scored_windows([], [])

    assert chosen_captures(quiet, scoring(quiet, 0.5)) == [1]
    assert chosen_captures(none, Scoring("GAT", none.score, 0.5, {})) == []


def test_score_over_time_tells_found_missed_and_false_alarms_apart() -> None:
    scored = scored_windows([0.9, 0.2, 0.9, 0.1], [1, 1, 0, 0])

    texts = _texts(draw_score_over_time(scored, scoring(scored, 0.5)))

    for words in ("attack, found (1)", "attack, missed (1)", "false alarm (1)", "normal, silent (1)", "attack: dos"):
        assert words in texts


@pytest.mark.parametrize("score", [[0.4, 0.56, 0.6], [0.001, 0.9, 0.99], [0.5, 0.5, 0.5], [0.9999, 0.99995, 0.9999]])
def test_the_axis_of_probabilities_has_at_least_three_marks(score: list[float]) -> None:
    scored = scored_windows(score, [0, 1, 0])
    figure = draw_score_over_time(scored, scoring(scored, score[1]))

    marks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert 3 <= len(marks) == len(set(marks))


def test_a_bin_of_the_reliability_diagram_shows_how_little_its_windows_say() -> None:
    """Wilson's interval of 1 of 1 and of 50 of 50, as statsmodels gives it."""
    figure = draw_reliability(scored_windows([0.55, *[0.95] * 50], [1] * 51))

    (bars,) = figure.axes[0].collections
    lowest = [segment[:, 1].min() for segment in bars.get_segments()]
    assert lowest == pytest.approx([0.2065, 0.9287], abs=1e-4)


def test_the_drift_chart_shows_baseline_threshold_and_the_epochs_beyond_it() -> None:
    figure = draw_drift(_drift([0.0, 0.1, 0.3, 0.3]), threshold=0.2, cause="another process")

    (axes,) = figure.axes
    assert _line(axes, "usable when the fit began").get_ydata() == pytest.approx([1000.0] * 4)
    assert _line(axes, "20% of it gone").get_ydata() == pytest.approx([800.0] * 4)
    assert list(_line(axes, "warned, first after epoch 2").get_xdata()) == [2, 3]
    assert "30%" in figure.get_suptitle()
    assert "another process" in figure.get_suptitle()


def test_a_run_without_a_gpu_has_a_drift_chart_that_says_so() -> None:
    (text,) = draw_drift([], threshold=0.2).texts

    assert "not watched" in text.get_text()


def test_a_card_that_is_all_gone_is_drawn() -> None:
    pixels(draw_drift(_drift([0.0, 1.0]), threshold=0.2))


def _all(scored: ScoredSplit) -> dict[str, Callable[[], Figure]]:
    def scorings() -> list[Scoring]:
        return [scoring(scored, 0.5), scoring(scored, 0.7, "rules")] if len(scored.label) else [scoring(scored, 0.5)]

    return {
        "kinds": lambda: draw_kinds(scored, scorings()),
        "confusion": lambda: draw_confusion(confusion(scored), scored.classes, scored.classes),
        "roc": lambda: draw_roc(scored, scorings()),
        "precision_recall": lambda: draw_precision_recall(scored, scorings()),
        "reliability": lambda: draw_reliability(scored),
        "score_over_time": lambda: draw_score_over_time(scored, scorings()[0]),
    }


ODD = {
    "no window": scored_windows([], []),
    "one window": scored_windows([0.3], [0]),
    "one attack": scored_windows([0.3], [1]),
    "attacks alone": scored_windows([0.3, 0.9, 0.8], [1, 2, 1]),
    "normal alone": scored_windows([0.3, 0.9, 0.8], [0, 0, 0]),
    "unlabelled alone": scored_windows([0.3, 0.9], [-1, -1]),
    "some unlabelled": scored_windows([0.3, 0.9, 0.4, 0.6], [-1, 1, 0, -1]),
    "a kind is absent": scored_windows([0.3, 0.9], [0, 2]),
    "certain scores": scored_windows([0.0, 1.0, 0.0, 1.0], [0, 1, 1, 0]),
    "one time": scored_windows([0.3, 0.9, 0.1], [0, 1, 0], start_s=[5.0, 5.0, 5.0]),
    "hundreds of kinds": many(1200, num_kinds=300),
    "odd names": scored_windows([0.3, 0.9, 0.4], [0, 1, 2], classes=("normal", "a$b_{$", "_x\n" + "very long " * 30)),
}


@pytest.mark.parametrize("case", ODD)
def test_every_picture_is_drawn_whatever_the_split_lacks(case: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for draw in _all(ODD[case]).values():
            pixels(draw())


def test_a_picture_of_many_windows_and_kinds_stays_below_100_kb() -> None:
    scored = many(5000, num_kinds=8)

    for name, draw in _all(scored).items():
        assert len(png(draw())) < 100_000, name


def test_nothing_is_cut_at_the_edge_of_a_picture() -> None:
    """Text that is cut leaves ink in the outermost pixels."""
    scored = ODD["odd names"]
    names = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auroc", "all_recall")
    idle = replace(SWEEP, metrics=dict.fromkeys(names, (0.5, 0.5, 0.5)), best=0.0)
    pictures = {**_all(scored), "tau_sweep": lambda: draw_tau_sweep(SWEEP, 0.3)}
    pictures["tau_sweep, one tau is all"] = lambda: draw_tau_sweep(idle, 0.0)
    pictures["vram_drift"] = lambda: draw_drift(_drift([0.0, 0.4]), threshold=0.2, cause="a long cause, " * 20)
    for name, draw in pictures.items():
        drawn = pixels(draw())
        edge = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
        assert (edge > 250).all(), name


def test_a_png_is_the_figure_and_the_same_figure_gives_the_same_bytes() -> None:
    scored = many()

    picture = png(draw_reliability(scored))

    assert picture == png(draw_reliability(scored))
    shown = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    assert np.abs(shown - pixels(draw_reliability(scored))).mean() < 1  # of 255; it has 256 colours


def test_names_from_the_data_are_text_not_formulas_and_not_too_long() -> None:
    assert written("$x$") == r"\$x\$"
    assert written("a\nb  c") == "a b c"
    assert written("_hidden").lstrip() == "_hidden"
    assert len(written("x" * 100, longest=20)) == 20
    assert written("") == "(no name)"


def test_colours_differ_for_eyes_without_red_or_green_cones() -> None:
    """Viénot, Brettel and Mollon (1999): what is left of a colour for protanopes and deuteranopes."""
    colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLOURS]) ** 2.2
    for red, green in ((0.11238, 0.88762), (0.29275, 0.70725)):
        luma = colours[:, 0] * red + colours[:, 1] * green
        seen = np.stack([luma, colours[:, 2]], axis=1) ** (1 / 2.2)
        distance = np.abs(seen[:, None] - seen[None]).max(axis=2) + np.eye(len(seen))
        assert distance.min() > 0.08

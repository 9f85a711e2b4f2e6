from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.metrics import roc_auc_score

from graphids.core.data.rules import UNKNOWN_ID, RuleBaseline, largest_deviation
from graphids.core.frames import Frames
from graphids.core.graphs.features import DEVIATIONS
from graphids.core.graphs.packed import PackedGraphs, build_graphs, column_names, concat_graphs
from graphids.core.simulation.simulate import simulated_captures

WINDOW = 4


def regular(ids: tuple[int, ...], *, windows: int = 5, gap_s: float = 0.01, byte: int = 7) -> Frames:
    """A bus that repeats `ids` every `gap_s` per frame; byte 0 is `byte`."""
    n = windows * WINDOW
    payload = np.zeros((n, 8), np.uint8)
    payload[:, 0] = byte
    return Frames(
        timestamp=np.arange(n) * gap_s,
        arbitration_id=np.resize(np.array(ids, np.uint32), n),
        dlc=np.full(n, 8, np.uint8),
        payload=payload,
        is_extended=np.zeros(n, np.bool_),
        channel=np.zeros(n, np.uint8),
        attack=np.zeros(n, np.uint8),
        attack_kind=np.zeros(n, np.int16),
    )


def windows_of(frames: Frames) -> PackedGraphs:
    return build_graphs(frames, WINDOW, WINDOW)


@pytest.fixture(scope="module")
def rules() -> RuleBaseline:
    return RuleBaseline.fit(windows_of(regular((0x100, 0x200))))


def test_the_training_windows_violate_nothing(rules: RuleBaseline) -> None:
    assert_array_equal(rules.score(windows_of(regular((0x100, 0x200)))), np.zeros(5))


def test_an_unknown_id_outweighs_everything(rules: RuleBaseline) -> None:
    assert_array_equal(rules.score(windows_of(regular((0x100, 0x300)))), np.full(5, UNKNOWN_ID))


def test_an_id_with_29_bits_is_not_the_known_one_with_11(rules: RuleBaseline) -> None:
    frames = regular((0x100, 0x200))

    extended = replace(frames, is_extended=np.ones(len(frames), np.bool_))

    assert_array_equal(rules.score(windows_of(extended)), np.full(5, UNKNOWN_ID))


def test_a_byte_beyond_its_band_counts_in_units_where_the_band_has_no_width(rules: RuleBaseline) -> None:
    assert_array_equal(rules.score(windows_of(regular((0x100, 0x200), byte=10))), np.full(5, 3.0))


def test_a_violation_is_measured_in_widths_of_the_band() -> None:
    low, high = (windows_of(regular((0x100, 0x200), byte=b)) for b in (0, 9))
    rules = RuleBaseline.fit(concat_graphs([low, high]))

    score = rules.score(windows_of(regular((0x100, 0x200), byte=29)))

    assert_array_equal(score, np.full(5, (29 - 9) / (9 + 1)))


def test_an_id_that_no_training_window_lacks_is_missed(rules: RuleBaseline) -> None:
    silent = rules.score(windows_of(regular((0x100, 0x100, 0x100, 0x200))))
    gone = rules.score(windows_of(regular((0x100,))))

    assert (silent >= 1.0).all()
    assert (gone >= 2.0).all()


def test_an_id_that_some_training_windows_lack_is_not_missed() -> None:
    often, seldom = windows_of(regular((0x100, 0x200))), windows_of(regular((0x100,)))
    rules = RuleBaseline.fit(concat_graphs([often, seldom]))

    assert_array_equal(rules.score(seldom), np.zeros(5))


def test_a_bus_that_runs_faster_than_ever_is_seen(rules: RuleBaseline) -> None:
    assert (rules.score(windows_of(regular((0x100, 0x200), gap_s=0.001))) > 1.0).all()


def test_bands_come_from_normal_windows_alone() -> None:
    frames = regular((0x100, 0x200))
    attacked = replace(
        frames,
        payload=np.full_like(frames.payload, 0xFF),
        attack_kind=np.ones_like(frames.attack_kind),
        kinds=("normal", "spoof"),
    )
    rules = RuleBaseline.fit(concat_graphs([windows_of(frames), windows_of(attacked)]))

    assert (rules.score(windows_of(attacked)) > 100).all()


def test_without_normal_windows_there_is_nothing_to_fit() -> None:
    frames = regular((0x100,))
    attacked = replace(frames, attack_kind=np.ones_like(frames.attack_kind), kinds=("normal", "dos"))

    with pytest.raises(ValueError, match="needs normal training windows, found none among 5"):
        RuleBaseline.fit(windows_of(attacked))


def test_no_windows_give_no_scores(rules: RuleBaseline) -> None:
    none = windows_of(regular((0x100, 0x200))).take([])

    assert len(rules.score(none)) == 0


def test_on_held_out_drives_rules_see_injections_but_hardly_a_masquerade() -> None:
    """The default data set, split by capture: of every kind three captures train, one validates, one tests."""
    parts: dict[str, list[PackedGraphs]] = {"train": [], "val": [], "test": []}
    for capture in simulated_captures():
        number = int(capture.name.split("-")[1])
        split = {4: "val", 5: "test"}.get(number, "train")
        parts[split].append(build_graphs(capture.frames, 256, 128, capture_name=capture.name))
    rules = RuleBaseline.fit(concat_graphs(parts["train"]))

    for split in ("val", "test"):
        graphs = concat_graphs(parts[split])
        score = rules.score(graphs)
        auroc = {
            kind: roc_auc_score(graphs.label[rows] > 0, score[rows])
            for index, kind in enumerate(graphs.classes)
            if index and (rows := (graphs.label == 0) | (graphs.label == index)).any()
        }
        assert auroc["masquerade"] < 0.7, (split, auroc)
        assert min(auroc[kind] for kind in ("dos", "fuzzy", "spoof", "replay", "suppress")) > 0.9, (split, auroc)


def test_the_largest_deviation_of_a_window_leaves_out_the_order_of_ids() -> None:
    names = column_names(DEVIATIONS)
    x = np.zeros((5, len(names)), np.float32)
    x[0, names.index("late")] = 3.0
    x[1, names.index("unknown")] = 7.0
    x[3, names.index("surprise")] = 9.0
    windows = build_graphs(regular((1, 2, 3), windows=2), WINDOW, WINDOW)
    graphs = replace(windows, x=x, node_ptr=np.array([0, 3, 5]))

    assert largest_deviation(graphs).tolist() == [7.0, 0.0]
    assert len(largest_deviation(windows.take([]))) == 0

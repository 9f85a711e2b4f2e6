"""Raw frames in, scored windows out; the network is tiny and untrained, its weights seeded."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from graphids.core.classifier import WindowClassifier
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.frames import DataError, Frames, format_arbitration_id
from graphids.core.graphs.features import EDGE_FEATURES, NODE_FEATURES
from graphids.core.graphs.packed import build_graphs
from graphids.core.models.gat import GAT
from graphids.core.window_scores import WindowScores

WINDOW, STRIDE = 4, 2


def frames_of(ids: Sequence[int], channels: Sequence[str] | None = None) -> Frames:
    """One frame per identifier, a millisecond apart, the payload drawn from a fixed seed."""
    names = tuple(dict.fromkeys(channels or [""]))
    return Frames(
        timestamp=np.arange(len(ids)) * 1e-3,
        arbitration_id=np.array(ids, np.uint32),
        dlc=np.full(len(ids), 8, np.uint8),
        payload=np.random.default_rng(3).integers(0, 256, (len(ids), 8), dtype=np.uint8),
        is_extended=np.array(ids, np.uint32) > 0x7FF,
        channel=np.array([names.index(name) for name in channels or [""] * len(ids)], np.uint8),
        channels=names,
    )


def mixed_ids(num_frames: int) -> list[int]:
    return np.random.default_rng(5).choice([0x1A4, 0x2B0, 0x18FEF100], num_frames).tolist()


@pytest.fixture(scope="module")
def classifier() -> WindowClassifier:
    torch.manual_seed(0)
    graphs = build_graphs(frames_of(mixed_ids(64)), WINDOW, STRIDE)
    fitted = Preprocessing.fit(graphs, window_size=WINDOW, stride=STRIDE)
    preprocessing = replace(fitted, classes=("normal", "dos", "spoof"))
    gat = GAT(fitted.num_tokens, len(NODE_FEATURES), len(EDGE_FEATURES), 3, hidden=8, layers=1, heads=2)
    return WindowClassifier(gat, preprocessing, threshold=0.5)


def assert_same_windows(found: Sequence[WindowScores], expected: WindowScores) -> None:
    """Equal in any order; a matrix product rounds differently with the number of its rows, so scores to six digits."""
    windows = [window for part in (*found, expected) for window in _windows(part)]
    first, second = sorted(windows[: -len(expected)]), sorted(windows[-len(expected) :])

    assert [window[:-1] for window in first] == [window[:-1] for window in second]
    np.testing.assert_allclose([window[-1] for window in first], [window[-1] for window in second], rtol=1e-5)


def _windows(part: WindowScores) -> Iterator[tuple[str, float, float, str, tuple[str, ...], float]]:
    return zip(part.channel, part.start_s, part.end_s, part.kind, part.arbitration_ids, part.score, strict=True)


def test_a_window_starts_every_stride_frames_and_the_tail_is_stated(classifier: WindowClassifier) -> None:
    scores = classifier.score(frames_of(mixed_ids(9)))

    np.testing.assert_allclose(scores.start_s, [0.000, 0.002, 0.004])
    np.testing.assert_allclose(scores.end_s, [0.003, 0.005, 0.007])
    assert scores.unscored_frames == {"": 1}


def test_a_score_is_one_minus_the_probability_of_normal(classifier: WindowClassifier) -> None:
    frames = frames_of(mixed_ids(WINDOW))
    graphs, preprocessing = build_graphs(frames, WINDOW, STRIDE), classifier.preprocessing
    token = preprocessing.tokens(graphs.node_key)
    with torch.inference_mode():
        logits = classifier.gat(
            torch.from_numpy(preprocessing.nodes(graphs.x, token)),
            torch.from_numpy(token),
            torch.from_numpy(graphs.edge_index.astype(np.int64)),
            torch.from_numpy(preprocessing.edges(graphs.edge_attr)),
            torch.zeros(len(token), dtype=torch.int64),
            1,
        )

    assert classifier.score(frames).score[0] == pytest.approx(1 - logits.double().softmax(dim=1)[0, 0].item())


def test_a_window_alone_scores_as_within_its_capture(classifier: WindowClassifier) -> None:
    frames = frames_of(mixed_ids(40))
    whole = classifier.score(frames)

    alone = [classifier.score(frames.take(slice(start, start + WINDOW))) for start in range(0, 37, STRIDE)]

    np.testing.assert_allclose(whole.score, np.concatenate([part.score for part in alone]), rtol=1e-6)
    assert whole.arbitration_ids == tuple(ids for part in alone for ids in part.arbitration_ids)


def test_windows_alert_from_the_threshold_on_and_only_alerts_name_a_kind_and_identifiers(
    classifier: WindowClassifier,
) -> None:
    frames = frames_of(mixed_ids(40))
    middle = float(np.median(classifier.score(frames).score))

    scores = classifier.score(frames, threshold=middle)

    assert scores.alert.tolist() == (scores.score >= middle).tolist()
    assert 0 < scores.alert.sum() < len(scores)
    assert set(scores.kind[~scores.alert]) == {"normal"}
    assert set(scores.kind[scores.alert]) <= {"dos", "spoof"}
    assert all(bool(ids) == alert for ids, alert in zip(scores.arbitration_ids, scores.alert, strict=True))


def test_at_most_top_k_identifiers_are_named_most_suspicious_first(classifier: WindowClassifier) -> None:
    frames = frames_of([0x1A4, 0x2B0, 0x18FEF100, 0x1A4])
    three, one, none = (classifier.score(frames, threshold=0.0, top_k=k).arbitration_ids[0] for k in (3, 1, 0))

    assert sorted(three) == ["18FEF100", "1A4", "2B0"]
    assert one == three[:1]
    assert none == ()


def test_an_identifier_is_written_with_the_digits_of_its_format() -> None:
    assert format_arbitration_id(0x00A) == "00A"
    assert format_arbitration_id(0x8000_000A) == "0000000A"


def test_a_window_never_spans_two_channels(classifier: WindowClassifier) -> None:
    ids = mixed_ids(20)
    frames = frames_of(ids, ["can0", "can1"] * 10)

    scores = classifier.score(frames)

    for index, name in enumerate(("can0", "can1")):
        alone = classifier.score(frames.take(frames.channel == index))
        np.testing.assert_allclose(scores.score[scores.channel == name], alone.score, rtol=1e-6)
    assert scores.unscored_frames == {"can0": 0, "can1": 0}


@pytest.mark.parametrize("stride", [1, 2, 4, 7], ids=lambda stride: f"stride {stride}")
@pytest.mark.parametrize("chunk_size", [1, 3, 10, 50], ids=lambda size: f"chunks of {size}")
def test_a_stream_scores_the_windows_of_the_whole_capture(
    classifier: WindowClassifier, stride: int, chunk_size: int
) -> None:
    names = np.random.default_rng(1).choice(["can0", "can1"], 50).tolist()
    frames = frames_of(mixed_ids(50), names)
    chunks = (frames.take(slice(first, first + chunk_size)) for first in range(0, 50, chunk_size))

    streamed = list(classifier.score_stream(chunks, stride=stride))

    assert_same_windows(streamed, classifier.score(frames, stride=stride))


def test_a_stream_carries_over_less_than_a_window(classifier: WindowClassifier) -> None:
    frames = frames_of(mixed_ids(30))
    chunks = (frames.take(slice(first, first + 10)) for first in (0, 10, 20))

    assert all(part.unscored_frames[""] < WINDOW for part in classifier.score_stream(chunks))


def test_no_window_lies_across_a_jump_of_the_clock_and_what_it_cuts_off_is_stated(
    classifier: WindowClassifier,
) -> None:
    times = [0.9996, 0.9997, 0.9998, 0.9999, 0.9999, 0.0001, 0.0002, 0.0003, 0.0004]
    frames = replace(frames_of(mixed_ids(9)), timestamp=np.array(times))

    whole, streamed = classifier.score(frames), list(classifier.score_stream([frames]))

    assert list(zip(whole.start_s, whole.end_s, strict=True)) == [(0.9996, 0.9999), (0.0001, 0.0004)]
    assert_same_windows(streamed, whole)
    assert whole.unscored_frames == {"": 1}


def test_a_clock_that_jumps_within_every_window_gives_no_rows(classifier: WindowClassifier) -> None:
    frames = replace(frames_of(mixed_ids(9)), timestamp=np.array([0.4 * (i % 3) for i in range(9)]))

    assert len(classifier.score(frames)) == 0
    assert classifier.score(frames).unscored_frames == {"": 9}


def test_fewer_frames_than_a_window_give_no_rows_and_say_so(classifier: WindowClassifier) -> None:
    scores = classifier.score(frames_of(mixed_ids(WINDOW - 1)))

    assert len(scores) == 0
    assert scores.unscored_frames == {"": WINDOW - 1}


def test_large_captures_are_scored_in_batches_with_the_same_result(
    classifier: WindowClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = frames_of(mixed_ids(40))
    at_once = classifier.score(frames)
    monkeypatch.setattr("graphids.core.inference.NODES_PER_BATCH", 5)

    assert_same_windows([classifier.score(frames)], at_once)


def test_a_score_that_would_not_be_finite_is_refused_and_counted(classifier: WindowClassifier) -> None:
    """NaN would compare below the threshold."""
    diverged = replace(classifier, gat=copy.deepcopy(classifier.gat))
    with torch.no_grad():
        diverged.gat.head.weight.fill_(torch.inf)

    with pytest.raises(DataError, match=r"5 of 5 windows have no finite score, the first from 0\.0 s to .* diverged"):
        diverged.score(frames_of(mixed_ids(12)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_timestamp_that_is_not_finite_is_refused_by_row(classifier: WindowClassifier, value: float) -> None:
    frames = frames_of(mixed_ids(8))
    frames.timestamp[5] = value

    with pytest.raises(ValueError, match=f"Row 5 has timestamp {value}"):
        classifier.score(frames)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": 0}, "stride is 0, expected at least 1"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"threshold": -0.1}, "threshold is -0.1"),
        ({"top_k": -1}, "top_k is -1"),
    ],
)
def test_a_setting_out_of_range_is_refused_before_anything_is_scored(
    classifier: WindowClassifier, settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        classifier.score(frames_of(mixed_ids(8)), **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        classifier.score_stream(iter(()), **settings)  # type: ignore[arg-type]


def test_a_network_for_other_classes_is_refused(classifier: WindowClassifier) -> None:
    with pytest.raises(ValueError, match="GAT has 3 classes, but preprocessing names 2"):
        replace(classifier, preprocessing=replace(classifier.preprocessing, classes=("normal", "attack")))

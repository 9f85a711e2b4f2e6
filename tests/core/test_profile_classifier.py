"""Windows judged by deviations from a profile: with the state of what came before, however the capture arrives.

They are explained so too.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from graphids.core.alarm_choice import HeldOut, choose_alarms
from graphids.core.classifier import WindowClassifier
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.explanation import explain, explain_each, explain_window
from graphids.core.frames import DataError, Frames, concat, format_arbitration_id
from graphids.core.graphs.features import DEVIATIONS, EDGE_FEATURES, column_names
from graphids.core.graphs.packed import PackedGraphs, build_graphs
from graphids.core.graphs.window_stream import Window, stretches
from graphids.core.inference import represent
from graphids.core.injection.inject import Injection, inject
from graphids.core.models.gat import GAT
from graphids.core.profile.follower import Follower
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.profile.profile_file import profile_bytes
from graphids.core.simulation.simulate import simulate_vehicle
from graphids.core.window_scores import WindowScores
from support.tiny_model import tiny_classifier

WINDOW, STRIDE = 100, 40
UNKNOWN = column_names(DEVIATIONS).index("unknown")


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fit_profile([simulate_vehicle(seed=seed, duration_s=6.0) for seed in range(2)])


@pytest.fixture(scope="module")
def attacked() -> Frames:
    drive = simulate_vehicle(seed=2, duration_s=6.0)
    return inject(drive, [Injection("fuzzy", 1.0, 2.0), Injection("suppress", 3.0, 5.0)], seed=1).frames


def graphs_of(frames: Frames, profile: Profile) -> PackedGraphs:
    follower = Follower(profile)
    follower.follow(frames)
    return build_graphs(frames, WINDOW, STRIDE, follower)


@pytest.fixture(scope="module")
def classifier(profile: Profile, attacked: Frames) -> WindowClassifier:
    fitted = Preprocessing.fit(graphs_of(attacked, profile), window_size=WINDOW, stride=STRIDE, features="deviations")
    torch.manual_seed(0)
    gat = GAT(fitted.num_tokens, len(DEVIATIONS), len(EDGE_FEATURES), len(fitted.classes), hidden=8, heads=2)
    return WindowClassifier(gat, fitted, threshold=0.5, profile=profile)


def joined(parts: list[WindowScores], column: str) -> np.ndarray:
    return np.concatenate([getattr(part, column) for part in parts])


@pytest.mark.parametrize("size", [1_000, 333])
@pytest.mark.parametrize("stride", [STRIDE, 130])
def test_chunks_of_any_size_have_the_scores_of_the_whole(
    classifier: WindowClassifier, attacked: Frames, size: int, stride: int
) -> None:
    whole = classifier.score(attacked, stride=stride)
    chunks = (attacked.take(slice(first, first + size)) for first in range(0, len(attacked), size))

    parts = list(classifier.score_stream(chunks, stride=stride))

    assert_array_equal(joined(parts, "start_s"), whole.start_s)
    assert_allclose(joined(parts, "score"), whole.score, atol=1e-6)
    assert np.ptp(whole.score) > 0.01
    assert parts[-1].unscored_frames == whole.unscored_frames


def test_windows_that_share_memory_have_the_scores_of_the_whole(
    classifier: WindowClassifier, attacked: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = classifier.score(attacked)
    monkeypatch.setattr("graphids.core.classifier.FRAMES_IN_WINDOWS", 7 * WINDOW)

    assert_allclose(classifier.score(attacked).score, whole.score, atol=1e-6)


def test_the_nodes_of_a_window_are_its_ids_and_behind_them_those_that_are_overdue(
    profile: Profile, attacked: Frames
) -> None:
    graphs = graphs_of(attacked, profile)
    absent = graphs.node_frames == 0
    keys = attacked.node_key()

    assert absent.any()
    assert not graphs.node_attacked[absent].any()
    for window, first in enumerate(graphs.first_frame.tolist()):
        own = slice(graphs.node_ptr[window], graphs.node_ptr[window + 1])
        inside, attacks = keys[first : first + WINDOW], attacked.attack[first : first + WINDOW]  # type: ignore[index]
        for key, frames, marked in zip(
            graphs.node_key[own], graphs.node_frames[own], graphs.node_attacked[own], strict=True
        ):
            assert frames == (inside == key).sum()
            assert marked == (attacks[inside == key].any() if frames else 0)
        assert (np.diff((graphs.node_frames[own] == 0).astype(int)) >= 0).all()


def test_an_alert_names_the_ids_by_their_nodes_logits_those_that_are_overdue_too(
    classifier: WindowClassifier, profile: Profile, attacked: Frames
) -> None:
    graphs = graphs_of(attacked, profile)
    node_logits = represent(classifier.gat, graphs, classifier.preprocessing).node_logits.numpy()

    named = classifier.score(attacked, threshold=0.0, top_k=200).arbitration_ids

    for window in range(len(graphs)):
        own = slice(graphs.node_ptr[window], graphs.node_ptr[window + 1])
        logit = {
            format_arbitration_id(key): value for key, value in zip(graphs.node_key[own], node_logits[own], strict=True)
        }
        assert len(named[window]) == len(logit)
        ranked = [logit[name] for name in named[window]]
        assert_allclose(ranked, sorted(ranked, reverse=True), atol=1e-5)


@pytest.mark.parametrize("size", [10**6, 333])
def test_an_explained_window_has_the_score_and_the_ids_of_its_row(
    classifier: WindowClassifier, attacked: Frames, size: int
) -> None:
    rows = classifier.score(attacked, threshold=0.0)
    chunks = [attacked.take(slice(first, first + size)) for first in range(0, len(attacked), size)]

    for window in (0, 40, len(rows) - 1):
        found = explain(classifier, chunks, window, threshold=0.0)
        assert found.score == pytest.approx(rows.score[window], abs=1e-6)
        assert found.start_s == rows.start_s[window]
        assert tuple(i.arbitration_id for i in found.ids[:3]) == rows.arbitration_ids[window]


def test_an_overdue_id_is_explained_without_frames_and_without_edges(
    classifier: WindowClassifier, profile: Profile, attacked: Frames
) -> None:
    graphs = graphs_of(attacked, profile)
    absent = np.flatnonzero(graphs.node_frames == 0)[0]
    window = int(np.searchsorted(graphs.node_ptr, absent, side="right")) - 1
    name = format_arbitration_id(graphs.node_key[absent])

    found = explain(classifier, attacked, window)

    (overdue,) = (i for i in found.ids if i.arbitration_id == name)
    assert overdue.frames == 0
    assert overdue.is_known
    assert name not in {end for edge in found.edges for end in (edge.source, edge.target)}


def test_what_an_id_does_to_a_score_is_found_by_removing_its_node(
    classifier: WindowClassifier, profile: Profile, attacked: Frames
) -> None:
    window = 40
    graph = graphs_of(attacked, profile).take([window])
    removed = np.arange(len(graph.node_key)) == 3
    score = classifier.score_graphs(graph.without_nodes(removed)).score[0]

    found = explain(classifier, attacked, window)

    (without,) = (i for i in found.ids if i.arbitration_id == format_arbitration_id(graph.node_key[3]))
    assert without.score_without == pytest.approx(score, abs=1e-6)


def test_the_features_of_an_explanation_are_deviations_whose_usual_value_is_zero(
    classifier: WindowClassifier, profile: Profile, attacked: Frames
) -> None:
    window = 40
    graph = graphs_of(attacked, profile).take([window])

    features = explain(classifier, attacked, window).features

    assert len(features) == 3 * len(DEVIATIONS)
    assert {(f.usual, f.spreads) for f in features} == {(0.0, None)}
    node = [format_arbitration_id(key) for key in graph.node_key].index(features[0].arbitration_id)
    values = {f.feature: f.value for f in features if f.arbitration_id == features[0].arbitration_id}
    assert [values[column.name] for column in DEVIATIONS] == graph.x[node].tolist()


def test_a_window_alone_is_not_explained_by_deviations(classifier: WindowClassifier, attacked: Frames) -> None:
    with pytest.raises(ValueError, match=r"Window 3 comes without a follower.*`explain` brings it"):
        explain_window(classifier, Window(3, "", attacked.take(slice(0, WINDOW))))


def test_what_is_known_is_what_the_profile_holds(classifier: WindowClassifier, attacked: Frames) -> None:
    scores = classifier.score(attacked)

    assert scores.bus_coverage[""].known_ids == len(classifier.known_ids)
    assert scores.coverage.min() < 1.0 <= scores.coverage.max()


def test_a_model_that_judges_raw_features_takes_no_profile(profile: Profile) -> None:
    with pytest.raises(ValueError, match=r"judges raw features and has no use for a profile"):
        replace(tiny_classifier(), profile=profile)


def test_a_model_without_a_profile_says_what_it_needs(classifier: WindowClassifier, attacked: Frames) -> None:
    bare = WindowClassifier(classifier.gat, classifier.preprocessing, 0.5)

    with pytest.raises(DataError, match=r"no profile of a vehicle.*graphids profile.*graphids adapt"):
        bare.score(attacked)
    with pytest.raises(DataError, match="no profile of a vehicle"):
        next(bare.score_stream([attacked]))
    with pytest.raises(DataError, match="no profile of a vehicle"):
        explain(bare, attacked, 0)


@pytest.fixture(scope="module")
def unknown_id() -> Frames:
    """A drive of a vehicle that sends an ID from the first second on that the profile does not hold."""
    drive = simulate_vehicle(seed=3, duration_s=6.0)
    stranger = drive.take(drive.arbitration_id == drive.arbitration_id[0])
    stranger = replace(stranger, arbitration_id=np.full(len(stranger), 0x7E5, np.uint32))
    joined = concat([drive, stranger])
    return joined.take(np.argsort(joined.timestamp, kind="stable"))


def counts_of_unknown_ids(classifier: WindowClassifier, frames: Frames, warm_up_s: float) -> NDArray[np.float32]:
    """Windows' frames of IDs that the profile does not hold, as the network sees them."""
    followers, counts = classifier.followers(warm_up_s), []
    for stretch in (part for parts in stretches(followers.passing([frames]), WINDOW, WINDOW) for part in parts):
        graphs = build_graphs(stretch.frames, WINDOW, WINDOW, followers.of(stretch.channel), frame_offset=stretch.first)
        counts.append(np.add.reduceat(graphs.x[:, UNKNOWN], graphs.node_ptr[:-1]))
        followers.forget(stretch)
    return np.concatenate(counts)


def test_what_a_drive_shows_in_its_first_seconds_is_usual_in_it(
    classifier: WindowClassifier, unknown_id: Frames
) -> None:
    cold, warm = (counts_of_unknown_ids(classifier, unknown_id, warm_up_s) for warm_up_s in (0.0, 2.0))

    assert (cold > 0).all()
    ended = int(np.searchsorted(unknown_id.timestamp - unknown_id.timestamp[0], 2.0)) // WINDOW
    assert_array_equal(warm[:ended], cold[:ended])
    assert not warm[ended + 1 :].any()


def test_an_alert_keeps_the_first_seconds_out_of_the_profile(classifier: WindowClassifier, unknown_id: Frames) -> None:
    cold = classifier.score(unknown_id, warm_up_s=0.0)
    first = cold.score[cold.end_s < unknown_id.timestamp[0] + 2.0].max()

    entered = classifier.score(unknown_id, threshold=np.nextafter(first, 2.0), warm_up_s=2.0)
    kept_out = classifier.score(unknown_id, threshold=first, warm_up_s=2.0)

    assert (entered.warmed_up, kept_out.warmed_up) == ({"": True}, {"": False})
    assert_allclose(kept_out.score, cold.score, rtol=1e-5)
    assert not np.allclose(entered.score, cold.score, rtol=1e-5)


def test_a_warm_up_ends_at_the_same_frame_however_the_capture_arrives(
    classifier: WindowClassifier, unknown_id: Frames
) -> None:
    whole = classifier.score(unknown_id, threshold=1.0, warm_up_s=2.0)
    chunks = [unknown_id.take(slice(first, first + 777)) for first in range(0, len(unknown_id), 777)]

    parts = list(classifier.score_stream(chunks, threshold=1.0, warm_up_s=2.0))

    assert_allclose(joined(parts, "score"), whole.score, rtol=1e-5)
    assert parts[-1].warmed_up == whole.warmed_up == {"": True}


def test_the_profile_of_the_model_is_not_widened(classifier: WindowClassifier, unknown_id: Frames) -> None:
    assert classifier.profile is not None
    before = profile_bytes(classifier.profile)

    classifier.score(unknown_id, threshold=1.0, warm_up_s=2.0)

    assert profile_bytes(classifier.profile) == before
    with pytest.raises(ValueError, match=r"warm_up_s is -1.*at least 0"):
        classifier.score(unknown_id, warm_up_s=-1)


def two_buses() -> Frames:
    """Two drives at once, that of bus b from the third second on."""
    buses = [replace(simulate_vehicle(seed=seed, duration_s=6.0), channels=("a", "b")) for seed in (3, 4)]
    buses[1] = replace(buses[1], timestamp=buses[1].timestamp + 3.0, channel=np.ones(len(buses[1]), np.uint8))
    joined = concat(buses)
    return joined.take(np.argsort(joined.timestamp, kind="stable"))


@pytest.mark.parametrize("size", [200, 100_000])
def test_each_bus_has_a_warm_up_of_its_own(classifier: WindowClassifier, size: int) -> None:
    frames = two_buses()
    followers = classifier.followers(2.0)
    chunks = [frames.take(slice(first, first + size)) for first in range(0, len(frames), size)]
    widened: dict[str, float] = {}
    for stretch in (part for parts in stretches(followers.passing(chunks), WINDOW, WINDOW) for part in parts):
        followers.forget(stretch)
    for channel, offset_s in (("a", 0.0), ("b", 3.0)):
        follower, known = followers.of(channel), classifier.profile
        assert follower is not None
        assert known is not None
        widened[channel] = follower.profile.seconds - known.seconds
        assert 1.8 < widened[channel] <= 2.0, (channel, offset_s)

    assert followers.warmed_up() == {"a": True, "b": True}


def test_what_no_window_held_does_not_enter_the_profile(classifier: WindowClassifier, unknown_id: Frames) -> None:
    few = unknown_id.take(np.arange(0, len(unknown_id), 200))

    scores = classifier.score(few, warm_up_s=2.0)

    assert len(few) < WINDOW
    assert scores.warmed_up == {"": False}


def test_the_threshold_of_one_vehicle_is_not_that_of_another(classifier: WindowClassifier, profile: Profile) -> None:
    drives = [simulate_vehicle(seed=seed, duration_s=6.0) for seed in (5, 6)]
    bare = replace(classifier, profile=None)

    retuned = bare.for_vehicle(choose_alarms(bare, profile, [HeldOut(profile, drives)], 6.0))

    assert retuned.threshold != bare.threshold
    assert retuned.for_vehicle(replace(profile, alarms=None)).threshold == bare.threshold
    again = choose_alarms(retuned, profile, [HeldOut(profile, drives)], 60.0)
    assert again.alarms is not None
    assert again.alarms.replaced == bare.threshold


@pytest.mark.parametrize("size", [777, 100_000])
def test_several_windows_are_explained_by_one_pass_as_a_stream_scores_them(
    classifier: WindowClassifier, unknown_id: Frames, size: int
) -> None:
    scores = classifier.score(unknown_id, threshold=1.0, warm_up_s=2.0).score
    chunks = [unknown_id.take(slice(first, first + size)) for first in range(0, len(unknown_id), size)]
    numbers = [5, 6, 150, len(scores) - 1]  # before and after the end of the warm-up

    explained = {
        window.number: explanation.score
        for window, explanation in explain_each(classifier, chunks, numbers, threshold=1.0, warm_up_s=2.0)
    }

    assert_allclose([explained[number] for number in numbers], scores[numbers], rtol=1e-5)
    assert not np.allclose(scores, classifier.score(unknown_id, warm_up_s=0.0).score, rtol=1e-5)


def test_where_experts_alone_alert_an_explanation_names_their_id_first(
    classifier: WindowClassifier, profile: Profile, attacked: Frames
) -> None:
    drives = [simulate_vehicle(seed=seed, duration_s=6.0) for seed in (5, 6)]
    model = classifier.for_vehicle(choose_alarms(classifier, profile, [HeldOut(profile, drives)], 6.0))
    scores = model.score(attacked, threshold=1.0)
    numbers = np.flatnonzero(scores.alert & ~scores.by_network)[::10].tolist()

    named = [e.ids[0].arbitration_id for _, e in explain_each(model, [attacked], numbers, threshold=1.0)]

    assert len(numbers) > 2
    assert named == [scores.arbitration_ids[number][0] for number in numbers]

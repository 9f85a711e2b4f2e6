"""A vehicle's alarms: chosen on traffic that its profile has not seen; kept by classifier, stream and explanation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from graphids.core.alarm_choice import HeldOut, choose_alarms
from graphids.core.classifier import WindowClassifier
from graphids.core.data.preprocessing import Preprocessing
from graphids.core.explanation import explain
from graphids.core.frames import NORMAL, DataError, Frames, format_arbitration_id
from graphids.core.graphs.features import DEVIATIONS, EDGE_FEATURES
from graphids.core.graphs.packed import build_graphs
from graphids.core.incidents.detection import Subject, incidents_of
from graphids.core.injection.inject import Injection, inject
from graphids.core.models.gat import GAT
from graphids.core.models.weights_digest import weights_digest
from graphids.core.profile.experts import EXPERTS
from graphids.core.profile.follower import followed
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.simulation.simulate import simulate_vehicle
from support.tiny_model import three_ids, tiny_classifier, tiny_profile_classifier

MISSING = [expert.event for expert in EXPERTS].index("missing")


@pytest.fixture(scope="module")
def drives() -> list[Frames]:
    return [simulate_vehicle(seed=seed, duration_s=6.0) for seed in range(4)]


@pytest.fixture(scope="module")
def target(profile: Profile) -> int:
    return int(profile.node_key[profile.vehicle.habits["frames"].argmax()])


@pytest.fixture(scope="module")
def attacked(drives: list[Frames], target: int) -> Frames:
    return inject(drives[3], [Injection("suppress", 3.0, 4.0, target)], seed=1).frames


@pytest.fixture(scope="module")
def profile(drives: list[Frames]) -> Profile:
    return fit_profile(drives[:2])


@pytest.fixture(scope="module")
def network(drives: list[Frames], profile: Profile) -> WindowClassifier:
    fuzzy = inject(drives[2], [Injection("fuzzy", 1.0, 2.0)], seed=1).frames
    graphs = build_graphs(fuzzy, 100, 100, followed(profile, fuzzy))
    fitted = Preprocessing.fit(graphs, window_size=100, stride=100, features="deviations")
    torch.manual_seed(0)
    gat = GAT(fitted.num_tokens, len(DEVIATIONS), len(EDGE_FEATURES), len(fitted.classes), hidden=8, heads=2)
    return WindowClassifier(gat, fitted, threshold=0.5)


@pytest.fixture(scope="module")
def chosen(network: WindowClassifier, profile: Profile, drives: list[Frames]) -> Profile:
    return choose_alarms(network, profile, [HeldOut(profile, [drives[2]])], 6.0)


@pytest.fixture(scope="module")
def judging(network: WindowClassifier, chosen: Profile) -> WindowClassifier:
    return network.for_vehicle(chosen)


def test_the_recordings_that_alarms_were_chosen_on_raise_none(judging: WindowClassifier, drives: list[Frames]) -> None:
    assert not judging.score(drives[2]).alert.any()


def test_alarms_say_what_was_asked_and_of_how_many_hours(chosen: Profile, drives: list[Frames]) -> None:
    alarms = chosen.alarms
    assert alarms is not None
    assert (alarms.per_hour, alarms.blocks) == (6.0, False)
    assert alarms.hours == pytest.approx(float(np.ptp(drives[2].timestamp)) / 3600)
    assert alarms.offset.shape == (len(chosen.node_key) + 1, len(EXPERTS), 2)


def test_the_threshold_of_alarms_is_that_of_their_network_alone(
    network: WindowClassifier, judging: WindowClassifier, chosen: Profile
) -> None:
    torch.manual_seed(1)
    other_gat = GAT(**network.gat.architecture())
    other = replace(network, gat=other_gat, threshold=0.125)

    assert chosen.alarms is not None
    assert judging.threshold == chosen.alarms.threshold > 0.5
    assert weights_digest(network.gat) == chosen.alarms.network != weights_digest(other_gat)
    assert other.for_vehicle(chosen).threshold == 0.125
    assert other.for_vehicle(chosen).score(three_ids(200)).evidence.speaks.any()


def test_an_expert_alone_makes_a_window_alert_and_its_id_comes_first(
    judging: WindowClassifier, attacked: Frames, target: int
) -> None:
    deaf = replace(judging, threshold=1.0)

    scores = deaf.score(attacked)

    assert_array_equal(scores.alert, scores.evidence.alarms)
    alone = np.flatnonzero(scores.evidence.speaks[:, MISSING])
    assert len(alone) > 3
    assert {scores.arbitration_ids[window][0] for window in alone} == {format_arbitration_id(target)}
    assert (scores.kind[alone] != NORMAL).all()


def test_an_incident_of_experts_alone_says_nothing_of_the_network(judging: WindowClassifier, attacked: Frames) -> None:
    (scored,) = judging.score_chunks([attacked], threshold=1.0, warm_up_s=0.0)

    found = list(incidents_of([scored], Subject.of(judging)))

    assert not scored.scores.by_network.any()
    assert "missing" in {incident.event for incident in found}
    assert {(incident.kind, incident.severity) for incident in found} <= {("", "medium"), ("", "low")}
    assert not [incident.reason for incident in found if "network" in incident.reason]


def test_a_stream_has_the_evidence_and_alerts_of_the_whole(judging: WindowClassifier, attacked: Frames) -> None:
    whole = judging.score(attacked)
    chunks = (attacked.take(slice(first, first + 333)) for first in range(0, len(attacked), 333))

    parts = list(judging.score_stream(chunks))

    assert whole.alert.any()
    assert_array_equal(np.concatenate([part.alert for part in parts]), whole.alert)
    for column in range(3):
        streamed = np.concatenate([part.evidence[column] for part in parts])
        assert_array_equal(streamed, whole.evidence[column])


def test_an_explained_window_alerts_where_its_row_does(judging: WindowClassifier, attacked: Frames) -> None:
    rows = judging.score(attacked)
    first, last = np.flatnonzero(rows.alert)[[0, -1]].tolist()

    chunks = [attacked.take(slice(start, start + 700)) for start in range(0, len(attacked), 700)]

    for window in (0, first - 1, first, last):
        assert explain(judging, chunks, window).alert == rows.alert[window]


def test_without_alarms_nothing_but_the_score_alerts(network: WindowClassifier, profile: Profile) -> None:
    scores = network.for_vehicle(profile).score(three_ids(400))

    assert_array_equal(scores.alert, scores.score >= 0.5)
    assert not scores.evidence.strength.any()


def test_blocks_left_out_one_by_one_stand_for_recordings_and_are_marked(
    network: WindowClassifier, profile: Profile, drives: list[Frames]
) -> None:
    left_out = [HeldOut(fit_profile([other]), [block]) for block, other in (drives[:2], drives[1::-1])]

    alarms = choose_alarms(network, profile, left_out, 6.0).alarms

    assert alarms is not None
    assert alarms.blocks
    assert len(alarms.offset) == len(profile.node_key) + 1


def test_a_widened_profile_keeps_its_alarms(chosen: Profile, judging: WindowClassifier) -> None:
    widened = chosen.widened(three_ids(64))

    assert widened.alarms is not None
    assert widened.alarms.offset.shape[0] == len(widened.node_key) + 1 > len(chosen.node_key) + 1
    judging.for_vehicle(widened).score(three_ids(400))


def test_what_alarms_cannot_be_chosen_on_is_refused(network: WindowClassifier, profile: Profile) -> None:
    with pytest.raises(DataError, match=r"found none in 1 recordings\. Expected attack-free recordings of the same"):
        choose_alarms(network, profile, [HeldOut(profile, [three_ids(99)])], 6.0)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="expected a finite number of more than 0"):
            choose_alarms(network, profile, [HeldOut(profile, [three_ids(400)])], rate)
    with pytest.raises(ValueError, match="judges raw features"):
        choose_alarms(tiny_classifier(), profile, [HeldOut(profile, [three_ids(400)])], 6.0)


def test_a_digest_of_weights_is_the_same_for_the_same_weights_and_no_others() -> None:
    one, same, other = (tiny_profile_classifier(seed).gat for seed in (0, 0, 1))

    assert weights_digest(one) == weights_digest(same) != weights_digest(other)

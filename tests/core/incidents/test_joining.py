"""Windows that alert, joined: what is one incident and what is two, however the drive comes."""

from collections.abc import Iterator

import numpy as np
import pytest

from graphids.core.incidents.detection import Subject, incidents_of
from graphids.core.incidents.incident import EVENTS, Incident
from graphids.core.profile.experts import EXPERTS
from support.scripted_drive import WINDOW, Says, cut, drive
from support.tiny_model import three_ids, tiny_profile_classifier

SUBJECT = Subject(WINDOW)
A, B, C = 0x1A4, 0x2B0, 0x3C0
MISSING, EARLY = "missing", "too_early"


def told(seconds: float, *script: Says, **settings: object) -> list[Incident]:
    return list(incidents_of([drive(seconds, *script, **settings)], SUBJECT))  # type: ignore[arg-type]


def times(incidents: list[Incident]) -> list[tuple[str, float, float]]:
    return [(incident.event, incident.start_s, incident.end_s) for incident in incidents]


def test_every_event_of_an_expert_is_in_the_vocabulary() -> None:
    assert {expert.event for expert in EXPERTS} <= set(EVENTS)


def test_a_quiet_drive_has_no_incident() -> None:
    assert told(60.0) == []


def test_windows_less_than_ten_seconds_apart_are_one_incident_and_more_are_two() -> None:
    """A window lasts .375 s."""
    close = told(60.0, Says(EARLY, A, 10.0, 10.5), Says(EARLY, A, 20.0, 20.5))
    far = told(60.0, Says(EARLY, A, 10.0, 10.5), Says(EARLY, A, 20.5, 21.0))

    assert times(close) == [(EARLY, 10.0, 20.375)]
    assert (close[0].windows, close[0].ongoing) == (2, False)
    assert times(far) == [(EARLY, 10.0, 10.375), (EARLY, 20.5, 20.875)]


def test_an_alarm_that_was_steady_and_stops_is_over_after_five_seconds() -> None:
    found = told(60.0, Says("learned", A, 10.0, 14.0), Says("learned", A, 20.0, 24.0))

    assert times(found) == [("learned", 10.0, 13.875), ("learned", 20.0, 23.875)]


def test_a_flood_is_one_incident_with_all_that_it_disturbs_named_by_what_was_sent() -> None:
    (found,) = told(
        60.0,
        Says("missing", B, 11.0, 19.0, strength=900.0),
        Says("too_early", C, 11.0, 19.0, strength=400.0),
        Says("learned", C, 10.5, 19.0),
        Says("unknown_id", 0, 10.0, 19.0),
    )

    assert (found.event, found.kind, found.severity) == ("unknown_id", "dos", "high")
    assert found.arbitration_ids[0] == ("000", pytest.approx(0.999))
    assert {name for name, _ in found.arbitration_ids} == {"000", "2B0", "3C0"}
    assert found.score == 0.9


def test_effects_of_a_flood_belong_to_it_also_when_it_has_lasted() -> None:
    flood = drive(
        60.0,
        Says("unknown_id", 0, 10.0, 40.0),
        Says(MISSING, B, 30.0, 30.5),
        Says("unknown_id", 0x7E0, 35.0, 35.5),  # fuzzing meets an ID by which testers ask
        coverage=0.6,
    )

    (found,) = incidents_of([flood], SUBJECT)

    assert (found.event, found.windows, found.suppressed) == ("unknown_id", 60, 40)


def test_a_message_that_is_late_for_the_whole_drive_does_not_hide_an_attack_on_another() -> None:
    late = Says(MISSING, A, 5.0, 300.0)

    first, second = told(300.0, late, Says(EARLY, B, 100.0, 104.0))

    assert (first.event, first.arbitration_ids[0][0], first.windows, first.windows) == (EARLY, "2B0", 8, 8)
    assert (second.event, second.arbitration_ids[0][0], second.windows, second.ongoing) == (MISSING, "1A4", 590, True)
    assert second.suppressed == 570  # all but the first ten seconds


@pytest.mark.parametrize("attack", [Says(MISSING, B, 300.0, 304.0), Says("wrong_length", A, 300.0, 304.0)])
def test_nor_one_of_the_same_event_or_on_the_same_id(attack: Says) -> None:
    first, second = told(600.0, Says(MISSING, A, 10.0, 600.0), attack)

    assert times([first]) == [(attack.event, 300.0, 303.875)]
    assert first.arbitration_ids[0][0] == f"{attack.node_key:03X}"
    assert (second.event, second.start_s, second.ongoing) == (MISSING, 10.0, True)


def test_what_is_muted_and_is_not_of_timing_is_heard_again_after_a_minute_of_quiet() -> None:
    twice = [(10.0, 23.0), (600.0, 620.0)]
    unknown = told(900.0, *(Says("unknown_id", 0x7, *at_s) for at_s in twice))
    late = told(900.0, *(Says(MISSING, A, *at_s) for at_s in twice))
    soon = told(900.0, Says("unknown_id", 0x7, 10.0, 23.0), Says("unknown_id", 0x7, 80.0, 100.0))

    assert [incident.start_s for incident in unknown] == [10.0, 600.0]
    assert [incident.start_s for incident in late] == [10.0]
    assert [incident.start_s for incident in soon] == [10.0]


def test_an_expert_that_spoke_for_ten_seconds_is_muted_for_that_id_and_event_alone() -> None:
    found = told(
        120.0,
        Says(MISSING, A, 10.0, 21.0),
        Says(MISSING, A, 50.0, 55.0),
        Says(MISSING, B, 70.0, 71.0),
        Says(EARLY, A, 90.0, 91.0),
    )

    assert times(found) == [
        (MISSING, 10.0, 20.875),
        (MISSING, 70.0, 70.875),
        (EARLY, 90.0, 90.875),
    ]


def test_one_that_spoke_now_and_then_is_not_muted() -> None:
    bursts = [Says(MISSING, A, start_s, start_s + 1.0) for start_s in (10.0, 18.0, 26.0)]

    found = told(120.0, *bursts, Says(MISSING, A, 60.0, 61.0))

    assert times(found) == [(MISSING, 10.0, 26.875), (MISSING, 60.0, 60.875)]


def test_the_network_is_never_muted_and_a_muted_expert_gives_its_alarm_the_reason() -> None:
    first, second = told(
        120.0, Says(MISSING, A, 10.0, 30.0), Says(MISSING, A, 60.0, 62.0), Says("learned", A, 60.0, 62.0)
    )

    assert (first.event, first.severity) == (MISSING, "medium")
    assert (second.event, second.severity, second.start_s) == (MISSING, "high", 60.0)


def test_a_state_alone_is_no_incident_and_names_an_alarm_of_the_network_on_its_id() -> None:
    state = Says("value_never_seen", A, 10.0, 12.0)

    assert told(30.0, state) == []
    (of_it,) = told(30.0, state, Says("learned", A, 10.0, 12.0))
    (of_another,) = told(30.0, state, Says("learned", B, 10.0, 12.0))
    assert (of_it.event, of_another.event) == ("value_never_seen", "learned")
    assert of_it.severity == of_another.severity == "medium"


def test_what_experts_alone_see_has_neither_a_kind_nor_the_severity_of_what_the_network_sees_too() -> None:
    (found,) = told(30.0, Says("wrong_length", A, 10.0, 13.0))

    assert (found.event, found.kind, found.severity) == ("wrong_length", "", "medium")
    assert found.arbitration_ids == (("1A4", pytest.approx(0.999)),)
    assert "network" not in found.reason


@pytest.mark.parametrize("event", ["unknown_id", "diagnostic_request"])
def test_an_unknown_id_by_which_testers_ask_is_a_diagnostic_request(event: str) -> None:
    key = 0x7E0 if event == "diagnostic_request" else 0x7F0

    assert [incident.event for incident in told(30.0, Says("unknown_id", key, 5.0, 6.0))] == [event]


@pytest.mark.parametrize("coverage", [0.0, 0.25])
def test_a_bus_that_is_not_covered_is_one_incident_whatever_alerts(coverage: float) -> None:
    (found,) = told(60.0, Says("learned", A, 3.0, 30.0), Says(EARLY, B, 40.0, 50.0), coverage=coverage)

    assert (found.event, found.start_s, found.end_s, found.ongoing) == ("not_covered", 0.0, 59.875, True)
    assert (found.windows, found.suppressed, found.arbitration_ids, found.kind) == (74, 74, (), "")
    assert found.coverage == coverage


@pytest.mark.parametrize("sizes", [[1000], [1], [7]])
def test_a_bus_that_turns_out_to_be_covered_has_incidents_from_then_on(sizes: list[int]) -> None:
    """Half of its frames are known after 40 of 60 seconds."""
    script = (Says("learned", A, 15.0, 16.0), Says("learned", A, 50.0, 51.0))
    whole = drive(60.0, *script, coverage=[0.0] * 40 + [1.0] * 80)

    first, second = incidents_of(cut(whole, sizes), SUBJECT)

    assert (first.event, first.start_s, first.end_s, first.windows) == ("not_covered", 0.0, 39.875, 2)
    assert (second.event, second.start_s) == ("learned", 50.0)


def test_a_flood_does_not_make_a_bus_that_was_covered_another_vehicle_before_the_end() -> None:
    found = told(60.0, Says("unknown_id", 0, 15.0, 59.0), coverage=[1.0] * 30 + [0.0] * 90)

    assert [(incident.event, incident.windows) for incident in found] == [("unknown_id", 88), ("not_covered", 0)]


def test_where_that_is_asked_for_it_has_its_other_incidents_too() -> None:
    whole = drive(60.0, Says("learned", A, 30.0, 32.0), coverage=0.2)

    found = incidents_of([whole], Subject(WINDOW, mutes_uncovered=False))

    assert [incident.event for incident in found] == ["learned", "not_covered"]


def test_a_capture_of_a_few_seconds_is_judged_at_its_end() -> None:
    assert [incident.event for incident in told(4.0, Says("learned", A, 1.0, 2.0), coverage=0.2)] == ["not_covered"]
    assert [incident.event for incident in told(4.0, Says("learned", A, 1.0, 2.0), coverage=0.8)] == ["learned"]


def test_after_a_jump_of_the_clock_an_incident_is_over() -> None:
    before, after = (drive(20.0, Says(EARLY, A, 15.0, 25.0), begin_s=begin_s) for begin_s in (0.0, 8.0))

    found = list(incidents_of([before, after], SUBJECT))

    assert times(found) == [(EARLY, 15.0, 19.875), (EARLY, 15.0, 24.875)]


@pytest.mark.parametrize("sizes", [[1000], [1], [7]])
def test_after_a_jump_of_the_clock_a_bus_that_is_not_covered_has_another_incident(sizes: list[int]) -> None:
    before, after = (drive(30.0, coverage=0.1, begin_s=begin_s) for begin_s in (1.7e9, 5.0))

    found = list(incidents_of([*cut(before, sizes), *cut(after, sizes)], SUBJECT))

    assert times(found) == [("not_covered", 1.7e9, 1.7e9 + 29.875), ("not_covered", 5.0, 34.875)]
    assert [incident.ongoing for incident in found] == [False, True]


def test_incidents_at_the_same_time_of_a_clock_that_was_set_back_have_other_ids() -> None:
    drives = [drive(20.0, Says(EARLY, A, 15.0, 16.0)) for _ in range(2)]

    found = list(incidents_of(drives, SUBJECT))

    assert [incident.start_s for incident in found] == [15.0, 15.0]
    assert len({incident.id for incident in found}) == 2


def test_a_bus_that_is_not_covered_before_and_after_it_was_has_two_incidents_that_do_not_overlap() -> None:
    found = told(150.0, coverage=[0.1] * 40 + [1.0] * 60 + [0.0] * 200)

    assert times(found) == [("not_covered", 0.0, 39.875), ("not_covered", 39.875, 149.875)]
    assert len({incident.id for incident in found}) == 2


def test_buses_have_incidents_of_their_own() -> None:
    one, other = (drive(20.0, Says(EARLY, A, 15.0, 16.0), channel=channel) for channel in ("can0", "can1"))
    one.scores.bus_coverage.update(other.scores.bus_coverage)
    other.scores.bus_coverage.update(one.scores.bus_coverage)

    found = list(incidents_of([one, other], SUBJECT))

    assert [incident.channel for incident in found] == ["can0", "can1"]
    assert len({incident.id for incident in found}) == 2


def test_no_more_incidents_than_fit_into_memory_are_open_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four messages with events of their own that stay, one after the other."""
    events = [MISSING, EARLY, "too_frequent", "wrong_length"]
    script = [Says(event, 0x300 + k, 12.0 * k, 100.0) for k, event in enumerate(events)]
    assert len(told(100.0, *script)) == 4

    monkeypatch.setattr("graphids.core.incidents.joining.MAX_OPEN", 2)

    assert [incident.start_s for incident in told(100.0, *script)] == [0.0, 12.0]


def test_an_alarm_that_names_no_id_is_an_incident_without_ids() -> None:
    classifier, frames = tiny_profile_classifier(), three_ids(40, seed=3)

    (found,) = incidents_of(classifier.score_chunks([frames], threshold=0.0, top_k=0), Subject.of(classifier))

    assert (found.event, found.arbitration_ids, len(found.context)) == ("learned", (), 4)


def random_script(seed: int) -> Iterator[Says]:
    generator = np.random.default_rng(seed)
    for _ in range(40):
        event = generator.choice(["learned", MISSING, EARLY, "unknown_id", "out_of_range"])
        start_s = generator.uniform(0, 280)
        length_s = generator.choice([0.5, 2.0, 25.0])
        key = int(generator.choice([A, B, C, 0x7E0]))
        yield Says(str(event), key, start_s, start_s + length_s, strength=float(generator.uniform(0.1, 9)))


@pytest.mark.parametrize("sizes", [[1], [7, 2, 30]])
@pytest.mark.parametrize("seed", range(4))
def test_incidents_are_the_same_however_the_drive_is_cut(seed: int, sizes: list[int]) -> None:
    whole = drive(300.0, *random_script(seed), coverage=0.8)
    expected = list(incidents_of([whole], SUBJECT))

    assert list(incidents_of(cut(whole, sizes), SUBJECT)) == expected
    assert len(expected) > 3
    assert len({incident.id for incident in expected}) == len(expected)


@pytest.mark.parametrize("sizes", [[1], [16], [17], [30]])
@pytest.mark.parametrize(
    "coverage",
    [
        [0.5] * 13 + [0.25] * 4 + [1.0] * 103,
        [0.4] * 16 + [1.0] * 104,
        [1.0] * 10 + [0.0] * 25 + [1.0] * 85,
        [0.0] * 60 + [1.0] * 60,
    ],
)
def test_whether_a_bus_is_covered_does_not_depend_on_how_the_drive_is_cut(
    coverage: list[float], sizes: list[int]
) -> None:
    """The first incident is over before the bus is judged, at its tenth second."""
    whole = drive(60.0, Says(EARLY, A, 1.0, 2.6), Says("learned", B, 9.0, 30.0), coverage=coverage)

    assert list(incidents_of(cut(whole, sizes), SUBJECT)) == list(incidents_of([whole], SUBJECT))


def test_those_of_a_model_are_the_same_however_the_capture_is_cut() -> None:
    classifier, frames = tiny_profile_classifier(), three_ids(400, seed=3)
    middle = float(np.median(classifier.score(frames).score))

    def incidents(size: int) -> list[Incident]:
        chunks = (frames.take(slice(first, first + size)) for first in range(0, len(frames), size))
        return list(incidents_of(classifier.score_chunks(chunks, threshold=middle), Subject.of(classifier)))

    (whole,), (of_pieces,) = incidents(400), incidents(37)

    assert (of_pieces.windows, of_pieces.start_s, of_pieces.context) == (whole.windows, whole.start_s, whole.context)
    assert of_pieces.score == pytest.approx(whole.score, abs=1e-6)
    assert whole.profile_digest == of_pieces.profile_digest != ""

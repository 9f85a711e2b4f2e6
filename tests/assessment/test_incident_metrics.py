"""Incidents are held against attacks: known answers for a few captures by hand."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from graphids.assessment.attack_events import Attack
from graphids.assessment.incident_metrics import (
    JudgedCapture,
    Verdicts,
    incidents_record,
    judge,
    measure_incidents,
)
from graphids.core.frames import Capture, no_frames
from graphids.core.incidents.incident import Incident
from graphids.report.incident_table import incident_summary
from support.incidents import SILENCE
from support.tiny_model import three_ids, tiny_profile_classifier

DOS = Attack("dos", 10.0, 20.0, frozenset({"000"}))
SUPPRESS = Attack("suppress", 50.0, 60.0)


def incident(start_s: float, end_s: float, event: str = "missing", named: str = "1A4") -> Incident:
    return replace(
        SILENCE, id=f"{start_s:g}", start_s=start_s, end_s=end_s, event=event, arbitration_ids=((named, 0.9),)
    )


def judged(
    attacks: Iterable[Attack],
    incidents: Iterable[Incident] = (),
    alerts: Iterable[float] = (),
    *,
    seconds: float = 3600.0,
) -> JudgedCapture:
    """Windows of a second, of which those alert that begin at `alerts`."""
    start_s = np.arange(0.0, 100.0)
    alert = np.isin(start_s, list(alerts))
    verdicts = Verdicts(start_s, start_s + 1.0, alert * 1.0, alert, np.where(alert, "dos", "normal"))
    return JudgedCapture("drive", tuple(attacks), seconds, tuple(incidents), verdicts, muted_windows=3)


def test_an_attack_is_found_by_an_incident_that_overlaps_it_and_delay_runs_to_the_end_of_the_first_alert() -> None:
    found = judged([DOS, SUPPRESS], [incident(12.0, 15.0, "unknown_id", "000")], [12.0, 13.0, 14.0])

    metrics = measure_incidents([found])

    assert (metrics.by_kind["dos"].recall, metrics.by_kind["suppress"].recall, metrics.whole.recall) == (1.0, 0.0, 0.5)
    assert metrics.by_kind["dos"].median_delay_s == 3.0
    assert (metrics.by_kind["dos"].right_event, metrics.by_kind["dos"].right_id) == (1.0, 1.0)
    assert metrics.by_kind["suppress"].median_delay_s is None
    assert metrics.false_alarms == 0


def test_half_of_the_delays_are_below_the_median_and_nine_tenths_below_the_late_one() -> None:
    drives = [judged([DOS], [incident(10.0 + late, 25.0)], [10.0 + late]) for late in range(11)]

    found = measure_incidents(drives).whole

    assert (found.median_delay_s, found.late_delay_s) == (6.0, 10.0)


def test_an_incident_that_belongs_to_no_attack_is_a_false_alarm_and_its_rate_is_of_attack_free_time() -> None:
    drive = judged([DOS], [incident(12.0, 15.0), incident(30.0, 31.0)], [12.0, 30.0, 31.0], seconds=1800.0)

    metrics = measure_incidents([drive], asked_per_hour=6.0)

    assert (metrics.false_alarms, metrics.false_alarms_per_hour, metrics.asked_per_hour) == (1, 2.0, 6.0)
    assert metrics.time_in_alarm == pytest.approx(2.0 / 1800.0)
    assert metrics.muted_windows == 3


def test_time_in_alarm_counts_windows_that_overlap_once() -> None:
    drive = judged([])
    start_s = np.array([0.0, 0.5, 1.0, 10.0])
    overlapping = drive.verdicts._replace(start_s=start_s, end_s=start_s + 1.0, alert=np.ones(4, np.bool_))

    assert replace(drive, verdicts=overlapping).in_alarm_s() == 3.0


def test_a_capture_that_is_not_covered_finds_nothing_and_raises_no_false_alarm() -> None:
    metrics = measure_incidents([judged([DOS], [incident(0.0, 99.0, "not_covered")])])

    assert (metrics.whole.found, metrics.false_alarms, metrics.not_covered) == (0, 0, 1)


def test_without_attacks_recall_and_delay_are_absent_and_without_time_the_rate_is() -> None:
    quiet = measure_incidents([judged([], [incident(1.0, 2.0)])])
    attacked = measure_incidents([judged([DOS], seconds=0.0)])

    assert quiet.metrics()["incidents/false_alarms_per_hour"] == 1.0
    assert not [name for name in quiet.metrics() if "recall" in name or "delay" in name or "attacks" in name]
    assert not {"incidents/false_alarms_per_hour", "incidents/time_in_alarm"} & attacked.metrics().keys()
    assert {"incidents/recall", "incidents/dos/recall"} <= attacked.metrics().keys()
    assert "undefined, no time without an attack" in incident_summary(attacked)
    assert "recall" not in incident_summary(quiet)


def test_the_record_names_the_incident_of_every_attack_and_keeps_no_frames() -> None:
    drive = judged([DOS, SUPPRESS], [replace(incident(12.0, 15.0), context=("secret",)), incident(30.0, 31.0)], [12.0])

    record = incidents_record([drive], measure_incidents([drive]))

    assert [(attack["kind"], attack["incident"], attack["delay_s"]) for attack in record["attacks"]] == [
        ("dos", "12", 3.0),
        ("suppress", None, None),
    ]
    assert [row["false_alarm"] for row in record["incidents"]] == [False, True]
    assert "secret" not in str(record)


def test_a_capture_is_judged_as_it_is_scored_with_its_warm_up() -> None:
    classifier, frames = tiny_profile_classifier(), three_ids(400, seed=1)
    attack = np.zeros(400, np.uint8)
    attack[100:200] = 1
    labelled = replace(frames, attack=attack, attack_kind=attack.astype(np.int16), kinds=("normal", "dos"))

    found = judge(classifier, Capture("drive", labelled, "drive"))

    scores = classifier.score(frames)
    np.testing.assert_array_equal(found.verdicts.score, scores.score)
    np.testing.assert_array_equal(found.verdicts.alert, scores.alert)
    assert found.attack_free_s == pytest.approx(0.399 - 0.099)


def test_a_capture_without_frames_has_no_verdicts() -> None:
    found = judge(tiny_profile_classifier(), Capture("empty", no_frames(), "empty"))

    assert (len(found.verdicts.score), found.incidents, found.attack_free_s) == (0, (), 0.0)

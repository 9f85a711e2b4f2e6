"""What summary and card say of vehicles, injected attacks and what is missing."""

from typing import Any

import pytest

from graphids.assessment.assess import Assessment
from graphids.core.injection.inject import KINDS
from graphids.report.material import held_out_table, material_lines, material_text, vehicle_table

ASSESSMENT = Assessment(
    threshold=0.75,
    rule_threshold=2.0,
    false_alarms_per_hour=60.0,
    before={},
    after={},
    test={"dos/auroc": 0.9},
    rule={},
    undefined=[],
    kinds=("dos",),
    normal_windows=36,
    normal_hours=0.05,
    validation_hours=0.05,
)
COUNTS = {"normal": 1200, "dos": 100}
SUMMARY: dict[str, Any] = {
    "injected": "every split",
    "features": "deviations",
    "held_out": "van",
    "vehicles": {"car": dict.fromkeys(("train", "val", "test"), COUNTS), "van": {"test": COUNTS}},
    "skipped": {"van": ["masquerade_drift", "masquerade_noise"]},
    "short": {"car": {"suppress": 48}},
    "left_out": {"bus": "train recordings without a stretch of 1024 frames"},
}


def test_what_was_injected_held_out_skipped_missing_and_left_out_is_told() -> None:
    assert material_lines(SUMMARY) == [
        "Attacks were injected: none of their frames is in a profile, and none was recorded on a vehicle.",
        "Nodes carry deviations from the profile of their vehicle, fitted on its training recordings.",
        "van was held out: all of its 1,300 windows are in the test. The model carries its profile.",
        "Windows, normal + attack: car (train 1,200 + 100, val 1,200 + 100, test 1,200 + 100), van (test 1,200 + 100).",
        "Kinds that a bus cannot suffer: van (masquerade_drift, masquerade_noise).",
        "Windows short of the number wanted: car (suppress 48).",
        "Left out: bus (train recordings without a stretch of 1024 frames).",
    ]


def test_of_labelled_captures_as_they_are_there_is_nothing_to_tell() -> None:
    summary = {"injected": "", "features": "raw", "baseline": "rules"}

    assert material_lines(summary) == []
    assert material_text(summary, ASSESSMENT) == ""


def test_of_many_vehicles_a_few_are_named_and_the_others_counted_so_that_a_card_has_room_for_it() -> None:
    names = [f"{n:02}{'x' * 200}" for n in range(20)]
    many = {
        **SUMMARY,
        "vehicles": {name: dict.fromkeys(("train", "val", "test"), COUNTS) for name in names},
        "held_out": names[0],
        "skipped": {name: list("abcdefghijkl") for name in names},
        "short": {name: dict.fromkeys(KINDS, 100) for name in names},
        "left_out": dict.fromkeys(names, "train and val recordings without a stretch of 1024 frames, or but one,"),
    }

    lines = material_lines(many)

    assert all(line.endswith(" and 18 others.") for line in lines[-4:])
    assert len("\n".join(lines)) < 1500
    assert "x" * 100 not in material_text(many, ASSESSMENT)


def test_every_vehicle_of_the_test_has_a_row_beside_the_baseline() -> None:
    own = {"windows": 1300.0, "auroc": 0.91, "macro_auroc": 0.92, "recall": 0.5, "false_alarms_per_hour": 30.0}
    test = {f"vehicle/{name}/{key}": value for name in ("fleet/a", "van") for key, value in own.items()}
    rule = {"vehicle/van/macro_auroc": 0.61}
    metrics = {"test": {**ASSESSMENT.test, **test}, "rule": rule}
    assessment = Assessment(**{name: metrics.get(name, getattr(ASSESSMENT, name)) for name in Assessment.__slots__})

    head, *rows = [row.split() for row in vehicle_table(assessment).splitlines()]

    assert head[:3] == ["vehicle", "windows", "AUROC"]
    assert rows == [
        ["fleet/a", "1300", "0.910", "0.920", "-", "0.500", "30.0"],
        ["van", "1300", "0.910", "0.920", "0.610", "0.500", "30.0"],
    ]
    assert vehicle_table(assessment) in material_text(SUMMARY, assessment)


def test_of_the_vehicle_that_was_held_out_each_kind_has_a_row_beside_the_baseline() -> None:
    test = {"vehicle/van/windows": 1300.0, "vehicle/van/dos/auroc": 0.91, "vehicle/van/dos/recall": 0.5}
    metrics = {"test": {**ASSESSMENT.test, **test}, "rule": {"vehicle/van/dos/auroc": 0.61}}
    assessment = Assessment(**{name: metrics.get(name, getattr(ASSESSMENT, name)) for name in Assessment.__slots__})

    _, row = held_out_table(assessment, "van").splitlines()

    assert row.split() == ["dos", "0.910", "0.610", "0.500", "-"]
    assert material_text(SUMMARY, assessment).endswith(held_out_table(assessment, "van"))
    assert held_out_table(assessment, "") == held_out_table(ASSESSMENT, "van") == ""


def test_where_labelled_attacks_are_measured_the_injected_ones_are_said_to_be_in_training_alone() -> None:
    (line,) = [line for line in material_lines({**SUMMARY, "injected": "training"}) if "injected" in line]

    assert line == "Attacks were injected into the training alone: those that are measured came with the captures."


@pytest.mark.parametrize("features", ["raw", "deviations"])
def test_what_nodes_carry_is_told(features: str) -> None:
    told = any("deviations" in line for line in material_lines({**SUMMARY, "features": features}))

    assert told == (features == "deviations")

"""The model card: the numbers it holds, the limits it names, and that it is the same wherever it is made."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from graphids.assessment.assess import Assessment
from graphids.assessment.tau_sweep import TauSweep
from graphids.core.callbacks import TauNormRecord
from graphids.core.data.preprocessing import Preprocessing
from graphids.report.findings import Findings
from graphids.report.model_card import MAX_CHARACTERS, DataUsed, model_card
from support.tiny_model import three_ids_profile, tiny_classifier, tiny_profile_classifier

PART = {"frames": 900, "seconds": 90.0, "dropped_tail_frames": 0, "captures": 2}
SUMMARY = {
    "captures": 6,
    "frames": 2700,
    "reader": {"dropped lines": 3},
    "split": "capture",
    "split_reason": "Split by capture, 6 recordings.",
    **{name: {**PART, "windows": {"normal": 36, "dos": 12, "spoof": 0}} for name in ("train", "val", "test")},
}
ASSESSMENT = Assessment(
    threshold=0.75,
    rule_threshold=2.0,
    false_alarms_per_hour=60.0,
    before={"macro_f1": 0.5, "balanced_accuracy": 0.5, "all/recall": 0.25},
    after={"macro_f1": 0.625, "balanced_accuracy": 0.5, "all/recall": 0.5},
    test={"dos/windows": 12.0, "dos/prevalence": 0.25, "dos/auroc": 0.9876, "false_alarms_per_hour": 20.0},
    rule={"dos/auroc": 0.75, "false_alarms_per_hour": 0.0},
    undefined=["spoof/auroc"],
    kinds=("dos", "spoof"),
    normal_windows=36,
    normal_hours=0.05,
    validation_hours=0.05,
)
SWEEP = TauSweep(
    taus=(0.0, 1.0),
    metrics={"macro_f1": (0.5, 0.625)},
    best=1.0,
    moved=(0, 3),
    windows=48,
    row_norms=(1.0, 1.5, 2.0),
)


RECORD = TauNormRecord(1.0, "fc_layers.3.weight", torch.eye(3))


@functools.cache
def preprocessing() -> Preprocessing:
    """Of a tiny model: the first one of a process compiles kernels, which collecting these tests must not do."""
    return tiny_classifier().preprocessing


def card(assessment: Assessment = ASSESSMENT, data: str = "simulated", record: TauNormRecord = RECORD) -> str:
    return model_card(Findings(assessment, record, SWEEP), preprocessing(), DataUsed(data, "d" * 64, SUMMARY))


def test_each_kind_has_its_metrics_with_prevalence_and_the_rules_beside() -> None:
    (line,) = [line for line in card().splitlines() if line.startswith("dos")]

    assert line.split() == ["dos", "12", "0.250", "0.988", "0.750", "-", "-", "-", "-"]


def test_the_card_names_data_by_digest_and_says_what_each_split_holds() -> None:
    assert f"- `simulated`, sha256 {'d' * 64}: 6 captures, 2,700 frames" in card()
    assert "- test: 2 captures, 1.5 minutes, 36 normal windows, 12 with an attack" in card()


def test_the_operating_point_comes_with_its_false_alarms() -> None:
    assert "A window alerts at a score of 0.75 or more" in card()
    assert "chosen on validation after tau-normalization for 60 false alarms per hour. On validation 0 false" in card()
    assert (
        "False alarms per hour of normal traffic: 20.0, rules 0.0: 1 and 0 of 36 normal windows, 3.0 minutes." in card()
    )


def test_of_a_few_seconds_the_card_does_not_say_0_minutes() -> None:
    text = card(replace(ASSESSMENT, normal_hours=0.0005))

    assert "0.0 minutes" not in text
    assert "counted in 1.8 seconds of normal traffic" in text


def test_with_tau_0_the_card_says_that_the_head_is_as_trained_and_not_that_it_was_divided() -> None:
    text = card(record=TauNormRecord(0.0, "fc_layers.3.weight", torch.eye(3), chosen=True))

    assert "tau=0 (chosen on validation): the head is as trained." in text
    assert "divided by their norm" not in text


def test_what_tau_changed_stands_with_what_the_sweep_says_of_it() -> None:
    assert "macro-F1 0.500 -> 0.625, balanced accuracy 0.500 -> 0.500, recall 0.250 -> 0.500" in card()
    assert SWEEP.sentence() in card()


@pytest.mark.parametrize(
    ("data", "said"), [("simulated", "attacks are simulated"), ("can-train-and-test", "(semi-synthetic) is not known")]
)
def test_the_card_says_where_the_attacks_come_from_or_that_it_cannot_know(data: str, said: str) -> None:
    assert said in card(data=data)


def test_the_card_of_a_training_by_injection_says_so_and_what_was_held_out() -> None:
    counts = {"normal": 36, "dos": 12, "spoof": 0}
    material = {
        "injected": "every split",
        "features": "deviations",
        "held_out": "van",
        "vehicles": {"car": {"train": counts}, "van": {"test": counts}},
        "skipped": {},
        "short": {},
        "left_out": {},
    }
    used = DataUsed("recordings", "d" * 64, {**SUMMARY, **material})

    text = model_card(Findings(ASSESSMENT, RECORD, SWEEP, "largest deviation"), preprocessing(), used)

    assert "- van was held out: all of its 48 windows are in the test." in text
    assert "The baseline is the largest deviation of a window, which learns nothing from attacks." in text
    assert "- The attacks were injected into recordings" in text
    assert "rule" not in text


def test_a_name_from_the_data_does_not_break_the_markdown() -> None:
    assert "- `a'b c`, sha256" in card(data="a`b\nc")


@pytest.mark.parametrize("name", [str, lambda number: f"{number:0200}"])
def test_a_card_of_very_many_kinds_shows_the_worst_and_says_how_many_it_leaves_out(name: Callable[[int], str]) -> None:
    kinds = tuple(name(number) for number in range(300))
    test = {f"{kind}/auroc": 1 - number / 1000 for number, kind in enumerate(kinds)}

    long = card(replace(ASSESSMENT, kinds=kinds, test=test, rule={}))

    assert len(long) < MAX_CHARACTERS
    shown = sum(line.split(" ")[0] in kinds for line in long.splitlines())
    assert f"not shown: {300 - shown} kinds with a higher AUROC" in long
    assert kinds[-1] in long


def test_a_card_fits_where_it_is_kept_and_is_the_same_in_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = card()
    monkeypatch.chdir(tmp_path)

    assert card() == here
    assert len(here) < MAX_CHARACTERS
    assert str(Path.home()) not in here


def test_a_model_of_deviations_knows_what_its_profile_knows_and_says_so_where_it_has_none() -> None:
    fitted = tiny_profile_classifier().preprocessing
    data = DataUsed("simulated", "d" * 64, SUMMARY)
    findings = Findings(ASSESSMENT, RECORD, SWEEP)

    assert "It knows 3 arbitration IDs." in model_card(findings, fitted, data, three_ids_profile())
    assert "It has no profile of a vehicle and scores nothing" in model_card(findings, fitted, data)

"""The profile of a data set: flat, and readable on one page."""

from graphids._mlflow.dataset_profile import dataset_profile

PART = {"frames": 900, "seconds": 90.0, "dropped_tail_frames": 0, "captures": 2}
SUMMARY = {
    "captures": 6,
    "frames": 2700,
    "reader": {"dropped lines": 3},
    "split": "capture",
    "split_reason": "Split by capture, 6 recordings.",
    **{name: {**PART, "windows": {"normal": 36, "dos": 12, "spoof": 0}} for name in ("train", "val", "test")},
}


def test_the_profile_of_a_data_set_is_flat_and_counts_windows_by_split_and_kind() -> None:
    profile = dataset_profile(SUMMARY)

    assert profile["train"] == "2 captures, 900 frames, 1.5 minutes"
    assert profile["train windows"] == "normal 36, dos 12, spoof 0"
    assert profile["reader: dropped lines"] == 3
    assert not any(isinstance(value, dict) for value in profile.values())


def test_the_profile_says_which_vehicle_was_held_out_and_where_attacks_were_injected() -> None:
    profile = dataset_profile({**SUMMARY, "held_out": "van", "injected": "every split"})

    assert (profile["held out"], profile["attacks"]) == ("van", "injected into every split")
    assert not {"held out", "attacks"} & dataset_profile({**SUMMARY, "held_out": "", "injected": ""}).keys()

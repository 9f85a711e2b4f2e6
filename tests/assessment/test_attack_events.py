"""Labelled frames become attacks in time, and an incident is right or wrong about them."""

from dataclasses import replace

import numpy as np
import pytest

from graphids.assessment.attack_events import Attack, attacks_of
from graphids.core.frames import Frames
from support.incidents import FLOOD, SILENCE


def one_a_second(kinds: str, ids: dict[str, int] | None = None) -> Frames:
    """A frame a second: "." normal, "d" injected by a dos, "s" injected by a spoof, "x" within a suppression."""
    names = ("normal", "dos", "spoof", "suppress")
    number = len(kinds)
    return Frames(
        timestamp=np.arange(number, dtype=np.float64),
        arbitration_id=np.array([(ids or {}).get(kind, 0x100) for kind in kinds], np.uint32),
        dlc=np.zeros(number, np.uint8),
        payload=np.zeros((number, 8), np.uint8),
        is_extended=np.zeros(number, np.bool_),
        channel=np.zeros(number, np.uint8),
        attack=np.array([kind in "ds" for kind in kinds], np.uint8),
        attack_kind=np.array([".dsx".index(kind) for kind in kinds], np.int16),
        kinds=names,
    )


def spans(frames: Frames) -> list[tuple[str, float, float]]:
    return [(attack.kind, attack.first_s, attack.last_s) for attack in attacks_of(frames)]


def test_attacked_frames_less_than_ten_seconds_apart_are_one_attack() -> None:
    assert spans(one_a_second(".d........d.........d.")) == [("dos", 1.0, 10.0), ("dos", 20.0, 20.0)]


def test_two_kinds_at_once_are_two_attacks() -> None:
    assert spans(one_a_second(".dsds..")) == [("dos", 1.0, 3.0), ("spoof", 2.0, 4.0)]


def test_no_attack_goes_on_over_a_jump_of_the_clock() -> None:
    frames = one_a_second("..dddd")
    set_back = replace(frames, timestamp=np.array([100.0, 101.0, 102.0, 103.0, 1.0, 2.0]))

    assert spans(set_back) == [("dos", 1.0, 2.0), ("dos", 102.0, 103.0)]


def test_frames_without_labels_and_no_frames_have_no_attack() -> None:
    assert attacks_of(replace(one_a_second(".d."), attack=None, attack_kind=None)) == []
    assert attacks_of(one_a_second("")) == []


def test_an_attack_has_the_ids_of_its_frames_and_a_suppression_none() -> None:
    spoof, suppress = attacks_of(one_a_second(".s.s.xxx", {"s": 0x1A4, "x": 0x2B0}))

    assert spoof.arbitration_ids == {"1A4"}
    assert suppress.arbitration_ids == frozenset()
    assert suppress.is_right_id(SILENCE) is None


def test_labels_that_mark_every_frame_of_an_interval_do_not_say_which_id_is_attacked() -> None:
    (attack,) = attacks_of(one_a_second("..ssss.."))

    assert attack.arbitration_ids == frozenset()


@pytest.mark.parametrize(
    ("start_s", "end_s", "reached"),
    [
        (0.0, 9.9, False),
        (0.0, 10.0, True),
        (14.0, 30.0, True),
        (15.0, 16.0, True),
        (17.0, 18.0, True),
        (17.1, 18.0, False),
    ],
)
def test_an_attack_reaches_spans_that_overlap_it_or_begin_within_two_seconds_after_it(
    start_s: float, end_s: float, reached: bool
) -> None:
    assert bool(Attack("dos", 10.0, 15.0).reaches(start_s, end_s)) is reached


@pytest.mark.parametrize(
    ("kind", "event", "named", "right"),
    [
        ("suppress", "missing", "", True),
        ("suppress", "too_early", "suppress", False),
        ("spoof_slow", "too_early", "", True),
        ("dos", "learned", "dos", True),
        ("dos", "learned", "fuzzy", False),
        ("a kind of its own", "learned", "a kind of its own", None),
    ],
)
def test_an_event_is_right_where_such_attacks_show_by_it_or_the_network_names_the_kind(
    kind: str, event: str, named: str, right: bool | None
) -> None:
    assert Attack(kind, 0.0, 1.0).is_right_event(replace(FLOOD, event=event, kind=named)) is right

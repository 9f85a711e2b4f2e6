"""What a recording holds, counted part by part, against counts by hand."""

import numpy as np
import pytest

from graphids.core.captures.survey import Survey
from graphids.core.frames import Frames, concat
from graphids.core.wire import frame_bits


def recording(times: list[float], *, ids: list[int] | None = None, dlc: int = 8, **columns: object) -> Frames:
    n = len(times)
    identifiers = np.array(ids or [0x123] * n, np.uint32)
    return Frames(
        **{
            "timestamp": np.array(times, np.float64),
            "arbitration_id": identifiers,
            "dlc": np.full(n, dlc, np.uint8),
            "payload": np.zeros((n, 8), np.uint8),
            "is_extended": identifiers > 0x7FF,
            "channel": np.zeros(n, np.uint8),
            **columns,
        }  # type: ignore[arg-type]
    )


def test_a_recording_is_surveyed_alike_however_it_is_cut() -> None:
    random = np.random.default_rng(1)
    frames = recording(
        np.cumsum(random.exponential(0.01, 500)).tolist(),
        ids=random.integers(0, 30, 500).tolist(),
        channel=random.integers(0, 2, 500).astype(np.uint8),
        channels=("can0", "can1"),
    )
    whole, cut = Survey(), Survey()
    whole.add(frames)
    for first in range(0, 500, 7):
        cut.add(frames.take(slice(first, first + 7)))

    assert cut == whole
    assert whole.frames == 500
    for name, index in (("can0", 0), ("can1", 1)):
        times = frames.timestamp[frames.channel == index]
        assert whole.buses[name].frames == len(times)
        assert whole.buses[name].largest_gap_s == np.diff(times).max()
        assert whole.buses[name].largest_gap_at_s == times[np.argmax(np.diff(times))]
        assert whole.buses[name].duration_s == pytest.approx(times[-1] - times[0])


@pytest.mark.parametrize(("dlc", "bits"), [(0, 47 + 2), (8, 47 + 64 + 6)])
def test_a_frame_has_the_bits_that_the_simulated_bus_gives_it(dlc: int, bits: int) -> None:
    survey = Survey()

    survey.add(recording([0.0], dlc=dlc))

    assert survey.buses[""].bits == bits == frame_bits(np.array([dlc], np.uint8), np.zeros(1, np.bool_))[0]


def test_a_29_bit_identifier_makes_a_frame_20_bits_longer_before_stuffing() -> None:
    survey = Survey()

    survey.add(recording([0.0], ids=[0x18FEF100], dlc=0))

    assert survey.buses[""].bits == 47 + 20 + (34 + 20 - 1) // 16


def test_the_load_of_a_full_bus_is_all_of_it() -> None:
    """117 bits of 2 us each."""
    survey = Survey()

    survey.add(recording((np.arange(10_001) * 117 * 2e-6).tolist()))

    assert survey.buses[""].per_second(survey.buses[""].bits) == pytest.approx(500_000, rel=1e-3)


def test_a_jump_of_the_clock_is_neither_a_gap_nor_time_that_passed() -> None:
    survey = Survey()
    for part in ([0.9, 0.98], [0.01, 0.02, 0.05, 9999.05]):
        survey.add(recording(part))

    bus = survey.buses[""]
    assert bus.clock_jumps == 2
    assert bus.duration_s == pytest.approx(0.08 + 0.04)
    assert (bus.largest_gap_s, bus.largest_gap_at_s) == (pytest.approx(0.08), 0.9)


@pytest.mark.parametrize("times", [[5.0], [5.0, 5.0], [5.0, 4.9]])
def test_without_time_that_passes_there_is_no_rate(times: list[float]) -> None:
    survey = Survey()

    survey.add(recording(times))

    assert survey.buses[""].per_second(7) is None
    assert survey.buses[""].largest_gap_at_s is None


def test_the_same_number_with_11_and_with_29_bits_is_two_ids() -> None:
    survey = Survey()
    survey.add(recording([0.0, 1.0], ids=[0x123, 0x123], is_extended=np.array([False, True])))

    assert len(survey.keys) == 2


def test_the_frames_of_an_id_are_counted_over_all_parts() -> None:
    survey = Survey()
    frames = recording([0.0, 0.1, 0.2, 0.3], ids=[1, 1, 1, 2])
    survey.add(concat([frames, frames]))

    assert survey.keys == {1: 6, 2: 2}


def test_attacked_frames_are_counted_by_kind_and_a_suppressed_message_has_none() -> None:
    survey = Survey()
    labels = {"attack": np.array([0, 1, 0], np.uint8), "attack_kind": np.array([0, 1, 2], np.int16)}

    survey.add(recording([0.0, 0.1, 0.2], **labels, kinds=("normal", "dos", "suppress", "spoof")))

    assert (survey.attacked, dict(survey.kinds)) == (1, {"dos": 1, "suppress": 1})

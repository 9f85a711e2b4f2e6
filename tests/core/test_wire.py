from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from graphids.core.frames import Frames, no_frames
from graphids.core.wire import frame_bits, likely_bit_rate, without_bursts


def test_a_frame_takes_47_bits_around_its_data_and_a_quarter_of_the_worst_stuffing() -> None:
    dlc = np.array([0, 1, 8], np.uint8)

    assert_array_equal(frame_bits(dlc, np.zeros(3, np.bool_)), [47 + 2, 55 + 2, 111 + 6])
    assert_array_equal(frame_bits(dlc, np.ones(3, np.bool_)), [67 + 3, 75 + 3, 131 + 7])


def frames_at(times: list[float], *, is_extended: bool = False) -> Frames:
    n = len(times)
    return replace(
        no_frames(),
        timestamp=np.array(times),
        arbitration_id=np.full(n, 0x123, np.uint32),
        dlc=np.full(n, 8, np.uint8),
        payload=np.zeros((n, 8), np.uint8),
        is_extended=np.full(n, is_extended),
        channel=np.zeros(n, np.uint8),
    )


def test_a_bus_has_the_usual_bit_rate_unless_its_frames_do_not_fit() -> None:
    ms = [i / 1000 for i in range(1000)]
    dense = [i / 7000 for i in range(7000)]

    assert likely_bit_rate(frames_at(ms)) == 500_000
    assert likely_bit_rate(frames_at(ms, is_extended=True)) == 250_000
    assert likely_bit_rate(frames_at(dense)) == 1_000_000
    assert likely_bit_rate(frames_at([])) == 500_000


def test_frames_of_one_burst_ended_one_after_another_before_it() -> None:
    wire_s = np.full(4, 0.0002)

    ends = without_bursts(np.array([0.001, 0.010, 0.010, 0.010]), wire_s)

    assert_allclose(ends, [0.001, 0.0096, 0.0098, 0.010])


def test_times_that_were_possible_stay_and_none_is_moved_by_more_than_20_ms() -> None:
    possible = np.array([0.001, 0.0015, 0.002])
    assert_array_equal(without_bursts(possible, np.full(3, 0.0002)), possible)

    ends = without_bursts(np.full(300, 1.0), np.full(300, 0.0002))
    assert ends.min() == 0.98

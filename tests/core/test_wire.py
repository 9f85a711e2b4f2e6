import numpy as np
from numpy.testing import assert_array_equal

from graphids.core.wire import frame_bits


def test_a_frame_takes_47_bits_around_its_data_and_a_quarter_of_the_worst_stuffing() -> None:
    dlc = np.array([0, 1, 8], np.uint8)

    assert_array_equal(frame_bits(dlc, np.zeros(3, np.bool_)), [47 + 2, 55 + 2, 111 + 6])
    assert_array_equal(frame_bits(dlc, np.ones(3, np.bool_)), [67 + 3, 75 + 3, 131 + 7])

import numpy as np
from numpy.testing import assert_array_equal

from graphids.core.injection.bus import TICKS_PER_S, Transmissions, arbitrate, wire_ticks


def waiting(*frames: tuple[int, int, int]) -> Transmissions:
    """Eight-byte frames given as (release, mailbox, arbitration ID)."""
    release, mailbox, arbitration_id = (np.array(column) for column in zip(*frames, strict=True))
    n = len(frames)
    return Transmissions(
        release=release.astype(np.int64),
        mailbox=mailbox.astype(np.int64),
        node_key=arbitration_id.astype(np.uint32),
        dlc=np.full(n, 8, np.uint8),
        payload=np.zeros((n, 8), np.uint8),
        attack=np.zeros(n, np.uint8),
        recorded=np.full(n, -1),
    )


def test_between_equal_first_bits_an_identifier_of_11_bits_wins() -> None:
    extended = 0x8000_0000 | (0x100 << 18)

    rows, _ = arbitrate(waiting((0, 0, 0x101), (0, 1, extended), (0, 2, 0x100)))

    assert_array_equal(rows, [2, 1, 0])


def test_a_slower_bus_takes_longer() -> None:
    _, end = arbitrate(waiting((0, 0, 0x100)), bit_rate=250_000)

    assert_array_equal(end, [234])


def test_of_two_frames_that_wait_the_lower_id_wins() -> None:
    rows, end = arbitrate(waiting((0, 0, 0x300), (0, 1, 0x100)))

    assert_array_equal(rows, [1, 0])
    assert_array_equal(end, [117, 234])


def test_a_frame_on_the_wire_is_not_interrupted_by_a_lower_id() -> None:
    rows, end = arbitrate(waiting((0, 0, 0x300), (1, 1, 0x100), (1, 2, 0x200)))

    assert_array_equal(rows, [0, 1, 2])
    assert_array_equal(end, [117, 234, 351])


def test_an_idle_bus_carries_a_frame_as_soon_as_it_is_released() -> None:
    _, end = arbitrate(waiting((1000, 0, 0x100), (5000, 0, 0x100)))

    assert_array_equal(end, [1117, 5117])


def test_a_newer_frame_overwrites_one_that_still_waits_in_its_buffer() -> None:
    busy, older, newer = (0, 0, 0x100), (10, 1, 0x200), (20, 1, 0x200)

    rows, _ = arbitrate(waiting(busy, older, newer))

    assert_array_equal(rows, [0, 2])


def test_frames_on_the_wire_never_overlap() -> None:
    rng = np.random.default_rng(0)
    frames = [(int(rng.integers(0, 50_000)), i % 20, 0x100 + i % 20) for i in range(1000)]
    sent = waiting(*frames)

    rows, end = arbitrate(sent)

    begin = end - wire_ticks(sent, TICKS_PER_S)[rows]
    assert (begin[1:] >= end[:-1]).all()
    assert (begin >= sent.release[rows]).all()


def test_no_frames_give_no_frames() -> None:
    none = waiting((0, 0, 0)).take(np.zeros(1, np.bool_))

    rows, end = arbitrate(none)

    assert len(rows) == len(end) == 0

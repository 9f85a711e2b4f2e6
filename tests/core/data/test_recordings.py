"""Attack-free recordings: how each vehicle's are split, and the pieces that attacks are laid over."""

import numpy as np
import pytest

from graphids.core.data.recordings import MOST_PIECES, PIECE_S, others, pieces_of, split_recordings
from graphids.core.frames import Capture, Frames


def capture(name: str, seconds: float, *, jump_at: int | None = None) -> Capture:
    """100 frames per second, the first payload byte a running number."""
    n = int(100 * seconds)
    timestamp = np.arange(n) / 100
    if jump_at is not None:
        timestamp[jump_at:] -= 1000.0
    payload = np.zeros((n, 8), np.uint8)
    payload[:, 0] = np.arange(n) % 251
    frames = Frames(
        timestamp=timestamp,
        arbitration_id=np.full(n, 0x100, np.uint32),
        dlc=np.full(n, 8, np.uint8),
        payload=payload,
        is_extended=np.zeros(n, np.bool_),
        channel=np.zeros(n, np.uint8),
    )
    return Capture(name, frames, name)


@pytest.mark.parametrize("seed", range(5))
def test_of_three_recordings_the_longest_trains_and_each_split_gets_one_whole(seed: int) -> None:
    captures = [capture("a", 20), capture("b", 60), capture("c", 30)]

    split = split_recordings(captures, {"v": [0, 1, 2]}, gap_s=None, seed=seed)["v"]

    assert split.parts["train"] == [(1, slice(0, 6000))]
    held = [*split.parts["val"], *split.parts["test"]]
    assert sorted(held) == [(0, slice(0, 2000)), (2, slice(0, 3000))]
    assert split.mode == "capture"


def test_many_recordings_are_shared_by_their_length() -> None:
    lengths = (5, 90, 10, 60, 25, 40, 70)
    captures = [capture(str(seconds), seconds) for seconds in lengths]

    parts = split_recordings(captures, {"v": list(range(len(lengths)))}, gap_s=None, seed=0)["v"].parts

    seconds = {name: sum(lengths[index] for index, _ in members) for name, members in parts.items()}
    assert seconds["train"] == pytest.approx(180, abs=30)
    assert min(seconds["val"], seconds["test"]) >= 40


def test_of_fewer_recordings_each_is_cut_into_three_blocks_a_gap_apart() -> None:
    split = split_recordings([capture("a", 100)], {"v": [0]}, gap_s=None, seed=0)["v"]

    (train,), (val,), (test,) = (split.parts[name] for name in ("train", "val", "test"))
    assert (train[1].start, test[1].stop) == (0, 10_000)
    assert train[1].stop == pytest.approx(6_000, abs=1)
    assert val[1].start - train[1].stop == pytest.approx(100, abs=1)
    assert test[1].start - val[1].stop == pytest.approx(100, abs=1)
    assert split.mode == "time"


def test_pieces_are_short_few_and_spread_over_the_recordings() -> None:
    captures = [capture("a", 500), capture("b", 100)]

    pieces = pieces_of(captures, [(0, slice(0, 50_000)), (1, slice(0, 10_000))], "v", fewest_frames=500)

    assert len(pieces) == MOST_PIECES
    assert max(float(np.ptp(piece.frames.timestamp)) for piece in pieces) <= PIECE_S
    assert {piece.capture for piece in pieces} == {"a", "b"}
    assert pieces[0].first == 0
    assert pieces[-1].first + len(pieces[-1].frames) == 10_000


def test_no_piece_lies_across_a_jump_of_the_clock() -> None:
    pieces = pieces_of([capture("a", 30, jump_at=1000)], [(0, slice(0, 3000))], "v", fewest_frames=500)

    assert [(piece.first, len(piece.frames)) for piece in pieces] == [(0, 1000), (1000, 2000)]


def test_a_slow_bus_has_longer_pieces_and_what_is_too_short_for_any_is_left_out() -> None:
    captures = [capture("a", 90), capture("b", 5)]

    pieces = pieces_of(captures, [(0, slice(0, 9000)), (1, slice(0, 500))], "v", fewest_frames=4500)

    assert [(piece.capture, len(piece.frames)) for piece in pieces] == [("a", 9000)]


def test_the_only_stretch_is_cut_into_as_many_pieces_as_are_needed() -> None:
    pieces = pieces_of([capture("a", 30)], [(0, slice(0, 3000))], "v", fewest_frames=500, at_least=3)

    assert [(piece.first, len(piece.frames)) for piece in pieces] == [(0, 1000), (1000, 1000), (2000, 1000)]


def test_the_others_are_all_frames_but_those_of_the_piece() -> None:
    captures = [capture("a", 30), capture("b", 10)]
    parts = [(0, slice(0, 3000)), (1, slice(0, 1000))]
    (_, middle, _) = pieces_of(captures, parts[:1], "v", fewest_frames=500, at_least=3)

    assert [len(frames) for frames in others(captures, parts, middle)] == [1000, 1000, 1000]
    assert others(captures, parts, middle)[1].timestamp[0] == pytest.approx(20.0)
    assert [len(frames) for frames in others(captures, parts, None)] == [3000, 1000]

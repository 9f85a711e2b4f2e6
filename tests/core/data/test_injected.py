"""Windows of pieces with attacks laid over them: which count, and what their nodes are said to be."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from graphids.core.data import injected as module
from graphids.core.data.injected import Injections, Windowing, attack
from graphids.core.data.recordings import Piece
from graphids.core.frames import Frames, concat
from graphids.core.graphs.packed import PackedGraphs
from graphids.core.injection.inject import KINDS, Injected, Recording, inject_into
from graphids.core.profile.profile import Profile, fit_profile
from graphids.core.simulation.simulate import simulate_vehicle

WINDOWING = Windowing(64, 32)


@pytest.fixture(scope="module")
def piece() -> Piece:
    return Piece("car", "drive.log", simulate_vehicle(seed=1, duration_s=5.0), 700)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return fit_profile([simulate_vehicle(seed=seed, duration_s=5.0) for seed in (2, 3)])


@pytest.fixture(scope="module")
def found(piece: Piece, profile: Profile) -> Injections:
    return attack([(piece, profile)], WINDOWING, windows_per_kind=8, most_normal=50, seed=(0,))


def of_kind(found: Injections, kind: str) -> list[PackedGraphs]:
    return [graphs for graphs in found.graphs if kind in graphs.classes]


def test_every_kind_gets_as_many_windows_and_normal_ones_no_more_than_asked(found: Injections) -> None:
    windows = {kind: sum(int((graphs.label > 0).sum()) for graphs in of_kind(found, kind)) for kind in KINDS}

    assert windows == dict.fromkeys(KINDS, 8)
    assert len(found.graphs[0]) == 50
    assert (found.graphs[0].label == 0).all()
    assert not found.skipped
    assert not found.short


def test_a_few_windows_of_many_attacks_are_better_than_many_of_few(found: Injections) -> None:
    for kind in KINDS:
        assert len(of_kind(found, kind)) == 8


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "suppress"])
def test_an_attack_window_has_an_attacked_node_and_a_normal_one_has_none(found: Injections, kind: str) -> None:
    for graphs in of_kind(found, kind):
        attacked = np.maximum.reduceat(graphs.node_attacked, graphs.node_ptr[:-1])
        assert_array_equal(attacked, graphs.label > 0)


def test_the_same_seed_gives_the_same_windows_and_another_one_others(
    monkeypatch: pytest.MonkeyPatch, piece: Piece, profile: Profile
) -> None:
    monkeypatch.setattr(module, "KINDS", ("dos", "suppress"))

    def first_frames(seed: int) -> list[list[int]]:
        drawn = attack([(piece, profile)], WINDOWING, windows_per_kind=2, most_normal=5, seed=(seed,))
        return [graphs.first_frame.tolist() for graphs in drawn.graphs]

    assert first_frames(0) == first_frames(0)
    assert first_frames(0) != first_frames(1)


class _Copies:
    """Keeps every attacked copy of a piece."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept: list[Injected] = []
        monkeypatch.setattr(module, "inject_into", self)
        monkeypatch.setattr(module, "_drawn", lambda indices, *_: indices)

    def __call__(self, recording: Recording, *arguments: object, seed: int) -> Injected:
        self.kept.append(inject_into(recording, *arguments, seed=seed))  # type: ignore[arg-type]
        return self.kept[-1]


@pytest.mark.parametrize("kind", ["suppress", "spoof_slow"])
def test_windows_count_by_what_they_hold_of_an_attack(
    monkeypatch: pytest.MonkeyPatch, piece: Piece, profile: Profile, kind: str
) -> None:
    monkeypatch.setattr(module, "KINDS", (kind,))
    copies = _Copies(monkeypatch)

    found = attack([(piece, profile)], WINDOWING, windows_per_kind=1, most_normal=0, seed=(3,))

    (copy,), (_, graphs) = copies.kept, found.graphs
    within, target = copy.is_within(), copy.injections[0].target
    assert 0 < (graphs.label > 0).sum() < len(graphs)
    for window in range(len(graphs)):
        rows = slice(graphs.first_frame[window], graphs.first_frame[window] + 64)
        nodes = slice(graphs.node_ptr[window], graphs.node_ptr[window + 1])
        attacked_keys = graphs.node_key[nodes][graphs.node_attacked[nodes] == 1]
        if graphs.label[window] == 0:
            assert not within[rows].any()
            assert rows.start > np.argmax(within)  # those before it are in the un-attacked copy
        elif kind == "suppress":
            assert within[rows].all()
        else:
            assert copy.frames.attack is not None
            assert copy.frames.attack[rows].any()
        assert set(attacked_keys.tolist()) <= {target}


def test_a_message_that_vanished_is_an_attacked_node_without_a_frame(
    monkeypatch: pytest.MonkeyPatch, piece: Piece, profile: Profile
) -> None:
    monkeypatch.setattr(module, "KINDS", ("suppress",))
    monkeypatch.setattr(module, "_INTENSITY", (1.0, 1.0))

    found = attack([(piece, profile)], WINDOWING, windows_per_kind=40, most_normal=0, seed=(0,))

    absent = [graphs.node_frames[graphs.node_attacked == 1] for graphs in found.graphs[1:]]
    assert sum(map(len, absent)) > 10
    assert not np.concatenate(absent).any()


def test_a_kind_that_a_bus_cannot_suffer_is_skipped_and_told() -> None:
    """No signal of this bus varies, so that there is none that could lie."""
    n = 3000
    frames = Frames(
        timestamp=np.arange(n) / 1000,
        arbitration_id=(0x100 + np.arange(n) % 3).astype(np.uint32),
        dlc=np.full(n, 8, np.uint8),
        payload=np.zeros((n, 8), np.uint8),
        is_extended=np.zeros(n, np.bool_),
        channel=np.zeros(n, np.uint8),
    )

    found = attack([(Piece("van", "v.log", frames, 0), None)], WINDOWING, windows_per_kind=3, most_normal=4, seed=(0,))

    assert found.skipped == {"van": [kind for kind in KINDS if kind.startswith("masquerade")]}
    assert of_kind(found, "dos")


def test_windows_that_a_short_piece_lacks_are_counted(monkeypatch: pytest.MonkeyPatch, profile: Profile) -> None:
    monkeypatch.setattr(module, "KINDS", ("suppress",))
    short = Piece("car", "drive.log", simulate_vehicle(seed=1, duration_s=1.0), 0)

    found = attack([(short, profile)], WINDOWING, windows_per_kind=500, most_normal=0, seed=(0,))

    missing = found.short["car"]["suppress"]
    assert missing == 500 - sum(int((graphs.label > 0).sum()) for graphs in of_kind(found, "suppress"))


def test_windows_of_a_piece_are_numbered_as_those_of_its_capture(monkeypatch: pytest.MonkeyPatch, piece: Piece) -> None:
    monkeypatch.setattr(module, "KINDS", ("dos",))
    whole = concat([piece.frames])

    graphs = attack([(piece, None)], WINDOWING, windows_per_kind=1, most_normal=None, seed=(0,)).graphs[0]

    assert_array_equal(graphs.first_frame, 700 + np.arange(0, len(whole) - 63, 32))
    assert graphs.capture_names == ("drive.log",)

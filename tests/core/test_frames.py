import numpy as np
import pytest

from graphids.core.frames import NORMAL, Frames, concat


def frames(ids: list[int], *, attack: list[int] | None = None, channels: tuple[str, ...] = ("",)) -> Frames:
    n = len(ids)
    labels = None if attack is None else np.array(attack, dtype=np.uint8)
    return Frames(
        timestamp=np.arange(n, dtype=np.float64),
        arbitration_id=np.array(ids, dtype=np.uint32),
        dlc=np.full(n, 2, dtype=np.uint8),
        payload=np.zeros((n, 8), dtype=np.uint8),
        is_extended=np.array(ids) > 0x7FF,
        channel=np.zeros(n, dtype=np.uint8),
        channels=channels,
        attack=labels,
        attack_kind=None if labels is None else labels.astype(np.int16),
        kinds=(NORMAL,) if attack is None else (NORMAL, "attack"),
    )


def test_a_slice_of_frames_is_a_view_on_every_column() -> None:
    whole = frames([1, 2, 3], attack=[0, 1, 0])

    part = whole.take(slice(1, 3))

    assert part.arbitration_id.tolist() == [2, 3]
    assert part.attack is not None
    assert part.attack.tolist() == [1, 0]
    assert np.shares_memory(part.payload, whole.payload)


def test_the_same_number_with_11_and_29_bits_is_two_nodes() -> None:
    short, long = frames([0x123]), frames([0x18FEF100])

    assert short.node_key().tolist() == [0x123]
    assert long.node_key().tolist() == [0x98FEF100]


def test_concat_keeps_the_recorded_order() -> None:
    joined = concat([frames([1, 2], attack=[0, 1]), frames([3], attack=[0])])

    assert joined.arbitration_id.tolist() == [1, 2, 3]
    assert joined.kinds == (NORMAL, "attack")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (frames([1], channels=("can1",)), "channels .*can1.* follow .*Never join two captures"),
        (frames([1], attack=[0]), "kinds .* follow"),
    ],
)
def test_concat_refuses_parts_that_disagree(other: Frames, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        concat([frames([1]), other])


def test_concat_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        concat([])

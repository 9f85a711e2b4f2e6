from dataclasses import replace

import numpy as np
import pytest

from graphids.core.frames import DataError
from graphids.core.profile.alarms import Alarms
from graphids.core.profile.experts import EXPERTS
from graphids.core.profile.profile import fit_profile
from graphids.core.profile.profile_file import profile_bytes, read_profile
from graphids.core.simulation.simulate import simulate_vehicle


@pytest.fixture(scope="module")
def content() -> bytes:
    return profile_bytes(fit_profile([simulate_vehicle(seed=1, duration_s=5.0)]))


def test_a_profile_comes_back_as_it_was_and_is_small(content: bytes) -> None:
    profile = read_profile(content, "car.profile")

    assert profile_bytes(profile) == content
    assert (profile.blocks, len(profile.node_key)) == (3, 43)
    assert len(content) < 500_000


def test_fitted_again_it_is_the_same_file(content: bytes) -> None:
    assert profile_bytes(fit_profile([simulate_vehicle(seed=1, duration_s=5.0)])) == content


def test_no_flipped_bit_and_no_cut_is_read(content: bytes) -> None:
    rng = np.random.default_rng(0)
    for offset in (*range(16), *rng.integers(0, len(content), 200).tolist()):
        changed = bytearray(content)
        changed[offset] ^= 1 << int(rng.integers(0, 8))
        with pytest.raises(DataError, match=r"^car\.profile: "):
            read_profile(bytes(changed), "car.profile")
    for length in (0, 1, 20, len(content) // 2, len(content) - 1):
        with pytest.raises(DataError, match=r"^car\.profile: "):
            read_profile(content[:length], "car.profile")


def test_the_message_says_what_is_wrong(content: bytes) -> None:
    head, _, body = content.partition(b"\n")

    with pytest.raises(
        DataError, match=r"is not a profile of graphids\. Expected a file that `graphids profile` wrote"
    ):
        read_profile(b"timestamp,arbitration_id\n", "drive.csv")
    with pytest.raises(DataError, match="version 7, expected 3"):
        read_profile(head.replace(b" 3 ", b" 7 ") + b"\n" + body, "car.profile")
    with pytest.raises(DataError, match=r"changed since it was written: sha256 [0-9a-f]{64}, expected [0-9a-f]{64}"):
        read_profile(content + b"\0", "car.profile")


def test_columns_that_do_not_fit_together_are_refused_although_their_digest_is_right(content: bytes) -> None:
    import hashlib

    import safetensors.numpy

    tensors = safetensors.numpy.load(content.partition(b"\n")[2])
    for name, value in (
        ("node_key", tensors["node_key"][::-1].copy()),
        ("habits.gap_s", tensors["habits.gap_s"][1:].copy()),
        ("habits.low", tensors["habits.low"].astype(np.int64)),
        ("surprise", tensors["surprise"].ravel()),
    ):
        body = safetensors.numpy.save({**tensors, name: value})
        forged = b"graphids-profile 3 %s\n%s" % (hashlib.sha256(body).hexdigest().encode(), body)
        with pytest.raises(DataError, match="is not a whole profile"):
            read_profile(forged, "car.profile")


def test_alarms_come_back_with_their_profile(content: bytes) -> None:
    profile = read_profile(content, "car.profile")
    shape = (len(profile.node_key) + 1, len(EXPERTS), 2)
    offset = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    alarms = Alarms(6.0, 0.5, True, offset, offset[0] + 0.5, 0.75, "5a" * 32, 0.5)

    read = read_profile(profile_bytes(replace(profile, alarms=alarms)), "car.profile").alarms

    assert read is not None
    assert (read.per_hour, read.hours, read.blocks, read.threshold, read.network) == (
        6.0,
        0.5,
        True,
        0.75,
        alarms.network,
    )
    assert read.replaced == 0.5
    np.testing.assert_array_equal(read.limits(), alarms.limits())
    assert profile.alarms is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"hours": 0.0},
        {"per_hour": np.inf},
        {"threshold": 1.5},
        {"replaced": -1.0},
        {"margin": -1.0},
        {"network": "5a"},
    ],
)
def test_alarms_that_mean_nothing_are_refused(content: bytes, wrong: dict[str, float | str]) -> None:
    profile = read_profile(content, "car.profile")
    shape = (len(profile.node_key) + 1, len(EXPERTS), 2)
    alarms = Alarms(6.0, 0.5, True, np.zeros(shape, np.float32), np.zeros(shape[1:], np.float32), 0.75, "5a" * 32, 0.5)
    if "margin" in wrong:
        wrong = {"margin": np.full(shape[1:], wrong["margin"], np.float32)}  # type: ignore[dict-item]
    forged = profile_bytes(replace(profile, alarms=replace(alarms, **wrong)))  # type: ignore[arg-type]

    with pytest.raises(DataError, match="is not a whole profile"):
        read_profile(forged, "car.profile")


@pytest.mark.parametrize("wrong", [{"frames": -1}, {"seconds": np.nan}, {"blocks": -1}, {"bit_rate": 0}])
def test_an_extent_that_cannot_be_is_refused(content: bytes, wrong: dict[str, float]) -> None:
    profile = read_profile(content, "car.profile")

    forged = profile_bytes(replace(profile, **wrong))  # type: ignore[arg-type]

    with pytest.raises(DataError, match=r"^car\.profile: is not a whole profile \(it is of .* bits per second\)"):
        read_profile(forged, "car.profile")

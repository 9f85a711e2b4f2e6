import numpy as np
from numpy.testing import assert_array_equal

from graphids.core.byte_roles import Role, Signal, byte_roles, signals_of

N = 400


def payloads(**columns: np.ndarray) -> np.ndarray:
    """Payloads whose bytes, named `b0` ..., are as given and 0x5A elsewhere."""
    payload = np.full((N, 8), 0x5A, np.uint8)
    for name, values in columns.items():
        payload[:, int(name[1])] = np.asarray(values) & 0xFF
    return payload


def test_each_byte_has_the_role_that_it_plays() -> None:
    rng = np.random.default_rng(0)
    value = 20_000 + np.cumsum(rng.integers(-40, 41, N))
    status = (np.arange(N) // 150) * 4

    roles = byte_roles(
        payloads(b0=value >> 8, b1=value, b2=status, b4=np.arange(N) % 16, b5=rng.integers(0, 256, N)), dlc=7
    )

    assert roles == [
        Role.HIGH_BYTE,
        Role.VALUE,
        Role.VALUE,
        Role.CONSTANT,
        Role.COUNTER,
        Role.CHECKSUM,
        Role.CONSTANT,
        Role.ABSENT,
    ]
    assert signals_of(roles) == (Signal(0, 2), Signal(2, 1))


def test_a_counter_may_take_a_byte_or_either_nibble_and_any_step() -> None:
    ticks = np.arange(N)
    status = ticks // 200

    roles = byte_roles(payloads(b0=ticks, b1=ticks * 4, b2=(ticks % 16) << 4 | status, b3=status << 4 | ticks % 16), 8)

    assert roles[:4] == [Role.COUNTER] * 4


def test_noise_of_a_sensor_is_neither_a_counter_nor_a_checksum() -> None:
    noise = np.random.default_rng(1).integers(100, 120, N)

    assert byte_roles(payloads(b0=noise), 8)[0] == Role.VALUE


def test_of_a_few_frames_nothing_is_told_but_that_a_byte_varies() -> None:
    few = payloads(b0=np.arange(N))[:10]

    assert byte_roles(few, 8)[:2] == [Role.VALUE, Role.CONSTANT]
    assert byte_roles(few[:1], 8)[0] == Role.CONSTANT


def test_a_signal_is_written_where_it_is_read_and_saturates() -> None:
    payload = np.zeros((3, 8), np.uint8)
    signal = Signal(2, 2)

    signal.write(payload, np.array([-5, 0x1234, 70_000]))

    assert_array_equal(payload[:, 2:4], [[0, 0], [0x12, 0x34], [0xFF, 0xFF]])
    assert_array_equal(signal.read(payload), [0, 0x1234, 0xFFFF])

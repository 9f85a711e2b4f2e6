from dataclasses import replace

import numpy as np
from numpy.testing import assert_array_equal

from graphids.core.simulation.messages import Coding, Message, checksum, decode, encode

SPEED = Coding("speed_kmh", 0.01)
GEAR = Coding("gear", 1.0, num_bytes=1)
MESSAGE = Message("gearbox", "gearbox", 10, (SPEED, GEAR), dlc=6, arbitration_id=0x123, filler=b"\xab")


def slow_crc8(data: bytes) -> int:
    """CRC-8 SAE J1850, bit by bit, as its definition reads."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1D if crc & 0x80 else crc << 1) & 0xFF
    return crc ^ 0xFF


def test_signals_constants_counter_and_checksum_stand_where_the_layout_says() -> None:
    payload = encode(MESSAGE, np.array([[0x1234, 5]]), np.array([18]))[0]

    assert_array_equal(payload[:5], [0x12, 0x34, 5, 0xAB, 18 % 16])
    assert_array_equal(payload[6:], [0, 0])


def test_crc8_is_that_of_sae_j1850() -> None:
    # Check value of the CRC catalogue: "123456789" gives 0x4B.
    assert slow_crc8(b"123456789") == 0x4B
    payload = encode(MESSAGE, np.array([[0x1234, 5]]), np.array([3]))

    assert checksum(MESSAGE, payload)[0] == slow_crc8(bytes([0x23, *payload[0, :5].tolist()]))


def test_xor_checksum_makes_all_bytes_and_the_id_cancel() -> None:
    payload = encode(replace(MESSAGE, checksum="xor"), np.array([[0x1234, 5]]), np.array([3]))

    assert np.bitwise_xor.reduce(payload[0]) == 0x23


def test_decode_inverts_encode() -> None:
    raw = np.array([[0, 0], [0xFFFF, 0xFF], [0x0100, 7]])

    assert_array_equal(decode(MESSAGE, encode(MESSAGE, raw, np.arange(3))), raw)


def test_values_beyond_the_field_saturate() -> None:
    payload = encode(MESSAGE, np.array([[70_000, -1]]), np.array([0]))

    assert_array_equal(decode(MESSAGE, payload), [[0xFFFF, 0]])

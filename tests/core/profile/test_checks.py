"""Checks that messages carry, found and broken, and none that is but chance."""

from collections.abc import Callable

import numpy as np
import pytest

from graphids.core.profile.checks import break_checks, fit_checks, no_counts, unbroken_checks
from graphids.core.profile.traffic import Traffic


def traffic(payload: np.ndarray) -> Traffic:
    """Frames of one message, every 10 ms."""
    count = len(payload)
    none = np.zeros(count, np.int64)
    return Traffic(none.astype(np.int32), np.arange(count) / 100, np.full(count, 8, np.uint8), payload, none)


def random_payload(seed: int, count: int = 300) -> np.ndarray:
    """Two signals, a state that hardly changes, a constant, zeros."""
    rng = np.random.default_rng(seed)
    payload = np.zeros((count, 8), np.uint8)
    payload[:, :2] = rng.integers(0, 256, (count, 2))
    payload[:, 2] = np.arange(count) // 120
    payload[:, 3] = 0x5A
    return payload


def broken_by(checks: np.ndarray, payload: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which frames break a check, and which a counter, bool [n] each."""
    broken, missed = np.zeros((2, len(payload)), np.float32)
    break_checks(traffic(payload), checks, no_counts(1), broken, missed)
    return broken > 0, missed > 0


def crc8(payload: np.ndarray, polynomial: int, start: int) -> np.ndarray:
    """The cyclic redundancy check of the first seven bytes, bit by bit."""
    register = np.full(len(payload), start)
    for byte in range(7):
        register ^= payload[:, byte]
        for _ in range(8):
            register = ((register << 1) ^ np.where(register & 0x80, polynomial, 0)) & 0xFF
    return register


CHECKSUMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "CRC-8 SAE J1850": lambda payload: crc8(payload, 0x1D, 0xFF),
    "CRC-8 AUTOSAR": lambda payload: crc8(payload, 0x2F, 0x3C),
    "exclusive or": lambda payload: np.bitwise_xor.reduce(payload[:, :7], axis=1) ^ 0x31,
    "sum": lambda payload: (payload[:, :7].astype(int).sum(axis=1) + 0x77) & 0xFF,
    "two's complement of the sum": lambda payload: (-payload[:, :7].astype(int).sum(axis=1) - 3) & 0xFF,
    "sum of nibbles": lambda payload: (
        (8 - ((payload[:, :7] & 15).astype(int) + (payload[:, :7] >> 4)).sum(axis=1)) & 15
    ),
}


@pytest.mark.parametrize("name", CHECKSUMS)
def test_a_checksum_is_found_and_a_lie_breaks_it(name: str) -> None:
    blocks = [random_payload(seed) for seed in range(4)]
    for payload in blocks:
        payload[:, 7] = CHECKSUMS[name](payload)
    checks = fit_checks([traffic(payload) for payload in blocks[:3]], 1)

    honest, lying = blocks[3], blocks[3].copy()
    lying[100:, 0] ^= 0x21

    assert not broken_by(checks, honest)[0].any()
    broken, _ = broken_by(checks, lying)
    assert not broken[:100].any()
    assert broken[100:].mean() > 0.9


def test_payloads_without_a_checksum_have_none() -> None:
    checks = fit_checks([traffic(random_payload(seed)) for seed in range(3)], 1)

    assert not broken_by(checks, np.random.default_rng(9).integers(0, 256, (500, 8), dtype=np.uint8))[0].any()


def test_relations_that_few_payloads_show_are_chance() -> None:
    checks = fit_checks([traffic(random_payload(seed, count=20)) for seed in range(2)], 1)

    assert not broken_by(checks, random_payload(5))[0].any()


def test_a_relation_is_not_asked_while_bits_differ_that_never_did() -> None:
    blocks = [random_payload(seed) for seed in range(4)]
    for payload in blocks:
        payload[:, 7] = CHECKSUMS["CRC-8 AUTOSAR"](payload)
    checks = fit_checks([traffic(payload) for payload in blocks[:3]], 1)
    payload = blocks[3].copy()
    payload[:, 3] = 0x5B
    payload[:, 7] = CHECKSUMS["CRC-8 AUTOSAR"](payload)

    assert not broken_by(checks, payload)[0].any()


@pytest.mark.parametrize(("bits", "shift"), [(8, 0), (4, 4), (4, 0), (2, 4)])
def test_a_counter_is_found_and_a_frame_too_many_breaks_it(bits: int, shift: int) -> None:
    def counted(seed: int) -> np.ndarray:
        payload = random_payload(seed)
        payload[:, 6] = (np.arange(300) % (1 << bits)) << shift
        return payload

    checks = fit_checks([traffic(counted(seed)) for seed in range(3)], 1)
    payload = np.insert(counted(7), 100, counted(7)[99], axis=0)

    assert not broken_by(checks, counted(7))[1].any()
    assert np.flatnonzero(broken_by(checks, payload)[1]).tolist() == [100]


def test_a_counter_that_ever_missed_a_step_is_none() -> None:
    payload = random_payload(0)
    payload[:, 6] = np.arange(300) % 256
    with_gap = np.delete(payload, 50, axis=0)

    checks = fit_checks([traffic(payload), traffic(with_gap)], 1)

    assert not broken_by(checks, with_gap)[1].any()


def test_checks_that_attack_free_traffic_breaks_are_dropped() -> None:
    payload = random_payload(0)
    payload[:, 7] = CHECKSUMS["sum"](payload)
    checks = fit_checks([traffic(payload)], 1)
    other = payload.copy()
    other[:, 0] ^= 1

    assert broken_by(checks, other)[0].any()
    assert not broken_by(unbroken_checks(checks, traffic(other)), other)[0].any()
    assert broken_by(unbroken_checks(checks, traffic(payload)), other)[0].any()

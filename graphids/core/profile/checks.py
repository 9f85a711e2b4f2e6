"""Checks: relations within a payload that held in every attack-free frame, and counters that never missed a step.

A cyclic redundancy check or an exclusive or is affine over GF(2): certain sets of payload bits have an even (or odd)
number of ones in every frame, whatever the polynomial and the constant of the ID. Sums are not, and are tried by name.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit
from graphids.core.profile.traffic import Traffic

_PARITIES = 8  # of one message: a changed payload passes as many with one chance in 256
# Fewer that go together are no check but a state: on unseen drives they broke in up to 3 % of attack-free frames.
_FEWEST_PARITIES = 4
_SPARE_ROWS = 10  # distinct payloads beyond the number of unknowns, below which a relation may be chance
_FEWEST_ROWS = 100
_FEWEST_BITS, _FEWEST_BYTES = 3, 2  # of a parity; two bits that go together are a sign that is extended, or a state
_FEWEST_VALUES = 12  # that the field of a sum takes
_FEWEST_STEPS = 20  # of a counter, in every block
_BYTES, _BITS = 8, 64

# What holds in every frame of one message.
CHECKS = np.dtype(
    [
        ("num_parities", np.uint8),
        ("parity_bits", np.uint64, (_PARITIES,)),  # bits whose ones are even or odd in number
        ("parity_odd", np.uint8, (_PARITIES,)),
        ("fixed_bits", np.uint64),  # bits that never changed: while they differ, nothing is known of parities
        ("fixed", np.uint64),
        ("sum_field", np.uint8),  # 1 + the byte that a sum of the others makes constant; 0 for no sum
        ("sum_sign", np.int8),  # of the others
        ("sum_bits", np.uint8),  # 8 for a sum of bytes; 4 for one of nibbles in the low nibble of its byte
        ("sum", np.uint8),  # the constant
        ("count_step", np.uint8),  # of the counter; 0 for none
        ("count_shift", np.uint8),  # its lowest bit
        ("count_mask", np.uint8),
    ],
    align=True,
)
_COUNTERS = tuple((8 * b, 0xFF) for b in range(_BYTES)) + tuple(
    (8 * b + at, (1 << bits) - 1) for bits in (4, 2) for b in range(_BYTES) for at in range(8 - bits, -1, -bits)
)


class Check(Protocol):
    """A record of `CHECKS` as compiled code sees it."""

    num_parities: int
    parity_bits: NDArray[np.uint64]
    parity_odd: NDArray[np.uint8]
    fixed_bits: int
    fixed: int
    sum_field: int
    sum_sign: int
    sum_bits: int
    sum: int
    count_step: int
    count_shift: int
    count_mask: int


class Counts(NamedTuple):
    """The last payload of every message, as a number, uint64 [V], and whether there was one, bool [V]."""

    word: NDArray[np.uint64]
    has: NDArray[np.bool_]


def no_counts(num_messages: int) -> Counts:
    """Before the first frame."""
    return Counts(np.zeros(num_messages, np.uint64), np.zeros(num_messages, np.bool_))


def fit_checks(blocks: list[Traffic], num_messages: int) -> NDArray[np.void]:
    """What holds in every block, `CHECKS` [V]; a parity also must follow from all blocks but one and hold in that one.

    Args:
        blocks: Attack-free traffic.
        num_messages: V.
    """
    checks = np.zeros(num_messages, CHECKS)
    words = [_words_by_message(block, num_messages) for block in blocks]
    for message in range(num_messages):
        own = [of_block[message] for of_block in words if len(of_block[message])]
        _fit_parities(checks[message : message + 1], own)
        _fit_sum(checks[message], np.concatenate(own))
        _fit_counter(checks[message], own)
    return checks


def unbroken_checks(checks: NDArray[np.void], traffic: Traffic) -> NDArray[np.void]:
    """A copy without those that attack-free traffic breaks, `CHECKS` [V]."""
    broken, missed = np.zeros((2, len(traffic.message)), np.float32)
    break_checks(traffic, checks, no_counts(len(checks)), broken, missed)
    kept = checks.copy()
    kept[traffic.message[(broken > 0) | (missed > 0)]] = np.zeros((), CHECKS)
    return kept


def _words_by_message(block: Traffic, num_messages: int) -> list[NDArray[np.uint64]]:
    order = np.argsort(block.message, kind="stable")
    ends = np.searchsorted(block.message[order], np.arange(num_messages + 1))
    words = block.payload.view(np.uint64)[:, 0][order]
    return [words[a:b] for a, b in pairwise(ends)]


def _fit_parities(check: NDArray[np.void], blocks: list[NDArray[np.uint64]]) -> None:
    parities = _parities(blocks)
    if len(parities) < _FEWEST_PARITIES:
        return
    for index in range(len(blocks)):
        others = [block for other, block in enumerate(blocks) if other != index]
        if any(_ones(blocks[index], bits, first).any() for bits, first in (_parities(others) if others else ())):
            return
    first = blocks[0][0]
    row = check[0]
    row["num_parities"] = min(len(parities), _PARITIES)
    for index, (bits, _) in enumerate(parities[:_PARITIES]):
        row["parity_bits"][index] = bits
        row["parity_odd"][index] = int(first & bits).bit_count() & 1
    row["fixed_bits"] = ~_changing(blocks)
    row["fixed"] = first & row["fixed_bits"]


def _changing(blocks: list[NDArray[np.uint64]]) -> np.uint64:
    return np.uint64(np.bitwise_or.reduce([np.bitwise_or.reduce(block ^ blocks[0][0]) for block in blocks]))


def _ones(words: NDArray[np.uint64], bits: np.uint64, first: np.uint64) -> NDArray[np.uint8]:
    return np.asarray(np.bitwise_count((words ^ first) & bits) & 1, np.uint8)


def _parities(blocks: list[NDArray[np.uint64]]) -> list[tuple[np.uint64, np.uint64]]:
    """Sets of bits whose parity never changed, those of most bits first, each with the first payload."""
    changing = int(_changing(blocks))
    distinct = np.unique(np.concatenate(blocks))
    if len(distinct) < max(changing.bit_count() + 1 + _SPARE_ROWS, _FEWEST_ROWS):
        return []
    first = blocks[0][0]
    reduced = np.zeros(_BITS, np.uint64)
    _reduce(distinct ^ first, reduced)
    rows = reduced.tolist()
    free = [bit for bit in range(_BITS) if changing >> bit & 1 and not rows[bit]]
    found = [(1 << bit) | sum(1 << pivot for pivot in range(_BITS) if rows[pivot] >> bit & 1) for bit in free]
    telling = [bits for bits in found if bits.bit_count() >= _FEWEST_BITS and _num_bytes(bits) >= _FEWEST_BYTES]
    return [(np.uint64(bits), first) for bits in sorted(telling, key=lambda bits: -bits.bit_count())]


def _num_bytes(bits: int) -> int:
    return sum(bool(byte) for byte in bits.to_bytes(_BYTES, "little"))


@njit(cache=True, nogil=True)
def _reduce(rows: NDArray[np.uint64], reduced: NDArray[np.uint64]) -> None:
    """Row-reduce bit vectors over GF(2): `reduced[p]` is the row whose highest bit is p, which no other row has."""
    one = np.uint64(1)
    for row in rows:
        left = row
        for p in range(len(reduced) - 1, -1, -1):
            if (left >> np.uint64(p)) & one and reduced[p]:
                left ^= reduced[p]
        if not left:
            continue
        pivot = len(reduced) - 1
        while not (left >> np.uint64(pivot)) & one:
            pivot -= 1
        for p in range(len(reduced)):
            if reduced[p] and (reduced[p] >> np.uint64(pivot)) & one:
                reduced[p] ^= left
        reduced[pivot] = left


def _fit_sum(row: np.void, words: NDArray[np.uint64]) -> None:
    payload = np.unique(words).view(np.uint8).reshape(-1, _BYTES).astype(np.int64)
    if len(payload) < _BYTES + _SPARE_ROWS:
        return
    for bits, field, sign in _sums():
        parts = payload if bits == 8 else (payload & 15) + (payload >> 4)
        value = payload[:, field] & ((1 << bits) - 1)
        constant = (value + sign * (parts.sum(axis=1) - value)) & ((1 << bits) - 1)
        if (constant == constant[0]).all() and len(np.unique(value)) >= _FEWEST_VALUES:
            row["sum_field"], row["sum_sign"], row["sum_bits"], row["sum"] = field + 1, sign, bits, constant[0]
            return


def _sums() -> Iterator[tuple[int, int, int]]:
    for bits in (8, 4):
        for field in range(_BYTES - 1, -1, -1):
            for sign in (1, -1):
                yield bits, field, sign


def _fit_counter(row: np.void, blocks: list[NDArray[np.uint64]]) -> None:
    long = [block for block in blocks if len(block) > _FEWEST_STEPS]
    if not long:
        return
    for shift, mask in _COUNTERS:
        step = ((long[0][1:2] >> np.uint64(shift)) - (long[0][:1] >> np.uint64(shift))) & np.uint64(mask)
        if step and all(_counts(block, shift, mask, step) for block in blocks):
            row["count_step"], row["count_shift"], row["count_mask"] = step[0], shift, mask
            return


def _counts(words: NDArray[np.uint64], shift: int, mask: int, step: NDArray[np.uint64]) -> bool:
    field = words >> np.uint64(shift)
    return bool((((field[1:] - field[:-1]) & np.uint64(mask)) == step).all())


@njit(cache=True, nogil=True)
def break_checks(
    traffic: Traffic, checks: NDArray[np.void], counts: Counts, broken: NDArray[np.float32], missed: NDArray[np.float32]
) -> None:
    """Find frames that break a check.

    Args:
        traffic: Frames that follow those that the counts have seen.
        checks: `CHECKS` [V].
        counts: Brought up to the last frame.
        broken: float32 [n], 1 where a parity or a sum does not hold; filled.
        missed: float32 [n], 1 where a counter took another step; filled.
    """
    words = traffic.payload.view(np.uint64)
    for i in range(len(traffic.message)):
        message = traffic.message[i]
        if message < 0:
            continue
        check, word = checks[message], words[i, 0]
        broken[i] = _breaks(check, word, traffic.payload[i])
        if check.count_step and counts.has[message]:
            step = (word >> np.uint64(check.count_shift)) - (counts.word[message] >> np.uint64(check.count_shift))
            missed[i] = 1.0 if (step & np.uint64(check.count_mask)) != np.uint64(check.count_step) else 0.0
        counts.word[message], counts.has[message] = word, True


@njit(cache=True, nogil=True)
def _breaks(check: Check, word: np.uint64, payload: NDArray[np.uint8]) -> float:
    if check.num_parities and (word & check.fixed_bits) == check.fixed:
        for k in range(check.num_parities):
            ones = word & check.parity_bits[k]
            for half in (32, 16, 8, 4, 2, 1):
                ones ^= ones >> np.uint64(half)
            if (ones & np.uint64(1)) != np.uint64(check.parity_odd[k]):
                return 1.0
    if check.sum_field:
        total, field = np.int64(0), np.int64(payload[check.sum_field - 1])
        for b in range(len(payload)):
            byte = np.int64(payload[b])
            total += byte if check.sum_bits == 8 else (byte & 15) + (byte >> 4)
        modulus = 1 << np.int64(check.sum_bits)
        value = field & (modulus - 1)
        if ((value + check.sum_sign * (total - value)) & (modulus - 1)) != check.sum:
            return 1.0
    return 0.0

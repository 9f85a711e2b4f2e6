"""Habits of a vehicle's messages over blocks of attack-free traffic."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphids.core.byte_roles import Role, byte_roles
from graphids.core.frames import MAX_PAYLOAD_BYTES
from graphids.core.profile.blocks import Block, mean_gaps
from graphids.core.profile.kernels import Stream, observe
from graphids.core.profile.records import EXCESS, HABITS, STATE
from graphids.core.profile.traffic import Traffic

_REMEMBERED = 1 << 17  # of what was said, a megabyte: a minute of a busy bus
_FRAMES_FOR_ROLES = 20_000
_UNSEEN_FOLLOWER = 0.05  # frames; what a pair that never occurred counts as


def new_stream(num_messages: int) -> Stream:
    """A bus on which no frame has passed."""
    return Stream(np.zeros(num_messages, STATE), np.zeros(_REMEMBERED, np.uint64), np.zeros(1, EXCESS))


def roles_of(blocks: Sequence[Block], num_messages: int) -> NDArray[np.uint8]:
    """The `Role` of each byte of each message, uint8 [V, 8]."""
    return _roles([block.traffic for block in blocks], num_messages)


def blank_habits(blocks: Sequence[Block], roles: NDArray[np.uint8]) -> NDArray[np.void]:
    """Habits that have seen nothing yet but what is told of whole blocks, `HABITS` [V]: mean gaps and signals."""
    blank = np.zeros(len(roles), HABITS)
    blank["gap_s"], blank["is_cyclic"] = mean_gaps(blocks, len(roles))
    blank["width"], blank["says"] = _widths(roles), _says(roles)
    blank["low"] = np.iinfo(np.int32).max
    blank["short_s"] = np.inf
    return blank


def widened_habits(habits: NDArray[np.void], blocks: Sequence[Block]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """A copy of habits that has seen the blocks too, `HABITS` [V]; which ID followed which in them, int64 [V, V]."""
    habits = habits.copy()
    habits["long_gap_s"] = np.max([habits["long_gap_s"], *(block.long_gap_s for block in blocks)], axis=0)
    habits["short_s"] = np.min([habits["short_s"], *(block.short_s for block in blocks)], axis=0)
    follows = np.zeros((len(habits), len(habits)), np.int64)
    for block in blocks:
        observe(block.traffic, new_stream(len(habits)), habits, follows)
    return habits, follows


def surprise_of(follows: NDArray[np.int64]) -> NDArray[np.float32]:
    """-log10 of the probability that an ID follows another, float32 [V, V], by how often it did."""
    counted = follows + _UNSEEN_FOLLOWER
    surprise = -np.log10(counted / counted.sum(axis=1, keepdims=True))
    return np.asarray(surprise.astype(np.float16).astype(np.float32))  # as it is stored


def _widths(roles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes of the signal that begins at each byte, uint8 [V, 8]; 0 for the second byte of one."""
    widths = np.ones_like(roles)
    widths[roles == Role.HIGH_BYTE] = 2
    widths[:, 1:][roles[:, :-1] == Role.HIGH_BYTE] = 0
    return widths


def _says(roles: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The bits of a payload that are neither counter nor checksum, uint64 [V]."""
    says = np.where((roles == Role.COUNTER) | (roles == Role.CHECKSUM), 0, 0xFF).astype(np.uint8)
    return np.asarray(says.view(np.uint64)[:, 0])


def _roles(blocks: Sequence[Traffic], num_messages: int) -> NDArray[np.uint8]:
    message = np.concatenate([block.message for block in blocks])
    dlc = np.concatenate([block.dlc for block in blocks])
    payload = np.concatenate([block.payload for block in blocks])
    order = np.argsort(message, kind="stable")
    first = np.searchsorted(message[order], np.arange(num_messages + 1))
    roles = np.zeros((num_messages, MAX_PAYLOAD_BYTES), np.uint8)
    for index in range(num_messages):
        rows = order[first[index] : min(first[index + 1], first[index] + _FRAMES_FOR_ROLES)]
        if len(rows):
            roles[index] = byte_roles(payload[rows], int(np.bincount(dlc[rows]).argmax()))
    return roles

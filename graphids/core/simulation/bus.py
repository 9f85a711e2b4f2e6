"""The bus: which node sends when, once messages are due, on classic CAN at 500 kbit/s.

Time is counted in whole bit times (2 us), so that the arithmetic is exact and every timestamp has six decimals.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit

BITS_PER_S = 500_000
US_PER_BIT = 2


@dataclass(frozen=True, slots=True)
class Transmissions:
    """Frames that nodes want to send, before arbitration; columns of one length `n`, in any order.

    Attributes:
        release: int64 [n], bit times; when the frame is handed to the controller.
        mailbox: int64 [n], the transmit buffer it waits in, numbered from 0. A buffer holds one frame: a newer one
            overwrites an older one that has not won the bus yet, as controllers do with periodic messages.
        arbitration_id: uint32 [n], 11 bits.
        dlc: uint8 [n].
        payload: uint8 [n, 8], zero beyond `dlc`.
        attack: uint8 [n], 1 for an injected or altered frame.
    """

    release: NDArray[np.int64]
    mailbox: NDArray[np.int64]
    arbitration_id: NDArray[np.uint32]
    dlc: NDArray[np.uint8]
    payload: NDArray[np.uint8]
    attack: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.release)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Transmissions":
        """The chosen rows, copied."""
        return Transmissions(*(getattr(self, f.name)[rows] for f in fields(self)))


def join(*parts: Transmissions) -> Transmissions:
    """All rows of all parts."""
    return Transmissions(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Transmissions)))


def frame_bits(dlc: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bit times that a frame with an 11-bit identifier keeps the bus busy, interframe space included.

    44 bits of frame and 3 of interframe space around the data (ISO 11898-1), and stuffing estimated at a quarter of
    its worst case of one bit in four over the 34 + 8 `dlc` bits that are stuffed.
    """
    length = dlc.astype(np.int64)
    return 47 + 8 * length + (33 + 8 * length) // 16


def arbitrate(sent: Transmissions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Puts the frames on the wire one after another: whenever the bus falls idle, the lowest waiting ID wins.

    A frame on the wire is not interrupted. Of two buffers that wait with the same ID the lower-numbered one sends
    first (on a real bus their payloads would collide and one would be sent again).

    Returns:
        The rows that got onto the wire, in the order of the wire, int64 [m] (`m <= n`: overwritten ones are left
        out); and the bit time at which each of them ended, int64 [m], strictly increasing.
    """
    order = np.argsort(sent.release, kind="stable")
    num_mailboxes = int(sent.mailbox.max()) + 1 if len(sent) else 0
    rows, end = _serve(
        sent.release[order],
        sent.mailbox[order],
        sent.arbitration_id[order].astype(np.int64),
        frame_bits(sent.dlc[order]),
        num_mailboxes,
    )
    return order[rows], end


@njit(cache=True)
def _serve(
    release: NDArray[np.int64],
    mailbox: NDArray[np.int64],
    arbitration_id: NDArray[np.int64],
    bits: NDArray[np.int64],
    num_mailboxes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    n = len(release)
    rows, end = np.empty(n, np.int64), np.empty(n, np.int64)
    waiting = np.full(num_mailboxes, -1, np.int64)  # row in each buffer
    num_waiting, arrived, served, now = 0, 0, 0, np.int64(0)
    while num_waiting or arrived < n:
        if not num_waiting:
            now = max(now, release[arrived])
        while arrived < n and release[arrived] <= now:
            box = mailbox[arrived]
            num_waiting += waiting[box] < 0
            waiting[box] = arrived
            arrived += 1
        winner = -1
        for box in range(num_mailboxes):
            row = waiting[box]
            if row >= 0 and (winner < 0 or arbitration_id[row] < arbitration_id[waiting[winner]]):
                winner = box
        row = waiting[winner]
        waiting[winner] = -1
        num_waiting -= 1
        now += bits[row]
        rows[served], end[served] = row, now
        served += 1
    return rows[:served], end[:served]

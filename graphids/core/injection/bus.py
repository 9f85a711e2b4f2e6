"""The bus: which node sends when, once messages are due, on classic CAN.

Time is counted in ticks of 2 us, a bit time at 500 kbit/s, so that the arithmetic is exact and every timestamp has six
decimals.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from graphids.core.compiled import njit
from graphids.core.frames import EXTENDED_BIT, MAX_EXTENDED_ID
from graphids.core.wire import frame_bits

TICKS_PER_S = 500_000
US_PER_TICK = 2
MS = TICKS_PER_S // 1000
NOT_RECORDED = -1
_EXTENSION_BITS = 18  # of a 29-bit identifier, sent after the eleven bits that decide first


@dataclass(frozen=True, slots=True)
class Transmissions:
    """Frames that nodes want to send, before arbitration; columns of one length `n`, in any order.

    Attributes:
        release: int64 [n], ticks; when the frame is handed to the controller.
        mailbox: int64 [n], the transmit buffer it waits in, numbered from 0. A buffer holds one frame: a newer one
            overwrites an older one that has not won the bus yet, as controllers do with periodic messages.
        node_key: uint32 [n], arbitration ID, bit 31 set for a 29-bit identifier.
        dlc: uint8 [n].
        payload: uint8 [n, 8], zero beyond `dlc`.
        attack: uint8 [n], 1 for an injected or altered frame.
        recorded: int64 [n], row of the recording that the frame is from; `NOT_RECORDED` for any other frame.
    """

    release: NDArray[np.int64]
    mailbox: NDArray[np.int64]
    node_key: NDArray[np.uint32]
    dlc: NDArray[np.uint8]
    payload: NDArray[np.uint8]
    attack: NDArray[np.uint8]
    recorded: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.release)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Transmissions":
        """The chosen rows, copied."""
        return Transmissions(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def is_extended(self) -> NDArray[np.bool_]:
        """True for a 29-bit identifier, bool [n]."""
        return self.node_key >= EXTENDED_BIT


def join(*parts: Transmissions) -> Transmissions:
    """All rows of all parts."""
    return Transmissions(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Transmissions)))


def wire_ticks(sent: Transmissions, bit_rate: int) -> NDArray[np.int64]:
    """How long each frame keeps the bus busy, int64 [n] ticks, rounded up."""
    return -(-frame_bits(sent.dlc, sent.is_extended) * TICKS_PER_S // bit_rate)


def priority(node_key: NDArray[np.uint32]) -> NDArray[np.int64]:
    """What arbitration compares, int64 [n]; the lowest wins.

    The first eleven bits decide; between equal ones an 11-bit identifier beats a 29-bit one (ISO 11898-1).
    """
    identifier = (node_key & np.uint32(MAX_EXTENDED_ID)).astype(np.int64)
    is_extended = node_key >= EXTENDED_BIT
    base = np.where(is_extended, identifier >> _EXTENSION_BITS, identifier)
    extension = np.where(is_extended, identifier & ((1 << _EXTENSION_BITS) - 1), 0)
    return np.asarray((base << (_EXTENSION_BITS + 1)) | (is_extended.astype(np.int64) << _EXTENSION_BITS) | extension)


def arbitrate(sent: Transmissions, bit_rate: int = TICKS_PER_S) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Puts the frames on the wire one after another: whenever the bus falls idle, the lowest waiting ID wins.

    A frame on the wire is not interrupted. Of two buffers that wait with the same ID the lower-numbered one sends
    first (on a real bus their payloads would collide and one would be sent again).

    Args:
        sent: What the nodes want to send.
        bit_rate: Bits per second of the bus.

    Returns:
        The rows that got onto the wire, in the order of the wire, int64 [m] (`m <= n`: overwritten ones are left
        out); and the tick at which each of them ended, int64 [m], strictly increasing.
    """
    order = np.argsort(sent.release, kind="stable")
    num_mailboxes = int(sent.mailbox.max()) + 1 if len(sent) else 0
    rows, end = _serve(
        sent.release[order],
        sent.mailbox[order],
        priority(sent.node_key[order]),
        wire_ticks(sent, bit_rate)[order],
        num_mailboxes,
    )
    return order[rows], end


@njit(cache=True)
def _serve(
    release: NDArray[np.int64],
    mailbox: NDArray[np.int64],
    rank: NDArray[np.int64],
    duration: NDArray[np.int64],
    num_mailboxes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    n = len(release)
    rows, end = np.empty(n, np.int64), np.empty(n, np.int64)
    row_in = np.full(num_mailboxes, -1, np.int64)
    waiting = np.empty(num_mailboxes, np.int64)  # the buffers that hold a frame, in any order
    num_waiting, arrived, served, now = 0, 0, 0, np.int64(0)
    while num_waiting or arrived < n:
        if not num_waiting:
            now = max(now, release[arrived])
        while arrived < n and release[arrived] <= now:
            box = mailbox[arrived]
            if row_in[box] < 0:
                waiting[num_waiting] = box
                num_waiting += 1
            row_in[box] = arrived
            arrived += 1
        winner = 0
        for place in range(1, num_waiting):
            box, best = waiting[place], waiting[winner]
            difference = rank[row_in[box]] - rank[row_in[best]]
            if difference < 0 or (difference == 0 and box < best):
                winner = place
        row = row_in[waiting[winner]]
        row_in[waiting[winner]] = -1
        num_waiting -= 1
        waiting[winner] = waiting[num_waiting]
        now += duration[row]
        rows[served], end[served] = row, now
        served += 1
    return rows[:served], end[:served]

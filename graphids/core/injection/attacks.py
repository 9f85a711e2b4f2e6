"""Attacks on a bus: what an intruder adds to, takes from or changes in the frames that the ECUs send.

Every attack works on frames before arbitration, so that what it injects delays what the ECUs send. What the frames of
a message may say is the sender's to know: a simulated one codes signals, a recorded one varies what was recorded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import EXTENDED_BIT, MAX_EXTENDED_ID, MAX_STANDARD_ID
from graphids.core.injection.bus import MS, NOT_RECORDED, TICKS_PER_S, Transmissions, join
from graphids.core.injection.sender import Sender, Spoken

# How a masquerade lies: it repeats the last value, creeps away from it, says again what it said earlier, adds noise,
# or, in the simulator, the first or the second as the dice fall.
MANNERS = ("constant", "drift", "replay", "noise", "either")
# Requests of ISO 14229-1 that a tester sends: session control, reset, security access, tester present, control of an
# input or output; a single frame of ISO 15765-2 each, padded.
_REQUESTS = (
    b"\x02\x10\x03",
    b"\x02\x11\x01",
    b"\x02\x27\x01",
    b"\x02\x3e\x00",
    b"\x05\x2f\x30\x0b\x03\xff",
)
_FUNCTIONAL_REQUEST, _PHYSICAL_REQUESTS = 0x7DF, (0x7E0, 0x7E8)  # ISO 15765-4
_EXTENDED_REQUEST = 0x18DB33F1


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of time in which the intruder does one thing to one victim.

    Attributes:
        senders: The car's messages, most urgent first; message `i` waits in mailbox `i`.
        first: Tick at which it begins.
        last: Tick at which it ends.
        target: Index of the message that is attacked (spoof, flam), or whose ECU is (suppress, masquerade).
        intensity: In (0, 1]. The rate of injection relative to the full one, the share of frames that vanish
            (suppress), the weight of the lie against the true value (masquerade).
        rng: Draws all that varies between two attacks of one kind.
    """

    senders: Sequence[Sender]
    first: int
    last: int
    target: int
    intensity: float
    rng: np.random.Generator

    @property
    def sender(self) -> Sender:
        """The message that is attacked."""
        return self.senders[self.target]

    @property
    def is_extended(self) -> bool:
        """Whether 29-bit identifiers are the rule on this bus."""
        return 2 * sum(sender.node_key >= int(EXTENDED_BIT) for sender in self.senders) > len(self.senders)

    def ticks(self, period: float) -> NDArray[np.int64]:
        """Ticks, int64, at which an intruder acts every `period` ticks at full intensity, with some jitter."""
        spacing = max(1, int(period / self.intensity))
        times = np.arange(self.first, self.last, spacing)
        return np.sort(times + self.rng.integers(0, spacing // 10 + 1, size=len(times)))

    def covers(self, sent: Transmissions) -> NDArray[np.bool_]:
        """Which of the frames are due within the episode, bool [n]."""
        return (sent.release >= self.first) & (sent.release <= self.last)

    def chosen(self, num_frames: int) -> NDArray[np.bool_]:
        """A random share of `intensity` of the frames, bool [num_frames]."""
        return self.rng.random(num_frames) < self.intensity

    def injected(
        self, release: NDArray[np.int64], node_key: NDArray[np.uint32], payload: NDArray[np.uint8], dlc: int = 8
    ) -> Transmissions:
        """Frames of the intruder's own node, which has one transmit buffer."""
        n = len(release)
        return Transmissions(
            release=release,
            mailbox=np.full(n, len(self.senders), np.int64),
            node_key=node_key,
            dlc=np.full(n, dlc, np.uint8),
            payload=payload,
            attack=np.ones(n, np.uint8),
            recorded=np.full(n, NOT_RECORDED, np.int64),
        )


def dos(sent: Transmissions, episode: Episode) -> Transmissions:
    """Floods the bus with an ID that beats all others, every 0.3 to 1 ms; the ECUs' frames wait or are overwritten."""
    rng = episode.rng
    release = episode.ticks(MS * (0.3 + 0.7 * rng.random()))
    most_urgent = episode.senders[0].node_key & MAX_EXTENDED_ID
    identifier = 0 if rng.random() < 0.5 else int(rng.integers(1, max(most_urgent, 2)))
    payload = np.full((len(release), 8), (0x00, 0xFF)[int(rng.integers(0, 2))], np.uint8)
    return join(sent, episode.injected(release, _keys(episode, np.full(len(release), identifier)), payload))


def fuzzy(sent: Transmissions, episode: Episode) -> Transmissions:
    """Sends random payloads under random IDs, every 1 to 4 ms."""
    rng = episode.rng
    release = episode.ticks(MS * (1.0 + 3.0 * rng.random()))
    limit = MAX_EXTENDED_ID if episode.is_extended else MAX_STANDARD_ID
    identifier = rng.integers(0, limit + 1, size=len(release), dtype=np.uint32)
    payload = rng.integers(0, 256, size=(len(release), 8), dtype=np.uint8)
    return join(sent, episode.injected(release, _keys(episode, identifier), payload))


def spoof(sent: Transmissions, episode: Episode) -> Transmissions:
    """`spoof_fast` or `flam`, as the dice fall."""
    return (spoof_fast if episode.rng.random() < 0.5 else flam)(sent, episode)


def spoof_fast(sent: Transmissions, episode: Episode) -> Transmissions:
    """Sends two to four forged frames under the target's ID for every one of its ECU, which keeps sending."""
    return _forge(sent, episode, episode.ticks(episode.sender.period / int(episode.rng.integers(2, 5))))


def spoof_slow(sent: Transmissions, episode: Episode) -> Transmissions:
    """Sends forged frames under the target's ID three to twenty times a second beside its ECU."""
    return _forge(sent, episode, episode.ticks(TICKS_PER_S / (3.0 + 17.0 * episode.rng.random())))


def flam(sent: Transmissions, episode: Episode) -> Transmissions:
    """Sends a forged frame right after each of the target's ECU, so that a receiver's last value is a forged one."""
    mine = _own(sent, episode.target)
    real = mine.release[episode.covers(mine)]
    delay = MS // 2 + episode.rng.integers(0, MS // 4, size=len(real))
    return _forge(sent, episode, (real + delay)[episode.chosen(len(real))])


def replay(sent: Transmissions, episode: Episode) -> Transmissions:
    """Sends frames of four to eight fast IDs, recorded earlier in the drive, once more beside the real ones."""
    rng, length = episode.rng, episode.last - episode.first
    fast = [i for i, sender in enumerate(episode.senders) if sender.is_fast] or range(len(episode.senders))
    replayed = rng.choice(fast, size=min(int(rng.integers(4, 9)), len(fast)), replace=False)
    start = int(rng.integers(0, max(episode.first - length, 1)))
    recorded = np.isin(sent.mailbox, replayed) & (sent.attack == 0)
    recorded &= (sent.release >= start) & (sent.release < start + length)
    recording = sent.take(recorded & episode.chosen(len(sent)))
    again = replace(
        recording,
        release=recording.release + episode.first - start,
        # A buffer of the intruder's own for every ID: a single one would lose most of a burst.
        mailbox=recording.mailbox + len(episode.senders),
        attack=np.ones(len(recording), np.uint8),
        recorded=np.full(len(recording), NOT_RECORDED, np.int64),
    )
    return join(sent, again)


def diagnostic(sent: Transmissions, episode: Episode) -> Transmissions:
    """Sends a tester's request, which moves or resets an ECU, two to fifty times a second."""
    rng = episode.rng
    release = episode.ticks(TICKS_PER_S / (2.0 + 48.0 * rng.random()))
    request = _REQUESTS[int(rng.integers(0, len(_REQUESTS)))]
    identifier = _FUNCTIONAL_REQUEST if rng.random() < 0.3 else int(rng.integers(*_PHYSICAL_REQUESTS))
    if episode.is_extended:
        identifier = _EXTENDED_REQUEST
    payload = np.tile(np.frombuffer(request.ljust(8, b"\0"), np.uint8), (len(release), 1))
    return join(sent, episode.injected(release, _keys(episode, np.full(len(release), identifier)), payload))


def suppress(sent: Transmissions, episode: Episode) -> Transmissions:
    """Silences the ECU that sends the target (driven to bus-off): its messages vanish and no frame is left to mark."""
    silenced = [i for i, sender in enumerate(episode.senders) if sender.ecu == episode.sender.ecu]
    vanish = np.isin(sent.mailbox, silenced) & episode.covers(sent) & episode.chosen(len(sent))
    return sent.take(~vanish)


def masquerade(sent: Transmissions, episode: Episode, manner: str = "either") -> Transmissions:
    """Silences the ECU that sends the target and speaks in its place: same IDs and periods, but its messages lie.

    No value jumps and none is new to the vehicle; what they say soon contradicts the other ECUs, and where it is
    repeated the sensors' noise is gone.
    """
    for mailbox in victims(episode.senders):
        if episode.senders[mailbox].ecu == episode.sender.ecu:
            sent = _lie(sent, replace(episode, target=mailbox), manner)
    return sent


def _own(sent: Transmissions, mailbox: int) -> Transmissions:
    """What the ECU itself sends from a mailbox."""
    return sent.take((sent.mailbox == mailbox) & (sent.attack == 0))


def _forge(sent: Transmissions, episode: Episode, release: NDArray[np.int64]) -> Transmissions:
    sender = episode.sender
    payload = sender.forge(episode.rng, _own(sent, episode.target).payload, len(release))
    return join(sent, episode.injected(release, np.full(len(release), sender.node_key, np.uint32), payload, sender.dlc))


def _lie(sent: Transmissions, episode: Episode, manner: str) -> Transmissions:
    rng, sender = episode.rng, episode.sender
    mine = np.flatnonzero(sent.mailbox == episode.target)
    forged = episode.covers(sent)[mine]
    rows = mine[forged]
    payload, release, attack = sent.payload.copy(), sent.release.copy(), sent.attack.copy()
    spoken = Spoken(sent.payload[mine], sent.release[mine], episode.first, forged, episode.intensity)
    payload[rows] = sender.lie(rng, spoken, manner)
    release[rows] += triangular(rng, int(sender.period) // 400, len(rows))
    attack[rows] = 1
    return replace(sent, release=release, payload=payload, attack=attack)


def _keys(episode: Episode, identifier: NDArray[np.integer]) -> NDArray[np.uint32]:
    return identifier.astype(np.uint32) | (EXTENDED_BIT if episode.is_extended else np.uint32(0))


def triangular(rng: np.random.Generator, magnitude: int, size: int) -> NDArray[np.int64]:
    """Sums of two uniform integers from `-magnitude` to `magnitude`: a bell of whole numbers, int64 [size]."""
    first, second = rng.integers(-magnitude, magnitude + 1, size=(2, size))
    return np.asarray(first + second)


def victims(senders: Sequence[Sender]) -> tuple[int, ...]:
    """Messages worth forging."""
    return tuple(i for i, sender in enumerate(senders) if sender.is_victim)


Attack = Callable[[Transmissions, Episode], Transmissions]
ATTACKS: dict[str, Attack] = {
    "dos": dos,
    "fuzzy": fuzzy,
    "spoof": spoof,
    "spoof_fast": spoof_fast,
    "spoof_slow": spoof_slow,
    "flam": flam,
    "replay": replay,
    "diagnostic": diagnostic,
    "suppress": suppress,
    "masquerade": masquerade,
    **{f"masquerade_{manner}": partial(masquerade, manner=manner) for manner in MANNERS[:-1]},
}
# Kinds that attack one message, or the ECU that sends it.
TARGETED = tuple(kind for kind in ATTACKS if kind not in ("dos", "fuzzy", "replay", "diagnostic"))

"""Attacks laid over recorded traffic: the door of this room."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphids.core.byte_roles import FEWEST_FRAMES, byte_roles, signals_of
from graphids.core.frames import (
    MAX_EXTENDED_ID,
    NORMAL,
    DataError,
    Frames,
    format_arbitration_id,
    num_attacked,
)
from graphids.core.injection.attacks import ATTACKS, TARGETED, Episode, victims
from graphids.core.injection.bus import (
    TICKS_PER_S,
    US_PER_TICK,
    Transmissions,
    arbitrate,
    priority,
    wire_ticks,
)
from graphids.core.injection.recorded_message import RecordedMessage
from graphids.core.wire import elapsing_times, likely_bit_rate, possible_times

# The simulator's own mixtures are left out: each has its parts here.
KINDS = tuple(kind for kind in ATTACKS if kind not in ("spoof", "masquerade"))
_LIES = tuple(kind for kind in KINDS if kind.startswith("masquerade"))
_JUST_ATTACKED = 1  # what an attack writes into the column `attack`; kind number k is kept as k + 1 afterwards


@dataclass(frozen=True, slots=True)
class Injection:
    """One attack on a recording.

    Attributes:
        kind: One of `KINDS`.
        first_s: When it begins, in seconds after the first frame.
        last_s: When it ends.
        target: Node key of the message that is attacked; None to draw one, and where the kind has no target.
        intensity: In (0, 1]; see `Episode`.
    """

    kind: str
    first_s: float
    last_s: float
    target: int | None = None
    intensity: float = 1.0


@dataclass(frozen=True, slots=True)
class Injected:
    """A recording with attacks.

    Attributes:
        frames: In the order of the wire. `attack` is 1 on injected and altered frames and `attack_kind` names their
            kind; during a suppression every frame of the interval has the kind, because none is left to mark.
        injections: As carried out, the targets drawn.
    """

    frames: Frames
    injections: tuple[Injection, ...]

    def is_within(self) -> NDArray[np.bool_]:
        """Which of the frames lie within any of the attacks, bool [n]."""
        since = elapsing_times(self.frames.timestamp) - self.frames.timestamp[0]
        return np.asarray(np.any([(since >= i.first_s) & (since <= i.last_s) for i in self.injections], axis=0))


def inject(frames: Frames, injections: Sequence[Injection], *, seed: int, bit_rate: int | None = None) -> Injected:
    """Lays attacks over a recording of one bus; what they add competes for the bus with what was recorded.

    Frames that no attack touches keep their payloads, and their times but for the wait that injected frames cause.
    One that is still waiting when its successor is due is lost, as on the bus.

    Args:
        frames: Attack-free, of one bus, in recorded order.
        injections: At least one; attacks may overlap.
        seed: Draws all that is left open. The same arguments give the same bytes.
        bit_rate: Of the bus, bits per second; None guesses it, see `likely_bit_rate`.

    Raises:
        DataError: If the frames hold attacks already or none at all, an attack lies outside the recording, its kind
            or target is unknown, or nothing is worth attacking.
    """
    return inject_into(recorded(frames, bit_rate=bit_rate), injections, seed=seed)


def inject_into(recording: "Recording", injections: Sequence[Injection], *, seed: int) -> Injected:
    """As `inject`, for a recording that several attacks are laid over, each alone."""
    rng = np.random.default_rng(seed)
    sent = recording.sent
    kinds = (NORMAL, *dict.fromkeys(injection.kind for injection in injections))
    done: list[Injection] = []
    for injection in injections:
        episode = _episode(injection, recording, rng)
        sent = ATTACKS[injection.kind](sent, episode)
        number = kinds.index(injection.kind) + _JUST_ATTACKED
        attack = np.where(sent.attack == _JUST_ATTACKED, number, sent.attack).astype(np.uint8)
        sent = replace(sent, attack=attack)
        target = episode.sender.node_key if injection.kind in TARGETED else None
        done.append(replace(injection, target=target))
    rows, end = arbitrate(sent, recording.bit_rate)
    return Injected(_carried(recording, sent.take(rows), end, kinds, done), tuple(done))


class Recording(NamedTuple):
    """A recording as what its nodes wanted to send.

    Attributes:
        frames: As recorded.
        times_s: float64 [n], never falling.
        sent: Its frames before arbitration.
        senders: Who sends them.
        offset: Tick of the end of the first frame: no release lies before tick 0.
        end: int64 [n], tick at which each frame ends if nothing is injected; its release where it would be overwritten.
        bit_rate: Of the bus, bits per second.
    """

    frames: Frames
    times_s: NDArray[np.float64]
    sent: Transmissions
    senders: tuple[RecordedMessage, ...]
    offset: int
    end: NDArray[np.int64]
    bit_rate: int


def _require_attack_free(frames: Frames) -> None:
    if not len(frames):
        raise DataError("Attacks are laid over recorded frames, found none. Give a recording with frames.")
    if attacked := num_attacked(frames):
        raise DataError(
            f"Attacks are laid over attack-free traffic, found {attacked} attacked frames of {len(frames)}. Give a "
            "recording without attacks."
        )


def recorded(frames: Frames, *, bit_rate: int | None = None) -> Recording:
    """What the nodes of a bus wanted to send, as far as a recording tells.

    Args:
        frames: As `inject` takes them.
        bit_rate: Likewise.

    Raises:
        DataError: If the frames hold attacks already or none at all.
    """
    _require_attack_free(frames)
    bit_rate = likely_bit_rate(frames) if bit_rate is None else bit_rate
    times_s = elapsing_times(frames.timestamp)
    keys = frames.node_key()
    distinct = np.unique(keys)
    distinct = distinct[np.argsort(priority(distinct), kind="stable")]
    place = np.argsort(distinct)
    mailbox = place[np.searchsorted(distinct[place], keys)]
    sent = Transmissions(
        release=np.zeros(len(frames), np.int64),
        mailbox=mailbox.astype(np.int64),
        node_key=keys,
        dlc=frames.dlc,
        payload=frames.payload,
        attack=np.zeros(len(frames), np.uint8),
        recorded=np.arange(len(frames)),
    )
    ticks = np.floor((possible_times(frames, bit_rate) - times_s[0]) * TICKS_PER_S).astype(np.int64)
    release = ticks - wire_ticks(sent, bit_rate)
    offset = -min(int(release.min()), 0)
    sent = replace(sent, release=release + offset)
    senders = tuple(_message(int(key), sent, index) for index, key in enumerate(distinct))
    end = sent.release.copy()
    rows, carried_end = arbitrate(sent, bit_rate)
    end[rows] = carried_end
    return Recording(frames, times_s, sent, senders, offset, end, bit_rate)


def _message(node_key: int, sent: Transmissions, mailbox: int) -> RecordedMessage:
    rows = np.flatnonzero(sent.mailbox == mailbox)
    dlc = int(np.bincount(sent.dlc[rows]).argmax())
    gaps = np.diff(sent.release[rows])
    signals = signals_of(byte_roles(sent.payload[rows], dlc)) if len(rows) >= FEWEST_FRAMES else ()
    period = float(np.median(gaps)) if len(gaps) else np.inf
    return RecordedMessage(node_key, dlc, max(period, 1.0), signals)


def _episode(injection: Injection, recording: Recording, rng: np.random.Generator) -> Episode:
    kind, length_s = injection.kind, float(recording.times_s[-1] - recording.times_s[0])
    if kind not in KINDS:
        raise DataError(f"There is no attack {kind!r}. Expected one of {', '.join(KINDS)}.")
    if not 0.0 <= injection.first_s < injection.last_s <= length_s:
        raise DataError(
            f"The attack {kind} runs from {injection.first_s:g} to {injection.last_s:g} s, but the recording has "
            f"{length_s:.3f} s. Expected it within."
        )
    if not 0.0 < injection.intensity <= 1.0:
        raise DataError(f"The attack {kind} has intensity {injection.intensity}. Expected more than 0 and at most 1.")
    first, last = (round(s * TICKS_PER_S) + recording.offset for s in (injection.first_s, injection.last_s))
    target = _target(injection, recording.senders, last - first, rng)
    return Episode(recording.senders, first, last, target, injection.intensity, rng)


def _target(injection: Injection, senders: tuple[RecordedMessage, ...], duration: int, rng: np.random.Generator) -> int:
    """Index of the attacked message: the one asked for, or one that is sent several times in the episode."""
    kind = injection.kind
    if kind not in TARGETED:
        return 0
    able = victims(senders) if kind in _LIES else tuple(range(len(senders)))
    if injection.target is not None:
        for index, sender in enumerate(senders):
            if sender.node_key == injection.target and index in able:
                return index
        ids = ", ".join(format_arbitration_id(senders[i].node_key) for i in able[:20])
        known = any(sender.node_key == injection.target for sender in senders)
        raise DataError(
            f"The attack {kind} cannot target {format_arbitration_id(injection.target)}: "
            f"{'it carries no signal that could be altered' if known else 'the recording holds no such ID'}. Expected "
            f"one of {ids}{' ...' if len(able) > 20 else ''}."
        )
    lively = [index for index in able if senders[index].period * 5 <= duration] or list(able)
    if not lively:
        raise DataError(f"The attack {kind} needs a message with a signal that varies, found none in the recording.")
    return int(rng.choice(lively))


def _carried(
    recording: Recording,
    carried: Transmissions,
    end: NDArray[np.int64],
    kinds: tuple[str, ...],
    injections: Sequence[Injection],
) -> Frames:
    """Frames of what got onto the wire; a recorded one keeps its stamp, later by as much as it had to wait longer."""
    frames, times_s, row = recording.frames, recording.times_s, carried.recorded
    is_recorded = row >= 0
    tick_s = US_PER_TICK / 1e6
    wait_s = np.where(is_recorded, np.maximum(end - recording.end[row], 0), 0) * tick_s
    when_s = np.where(is_recorded, times_s[row] + wait_s, times_s[0] + (end - recording.offset) * tick_s)
    # The clock of the recording may have jumped: an injected frame gets the stamp of the recorded one before it.
    jumped = frames.timestamp - times_s
    latest = np.searchsorted(times_s, when_s, side="right") - 1
    stamp = np.where(is_recorded, frames.timestamp[row] + wait_s, when_s + jumped[np.maximum(latest, 0)])
    order = np.lexsort((np.where(is_recorded, row, len(frames)), when_s))
    carried, stamp, when_s = carried.take(order), stamp[order], when_s[order] - times_s[0]
    attack = (carried.attack > 0).astype(np.uint8)
    kind = np.where(attack, carried.attack.astype(np.int16) - _JUST_ATTACKED, 0).astype(np.int16)
    for injection in injections:
        if injection.kind == "suppress":
            inside = (when_s >= injection.first_s) & (when_s <= injection.last_s)
            kind[inside & (kind == 0)] = kinds.index("suppress")
    return Frames(
        timestamp=stamp,
        arbitration_id=carried.node_key & np.uint32(MAX_EXTENDED_ID),
        dlc=carried.dlc,
        payload=carried.payload,
        is_extended=carried.is_extended,
        channel=np.full(len(stamp), frames.channel[0], np.uint8),
        channels=frames.channels,
        attack=attack,
        attack_kind=kind,
        kinds=kinds,
    )

"""A profile: the habits of a vehicle's messages, fitted on attack-free captures, and how far to trust each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import DataError, Frames, num_attacked
from graphids.core.profile.alarms import Alarms
from graphids.core.profile.blocks import Block, block_of, cut_in_thirds
from graphids.core.profile.calibration import Calibration, calibrated, no_excesses
from graphids.core.profile.checks import fit_checks, unbroken_checks
from graphids.core.profile.habits import blank_habits, new_stream, roles_of, surprise_of, widened_habits
from graphids.core.profile.kernels import Vehicle, tally_excesses
from graphids.core.profile.traffic import Traffic, longest_silence, traffic_of, without_pauses
from graphids.core.wire import likely_bit_rate, possible_times


@dataclass(frozen=True, slots=True)
class Profile:
    """What a vehicle normally does on one bus.

    Attributes:
        node_key: uint32 [V], its arbitration IDs, sorted; bit 31 set for 29-bit ones.
        checks: `CHECKS` [V], what holds within every payload.
        vehicle: Habits and order of its messages, and what it means to go beyond them.
        roles: uint8 [V, 8], the `Role` of each byte.
        frames: How many it was fitted on.
        seconds: How long they took.
        blocks: How many blocks were held against each other.
        bit_rate: Of the bus, bits per second, see `likely_bit_rate`.
        alarms: Limits from which on deviations raise alarms; None where none were chosen.
    """

    node_key: NDArray[np.uint32]
    checks: NDArray[np.void]
    vehicle: Vehicle
    roles: NDArray[np.uint8]
    frames: int
    seconds: float
    blocks: int
    bit_rate: int
    alarms: Alarms | None = None

    @property
    def is_cyclic(self) -> NDArray[np.bool_]:
        """Which of the IDs are sent periodically, bool [V]."""
        return np.asarray(self.vehicle.habits["is_cyclic"])

    @property
    def longest_silence_s(self) -> float:
        """Seconds for which the bus may be silent without pausing."""
        return longest_silence(self.vehicle.habits["frames"], self.seconds)

    def widened(self, frames: Frames) -> "Profile":
        """The profile of a vehicle that also does what these frames show, its new arbitration IDs included.

        Nothing is fitted again: habits only widen, what it means to go beyond them stays, and a check that the frames
        break is dropped.

        Args:
            frames: Attack-free, of the same bus: the first seconds of a drive.

        Raises:
            DataError: If they are known to hold attacks.
        """
        _require_attack_free(frames)
        if len(frames) < 2:
            return self
        node_key = np.union1d(self.node_key, frames.node_key())
        known = np.searchsorted(node_key, self.node_key)
        times = without_pauses(possible_times(frames, self.bit_rate), self.longest_silence_s)
        block = block_of(traffic_of(frames, node_key, times), len(node_key))
        roles = roles_of([block], len(node_key))
        roles[known] = self.roles
        habits, calibration = blank_habits([block], roles), calibrated(no_excesses(len(node_key)))
        checks = np.zeros(len(node_key), self.checks.dtype)
        habits[known], checks[known] = self.vehicle.habits, self.checks
        for column, own in zip(calibration, self.vehicle.calibration, strict=True):
            column[known] = own
        habits, follows = widened_habits(habits, [block])
        surprise, seen = surprise_of(follows), follows[np.ix_(known, known)] > 0
        own = np.minimum(self.vehicle.surprise, np.where(seen, surprise[np.ix_(known, known)], np.inf))
        surprise[np.ix_(known, known)] = own
        return replace(
            self,
            node_key=node_key,
            checks=unbroken_checks(checks, block.traffic),
            vehicle=Vehicle(habits, calibration, surprise),
            roles=roles,
            frames=self.frames + len(frames),
            seconds=self.seconds + float(times.time_s[-1] - times.time_s[0]),
            alarms=None if self.alarms is None else self.alarms.renumbered(known, len(node_key)),
        )


def fit_profile(captures: Sequence[Frames]) -> Profile:
    """The profile of a vehicle's bus.

    Habits are fitted on all captures; deviations are measured by how far each goes beyond the habits of the others, so
    that a byte that differs from drive to drive is not held to what one drive showed. One capture is cut into three.

    Args:
        captures: Attack-free recordings of one bus of one vehicle, at least one with two frames.

    Raises:
        DataError: If a capture is known to hold attacks, or there is no traffic.
    """
    for frames in captures:
        _require_attack_free(frames)
    held = [frames for frames in captures if len(frames) > 1]
    if not held:
        raise DataError(
            f"A profile is fitted on traffic, found none in {len(captures)} captures. Expected attack-free recordings "
            "of ten minutes or more."
        )
    node_key, counts = np.unique(np.concatenate([frames.node_key() for frames in held]), return_counts=True)
    bit_rate = max(map(likely_bit_rate, held))
    timed = [(frames, possible_times(frames, bit_rate)) for frames in held]
    if len(timed) == 1:
        timed = cut_in_thirds(*timed[0])
    num_frames, size = sum(map(len, held)), len(node_key)
    seconds = sum(float(times_s[-1] - times_s[0]) for _, times_s in timed)
    for _ in range(2):  # pauses themselves make a bus look slow
        silence_s = longest_silence(counts, seconds)
        times = [without_pauses(times_s, silence_s) for _, times_s in timed]
        seconds = sum(float(each.time_s[-1] - each.time_s[0]) for each in times)
    blocks = [
        block_of(traffic_of(frames, node_key, each), size) for (frames, _), each in zip(timed, times, strict=True)
    ]
    roles = roles_of(blocks, size)
    blank = blank_habits(blocks, roles)
    habits, follows = widened_habits(blank, blocks)
    return Profile(
        node_key,
        fit_checks([block.traffic for block in blocks], size),
        Vehicle(habits, _calibration(blocks, blank), surprise_of(follows)),
        roles,
        frames=num_frames,
        seconds=seconds,
        blocks=len(blocks),
        bit_rate=bit_rate,
    )


def _require_attack_free(frames: Frames) -> None:
    if attacked := num_attacked(frames):
        raise DataError(
            f"A profile is fitted on attack-free traffic, found {attacked} attacked "
            f"frames of {len(frames)} in a capture. Leave it out."
        )


def _calibration(blocks: Sequence[Block], blank: NDArray[np.void]) -> Calibration:
    """What excesses mean, by blocks that are left out one by one; nothing is known where there is but one."""
    tally = no_excesses(len(blank))
    for left_out in blocks if len(blocks) > 1 else []:
        others, _ = widened_habits(blank, [block for block in blocks if block is not left_out])
        traffic = _known(left_out.traffic, others)
        tally_excesses(traffic, new_stream(len(blank)), others, tally)
    return calibrated(tally)


def _known(traffic: Traffic, habits: NDArray[np.void]) -> Traffic:
    """The traffic with messages that the habits have not seen as unknown ones."""
    seen = habits["frames"] > 0
    return traffic._replace(message=np.where(seen[traffic.message], traffic.message, -1).astype(np.int32))

"""Follows the traffic of one bus, chunk after chunk, and measures windows of it against a profile."""

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import Frames, without_clock_jumps
from graphids.core.profile.checks import break_checks, no_counts
from graphids.core.profile.habits import new_stream
from graphids.core.profile.kernels import deviate
from graphids.core.profile.profile import Profile
from graphids.core.profile.records import DEVIATION
from graphids.core.profile.traffic import UNKNOWN, Times, Traffic, messages_of, traffic_of, without_pauses
from graphids.core.profile.watch import Watch
from graphids.core.profile.window_kernels import Nodes, Windows, gather
from graphids.core.wire import frame_bits, without_bursts


class Follower:
    """What is known of every message of a bus at the end of the frames that have passed.

    Frames are numbered from 0 as they pass. Those that a later window may need are kept until `forget`. Cut into
    chunks anywhere, the same frames give the same deviations, except that a burst of a USB adapter is undone within its
    chunk alone.

    Args:
        profile: Of the vehicle.

    Attributes:
        profile: The same.
        watch: Of the experts, over the windows of the bus.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.watch = Watch(profile)
        size = len(profile.node_key)
        self._stream, self._counts = new_stream(size), no_counts(size)
        self._previous = UNKNOWN
        self._clock = _Clock(profile.bit_rate, profile.longest_silence_s)
        self._first = 0  # number of the first frame that is kept
        self._last_s = np.full(size, np.inf)  # when each message was last seen before that frame, since the last pause
        self._last_pause = 0  # pauses up to then
        self._keys = np.empty(0, np.uint32)
        self._traffic = Traffic(
            np.empty(0, np.int32),
            np.empty(0, np.float64),
            np.empty(0, np.uint8),
            np.empty((0, 8), np.uint8),
            np.empty(0, np.int64),
        )
        self._deviations = np.empty(0, DEVIATION)

    def follow(self, frames: Frames) -> None:
        """Measure the next frames of the bus."""
        if not len(frames):
            return
        traffic = traffic_of(frames, self.profile.node_key, self._clock.times(frames))
        measured = np.zeros(len(frames), DEVIATION)
        self._previous = deviate(traffic, self._stream, self.profile.vehicle, self._previous, measured)
        break_checks(traffic, self.profile.checks, self._counts, measured["broken_check"], measured["broken_counter"])
        if len(self._keys):
            traffic = self._traffic.then(traffic)
            measured = np.concatenate((self._deviations, measured))
        self._keys = np.concatenate((self._keys, frames.node_key()))
        self._traffic, self._deviations = traffic, measured

    @property
    def forgotten(self) -> int:
        """How many frames no later window holds."""
        return self._first

    def widen(self, frames: Frames) -> None:
        """From the next frame on, measure against a profile that has also seen these frames, see `Profile.widened`.

        What is known of every message goes on; frames that have passed keep their deviations.

        Args:
            frames: Attack-free, of the same bus, such as all that have passed.
        """
        before, self.profile = self.profile.node_key, self.profile.widened(frames)
        after = self.profile.node_key
        place = np.searchsorted(after, before).astype(np.int32)
        stream, counts, last_s = new_stream(len(after)), no_counts(len(after)), np.full(len(after), np.inf)
        stream.states[place] = self._stream.states
        counts.word[place], counts.has[place] = self._counts
        last_s[place] = self._last_s
        self._stream, self._counts, self._last_s = stream._replace(seen=self._stream.seen), counts, last_s
        self._previous = int(place[self._previous]) if self._previous != UNKNOWN else UNKNOWN
        self._traffic = self._traffic._replace(message=messages_of(self._keys, after))
        self.watch = self.watch.renumbered(place, self.profile)

    def nodes(self, starts: NDArray[np.int64], window_size: int) -> Nodes:
        """The nodes of windows and their deviations.

        Args:
            starts: int64 [G], number of the first frame of every window, rising; all frames of the windows are kept.
            window_size: Frames per window.
        """
        of_frames, cut = (self._traffic, self._keys, self._deviations), Windows(starts - self._first, window_size)
        vehicle, keys = self.profile.vehicle, self.profile.node_key
        if len(self._keys):
            self._end_pause(int(self._traffic.pause[0]))
        counted = _room_for(0, len(starts))
        nodes = _room_for(gather(of_frames, cut, vehicle, keys, self._last_s, counted), len(starts))
        count = gather(of_frames, cut, vehicle, keys, self._last_s, nodes)
        return Nodes(nodes.ptr, nodes.node_key[:count], nodes.frames[:count], nodes.deviations[:count])

    def forget(self, before: int) -> None:
        """Drop the frames whose number is below `before`."""
        row = before - self._first
        if row:
            self._end_pause(int(self._traffic.pause[row - 1]))
        message = self._traffic.message[:row]
        known = (message >= 0) & (self._traffic.pause[:row] == self._last_pause)
        self._last_s[message[known]] = self._traffic.time_s[:row][known]  # of several the latest
        # A slice would keep the whole chunk alive.
        self._traffic = self._traffic.since(row)
        self._keys, self._deviations = self._keys[row:].copy(), self._deviations[row:].copy()
        self._first = before

    def _end_pause(self, pause: int) -> None:
        """Nothing is overdue that has not been seen since the bus last paused."""
        if pause != self._last_pause:
            self._last_pause = pause
            self._last_s[:] = np.inf


class _Clock:
    """Times that were possible on the wire, as `wire.possible_times` gives them, without pauses, chunk after chunk."""

    def __init__(self, bit_rate: int, longest_silence_s: float) -> None:
        self._bit_rate, self._longest_silence_s = bit_rate, longest_silence_s
        self._stamp = np.nan  # of the last frame, as recorded
        self._jumped_s = 0.0
        self._latest_s = -np.inf
        self._pause, self._paused_s = 0, 0.0
        self._spoke_s: float | None = None  # when the last frame was possible, pauses included

    def times(self, frames: Frames) -> Times:
        """Those of the next frames, at least one."""
        before = frames.timestamp[:1] if np.isnan(self._stamp) else [self._stamp]
        stamps = np.concatenate((before, frames.timestamp))
        unjumped = without_clock_jumps(stamps)
        elapsing = np.maximum.accumulate(np.concatenate(([self._latest_s], unjumped[1:] - self._jumped_s)))[1:]
        self._jumped_s += float(stamps[-1] - unjumped[-1])
        self._stamp = float(stamps[-1])
        self._latest_s, latest_s = float(elapsing[-1]), self._latest_s
        wire_s = frame_bits(frames.dlc, frames.is_extended) / self._bit_rate
        times_s = np.maximum(np.maximum.accumulate(without_bursts(elapsing, wire_s)), latest_s)
        times = without_pauses(
            times_s,
            self._longest_silence_s,
            before_s=self._spoke_s,
            pause=self._pause,
            paused_s=self._paused_s,
        )
        self._spoke_s = float(times_s[-1])
        self._pause, self._paused_s = int(times.pause[-1]), float(times.paused_s[-1])
        return times


def followed(profile: Profile | None, frames: Frames) -> Follower | None:
    """A follower that has followed the frames of a bus, from their first; none without a profile."""
    if profile is None:
        return None
    follower = Follower(profile)
    follower.follow(frames)
    return follower


def window_deviations(profile: Profile, frames: Frames, starts: NDArray[np.int64], window_size: int) -> Nodes:
    """The nodes of windows of a recording of one bus, from its beginning; as `Follower.nodes`.

    Habits are followed from the first frame on, so that a window's deviations depend on the frames before it: the same
    window of a recording that begins later may have others.
    """
    follower = Follower(profile)
    follower.follow(frames)
    return follower.nodes(starts, window_size)


def _room_for(num_nodes: int, num_windows: int) -> Nodes:
    return Nodes(
        np.zeros(num_windows + 1, np.int64),
        np.zeros(num_nodes, np.uint32),
        np.zeros(num_nodes, np.int32),
        np.zeros(num_nodes, DEVIATION),
    )

"""What is usual for an arbitration ID, beside what the window shows in which an event of it stood out most."""

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import Frames, format_arbitration_id
from graphids.core.incidents.open_incident import Trace
from graphids.core.profile.profile import Profile
from graphids.wording import counted


class Usual:
    """What the profile knows of a trace's ID, and what its window shows of it.

    Attributes:
        name: The ID as reasons write it.
        end_s: End of the window.
        seconds: How long the window is.
        profile: Of the vehicle; None where the model judges raw features.
        message: Place of the ID in the profile; -1 where it has none.
        own: Frames of the ID in the window; None where they were not kept.
    """

    def __init__(self, trace: Trace, profile: Profile | None) -> None:
        self.name = f"0x{format_arbitration_id(trace.signal.node_key)}"
        self.end_s = trace.seen_s[1]
        self.seconds = self.end_s - trace.seen_s[0]
        self.profile = profile
        self.message = -1
        if profile is not None:
            place = int(np.searchsorted(profile.node_key, trace.signal.node_key))
            if place < len(profile.node_key) and profile.node_key[place] == trace.signal.node_key:
                self.message = place
        frames = trace.frames
        self.own: Frames | None = None if frames is None else frames.take(frames.node_key() == trace.signal.node_key)

    @property
    def habit(self) -> np.void | None:
        """`HABITS` of the ID; None where the profile has none."""
        return None if self.profile is None or self.message < 0 else self.profile.vehicle.habits[self.message]

    def rate(self) -> str:
        """Its frames in the window, and their rate where the window has a length."""
        if self.own is None:
            return ""
        rate = f" ({len(self.own) / self.seconds:,.0f} a second)" if self.seconds > 0 else ""
        return f"{counted(len(self.own), 'frame')} in {seconds_text(self.seconds)}{rate}"

    def period(self) -> str:
        """How often it is expected; "" where that is not known."""
        habit = self.habit
        return "" if habit is None or habit["gap_s"] <= 0 else f"expected every {seconds_text(habit['gap_s'])}"

    def profiled(self) -> str:
        """How much attack-free traffic the profile holds; "" without one."""
        if self.profile is None:
            return ""
        minutes = round(self.profile.seconds / 60)
        return f"{counted(minutes, 'minute') if minutes else counted(round(self.profile.seconds), 'second')} of profile"

    def byte_of_new_value(self) -> int | None:
        """The byte that most often has a value that the profile has not; None where no frame at hand shows it."""
        habit, own = self.habit, self.own
        if habit is None or own is None or not len(own):
            return None
        bytes_ = np.arange(own.payload.shape[1])
        known = habit["values"][bytes_, own.payload >> 3] >> (own.payload & 7) & 1
        return _most_often((known == 0) & (bytes_ < own.dlc[:, None]))

    def byte_out_of_range(self) -> int | None:
        """The first byte of the signal that is most often outside its range; None where no frame at hand shows one."""
        habit, own = self.habit, self.own
        if habit is None or own is None or not len(own):
            return None
        value = own.payload.astype(np.int64)
        wide = (value << 8) + np.roll(value, -1, axis=1)
        value = np.where(habit["width"] == 2, wide, value)
        is_signal = (habit["width"] > 0) & (np.arange(value.shape[1]) + habit["width"] <= own.dlc[:, None])
        return _most_often(is_signal & ((value < habit["low"]) | (value > habit["high"])))


def seconds_text(seconds: float) -> str:
    """With two digits that mean something; below a millisecond in microseconds.

    >>> seconds_text(0.9), seconds_text(0.0204), seconds_text(12.34), seconds_text(0.00023)
    ('0.90 s', '0.020 s', '12 s', '230 us')
    """
    if 0 < seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    digits = 0 if seconds >= 10 else 2 if seconds >= 0.1 or seconds == 0 else 3
    return f"{seconds:.{digits}f} s"


def _most_often(shows: NDArray[np.bool_]) -> int | None:
    """The column of a table, bool [frames, bytes], that is true most often; None where none ever is."""
    often = shows.sum(axis=0)
    return int(often.argmax()) if often.any() else None

"""Followers of a capture's buses, chunk after chunk, beside the stretches that windows are cut from."""

from collections.abc import Iterable, Iterator

from graphids.core.frames import Frames
from graphids.core.graphs.window_stream import Stretch, split_buses
from graphids.core.profile.follower import Follower
from graphids.core.profile.profile import Profile


class Followers:
    """A follower for each bus of a capture that arrives in chunks; none where the profile is None."""

    def __init__(self, profile: Profile | None) -> None:
        self._profile = profile
        self._by_bus: dict[str, Follower] = {}

    def passing(self, chunks: Iterable[Frames]) -> Iterator[Frames]:
        """The chunks, each followed before it is passed on."""
        for frames in chunks:
            if self._profile is not None:
                for channel, bus in split_buses(frames).items():
                    self._by_bus.setdefault(channel, Follower(self._profile)).follow(bus)
            yield frames

    def of(self, channel: str) -> Follower | None:
        """That of a bus of which frames have passed."""
        return self._by_bus.get(channel)

    def forget(self, stretch: Stretch) -> None:
        """Drop the frames of its bus that no later window holds."""
        if follower := self.of(stretch.channel):
            follower.forget(stretch.needed_from)

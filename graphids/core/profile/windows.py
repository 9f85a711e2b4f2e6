"""Deviations of windows: the largest of every arbitration ID in a window, and of every one that is overdue."""

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import Frames
from graphids.core.profile.kernels import deviate
from graphids.core.profile.profile import Profile
from graphids.core.profile.records import DEVIATION, STATE
from graphids.core.profile.traffic import traffic_of
from graphids.core.profile.window_kernels import Nodes, Windows, gather
from graphids.core.wire import possible_times


def window_deviations(profile: Profile, frames: Frames, starts: NDArray[np.int64], window_size: int) -> Nodes:
    """The nodes of windows and their deviations.

    Habits are followed from the first frame on, so that a window's deviations depend on the frames before it: the same
    window of a recording that begins later may have others.

    Args:
        profile: Of the vehicle.
        frames: A recording of one bus, from its beginning.
        starts: int64 [G], first frame of every window, rising.
        window_size: Frames per window.
    """
    traffic = traffic_of(frames, profile.node_key, possible_times(frames))
    measured = np.zeros(len(frames), DEVIATION)
    deviate(traffic, np.zeros(len(profile.node_key), STATE), profile.vehicle, -1, measured)
    of_frames, cut = (traffic, frames.node_key(), measured), Windows(starts, window_size)
    counted = _room_for(0, len(starts))
    room = gather(of_frames, cut, profile.vehicle, profile.node_key, counted)
    nodes = _room_for(room, len(starts))
    num_nodes = gather(of_frames, cut, profile.vehicle, profile.node_key, nodes)
    return Nodes(nodes.ptr, nodes.node_key[:num_nodes], nodes.deviations[:num_nodes])


def _room_for(num_nodes: int, num_windows: int) -> Nodes:
    return Nodes(np.zeros(num_windows + 1, np.int64), np.zeros(num_nodes, np.uint32), np.zeros(num_nodes, DEVIATION))

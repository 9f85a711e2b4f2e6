"""A drive whose windows say what a script tells them to: scores and evidence without a network and a profile."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from graphids.core.data.coverage import Coverage
from graphids.core.frames import NORMAL, Frames, format_arbitration_id
from graphids.core.graphs.window_stream import Stretch
from graphids.core.profile.experts import EXPERTS, Evidence, no_evidence
from graphids.core.window_scores import ScoredChunk, WindowScores

WINDOW = 4  # frames, and each window begins where the one before it ended
STEP_S = 0.5  # from window to window
QUIET_ID = 0x100  # of frames that nothing is said about
_COLUMNS = ("start_s", "end_s", "score", "alert", "by_network", "kind", "arbitration_ids", "suspicion", "channel")
_COLUMNS += ("coverage", "id_coverage")
_COLUMN = {expert.event: column for column, expert in enumerate(EXPERTS)}


class Says(NamedTuple):
    """An event of one ID in all windows that begin in [start_s, end_s); `learned` is an alarm of the network."""

    event: str
    node_key: int
    start_s: float
    end_s: float
    strength: float = 3.0
    deviation: float = 5.0


def drive(
    seconds: float,
    *script: Says,
    coverage: float | Sequence[float] = 1.0,
    channel: str = "can0",
    begin_s: float = 0.0,
) -> ScoredChunk:
    """A whole drive as one chunk; every frame of a window in which something is said has the last ID named there.

    As a classifier does, a window in which an expert alone raises the alarm alerts, with a kind and an ID that the
    network does not hold for attacked.
    """
    start_s = begin_s + np.arange(0.0, seconds, STEP_S)
    size = len(start_s)
    by_network, score, kind = np.zeros(size, np.bool_), np.full(size, 0.1), np.full(size, NORMAL, "<U8")
    ids: list[tuple[str, ...]] = [()] * size
    keys = np.full(size, QUIET_ID, np.uint32)
    evidence = no_evidence(size)
    for said in script:
        rows = np.flatnonzero((start_s >= said.start_s) & (start_s < said.end_s))
        keys[rows] = said.node_key
        if said.event == "learned":
            by_network[rows], score[rows], kind[rows] = True, 0.9, "dos"
            for row in rows:
                ids[row] = (*ids[row], format_arbitration_id(said.node_key))
        else:
            column = _COLUMN[said.event]
            evidence.strength[rows, column] = said.strength
            evidence.node_key[rows, column] = said.node_key
            evidence.deviation[rows, column] = said.deviation
    by_experts = evidence.alarms & ~by_network
    kind[by_experts] = "spoof"
    for row in np.flatnonzero(by_experts):
        ids[row] = (format_arbitration_id(int(evidence.surest_ids()[row])),)
    shares = np.broadcast_to(np.asarray(coverage, np.float64), size).copy()
    known = round(float(shares.sum()) * WINDOW)
    scores = WindowScores(
        start_s=start_s,
        end_s=start_s + (WINDOW - 1) * STEP_S / WINDOW,
        score=score,
        alert=by_network | by_experts,
        by_network=by_network,
        kind=kind,
        arbitration_ids=tuple(ids),
        suspicion=tuple(
            (0.8 if network else 0.1,) * len(named) for named, network in zip(ids, by_network, strict=True)
        ),
        channel=np.full(size, channel),
        coverage=shares,
        id_coverage=shares,
        evidence=evidence,
        bus_coverage={channel: Coverage(size * WINDOW, known, 1, 1)},
    )
    num = size * WINDOW
    frames = Frames(
        timestamp=begin_s + np.arange(num) * STEP_S / WINDOW,
        arbitration_id=np.repeat(keys, WINDOW),
        dlc=np.full(num, 2, np.uint8),
        payload=np.tile(np.array([0xAB, 0xCD, 0, 0, 0, 0, 0, 0], np.uint8), (num, 1)),
        is_extended=np.zeros(num, np.bool_),
        channel=np.zeros(num, np.uint8),
        channels=(channel,),
    )
    stretch = Stretch(channel, frames, 0, np.arange(size, dtype=np.int64) * WINDOW, num, 0)
    return ScoredChunk(scores, [stretch])


def cut(whole: ScoredChunk, sizes: Sequence[int]) -> Iterator[ScoredChunk]:
    """The same drive in chunks of so many windows, in turn."""
    scores, (stretch,) = whole
    first, turn = 0, 0
    while first < len(scores):
        end = min(first + sizes[turn % len(sizes)], len(scores))
        columns = {name: getattr(scores, name)[first:end] for name in _COLUMNS}
        part = replace(scores, **columns, evidence=Evidence(*(column[first:end] for column in scores.evidence)))
        starts = np.arange(end - first, dtype=np.int64) * WINDOW
        frames = stretch.frames.take(slice(first * WINDOW, end * WINDOW))
        yield ScoredChunk(part, [Stretch(stretch.channel, frames, first * WINDOW, starts, end * WINDOW, 0)])
        first, turn = end, turn + 1

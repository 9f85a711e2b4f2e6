"""What one window that alerts says: signals of the network and of experts, each of one event and arbitration ID."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from graphids.core.frames import EXTENDED_BIT, NORMAL, Frames, hex_node_key
from graphids.core.graphs.window_stream import Stretch
from graphids.core.profile.experts import EXPERTS
from graphids.core.window_scores import ScoredChunk, WindowScores

LEARNED = "learned"
NO_ID = -1  # of a signal that names none


class Signal(NamedTuple):
    """One event of one arbitration ID in one window.

    Attributes:
        event: In the vocabulary of incidents.
        node_key: Of the ID; `NO_ID` where none is named.
        strength: How far beyond its limit, decades or frames, above 0; the score of what only the network sees.
        deviation: As in `Evidence`.
        raises_alarm: False for what only tells of a state.
    """

    event: str
    node_key: int
    strength: float
    deviation: float
    raises_alarm: bool


@dataclass(frozen=True, slots=True)
class AlertWindow:
    """A window in which something speaks.

    Attributes:
        number: Among all windows of the capture, as in the rows of `predict --all`.
        start_s: Timestamp of its first frame.
        end_s: Timestamp of its last frame.
        score: Of the network.
        kind: The attack kind that the network finds likeliest, "normal" without an alert of it.
        suspects: Node keys and how sure the network is of each; empty without an alert of it.
        coverage: Share of its frames whose ID is known.
        signals: What speaks; the network last.
    """

    number: int
    start_s: float
    end_s: float
    score: float
    kind: str
    suspects: tuple[tuple[int, float], ...]
    coverage: float
    signals: tuple[Signal, ...]
    _place: tuple[Stretch, int, int] | None

    def frames(self) -> Frames | None:
        """A copy of its frames; None where they were not handed on."""
        if self._place is None:
            return None
        stretch, first, size = self._place
        return stretch.frames.take(np.arange(first, first + size))


class BusRows(NamedTuple):
    """The windows of one bus in a chunk.

    Attributes:
        scores: Of the chunk.
        first: Row of the first of them.
        end: Row after the last.
        stretch: Their frames; None where they were not handed on.
        window_size: Frames per window.
        numbered_from: Windows of the capture before the chunk.
    """

    scores: WindowScores
    first: int
    end: int
    stretch: Stretch | None
    window_size: int
    numbered_from: int

    def window(self, row: int) -> AlertWindow:
        """What the window in a row of the chunk says."""
        scores = self.scores
        by_network = bool(scores.by_network[row])  # else its kind and IDs are what an expert's alarm was given
        suspects = tuple(
            (hex_node_key(name), sure)
            for name, sure in zip(scores.arbitration_ids[row], scores.suspicion[row], strict=True)
            if by_network
        )
        stretch = self.stretch
        place = None if stretch is None else (stretch, int(stretch.starts[row - self.first]), self.window_size)
        return AlertWindow(
            number=self.numbered_from + row,
            start_s=float(scores.start_s[row]),
            end_s=float(scores.end_s[row]),
            score=float(scores.score[row]),
            kind=str(scores.kind[row]) if by_network else NORMAL,
            suspects=suspects,
            coverage=float(scores.coverage[row]),
            signals=tuple(_signals(scores, row, suspects)),
            _place=place,
        )


def rows_by_bus(chunk: ScoredChunk, window_size: int, numbered_from: int) -> Iterator[tuple[str, BusRows]]:
    """The rows of each bus of a chunk, by name; a bus of which no window ends in the chunk has none."""
    row = 0
    for stretch in chunk.stretches:
        end = row + len(stretch.starts)
        yield stretch.channel, BusRows(chunk.scores, row, end, stretch, window_size, numbered_from)
        row = end


def _signals(scores: WindowScores, row: int, suspects: tuple[tuple[int, float], ...]) -> Iterator[Signal]:
    for column, strength in enumerate(scores.evidence.strength[row].tolist()):
        if not strength > 0:
            continue
        event, key = EXPERTS[column].event, int(scores.evidence.node_key[row, column])
        yield Signal(
            "diagnostic_request" if event == "unknown_id" and _asks_for_diagnosis(key) else event,
            key,
            strength,
            float(scores.evidence.deviation[row, column]),
            EXPERTS[column].raises_alarm,
        )
    if scores.by_network[row]:
        score = float(scores.score[row])
        yield Signal(LEARNED, suspects[0][0] if suspects else NO_ID, score, score, raises_alarm=True)


def _asks_for_diagnosis(node_key: int) -> bool:
    """Whether an ID is one that testers send by: ISO 15765-4, clauses 10.3.1 and 10.3.2.

    >>> [_asks_for_diagnosis(key) for key in (0x7DF, 0x7E5, 0x7E8, 0x98DA10F1, 0x98DB33F1, 0x98DAF110)]
    [True, True, False, True, True, False]
    """
    if not node_key & int(EXTENDED_BIT):
        return node_key == 0x7DF or 0x7E0 <= node_key <= 0x7E7
    return node_key & 0x1FFE_00FF == 0x18DA_00F1

"""The command `predict`: alerts from a capture of any size, streamed as JSON lines or csv."""

import contextlib
import csv
import json
import math
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from graphids.core.captures.clock import Clock
from graphids.core.captures.read import OnBadLine, stream_frames
from graphids.core.classifier import WindowClassifier, WindowScores
from graphids.core.data.preprocessing import UNK, Preprocessing
from graphids.core.frames import DataError, Frames

FIELDS = ("window", "channel", "start_s", "end_s", "score", "alert", "kind", "arbitration_ids")
# The frames of a chunk, some 100,000, come in parts whose graphs and activations stay well below 1 GiB.
_CHUNK_BYTES = 1 << 22
# What makes scores less certain, or drops frames.
_REMARKABLE = ("bad_lines", "error_frames", "unterminated_last_line", "backward_timestamps", "clock_jumps")


class _Writer(Protocol):
    def __call__(self, row: dict[str, object]) -> None: ...


def predict(
    classifier: WindowClassifier,
    capture: Path,
    *,
    output: Path | None,
    output_format: str,
    alerts_only: bool,
    threshold: float | None,
    on_bad_line: OnBadLine = "raise",
    reader: Callable[[Path], Frames] | None = None,
) -> None:
    """Score a capture chunk by chunk; a last line on standard error counts windows, alerts and unknown IDs.

    If standard output is closed early (`| head -1`), it ends without an error and without the last line.

    Args:
        classifier: A verified model.
        capture: One file, in any format that `read_captures` knows.
        output: File, replaced as a whole once the last window is scored; until then, and after an error, it stays as
            it was. None for standard output.
        output_format: `jsonl` or `csv`, one row per window with `FIELDS`.
        alerts_only: Omit windows without an alert.
        threshold: Lowest score that alerts; the model's own for None.
        on_bad_line: As in `read_captures`.
        reader: Reads the whole capture instead, for formats that `read_captures` does not know; its timestamps are
            checked like those of any other file.

    Raises:
        LogFormatError: If the capture cannot be read.
        DataError: If the capture has fewer frames than one window or is a folder, `output` is a folder or the capture
            itself, or the threshold is not a finite number of at least 0.
        OSError: If a file cannot be read or written.
    """
    check_request(capture, output, threshold)
    tally = _Tally(classifier.preprocessing)
    frames = tally.count_ids(capture_chunks(capture, on_bad_line, reader, tally.counts))
    try:
        with _opened(output) as stream:
            write = _writer(stream, output_format, output)
            for scores in classifier.score_stream(frames, threshold=threshold):
                for row in _rows(scores, tally.windows, alerts_only):
                    write(row)
                tally.count_windows(scores)
            if not tally.windows:
                raise DataError(
                    f"{capture}: {tally.waiting} frames make no window of {classifier.preprocessing.window_size}; "
                    "expected at least one window of frames on a bus."
                )
    except BrokenPipeError:
        if output is not None:
            raise
        return
    print(f"{capture}: {tally.sentence()}", file=sys.stderr)


def capture_chunks(
    capture: Path, on_bad_line: OnBadLine, reader: Callable[[Path], Frames] | None, counts: dict[str, int]
) -> Iterator[Frames]:
    """A capture's frames in the chunks that `predict` scores; they decide how the windows of several buses interleave.

    Args:
        capture: One file.
        on_bad_line: As in `read_captures`.
        reader: Reads the whole capture instead.
        counts: Filled with what the reader found besides frames, at the end of the iteration.
    """
    if reader is None:
        return stream_frames(capture, chunk_bytes=_CHUNK_BYTES, on_bad_line=on_bad_line, counts=counts)
    return _read_whole(reader, capture, counts)


def _read_whole(reader: Callable[[Path], Frames], capture: Path, counts: dict[str, int]) -> Iterator[Frames]:
    """A capture as another reader reads it, with its timestamps checked."""
    frames = reader(capture)
    clock = Clock(capture)
    clock.observe(frames)
    counts.update(clock.totals())
    yield frames


def check_request(capture: Path, output: Path | None, threshold: float | None) -> None:
    """Check, before anything is read, that capture and output are two files and the threshold is a possible score.

    Raises:
        DataError: If not; it names the path or the value.
    """
    if capture.is_dir():
        raise DataError(f"{capture} is a folder; name one capture file.")
    if threshold is not None and not (math.isfinite(threshold) and threshold >= 0):
        raise DataError(f"threshold is {threshold}, expected a finite number >= 0; scores lie between 0 and 1.")
    if output is None:
        return
    if output.is_dir():
        raise DataError(f"{output} is a folder; name the file to write.")
    if output.exists() and capture.exists() and output.samefile(capture):
        raise DataError(f"{output} is the capture itself, which the output would replace; name another file.")


@dataclass(slots=True)
class _Tally:
    """The counts of the last line, kept while chunks pass by; memory grows with the number of distinct IDs only."""

    preprocessing: Preprocessing
    windows: int = 0
    alerts: int = 0
    unscored: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    unknown_frames: int = 0
    ids: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))  # node keys, distinct
    counts: dict[str, int] = field(default_factory=dict)  # what the reader found besides frames

    @property
    def waiting(self) -> int:
        """Frames, over all buses, that still wait for the rest of their window, or waited when the clock jumped."""
        return sum(self.unscored.values())

    def count_ids(self, chunks: Iterable[Frames]) -> Iterator[Frames]:
        for frames in chunks:
            keys, counts = np.unique(frames.node_key(), return_counts=True)
            self.frames += len(frames)
            self.unknown_frames += int(counts[self._is_unknown(keys)].sum())
            self.ids = np.union1d(self.ids, keys)
            yield frames

    def count_windows(self, scores: WindowScores) -> None:
        self.windows += len(scores)
        self.alerts += int(scores.alert.sum())
        self.unscored |= scores.unscored_frames

    def sentence(self) -> str:
        """The counts. A model takes everything on another vehicle for an attack, and unknown IDs give that away."""
        unknown = int(np.count_nonzero(self._is_unknown(self.ids)))
        return (
            f"{self.windows} windows, {self.alerts} alerts; {self.waiting} frames made no window; "
            f"{unknown} of {len(self.ids)} arbitration IDs unknown to the model "
            f"({self.unknown_frames / self.frames:.1%} of the frames){self._remarks()}"
        )

    def _remarks(self) -> str:
        remarks = [
            f"{number} {name.replace('_', ' ')}"
            for name, number in self.counts.items()
            if number and name in _REMARKABLE
        ]
        return f"; {', '.join(remarks)}" if remarks else ""

    def _is_unknown(self, keys: NDArray[np.uint32]) -> NDArray[np.bool_]:
        return np.equal(self.preprocessing.tokens(keys), UNK)


def _rows(scores: WindowScores, windows_before: int, alerts_only: bool) -> Iterator[dict[str, object]]:
    """Rows of the windows to write; alerts are rare, so this is not a hot path."""
    for i in np.flatnonzero(scores.alert) if alerts_only else range(len(scores)):
        yield {
            "window": windows_before + int(i),
            "channel": str(scores.channel[i]),
            "start_s": float(scores.start_s[i]),
            "end_s": float(scores.end_s[i]),
            "score": float(scores.score[i]),
            "alert": bool(scores.alert[i]),
            "kind": str(scores.kind[i]),
            "arbitration_ids": list(scores.arbitration_ids[i]),
        }


def _writer(stream: TextIO, output_format: str, output: Path | None) -> _Writer:
    table = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    if output_format == "csv":
        table.writeheader()

    def write(row: dict[str, object]) -> None:
        with _naming(output):
            if output_format == "jsonl":
                print(json.dumps(row), file=stream)
            else:
                table.writerow({**row, "arbitration_ids": " ".join(cast("list[str]", row["arbitration_ids"]))})

    return write


@contextmanager
def _naming(output: Path | None) -> Iterator[None]:
    """Name the file in an OSError: the system reports that a disk is full, not which file was being written."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = "standard output" if output is None else str(output)
        raise


def _opened(output: Path | None) -> AbstractContextManager[TextIO]:
    if output is None:
        return _standard_output()
    # A pipe or a device (/dev/stdout) is written to: a rename would replace it by a file.
    if output.exists() and not output.is_file():
        return output.open("w", encoding="utf-8", newline="")
    return _replacing(output.resolve())  # a link keeps pointing to the file


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    try:
        yield sys.stdout
    finally:
        try:
            with _naming(None):
                sys.stdout.flush()
        except OSError:
            # What could not be written stays in the buffer, and the interpreter would fail on it again at exit.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
            raise


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A temporary file that replaces `path` if the block succeeds, and is removed if it fails."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist; create it, or name another file.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as stream:
            yield stream
            with _naming(path):
                stream.flush()
                os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise

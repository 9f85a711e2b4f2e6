"""The command `convert`: a capture of any format that is read, written as candump log, csv or Parquet."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from graphids.commands.capture_output import Written, held, new_file, output_for, tallied
from graphids.commands.termination import orderly_termination
from graphids.core.captures.index_file import index_entry
from graphids.core.captures.labels import Sidecar, read_sidecar
from graphids.core.captures.read import OnBadLine, stream_frames
from graphids.core.frames import DataError, Frames
from graphids.wording import printable


def convert(source: Path, target: Path, *, on_bad_line: OnBadLine = "raise") -> None:
    """Write a capture in another format, part by part; one line on standard output counts what was met.

    Times are kept to the last digit, as are labels within the capture and in a sidecar beside it. What the format of
    `target` cannot hold is refused if frames could be told apart no longer (several buses in a csv), and else named in
    the closing line.

    Args:
        source: One capture, in any format that `read_captures` knows.
        target: A new file: `.log` (candump -l), `.csv` (can-train-and-test), each also `.gz`, or `.parquet`. It appears
            once it is whole.
        on_bad_line: As in `read_captures`.

    Raises:
        LogFormatError: If the capture cannot be read.
        DataError: If `target` names no format, or one that cannot hold the capture.
        FileExistsError: If something is at `target`.
    """
    output, is_compressed = output_for(target)
    entry, sidecar = index_entry(source), read_sidecar(source)
    met = Written()
    with orderly_termination(), new_file(target, is_compressed=is_compressed) as stream:
        parts = tallied(_labelled(source, sidecar, on_bad_line, met), met)
        first = next(parts, None)
        if first is None:
            raise DataError(
                f"{source}: holds no frame ({met.sentence()}). Expected a recording with frames to convert."
            )
        output.write(held(source, target, chain([first], parts), output, met), first.attack is not None, stream)
    met.remarks += output.remarks(met)
    if entry is not None and (entry.kind is not None or len(entry.intervals)):
        met.remarks.append(f"what {entry.index} says of the capture is not written: name {target.name} there too")
    print(printable(f"{target}: {met.sentence()}"))


def _labelled(source: Path, sidecar: Sidecar | None, on_bad_line: OnBadLine, met: Written) -> Iterator[Frames]:
    """Parts of the capture, labelled by the sidecar where there is one."""
    num_frames = 0
    for part in stream_frames(source, on_bad_line=on_bad_line, counts=met.counts):
        first, num_frames = num_frames, num_frames + len(part)
        if sidecar is None:
            yield part
        elif num_frames <= len(sidecar.attack):  # else all are counted, for the error to say how many there are
            yield sidecar.label(part, first)
    if sidecar is not None:
        sidecar.require_frames(source, num_frames, is_complete=not met.counts.get("bad_lines"))

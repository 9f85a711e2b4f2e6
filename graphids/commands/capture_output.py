"""What a command writes a capture as: candump log, csv or Parquet, part by part, with what the format cannot hold."""

import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from graphids._fs import publish_new
from graphids.core.frames import MAX_STANDARD_ID, NORMAL, UNNAMED_KIND, DataError, Frames
from graphids.core.simulation.text_writer import candump_text, csv_header, csv_lines
from graphids.wording import counted

UNNAMED_BUS = "can0"  # candump has no line without a bus
_BUS_OF_CANDUMP = re.compile(r"[!-~]{1,32}")
_SUFFIX = re.compile(r"\.(?P<format>log|csv|parquet)(?P<gzip>\.gz)?$", re.IGNORECASE)


@dataclass(slots=True)
class Written:
    """What was written, met while the parts of a capture pass by.

    Attributes:
        frames: How many.
        counts: What the reader found besides frames.
        buses: Their names.
        attacks: Attacked frames, None where the capture has no labels.
        kinds: Names of attacks that only some formats can hold.
        remarks: What the output does not say, each a clause of the closing line.
    """

    frames: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    buses: dict[str, None] = field(default_factory=dict)  # in the order in which they appear
    attacks: int | None = None
    kinds: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """The counts, and what the output does not say."""
        met = Counter(self.counts)
        parts = [
            counted(self.frames, "frame"),
            *([f"{self.attacks:,} of them attacked"] if self.attacks is not None else []),
            _noted(met["remote_frames"], "remote frame", "written as frames without data"),
            _noted(met["error_frames"], "error frame", "left out"),
            _noted(met["bad_lines"], "bad line", "dropped"),
        ]
        return "; ".join([", ".join(parts), *self.remarks])


@dataclass(frozen=True, slots=True)
class Output:
    """A format to write.

    Attributes:
        write: `(parts, labelled, stream)`; every part is labelled, or none.
        problem: What of a part it cannot hold, "" for nothing, and what to do.
        remarks: What it does not say of the whole capture.
    """

    write: Callable[[Iterator[Frames], bool, BinaryIO], None]
    problem: Callable[[Frames, Written], str]
    remarks: Callable[[Written], list[str]]


def output_for(target: Path) -> tuple[Output, bool]:
    """The format that a name asks for, and whether to compress it."""
    match = _SUFFIX.search(target.name)
    if match is None:
        raise DataError(
            f"{target}: names no format to write. Expected a name that ends in .log (candump -l), .csv "
            "(can-train-and-test), .log.gz, .csv.gz or .parquet."
        )
    name, is_compressed = match["format"].lower(), match["gzip"] is not None
    if name == "parquet" and is_compressed:
        raise DataError(f"{target}: Parquet is compressed within. Expected a name that ends in .parquet.")
    return _OUTPUTS[name], is_compressed


@contextmanager
def new_file(target: Path, *, is_compressed: bool) -> Iterator[BinaryIO]:
    """A stream that becomes a new file once it is whole.

    Raises:
        FileExistsError: If something is there.
    """
    with publish_new(target) as raw, _maybe_gzip(raw, is_compressed) as stream:
        yield stream


@contextmanager
def _maybe_gzip(raw: BinaryIO, is_compressed: bool) -> Iterator[BinaryIO]:
    if not is_compressed:
        yield raw
        return
    with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as stream:  # the same bytes at any time of day
        yield cast("BinaryIO", stream)


def tallied(parts: Iterator[Frames], met: Written) -> Iterator[Frames]:
    """`parts`, counted in `met` as they pass by."""
    for part in parts:
        met.frames += len(part)
        met.buses.update(dict.fromkeys(part.channels[bus] for bus in np.unique(part.channel)))
        if part.attack is not None and part.attack_kind is not None:
            met.attacks = (met.attacks or 0) + int(part.attack.sum())
            met.kinds |= {part.kinds[kind] for kind in np.unique(part.attack_kind)} - {NORMAL, UNNAMED_KIND}
        yield part


def held(source: Path, target: Path, parts: Iterator[Frames], output: Output, met: Written) -> Iterator[Frames]:
    """`parts`, each of which the output can hold."""
    for part in parts:
        if problem := output.problem(part, met):
            raise DataError(f"{source}: {problem}, which {target.name} cannot hold. Convert to .parquet, which can.")
        yield part


def _write_candump(parts: Iterator[Frames], labelled: bool, stream: BinaryIO) -> None:
    for part in parts:
        stream.write(candump_text(part, UNNAMED_BUS, labels=labelled))


def _candump_problem(_part: Frames, met: Written) -> str:
    if {"", UNNAMED_BUS} <= met.buses.keys():
        return f"has frames of the bus {UNNAMED_BUS} and of one without a name"
    unfit = next((bus for bus in met.buses if bus and not _BUS_OF_CANDUMP.fullmatch(bus)), None)
    return "" if unfit is None else f"has a bus {unfit!r}, a name of other than 1 to 32 printable characters"


def _candump_remarks(met: Written) -> list[str]:
    return [
        *([f"the bus, which the capture does not name, is {UNNAMED_BUS}"] if "" in met.buses else []),
        *(["the last column is the label, 1 for an attacked frame"] if met.attacks is not None else []),
        *_kinds_left_out(met),
    ]


def _write_csv(parts: Iterator[Frames], _labelled: bool, stream: BinaryIO) -> None:
    for number, part in enumerate(parts):
        stream.write((b"" if number else csv_header(part)) + csv_lines(part))


def _csv_problem(part: Frames, met: Written) -> str:
    if len(met.buses) > 1:
        return f"has frames of the buses {', '.join(bus or '(unnamed)' for bus in met.buses)}"
    short = part.arbitration_id[part.is_extended & (part.arbitration_id <= MAX_STANDARD_ID)]
    return f"has an ID {short[0]:X} of 29 bits that would be read as one of 11" if len(short) else ""


def _csv_remarks(met: Written) -> list[str]:
    (bus,) = met.buses
    return [*([f"the bus {bus} has no column"] if bus else []), *_kinds_left_out(met)]


def _kinds_left_out(met: Written) -> list[str]:
    return [f"the names of attacks ({', '.join(sorted(met.kinds))}) have no column"] if met.kinds else []


def _write_parquet(parts: Iterator[Frames], labelled: bool, stream: BinaryIO) -> None:
    import pyarrow.parquet  # for this format alone: it takes a third of a second

    from graphids.core.captures.arrow_table import arrow_batch, arrow_schema

    with pyarrow.parquet.ParquetWriter(stream, arrow_schema(labelled=labelled), compression="zstd") as writer:
        for part in parts:
            writer.write_batch(arrow_batch(part))


def _noted(count: int, noun: str, what: str) -> str:
    return counted(count, noun) + (f" ({what})" if count else "")


_OUTPUTS = {
    "log": Output(_write_candump, _candump_problem, _candump_remarks),
    "csv": Output(_write_csv, _csv_problem, _csv_remarks),
    "parquet": Output(_write_parquet, lambda _part, _met: "", lambda _met: []),
}

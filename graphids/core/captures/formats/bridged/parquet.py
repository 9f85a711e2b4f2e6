"""Parquet: a table with a row per frame, in one file or in the parts of a folder, read batch by batch by pyarrow."""

import gzip
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from graphids.core.captures.formats.bridged.bridge import BATCH_FRAMES, BridgeCounts
from graphids.core.frames import JUMP_BACK_S, Frames, LogFormatError

if TYPE_CHECKING:
    import pyarrow as pa

    from graphids.core.captures.formats.bridged.table_rows import TableNames

NAME = "Parquet"
_READ_BYTES = 1 << 20
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TableFormat:
    """A format that holds whole columns; `start` matches the start of a file."""

    name: str
    start: re.Pattern[bytes]


PARQUET = TableFormat(NAME, start=re.compile(rb"PAR[1E]"))


@dataclass(slots=True)
class ParquetReader:
    """Reads the files of one recording in turn; buses and kinds keep their index.

    Attributes:
        drop_bad_lines: Skip and count rows that are not classic CAN frames instead of raising.
        counts: What was met beside data frames.
    """

    drop_bad_lines: bool = False
    counts: BridgeCounts = field(default_factory=BridgeCounts)
    _names: "TableNames | None" = None
    _columns: dict[str, str] | None = None  # of the first file
    _last_s: float = -np.inf
    _last_path: Path | None = None

    def frames(self, path: Path, stream: BinaryIO) -> Iterator[Frames]:
        """Frames of one file in batches.

        Raises:
            LogFormatError: If it is damaged, lacks a column, has a row that is not a classic CAN frame, or begins
                before the file before it ends.
        """
        # pyarrow takes a third of a second to import, and who reads text does without.
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        first_row = 0
        try:
            # One page after the other, not whole row groups, of which some writers make one for a file.
            with (
                _seekable(stream) as content,
                ParquetFile(content, pre_buffer=False, buffer_size=_READ_BYTES) as file,
            ):
                columns = self._columns_of(path, file.schema_arrow)
                for batch in file.iter_batches(BATCH_FRAMES, columns=[*columns.values()], use_threads=False):
                    frames = self._kept(path, batch, columns, first_row)
                    if not first_row and len(frames):
                        self._require_order(path, frames)
                    if len(frames):
                        self._last_s, self._last_path = float(frames.timestamp[-1]), path
                    yield frames
                    first_row += batch.num_rows
        except (ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk
            raise LogFormatError(
                f"{path}: after row {first_row}: pyarrow cannot read this as Parquet "
                f"({str(error).splitlines()[0][:200]}). Expected a whole file that is not encrypted; write it again."
            ) from error

    def _columns_of(self, path: Path, schema: "pa.Schema") -> dict[str, str]:
        from graphids.core.captures.formats.bridged.table_columns import columns_of

        columns = columns_of(schema, f"{path}")
        if self._columns is None:
            self._columns = columns
            if ignored := [name for name in schema.names if name not in columns.values()]:
                shown = ", ".join(ignored[:10]) + (" ..." if len(ignored) > 10 else "")
                logger.warning("%s: columns that are not read: %s; read are %s.", path, shown, ", ".join(columns))
        elif columns.keys() != self._columns.keys():
            raise LogFormatError(
                f"{path}: has the columns {', '.join(columns)}, and {self._last_path or 'the file before it'} has "
                f"{', '.join(self._columns)}. Expected the same in every file of one recording; write it again."
            )
        return columns

    def _require_order(self, path: Path, frames: Frames) -> None:
        begin_s = float(frames.timestamp[0])
        if begin_s < self._last_s - JUMP_BACK_S:
            raise LogFormatError(
                f"{path}: begins at {begin_s!r} s, before {self._last_path} ends at {self._last_s!r} s. Expected the "
                "files of one recording in the order of their names; sort it by time before writing "
                "(repartitionByRange and sortWithinPartitions of Spark), or give files of several recordings a folder "
                "without _SUCCESS whose name does not end in .parquet."
            )

    def _kept(self, path: Path, batch: "pa.RecordBatch", columns: dict[str, str], first_row: int) -> Frames:
        """Frames of the rows that are frames; the others are counted or an error."""
        from graphids.core.captures.formats.bridged.table_rows import TableNames, TableRows

        self._names = self._names or TableNames()
        rows = TableRows(f"{path}", batch, columns, self._names)
        frames = rows.frames()
        is_bad = np.zeros(len(frames), np.bool_)
        first_bad = None
        for problem in rows.problems:
            wrong = problem.rows & ~rows.is_error
            is_bad |= wrong
            if wrong.any() and (first_bad is None or np.argmax(wrong) < first_bad[1]):
                first_bad = problem, int(np.argmax(wrong))
        if first_bad is not None and not self.drop_bad_lines:
            raise rows.error(*first_bad, first_row)
        is_kept = ~is_bad & ~rows.is_error
        self.counts.bad_lines += int(is_bad.sum())
        self.counts.error_frames += int(rows.is_error.sum())
        self.counts.remote_frames += int((rows.is_remote & is_kept).sum())
        return frames if is_kept.all() else frames.take(is_kept)


def parts_of_table(folder: Path) -> list[Path]:
    """The files of a folder that is one table, in order, as Spark writes it; none where it is not one.

    Such a folder has a name that ends in `.parquet`, or holds the file `_SUCCESS`.

    Raises:
        LogFormatError: If the table is partitioned: columns are then in the names of folders.
    """
    if not folder.is_dir() or not (folder.suffix.lower() == ".parquet" or (folder / "_SUCCESS").is_file()):
        return []
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "_")))
    if partition := next((entry for entry in entries if entry.is_dir() and "=" in entry.name), None):
        raise LogFormatError(
            f"{folder}: a table partitioned by {partition.name.partition('=')[0]}. Expected files with all columns; "
            "write it without partitionBy, or name one of its folders."
        )
    return [entry for entry in entries if entry.suffix.lower() == ".parquet" and entry.is_file()]


@contextmanager
def _seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """A stream that can be read from its end, where Parquet begins; gzip cannot."""
    if not isinstance(stream, gzip.GzipFile):
        yield stream
        return
    with tempfile.TemporaryFile() as content:
        shutil.copyfileobj(stream, content)
        yield content

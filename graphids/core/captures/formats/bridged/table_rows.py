"""Rows of an Arrow table as `Frames`, and what is wrong with each of them."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from graphids.core.captures.formats.bridged import table_columns as read
from graphids.core.captures.formats.bridged.table_columns import Column
from graphids.core.frames import EXTENDED_BIT, MAX_STANDARD_ID, NORMAL, UNNAMED_KIND, Frames, LogFormatError


@dataclass(slots=True)
class TableNames:
    """Buses and kinds of attack of one recording, with their indexes; they grow as names turn up."""

    buses: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=lambda: {NORMAL: 0})


class Problem(NamedTuple):
    """Rows of a column whose value is not what it has to be."""

    column: str
    rows: NDArray[np.bool_]
    expected: str


@dataclass(slots=True)
class TableRows:
    """Rows of one file.

    Attributes:
        where: The file, for errors.
        batch: The rows.
        columns: The name in the table of each column of `table_columns.ALIASES` that it has.
        names: Of the recording.
        problems: What is wrong, after `frames`. Rows of error frames count too.
        is_remote: bool [n], after `frames`.
        is_error: bool [n], after `frames`.
    """

    where: str
    batch: pa.RecordBatch
    columns: dict[str, str]
    names: TableNames
    problems: list[Problem] = field(default_factory=list)
    is_remote: NDArray[np.bool_] = field(init=False)
    is_error: NDArray[np.bool_] = field(init=False)

    def frames(self) -> Frames:
        """All rows, with zeros where there is a problem.

        Raises:
            LogFormatError: If a column has a type that cannot be read.
        """
        self.is_remote, self.is_error = self._flag("is_remote"), self._flag("is_error")
        self._note("is_fd", self._flag("is_fd"), "classic CAN, not a CAN FD frame")
        seconds = self._noted("timestamp", read.seconds_of(*self._array("timestamp")))
        numbers, is_extended = self._identifiers()
        payload, dlc = self._payloads()
        attack, kind = self._labels()
        return Frames(
            timestamp=seconds,
            arbitration_id=numbers.astype(np.uint32),
            dlc=dlc.astype(np.uint8),
            payload=payload,
            is_extended=is_extended,
            channel=self._indexes("bus", self.names.buses, may_be_empty=True).astype(np.uint8),
            channels=tuple(self.names.buses) or ("",),
            attack=attack,
            attack_kind=kind,
            kinds=tuple(self.names.kinds),
        )

    def error(self, problem: Problem, row: int, first_row: int) -> LogFormatError:
        """The error for a row of the batch, which begins at the row `first_row` of the table."""
        name = self.columns[problem.column]
        value = self.batch.column(name)[row].as_py()
        shown = "null" if value is None else f"{value!r:.80}"
        return LogFormatError(
            f"{self.where}: row {first_row + row}, counted from 0: {name} is {shown}. Expected {problem.expected}. "
            "Correct the table, or pass on_bad_line='drop' (--on-bad-line drop) to skip and count such rows."
        )

    def _identifiers(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        keys = self._noted("arbitration_id", read.identifiers_of(*self._array("arbitration_id")))
        has_29_bits, numbers = keys >= int(EXTENDED_BIT), keys & (int(EXTENDED_BIT) - 1)
        if "is_extended" not in self.columns:
            return numbers, has_29_bits | (numbers > MAX_STANDARD_ID)
        is_extended = self._flag("is_extended")
        self._note("arbitration_id", ~is_extended & (numbers > MAX_STANDARD_ID), "at most 7FF where not is_extended")
        return numbers, is_extended

    def _payloads(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        column, length = read.payloads_of(*self._array("data"))
        payload = self._noted("data", column)
        self._note("data", self.is_remote & payload.any(axis=1), "no bytes in a remote frame")
        if "dlc" in self.columns:
            dlc = self._noted("dlc", read.lengths_of(*self._array("dlc")))
            # A column of fixed width is padded with zeros.
            is_padded = pa.types.is_fixed_size_binary(self._array("data")[0].type)
            is_beyond = np.arange(payload.shape[1]) >= dlc[:, None]
            differs = (payload * is_beyond).any(axis=1) | (dlc > length) if is_padded else dlc != length
            self._note("dlc", differs & ~self.is_remote, "as many bytes as there are data")
            length = dlc
        return payload, np.where(self.is_remote, 0, length)

    def _labels(self) -> tuple[NDArray[np.uint8] | None, NDArray[np.int16] | None]:
        if "attack" not in self.columns and "attack_kind" not in self.columns:
            return None, None
        if "attack_kind" not in self.columns:
            self.names.kinds.setdefault(UNNAMED_KIND, len(self.names.kinds))
            attack = self._flag("attack")
            return attack.astype(np.uint8), attack.astype(np.int16)
        kind = self._indexes("attack_kind", self.names.kinds, may_be_empty=False)
        attack = self._flag("attack") if "attack" in self.columns else kind > 0
        self._note("attack_kind", attack & (kind == 0), f"the kind of attack of a frame that is not {NORMAL}")
        return attack.astype(np.uint8), kind.astype(np.int16)

    def _array(self, column: str) -> tuple[pa.Array, str]:
        """The values of a column, and the column as the subject of an error."""
        name = self.columns[column]
        values = self.batch.column(name)
        is_encoded = pa.types.is_dictionary(values.type)
        return values.dictionary_decode() if is_encoded else values, f"{self.where}: column {name!r}"

    def _flag(self, column: str) -> NDArray[np.bool_]:
        """A column of flags, all False where the table has none."""
        if column not in self.columns:
            return np.zeros(self.batch.num_rows, np.bool_)
        return self._noted(column, read.flags_of(*self._array(column)))

    def _indexes(self, column: str, known: dict[str, int], *, may_be_empty: bool) -> NDArray[np.int64]:
        """A column of names as indexes into `known`, all 0 where the table has none."""
        if column not in self.columns:
            return np.zeros(self.batch.num_rows, np.int64)
        return self._noted(column, read.names_of(*self._array(column), known, may_be_empty=may_be_empty))

    def _noted(self, column: str, found: Column) -> NDArray[Any]:
        """The values of a column, zero where there is none that is possible."""
        self._note(column, found.wrong, found.expected)
        if found.wrong.any():
            found.values[found.wrong] = 0
        return found.values

    def _note(self, column: str, wrong: NDArray[np.bool_], expected: str) -> None:
        if wrong.any():
            self.problems.append(Problem(column, wrong, expected))

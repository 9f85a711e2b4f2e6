"""Columns of an Arrow table as columns of `Frames`: which is which, and what a value has to be."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from graphids.core.captures.formats.names import MAX_NAMES
from graphids.core.captures.rounded_times import require_fine_steps
from graphids.core.frames import (
    MAX_EXTENDED_ID,
    MAX_PAYLOAD_BYTES,
    MAX_TIMESTAMP_S,
    LogFormatError,
    hex_node_key,
)

# Names of a column, in any case, the one that is preferred first.
ALIASES = {
    "timestamp": ("timestamp", "time", "ts"),
    "arbitration_id": ("arbitration_id", "can_id", "id"),
    "data": ("data", "payload", "data_field"),
    "bus": ("bus", "channel"),
    "is_extended": ("is_extended", "is_extended_id", "extended", "ide"),
    "is_remote": ("is_remote", "is_remote_frame", "remote", "rtr"),
    "is_error": ("is_error", "is_error_frame", "error"),
    "is_fd": ("is_fd", "fd"),
    "dlc": ("dlc",),
    "attack": ("attack", "label"),
    "attack_kind": ("attack_kind",),
}
REQUIRED = ("timestamp", "arbitration_id", "data")
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MAX_NAME = 64  # characters of a bus or a kind
_NIBBLES = np.full(256, 255, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdefABCDEF", np.uint8)] = [*range(16), *range(10, 16)]


def columns_of(schema: pa.Schema, where: str) -> dict[str, str]:
    """The name in the table of each column of `ALIASES` that it has.

    Raises:
        LogFormatError: If a column that every frame needs is missing, or a name occurs twice.
    """
    by_name: dict[str, str] = {}
    for name in schema.names:
        if name.lower() in by_name and any(name.lower() in names for names in ALIASES.values()):
            raise LogFormatError(
                f"{where}: has the columns {by_name[name.lower()]!r} and {name!r}. Expected one of that name; rename "
                "or drop the other."
            )
        by_name[name.lower()] = name
    found = {
        column: next(by_name[name] for name in names if name in by_name)
        for column, names in ALIASES.items()
        if any(name in by_name for name in names)
    }
    if missing := [column for column in REQUIRED if column not in found]:
        expected = "; ".join(f"{column} (or {', '.join(ALIASES[column][1:])})" for column in missing)
        raise LogFormatError(
            f"{where}: the table has the columns {', '.join(schema.names)[:200]} and lacks {expected}. Expected a "
            "table with a row per frame; rename its columns."
        )
    return found


class Column(NamedTuple):
    """A column that was read: its values, which rows have none that is possible, and what a value has to be."""

    values: NDArray[Any]
    wrong: NDArray[np.bool_]
    expected: str


def seconds_of(column: pa.Array, where: str) -> Column:
    """float64 seconds.

    Raises:
        LogFormatError: If the type does not say what the unit is.
        DataError: If the type is too coarse.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        # Not by one division: nanoseconds since 1970 have more digits than a float64.
        whole, rest = np.divmod(_integers(column), _UNITS[kind.unit])
        seconds = whole + rest / _UNITS[kind.unit]
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        seconds = column.cast(pa.float64()).to_numpy(zero_copy_only=False).copy()
    else:
        raise LogFormatError(f"{where} is {kind}{_remedy_for_times(column)}")
    wrong = _nulls(column) | ~(np.abs(seconds) < MAX_TIMESTAMP_S)  # `~` around it: NaN compares false with everything
    if pa.types.is_floating(kind):
        require_fine_steps(where, np.dtype(kind.to_pandas_dtype()), seconds[~wrong])
    return Column(seconds, wrong, f"seconds, less than {MAX_TIMESTAMP_S:g}")


def _remedy_for_times(column: pa.Array) -> str:
    expected = "Expected float64 seconds, or a type of Arrow that says the unit"
    if not pa.types.is_integer(column.type):
        return f". {expected}, such as timestamp[us]; cast the column."
    largest = float(np.abs(_integers(column)).max(initial=0))
    unit = next((unit for unit in ("ns", "us", "ms") if largest >= 1e8 * _UNITS[unit]), None)
    guess = f", and values up to {largest:.3g} are {unit} since 1970" if unit else ""
    return (
        f", which does not say its unit{guess}. {expected}; cast the column to timestamp[{unit or 'us'}] "
        f"(table.cast of pyarrow, timestamp_micros of Spark), or divide it by {_UNITS[unit or 'us']:,}."
    )


def identifiers_of(column: pa.Array, where: str) -> Column:
    """int64 arbitration IDs, with bit 31 set where a string says that it has 29 bits."""
    expected = f"an integer, or hex such as '1A4' or '0x18FEF100', from 0 to 0x{MAX_EXTENDED_ID:X}"
    if pa.types.is_integer(column.type):
        numbers = _integers(column)
        return Column(numbers, _nulls(column) | (numbers < 0) | (numbers > MAX_EXTENDED_ID), expected)
    if not _is_text(column.type):
        raise LogFormatError(f"{where} is {column.type}. Expected {expected}; cast the column.")
    index, texts = _dictionary(column)
    numbers = np.array([*map(hex_node_key, texts), -1], np.int64)[index]
    return Column(numbers, numbers < 0, expected)


def payloads_of(column: pa.Array, where: str) -> tuple[Column, NDArray[np.int64]]:
    """uint8 payloads [n, 8], zero beyond their length; and their lengths."""
    is_hex = _is_text(column.type)
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    elif not is_hex and not pa.types.is_binary(column.type) and not pa.types.is_large_binary(column.type):
        raise LogFormatError(f"{where} is {column.type}. Expected binary, or strings of hex; cast the column.")
    places = MAX_PAYLOAD_BYTES * (2 if is_hex else 1)
    characters, lengths = _characters(column.cast(pa.large_string() if is_hex else pa.large_binary()), places)
    wrong = _nulls(column) | (lengths > places)
    if is_hex:
        nibbles = np.where(np.arange(places) < lengths[:, None], _NIBBLES[characters], 0)
        wrong |= (lengths % 2 == 1) | (nibbles > 0xF).any(axis=1)
        characters = ((nibbles[:, 0::2] << 4) | (nibbles[:, 1::2] & 0xF)).astype(np.uint8)
        lengths = lengths // 2
    expected = f"at most {MAX_PAYLOAD_BYTES} bytes, as classic CAN has them" + (", two hex digits each" * is_hex)
    return Column(characters, wrong, expected), np.minimum(lengths, MAX_PAYLOAD_BYTES)


def flags_of(column: pa.Array, where: str) -> Column:
    """Bool flags."""
    if not pa.types.is_boolean(column.type) and not pa.types.is_integer(column.type):
        raise LogFormatError(f"{where} is {column.type}. Expected booleans, or 0 and 1; cast the column.")
    numbers = _integers(column)
    return Column(numbers == 1, _nulls(column) | ~np.isin(numbers, (0, 1)), "true or false, or 0 or 1")


def lengths_of(column: pa.Array, where: str) -> Column:
    """int64 DLC as numbers of bytes; 9 to 15 mean 8 bytes on classic CAN (ISO 11898-1)."""
    if not pa.types.is_integer(column.type):
        raise LogFormatError(f"{where} is {column.type}. Expected integers; cast the column.")
    numbers = _integers(column)
    wrong = _nulls(column) | (numbers < 0) | (numbers > 15)
    return Column(np.clip(numbers, 0, MAX_PAYLOAD_BYTES), wrong, "an integer from 0 to 15")


def names_of(column: pa.Array, where: str, known: dict[str, int], *, may_be_empty: bool) -> Column:
    """int64 indexes into `known`, to which new names are added."""
    if not _is_text(column.type) and not pa.types.is_integer(column.type):
        raise LogFormatError(f"{where} is {column.type}. Expected names as strings, or integers; cast the column.")
    index, names = _dictionary(column.cast(pa.string()))
    for name in names:
        if name.isprintable() and len(name) <= _MAX_NAME and (name or may_be_empty) and len(known) < MAX_NAMES:
            known.setdefault(name, len(known))
    numbers = np.array([*(known.get(name, -1) for name in names), -1], np.int64)[index]
    return Column(
        numbers, numbers < 0, f"a name of at most {_MAX_NAME} printable characters, of which a file has {MAX_NAMES}"
    )


def _integers(column: pa.Array) -> NDArray[np.int64]:
    """As int64, 0 for a null; what is beyond int64 becomes negative."""
    if not pa.types.is_signed_integer(column.type):
        column = column.cast(pa.int64(), safe=False)
    filled: Any = pc.fill_null(column.cast(pa.int64()), 0)
    return filled.to_numpy(zero_copy_only=False).copy()  # type: ignore[no-any-return]  # pyarrow has no types


def _nulls(column: pa.Array) -> NDArray[np.bool_]:
    return column.is_null().to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _dictionary(column: pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    """The index of each row's text, or that after the last for a null; and the texts in order of appearance."""
    encoded = pc.dictionary_encode(column)
    texts = encoded.dictionary.to_pylist()
    return pc.fill_null(encoded.indices.cast(pa.int64()), len(texts)).to_numpy(zero_copy_only=False), texts


def _characters(column: pa.Array, places: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first `places` bytes of each row of a large binary or string, zeros after its end; and its length."""
    _, offsets_buffer, data = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[column.offset : column.offset + len(column) + 1]
    flat = np.frombuffer(data or b"", np.uint8)
    lengths = np.diff(offsets)
    at = offsets[:-1, None] + np.arange(places)
    within = np.arange(places) < lengths[:, None]
    return (np.where(within, flat[np.where(within, at, 0)], 0) if flat.size else np.zeros(at.shape, np.uint8)), lengths


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

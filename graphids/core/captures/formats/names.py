"""Names that the lines of a file mention: buses, and kinds of attack."""

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from graphids.core.captures.formats.byte_parsers import BLANK, Bytes

MAX_NAMES = 256
# A row of a table of names: up to 32 bytes of text, then its length. Length 0 marks the first free row.
NAME_BYTES = 32
_LAST_PRINTABLE = 126


class Names(NamedTuple):
    """Tables of the names in a file, filled by the lines as they are parsed."""

    buses: Bytes
    kinds: Bytes


def names_table(*first: str) -> Bytes:
    """A table for `name_index` that begins with the names `first`."""
    names = np.zeros((MAX_NAMES, NAME_BYTES + 1), dtype=np.uint8)
    for row, name in enumerate(first):
        names[row, : len(name)] = np.frombuffer(name.encode(), dtype=np.uint8)
        names[row, NAME_BYTES] = len(name)
    return names


def names_in(table: Bytes) -> tuple[str, ...]:
    """The names that a table holds."""
    rows = table[: np.count_nonzero(table[:, NAME_BYTES])]
    return tuple(bytes(row[: row[NAME_BYTES]]).decode("utf-8", "backslashreplace") for row in rows)


@register_jitable
def num_names(names: Bytes) -> int:
    """How many names the table holds."""
    count = 0
    while count < MAX_NAMES and names[count, NAME_BYTES] > 0:
        count += 1
    return count


@register_jitable
def name_index(names: Bytes, text: Bytes, at: int, end: int, lower: bool) -> int:
    """Row of the name `text[at:end]` in the table `names`, added where it is new.

    -1 where the table is full, or the name is not 1 to `NAME_BYTES` printable ASCII characters.
    """
    size = end - at
    if size < 1 or size > NAME_BYTES:
        return -1
    for column in range(at, end):
        if text[column] < BLANK or text[column] > _LAST_PRINTABLE:
            return -1
    for row in range(MAX_NAMES):
        is_free = names[row, NAME_BYTES] == 0
        if not is_free and names[row, NAME_BYTES] != size:
            continue
        equal = True
        for column in range(size):
            byte = text[at + column]
            if lower and 65 <= byte <= 90:
                byte += np.uint8(32)
            if is_free:
                names[row, column] = byte
            elif names[row, column] != byte:
                equal = False
                break
        if is_free:
            names[row, NAME_BYTES] = size
        if equal:
            return row
    return -1


@register_jitable
def forget_names(names: Bytes, kept: int) -> None:
    """Drop the names after the first `kept`: a bad line may have added one."""
    for row in range(kept, num_names(names)):
        names[row, :] = 0

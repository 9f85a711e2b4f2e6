"""Formats that are known and not read, each with its reason and the way around."""

import re

# Recognised by their first lines. Each sentence follows "which is".
_REFUSED: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"\s*\"?timestamps\"?[,;\t].*CAN_DataFrame", re.IGNORECASE),
        "asammdf's csv of an MF4, where the bytes of a frame are a printed array. Read the MF4 itself, which graphids "
        "knows, or convert it by CSS Electronics' free mdf2csv",
    ),
    (
        re.compile(rb"\s*\"?Time\"?[,;\t]\s*\"?Channel\"?[,;\t]\s*\"?ID\"?[,;\t]\s*\"?Flags\"?[,;\t]", re.IGNORECASE),
        "Kvaser's csv, which does not say whether its IDs and bytes are decimal or hexadecimal. Convert the log to "
        "Vector ASC by Kvaser's free converter (kvlclib, Kvaser Memorator Tools)",
    ),
)


def refused_format(head: bytes) -> str | None:
    """What a file that begins with `head` is and what to do, if it is of a format that is known and not read."""
    return next((sentence for pattern, sentence in _REFUSED if pattern.match(head)), None)

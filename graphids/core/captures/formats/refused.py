"""Formats that are known and not read, each with its reason and the way around."""

import re

# Recognised by their first lines. Each sentence follows "which is".
_REFUSED: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"\s*\"?timestamps\"?[,;\t].*CAN_(?:Data|Remote|Error)Frame", re.IGNORECASE),
        "asammdf's csv of an MF4, which starts the clock of each group of messages at zero and, where it is resampled, "
        "repeats frames without saying so. Read the MF4 itself, which graphids knows, or convert it by CSS "
        "Electronics' free mdf2csv",
    ),
    (
        re.compile(rb"(?:.*\n){0,9}?Time[,;\t|]Channel[,;\t|]PGN[,;\t|]", re.IGNORECASE),
        "Kvaser's csv with J1939 PGNs in place of IDs. Convert the log again without J1939 by Kvaser's free converter "
        "(kvlclib, Kvaser Memorator Tools)",
    ),
)


def refused_format(head: bytes) -> str | None:
    """What a file that begins with `head` is and what to do, if it is of a format that is known and not read."""
    return next((sentence for pattern, sentence in _REFUSED if pattern.match(head)), None)

"""In which base Kvaser's tools wrote the IDs and the bytes of a file: two options, which not every file states."""

import re
from collections.abc import Iterable

from graphids.core.frames import MAX_EXTENDED_ID, MAX_STANDARD_ID, LogFormatError


def settled(name: str, field: str, evidence: set[bool]) -> bool:
    """Whether the numbers of a field are decimal, by what their values rule out.

    Raises:
        LogFormatError: If nothing, or either base, is ruled out.
    """
    if len(evidence) == 1:
        return evidence.pop()
    found = "contradict one another" if evidence else "are possible both as decimal and as hexadecimal numbers"
    raise LogFormatError(
        f"{name} that does not state the base of its numbers, whose first {field} {found}. Expected numbers that only "
        "one base allows; convert the log by Kvaser's free converter (kvlclib, Kvaser Memorator Tools) to csv with its "
        "header, or to Vector ASC."
    )


def id_evidence(ids: Iterable[tuple[bytes, bool]]) -> set[bool]:
    """Whether IDs, each with whether it has 29 bits, can only be decimal: empty where they may be either.

    A letter or 0x is hexadecimal; a number that would be too large as a hexadecimal one is decimal.
    """
    found = set()
    for digits, is_extended in ids:
        if not re.fullmatch(rb"(0[xX])?[0-9a-fA-F]{1,10}", digits):
            continue
        if not digits.isdigit():
            found.add(False)
        elif int(digits, 16) > (MAX_EXTENDED_ID if is_extended else MAX_STANDARD_ID):
            found.add(True)
    return found


def byte_evidence(numbers: Iterable[bytes]) -> set[bool]:
    """As `id_evidence`, of bytes: three digits are decimal; a letter, or a zero before another digit, hexadecimal."""
    found = set()
    for byte in numbers:
        if re.fullmatch(rb"\d{3}", byte):
            found.add(True)
        elif re.fullmatch(rb"0[0-9]|[0-9a-fA-F]{2}", byte) and (byte[:1] == b"0" or not byte.isdigit()):
            found.add(False)
    return found

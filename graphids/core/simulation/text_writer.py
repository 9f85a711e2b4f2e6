"""Frames as text, whole columns at a time: each line is a row of a byte matrix from which unused places are dropped.

A Python loop that formats frame by frame takes twenty times as long.
"""

import numpy as np
from numpy.typing import NDArray

from graphids.core.frames import MAX_STANDARD_ID, Frames

_HEX = np.frombuffer(b"0123456789ABCDEF", np.uint8)
_MICROSECONDS = 1_000_000
_SECONDS_PLACES = 10  # before the point, in candump's log

# A field: characters, uint8 [n, width], and which of them are written, bool [n, width].
Field = tuple[NDArray[np.uint8], NDArray[np.bool_]]


def csv_text(frames: Frames) -> bytes:
    """can-train-and-test csv: `timestamp,arbitration_id,data_field[,attack]`, upper-case hex, without the bus."""
    return csv_header(frames) + csv_lines(frames)


def csv_header(frames: Frames) -> bytes:
    """The first line of `csv_text`; the column `attack` is there where frames have labels."""
    return b"timestamp,arbitration_id,data_field" + (b"\n" if frames.attack is None else b",attack\n")


def csv_lines(frames: Frames) -> bytes:
    """The lines of `csv_text` after the first."""
    n = len(frames)
    label = [] if frames.attack is None else [_literal(b",", n), _decimal(_labels(frames))]
    return _lines(
        *_time(frames),
        _literal(b",", n),
        _identifier(frames),
        _literal(b",", n),
        _payload(frames),
        *label,
        _literal(b"\n", n),
    )


def candump_text(frames: Frames, channel: str = "can0", *, labels: bool = False) -> bytes:
    """The log of `candump -l`: `(0000000000.000236) can0 1E5#4413823000000145`.

    Args:
        frames: Of any buses, whose names have no blank.
        channel: Name for a bus that has none.
        labels: Add a last column, 0 or 1, as the data set CAN-MIRGU has it; candump itself has none.
    """
    n = len(frames)
    label = [_literal(b" ", n), _decimal(_labels(frames))] if labels else []
    return _lines(
        _literal(b"(", n),
        *_time(frames, _SECONDS_PLACES),
        _literal(b") ", n),
        _bus(frames, channel),
        _literal(b" ", n),
        _identifier(frames),
        _literal(b"#", n),
        _payload(frames),
        *label,
        _literal(b"\n", n),
    )


def labels_text(frames: Frames) -> bytes:
    """The sidecar of a format without labels: `frame_index,attack`.

    Raises:
        ValueError: If the frames have no labels.
    """
    n = len(frames)
    return b"frame_index,attack\n" + _lines(
        _decimal(np.arange(n)), _literal(b",", n), _decimal(_labels(frames)), _literal(b"\n", n)
    )


def _labels(frames: Frames) -> NDArray[np.int64]:
    if frames.attack is None:
        raise ValueError("The frames have no labels (attack is None), and the format has a column for them.")
    return frames.attack.astype(np.int64)


def _time(frames: Frames, places: int = 0) -> tuple[Field, ...]:
    """Seconds with six decimals, or with as many as it takes to tell them from every other float64.

    `places` pads the digits before the point with zeros.
    """
    size = np.abs(frames.timestamp)
    total = np.rint(size * _MICROSECONDS).astype(np.int64)
    if (total / _MICROSECONDS != size).any():
        # On their own, because numpy's digits of one float64 take longer than the rest of the line.
        return (_texts([_shortest(seconds, places) for seconds in frames.timestamp.tolist()]),)
    seconds, microseconds = total // _MICROSECONDS, total % _MICROSECONDS
    sign = np.full((len(size), 1), ord("-"), np.uint8), (frames.timestamp < 0)[:, None]
    fits = int(seconds.max(initial=0)) < 10**places
    whole = _decimal(seconds, places if fits else 0)
    return sign, whole, _literal(b".", len(size)), _decimal(microseconds, 6)


def _shortest(seconds: float, places: int) -> bytes:
    digits = np.format_float_positional(abs(seconds), unique=True, min_digits=6)
    whole, _, fraction = digits.partition(".")
    return f"{'-' if seconds < 0 else ''}{whole.zfill(places)}.{fraction}".encode()


def _bus(frames: Frames, unnamed: str) -> Field:
    characters, written = _texts([(name or unnamed).encode() for name in frames.channels])
    return characters[frames.channel], written[frames.channel]


def _texts(texts: list[bytes]) -> Field:
    """A row for each of `texts`, none of which holds a NUL byte."""
    width = max(map(len, texts), default=0)
    characters = np.frombuffer(b"".join(text.ljust(width, b"\0") for text in texts), np.uint8).reshape(-1, width or 1)
    return characters, characters > 0


def _lines(*fields: Field) -> bytes:
    characters = np.concatenate([f[0] for f in fields], axis=1)
    written = np.concatenate([f[1] for f in fields], axis=1)
    text: NDArray[np.uint8] = characters[written]
    return text.tobytes()


def _literal(text: bytes, num_rows: int) -> Field:
    characters = np.broadcast_to(np.frombuffer(text, np.uint8), (num_rows, len(text)))
    return characters, np.ones((num_rows, len(text)), np.bool_)


def _decimal(values: NDArray[np.int64], width: int = 0) -> Field:
    """Decimal digits, zero-padded to `width`; without one, as many as each value needs."""
    places = width or len(str(int(values.max(initial=0))))
    powers = 10 ** np.arange(places - 1, -1, -1)
    digits = values[:, None] // powers % 10
    written = np.ones(digits.shape, np.bool_) if width else (values[:, None] >= powers) | (powers == 1)
    return (digits + ord("0")).astype(np.uint8), written


def _identifier(frames: Frames) -> Field:
    """Three hex digits for an 11-bit identifier, eight for one of 29 bits."""
    places = 8 if frames.is_extended.any() else len(f"{MAX_STANDARD_ID:X}")
    shifts = np.arange(4 * (places - 1), -1, -4)
    characters = _HEX[(frames.arbitration_id.astype(np.int64)[:, None] >> shifts) & 0xF]
    return characters, frames.is_extended[:, None] | (shifts <= 8)


def _payload(frames: Frames) -> Field:
    characters = np.stack([_HEX[frames.payload >> 4], _HEX[frames.payload & 0xF]], axis=2).reshape(len(frames), 16)
    return characters, np.arange(16) < 2 * frames.dlc.astype(np.int64)[:, None]

"""A program: ASAM MF4 on standard input, its CAN messages as records on standard output.

It runs in a process of its own, because asammdf does not survive every damaged file: lengths that a file gives made
numpy read outside its buffers and end the interpreter, its destructor prints a trace, and of a group of frames that it
cannot read it writes an error to its log and goes on without them. Here that error is the end.

It imports nothing of graphids, so that it can be started by its path.
"""

import logging
import os
import struct
import sys
from typing import TYPE_CHECKING, BinaryIO, NoReturn

if TYPE_CHECKING:
    import can

# Timestamp, identifier, flags, DLC, bytes of data, channel (-1: none), data.
RECORD = struct.Struct("<dIBBBq64s")
EXTENDED, REMOTE, ERROR, FD = 1, 2, 4, 8
_MEMORY_BYTES, _MEMORY_TIMES = 4 << 30, 16


class _Refuse(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        last_line = record.getMessage().strip().splitlines()[-1]
        _end(f"asammdf: {last_line}")


def main() -> None:
    """Copy messages until the end of the file; exit code 1, with one line on standard error, if it cannot be read."""
    import asammdf
    import can

    asammdf.logger.handlers = [_Refuse(logging.ERROR)]
    stream = sys.stdin.buffer
    _limit_memory(stream.seek(0, 2))
    stream.seek(0)
    try:
        for message in can.MF4Reader(stream):
            _write(sys.stdout.buffer, message)
        sys.stdout.buffer.flush()
    except Exception as error:  # what the parsers of python-can and asammdf raise is not documented
        _end(f"{type(error).__name__}: {error}")
    _end("")


def _write(output: BinaryIO, message: "can.Message") -> None:
    flags = (
        EXTENDED * message.is_extended_id
        | REMOTE * message.is_remote_frame
        | ERROR * message.is_error_frame
        | FD * message.is_fd
    )
    channel = message.channel if isinstance(message.channel, int) else -1
    data = bytes(message.data)
    output.write(RECORD.pack(message.timestamp, message.arbitration_id, flags, message.dlc, len(data), channel, data))


def _limit_memory(num_bytes: int) -> None:
    """A block can say that it decompresses to any size."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    limit = _MEMORY_BYTES + _MEMORY_TIMES * num_bytes
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


def _end(problem: str) -> NoReturn:
    """End here: destructors of what was half read would write to standard error."""
    if problem:
        sys.stderr.write(" ".join(problem.split())[:300])
        sys.stderr.flush()
    os._exit(bool(problem))


if __name__ == "__main__":
    main()

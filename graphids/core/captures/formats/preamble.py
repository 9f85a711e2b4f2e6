"""Lines before the header of a format that does not begin with it: prose and settings, never frames."""

from pathlib import Path

from graphids.core.captures.formats.line_records import ERROR_FRAME, FRAME, REMOTE_FRAME
from graphids.core.captures.formats.text_format import Recognised, quoted
from graphids.core.captures.formats.text_parser import TextParser
from graphids.core.frames import LogFormatError


def require_frames_after_header(path: Path, recognised: Recognised, head: bytes) -> None:
    """Refuse a file with a frame before its header line, from which on it is read.

    Args:
        path: Named in the error.
        recognised: The format found in `head`.
        head: The first bytes of the file.

    Raises:
        LogFormatError: Naming the frame.
    """
    if recognised.format.header is None or recognised.format.leads:
        return
    parser = TextParser(path, recognised, drop_bad_lines=True)
    for number, line in enumerate(head[: recognised.data_start].splitlines(), start=1):
        list(parser.parse(line))
        if parser.counts[[FRAME, REMOTE_FRAME, ERROR_FRAME]].any():
            raise LogFormatError(
                f"{path}:{number}: a frame before the header line: found `{quoted(line.strip())}`. Expected "
                "the header line before the first frame; put the lines back into order, or export the capture again."
            )

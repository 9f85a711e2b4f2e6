"""Logs of the CLX000: their times leave out what a line of the header says once."""

import pytest

from graphids.core.captures.formats.registry import recognise
from graphids.core.frames import LogFormatError
from support.format_cases.clx000 import HEAD

ROW = b"01T022231683;0;1a2;00\n"
TIME = b"# Time: 20170101T022232\n"


@pytest.mark.parametrize(
    "text",
    [HEAD.replace(TIME, b"") + ROW, HEAD.replace(TIME, b"") + ROW + TIME, HEAD.replace(b"0101T", b"1301T") + ROW],
)
def test_times_without_a_year_are_refused_where_the_header_lost_it(text: bytes) -> None:
    with pytest.raises(LogFormatError, match=r"times leave out the year.* `# Time:`.* put the line back"):
        recognise(text)

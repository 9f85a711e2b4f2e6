"""Commands whose reader has gone, as in `| head -1`: real processes, and a pipe that nobody reads."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphids.commands.console import watched_reader
from graphids.core.simulation.text_writer import candump_text
from graphids.exit_codes import EXIT_READER_GONE
from support.tiny_model import three_ids


@pytest.fixture
def unread_pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "drive.log"
    path.write_bytes(candump_text(three_ids(40)))
    return path


def graphids(*words: object, stdout: int, stderr: int = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "graphids", *map(str, words)], stdout=stdout, stderr=stderr, text=True, check=False
    )


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["predict", "--help"], ["inspect"], ["inspect", "--json"]]
)
def test_a_command_that_only_prints_ends_quietly_with_the_code_of_sigpipe(
    words: list[str], unread_pipe: int, capture: Path
) -> None:
    done = graphids(*words, *([capture] if words[0] == "inspect" else []), stdout=unread_pipe)

    assert (done.returncode, done.stderr) == (EXIT_READER_GONE, "")


def test_an_error_that_nobody_reads_is_no_traceback(unread_pipe: int) -> None:
    done = graphids("inspect", "/no/such/drive.log", stdout=subprocess.PIPE, stderr=unread_pipe)

    assert (done.returncode, done.stdout) == (EXIT_READER_GONE, "")


def test_a_command_that_leaves_a_file_writes_it_all_the_same(unread_pipe: int, capture: Path) -> None:
    done = graphids("convert", capture, capture.with_name("copy.log"), stdout=unread_pipe)

    assert (done.returncode, done.stderr) == (0, "")
    assert capture.with_name("copy.log").read_bytes().count(b"\n") == 40


def test_a_command_without_standard_output_is_no_traceback(capture: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m graphids inspect {capture} >&-", shell=True, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_broken_pipe_that_is_not_the_readers_stays_an_error() -> None:
    with pytest.raises(BrokenPipeError, match="of a server"), watched_reader():
        raise BrokenPipeError("of a server")

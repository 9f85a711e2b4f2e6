"""Every format of capture files, in the order in which a file is tried against them."""

import re
from pathlib import Path

from graphids.core.captures.formats.bridged.asam_mf4 import ASAM_MF4
from graphids.core.captures.formats.bridged.bridge import BridgedFormat
from graphids.core.captures.formats.bridged.parquet import PARQUET, TableFormat
from graphids.core.captures.formats.bridged.sqlite_log import SQLITE_LOG
from graphids.core.captures.formats.bridged.vector_blf import VECTOR_BLF
from graphids.core.captures.formats.refused import refused_binary, refused_text
from graphids.core.captures.formats.text.attack_defense import attack_defense
from graphids.core.captures.formats.text.busmaster import busmaster
from graphids.core.captures.formats.text.cabana import cabana
from graphids.core.captures.formats.text.can_train_and_test import can_train_and_test
from graphids.core.captures.formats.text.candump_log import candump_log
from graphids.core.captures.formats.text.candump_screen import candump_screen
from graphids.core.captures.formats.text.canedge import canedge
from graphids.core.captures.formats.text.canhacker import canhacker
from graphids.core.captures.formats.text.canking import canking
from graphids.core.captures.formats.text.car_hacking import car_hacking
from graphids.core.captures.formats.text.clx000 import clx000
from graphids.core.captures.formats.text.crtd import crtd
from graphids.core.captures.formats.text.crysys_trace import crysys_trace
from graphids.core.captures.formats.text.gvret import gvret
from graphids.core.captures.formats.text.ixxat_minimon import ixxat_minimon
from graphids.core.captures.formats.text.kvaser_csv import kvaser_csv
from graphids.core.captures.formats.text.normal_run import normal_run
from graphids.core.captures.formats.text.openxc import openxc
from graphids.core.captures.formats.text.pcan_trace import pcan_trace
from graphids.core.captures.formats.text.peak_converter import peak_converter
from graphids.core.captures.formats.text.python_can_csv import python_can_csv
from graphids.core.captures.formats.text.python_can_text import python_can_text
from graphids.core.captures.formats.text.vector_asc import vector_asc
from graphids.core.captures.formats.text.vehicle_spy import vehicle_spy
from graphids.core.captures.formats.text_format import Recognised, TextFormat, quoted, recognise_text
from graphids.core.frames import LogFormatError

TEXT_FORMATS: tuple[TextFormat, ...] = (
    can_train_and_test,
    attack_defense,
    gvret,
    python_can_csv,
    cabana,
    canedge,
    clx000,
    ixxat_minimon,
    kvaser_csv,
    canking,
    python_can_text,
    canhacker,
    peak_converter,
    car_hacking,
    normal_run,
    candump_log,
    candump_screen,
    crysys_trace,
    crtd,
    busmaster,
    openxc,
    pcan_trace,
    vector_asc,
    vehicle_spy,
)
BRIDGED_FORMATS: tuple[BridgedFormat, ...] = (VECTOR_BLF, ASAM_MF4, SQLITE_LOG)
TABLE_FORMATS: tuple[TableFormat, ...] = (PARQUET,)
_BINARY: tuple[BridgedFormat | TableFormat, ...] = (*BRIDGED_FORMATS, *TABLE_FORMATS)
FORMAT_NAMES = (*(known.name for known in TEXT_FORMATS), *(known.name for known in _BINARY))


def recognise(head: bytes) -> Recognised | BridgedFormat | TableFormat | None:
    """The format of a file that begins with `head`, at most `HEAD_BYTES` of it; None where it is unknown.

    Raises:
        LogFormatError: If the format is known but not this version of it.
    """
    binary = next((known for known in _BINARY if known.start.match(head)), None)
    return binary or recognise_text(head, TEXT_FORMATS)


def unknown_format(path: Path, head: bytes) -> LogFormatError:
    """The error for a file that no format recognises."""
    known = ", ".join(FORMAT_NAMES)
    first = quoted(head.split(b"\n", 1)[0].strip())
    if not head.strip():
        return LogFormatError(f"{path}: the file is empty. Expected a capture in one of the formats {known}.")
    if refused := refused_binary(head):
        return LogFormatError(f"{path}: is {refused}.")
    if re.match(
        rb"\s*ID,DATA_0,|\s*\S*can\d+\s+([RT]X [-B] [-E]\s+)?[0-9a-fA-F]+\s+[\[{]\w+[\]}]", head, re.IGNORECASE
    ):
        return LogFormatError(
            f"{path}:1: found `{first}`: frames without timestamps. Expected the time of every frame, without which "
            f"there is no order and no gap to learn from; record again with timestamps (candump -l)."
        )
    if refused := refused_text(head):
        return LogFormatError(f"{path}:1: found `{first}`, which is {refused}.")
    hint = " The file is UTF-16 text; save it as UTF-8." if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
    return LogFormatError(
        f"{path}:1: found `{first}`, which is not a known capture format.{hint} Expected one of {known}; "
        f"convert the capture, for example with python-can's can_logconvert, to candump -l."
    )

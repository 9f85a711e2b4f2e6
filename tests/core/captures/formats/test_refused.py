"""Files of other tools, by their first lines or bytes, and what a person is told about each."""

import bz2
import io
import lzma
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.read import read_captures
from graphids.core.frames import LogFormatError

CANDUMP = b"(1700000000.000250) can0 1A2#00\n"


def zipped(text: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("drive.log", text)
    return buffer.getvalue()


def tarred(text: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("drive.log")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 3)))
    return buffer.getvalue()


TEXTS = {
    "Kvaser csv of PGNs": (
        b"CSV CAN data\nFormat of PGN field,HEX\nTime,Channel,PGN,Flags,DLC,Data0\n0.1,1,f004,4,1,00\n",
        r"J1939 PGNs in place of IDs\. Convert the log again without J1939 by Kvaser's free converter",
    ),
    "Kvaser csv of signals": (b"CSV signals\nTime,Engine.Speed\n", "signals.* Convert the log to frames"),
    "Kvaser plain text": (
        b"                              Kvaser Memorator Log\n          ====\n\nSettings:\n",
        "plain text.* Convert the log to csv",
    ),
    "CARBUS Analyzer": (
        b"@ TEXT @ 3 @ 64 @ 0 @ 1301 @ 3250 @ 00:00:03.250 @\r17,032236\t1\t0004\t280\t8\t03 08\t00000000\r",
        "CARBUS Analyzer .*SavvyCAN",
    ),
    "canAnalyser 3": (
        b'"Bus","No","Time (abs)","State","ID (hex)","DLC","Data (hex)","ASCII"\n"CAN1","1","10:20:30.5","","1A2"\n',
        r"canAnalyser 3, .*can_logger -i ixxat",
    ),
    "Wireshark csv": (
        b'"No.","Time","Source","Destination","Protocol","Length","Info"\n'
        b'"1","0.000000","","","CAN","16","STD: 0x000000d0   7e 00"\n',
        r"Wireshark's list of packets, .*Save the packets as pcapng; open that in SavvyCAN",
    ),
    "tshark": (b"    1   0.000000              CAN 16 STD: 0x000000d0   7e 00\n", "Wireshark's list of packets"),
    "Microchip": (
        b"//---\n//Microchip CAN\n100;RX;0x1A2;2;0x00;0x11\n",
        "Microchip's CAN Bus Analyzer. Open it in SavvyCAN",
    ),
    "OpenXC signals": (
        b'{"timestamp": 1385133351.2, "name": "engine_speed", "value": 45}\n',
        "OpenXC trace of signals.* Record raw CAN messages",
    ),
    "OpenXC without times": (b'{"bus": 1, "id": 1234, "value": "0x12345678"}\n', "without timestamps. Record a trace"),
    "slcan": (b"t1A2200FF\rt1A3200FE\r", r"slcan \(LAWICEL\) .*candump -l"),
    "candump in colours": (
        b"\x1b[33m (1700000000.000250)  can0  1A2   [2]  00 FF\x1b[0m\n",
        r"colours of a terminal.*candump -l",
    ),
    "candump with coloured buses": (
        b" (1700000000.000250)  \x1b[33mcan0\x1b[0m  1A2   [2]  00 FF\n",
        r"colours of a terminal.*candump -l",
    ),
    "candump in bits": (
        b" (1700000000.000250)  can0  1A2   [2]  00000000 11111111\n",
        r"candump -i prints, bits in place of bytes",
    ),
    "candump in bits, of one byte": (
        b" (1700000000.000250)  can0  RX - -  1A2   [1]  00000000\n",
        r"candump -i prints",
    ),
    "a DBC": (b'VERSION ""\n\nNS_ :\n\tNS_DESC_\n\nBS_:\n', "a DBC, which describes messages and holds no frames"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
    "a web page": (b"\n<!DOCTYPE html>\n<html>\n", "a web page or XML. Download the recording again"),
}
BINARIES = {
    "pcap": (bytes.fromhex("d4c3b2a1020004000000000000000000ffff0000e3000000"), "pcap.*SavvyCAN.* GVRET csv"),
    "pcap of nanoseconds": (bytes.fromhex("4d3cb2a1020004000000000000000000ffff0000e3000000"), "pcap"),
    "pcapng": (bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000"), "pcapng.*candump -l"),
    "MDF 3": (b"MDF     3.30    TGT 15.0" + bytes(40), "a version before 4. Convert it to MF4 by asammdf"),
    "ROS bag": (b"#ROSBAG V2.0\nE\0\0\0", "ROS.*rosbags"),
    "MCAP": (b"\x89MCAP0\r\n\x01", "MCAP"),
    "HDF5": (b"\x89HDF\r\n\x1a\n\0", "HDF5.*h5py"),
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "MATLAB.*scipy.io.loadmat"),
    "NumPy": (array(), "NumPy"),
    "a pickle": (pickle.dumps([1, 2, 3]), "pickle, which can run code"),
    "Arrow": (b"ARROW1\0\0" + bytes(8), "Arrow.*Parquet"),
    "bzip2": (bz2.compress(CANDUMP), "bzip2.* Decompress it, or compress it by gzip.*rlog.*cabana"),
    "xz": (lzma.compress(CANDUMP), "xz.* Decompress it"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00", "zstd.*cabana"),
    "lz4": (b"\x04\x22\x4d\x18\x40", "lz4"),
    "zip": (zipped(CANDUMP), "archive .*Unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "archive"),
    "rar": (b"Rar!\x1a\x07\x01\0", "archive"),
    "tar": (tarred(CANDUMP), "archive"),
    "an old spreadsheet": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office. Save the sheet as csv"),
}


@pytest.mark.parametrize(("content", "message"), TEXTS.values(), ids=TEXTS)
def test_a_text_that_is_not_read_is_quoted_named_and_given_a_way_around(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "drive.log").write_bytes(content)

    with pytest.raises(LogFormatError, match=rf"drive\.log:1: found `.*`, which is .*{message}") as error:
        read_captures(tmp_path / "drive.log")

    assert str(error.value).endswith(".")
    assert str(error.value).isprintable(), "nothing of the file may move a terminal"


@pytest.mark.parametrize(("content", "message"), BINARIES.values(), ids=BINARIES)
def test_a_binary_file_that_is_not_read_is_named_and_given_a_way_around(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "drive.log").write_bytes(content)

    with pytest.raises(LogFormatError, match=rf"drive\.log: is an? .*{message}|drive\.log: is .*{message}") as error:
        read_captures(tmp_path / "drive.log")

    assert r"\x" not in str(error.value)

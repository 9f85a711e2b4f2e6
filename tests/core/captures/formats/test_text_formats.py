"""Every text format: three to five lines by hand, and what each malformed line is told."""

from pathlib import Path

import numpy as np
import pytest

from graphids.core.captures.formats.line_records import COMMENT, ERROR_FRAME, REMOTE_FRAME
from graphids.core.captures.formats.text_formats import TEXT_FORMATS, recognise
from graphids.core.captures.formats.text_parser import TextParser
from graphids.core.frames import Frames, GrowingFrames, LogFormatError

CAN_TRAIN_AND_TEST = b"timestamp,arbitration_id,data_field,attack\n"
ATTACK_DEFENSE = b"Timestamp,Arbitration_ID,DLC,Data,Class,SubClass\n"
GVRET = b"Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
PYTHON_CAN_CSV = b"timestamp,arbitration_id,extended,remote,error,dlc,data\n"
PEAK_CSV = b"$STARTTIME=25569.5\nNumber Time (ms) Bus Direction Type ID (hex) Reserved Length D0 D1 D...\n"
CANHACKER = b"Time   ID     DLC Data                    Comment\n"


def parser(text: bytes, *, drop_bad_lines: bool = False) -> TextParser:
    recognised = recognise(text)
    assert recognised is not None
    return TextParser(Path("drive.log"), recognised, drop_bad_lines)


def frames_of(found: TextParser, text: bytes) -> Frames:
    """All frames of `text`, from where `found` says that its data begin."""
    grown = GrowingFrames()
    for part in found.parse(text[found.recognised.data_start :]):
        grown.append(part)
    return grown.frames()


def parse(text: bytes) -> Frames:
    return frames_of(parser(text), text)


def table(frames: Frames) -> list[tuple[float, int, str]]:
    payloads = [bytes(row[:dlc]).hex() for row, dlc in zip(frames.payload, frames.dlc, strict=True)]
    return list(zip(frames.timestamp.tolist(), frames.arbitration_id.tolist(), payloads, strict=True))


def test_can_train_and_test_csv_gives_time_id_payload_and_label() -> None:
    frames = parse(CAN_TRAIN_AND_TEST + b"1672531200.0,1E5,460196,0\r\n1672531200.000023,18FEF100,,1\r\n")

    assert table(frames) == [(1672531200.0, 0x1E5, "460196"), (1672531200.000023, 0x18FEF100, "")]
    assert frames.is_extended.tolist() == [False, True]
    assert frames.attack is not None
    assert frames.attack.tolist() == [0, 1]
    assert frames.payload[0].tolist() == [0x46, 0x01, 0x96, 0, 0, 0, 0, 0]


def test_can_train_and_test_csv_without_labels_is_unlabelled() -> None:
    frames = parse(b"timestamp,arbitration_id,data_field\n0.5,1E5,46\n")

    assert table(frames) == [(0.5, 0x1E5, "46")]
    assert frames.attack is None
    assert frames.attack_kind is None


def test_car_hacking_csv_marks_injected_frames_with_t() -> None:
    frames = parse(b"1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R\n1478198376.5,0000,2,00,01,T\n1.5,0002,0,R\n")

    assert table(frames) == [
        (1478198376.389427, 0x316, "052168092121006f"),
        (1478198376.5, 0, "0001"),
        (1.5, 2, ""),
    ]
    assert frames.attack is not None
    assert frames.attack.tolist() == [0, 1, 0]


def test_hcrl_normal_text_is_read() -> None:
    frames = parse(b"Timestamp: 1479121434.850202        ID: 0350    000    DLC: 3    05 28 84\n")

    assert table(frames) == [(1479121434.850202, 0x350, "052884")]
    assert frames.attack is None


def test_attack_defense_csv_names_the_kind_of_every_frame() -> None:
    frames = parse(
        ATTACK_DEFENSE + b"1.5,153,3,20 A1 10,Normal,Normal\n1.6,0,1,FF,Attack,Flooding\n1.7,1E1,0,,Attack,Fuzzing\n"
    )

    assert table(frames) == [(1.5, 0x153, "20a110"), (1.6, 0, "ff"), (1.7, 0x1E1, "")]
    assert frames.kinds == ("normal", "flooding", "fuzzing")
    assert frames.attack_kind is not None
    assert frames.attack_kind.tolist() == [0, 1, 2]


def test_attack_defense_csv_without_subclass_has_one_kind() -> None:
    frames = parse(b"Timestamp,Arbitration_ID,DLC,Data,Class\n1.5,153,1,20,Normal\n1.6,0,1,FF,Attack\n")

    assert frames.kinds == ("normal", "attack")
    assert frames.attack_kind is not None
    assert frames.attack_kind.tolist() == [0, 1]


def test_candump_log_tells_11_from_29_bits_by_the_number_of_digits() -> None:
    frames = parse(b"(1700000000.000250) can0 248#0008\n(1700000000.8) can1 00000248#00 R\n(1700000000.9) can0 0F1#\n")

    assert table(frames) == [
        (1700000000.000250, 0x248, "0008"),
        (1700000000.8, 0x248, "00"),
        (1700000000.9, 0xF1, ""),
    ]
    assert frames.is_extended.tolist() == [False, True, False]
    assert frames.channels == ("can0", "can1")
    assert frames.channel.tolist() == [0, 1, 0]


def test_candump_keeps_remote_frames_without_payload_and_drops_error_frames() -> None:
    text = b"(1.0) can0 123#R8\n(2.0) can0 20000004#0000000000000000\n(3.0) can0 124#R\n(4.0) can0 125#11\n"
    found = parser(text)

    frames = frames_of(found, text)

    assert table(frames) == [(1.0, 0x123, ""), (3.0, 0x124, ""), (4.0, 0x125, "11")]
    assert found.counts[REMOTE_FRAME] == 2
    assert found.counts[ERROR_FRAME] == 1


def test_crysys_flags_label_the_frames() -> None:
    frames = parse(
        b"(0.0) can0 110#0220 False\tFalse\n(0.1) can0 180#a045     1\tFalse\n(0.2) can0 180#a0 False\tTrue\n"
    )

    assert frames.attack is not None
    assert frames.attack.tolist() == [0, 1, 1]
    assert frames.payload[1, :3].tolist() == [0xA0, 0x45, 0]


def test_candump_screen_text_is_read_with_short_and_empty_payloads() -> None:
    frames = parse(b" (018.000250)  can0  1FFFFFFE   [3]  00 11 FF\n (018.5)  can0  123   [0] \n")

    assert table(frames) == [(18.00025, 0x1FFFFFFE, "0011ff"), (18.5, 0x123, "")]
    assert frames.is_extended.tolist() == [True, False]


def test_candump_screen_text_takes_remote_requests_and_the_ascii_column() -> None:
    frames = parse(b" (1.0)  can0  123   [2]  41 42   'AB'\n (2.0)  can0  124   [8]  remote request\n")

    assert table(frames) == [(1.0, 0x123, "4142"), (2.0, 0x124, "")]


def test_crysys_trace_is_read() -> None:
    frames = parse(b"1700000000.000250        01a2    000    2    11 ff\n1700000000.05  01a3  100  8\n")

    assert table(frames) == [(1700000000.00025, 0x1A2, "11ff"), (1700000000.05, 0x1A3, "")]


def test_gvret_csv_counts_in_microseconds_and_names_the_bus() -> None:
    frames = parse(GVRET + b"1000250,000001A2,false,0,3,00,11,FF\n1000500,000001A3,true,1,1,FE,\n")

    assert table(frames) == [(1.00025, 0x1A2, "0011ff"), (1.0005, 0x1A3, "fe")]
    assert frames.is_extended.tolist() == [False, True]
    assert frames.channels == ("0", "1")


def test_gvret_csv_with_a_direction_column_is_read() -> None:
    frames = parse(b"Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2\n1000000,00000450,false,Rx,0,2,00,C2\n")

    assert table(frames) == [(1.0, 0x450, "00c2")]


def test_python_can_csv_decodes_base64() -> None:
    frames = parse(PYTHON_CAN_CSV + b"1.5,0x32a,0,0,0,8,A+0xuHHTF2A=\n1.6,0x1,1,0,0,2,ASs=\n1.7,0x2,0,1,0,4,\n")

    assert table(frames) == [(1.5, 0x32A, "03ed31b871d31760"), (1.6, 1, "012b"), (1.7, 2, "")]
    assert frames.is_extended.tolist() == [False, True, False]


def test_busmaster_time_of_day_becomes_seconds_since_midnight() -> None:
    text = b"***BUSMASTER Ver 3.2.0***\n***HEX***\n01:02:03:532 Rx 1 0x158 s 2 00 28\n01:02:03:6000 Tx 2 0x158 x 0\n"
    found = parser(text)

    frames = frames_of(found, text)

    assert table(frames) == [(3723.532, 0x158, "0028"), (3723.6, 0x158, "")]
    assert frames.is_extended.tolist() == [False, True]
    assert found.counts[COMMENT] == 2


def test_canhacker_trace_has_a_decimal_comma_and_free_comments() -> None:
    frames = parse(CANHACKER + b"11,201 0F1      2 34 01             at idle\n11,202 1E5      0\n")

    assert table(frames) == [(11.201, 0xF1, "3401"), (11.202, 0x1E5, "")]


def test_peak_converter_csv_adds_the_start_time() -> None:
    frames = parse(PEAK_CSV + b"1 0.100 1 Rx DT 0593 - 2 00 FF\n2 1000.0 2 Tx RR 00000356 - 8\n")

    assert table(frames) == [(43200.0001, 0x593, "00ff"), (43201.0, 0x356, "")]
    assert frames.is_extended.tolist() == [False, True]
    assert frames.channels == ("1", "2")


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        (";   version 1.0", ["1)  1000  00000100  2  01 02", "2)  2000  FFFFFFFF  4  00 00 00 08 BUSHEAVY"]),
        (
            ";$FILEVERSION=1.1",
            ["1)  1000.0  Tx  00000100  2  01 02", "2)  2000.0  Warng  FFFFFFFF  4  00 00 00 08 BUSHEAVY"],
        ),
        (
            ";$FILEVERSION=1.3",
            ["1)  1000.0 1 Tx  00000100 - 2  01 02", "2) 2000.0 1 Warng FFFFFFFF - 4 00 00 00 08 BUSHEAVY"],
        ),
        (
            ";$FILEVERSION=2.0\n;$COLUMNS=N,O,T,I,d,l,D",
            ["1  1000.0 DT 00000100 Tx 2  01 02", "2 2000.0 ST   Rx 00 00 00 08"],
        ),
        (
            ";$FILEVERSION=2.1\n;$COLUMNS=N,O,T,B,I,d,R,L,D",
            ["1  1000.0 DT 1 00000100 Tx - 2  01 02", "2 2000.0 ST 1 - Rx - 4 00 00 00 08"],
        ),
    ],
    ids=["1.0", "1.1", "1.3", "2.0", "2.1"],
)
def test_pcan_traces_of_all_versions_give_frames_and_leave_status_messages_out(header: str, lines: list[str]) -> None:
    frames = parse("\n".join([header, *lines, ""]).encode())

    assert table(frames) == [(1.0, 0x100, "0102")]
    assert frames.is_extended.tolist() == [True]


def test_a_pcan_trace_with_a_start_time_has_absolute_timestamps() -> None:
    frames = parse(b";$FILEVERSION=1.1\n;$STARTTIME=45000.12345678901\n;\n     1)  5.927  Rx  0185  2  00 05\n")

    # 45000.12345678901 days after 1899-12-30 are 1678849066.666570464 s after the unix epoch, in decimal arithmetic.
    assert frames.timestamp[0] == pytest.approx(1678849066.672497464, abs=5e-7)


def test_bom_blank_lines_and_crlf_change_nothing() -> None:
    plain = CAN_TRAIN_AND_TEST + b"0.5,1E5,46,0\n0.6,1E5,47,1\n"
    windows = b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n\r\n")

    assert table(parse(windows)) == table(parse(plain))


def test_timestamps_equal_those_of_python() -> None:
    texts = ["1700000000.000023", "0.1", "123456789.012345678", "5e-05", "2.3E-05", "1700000058", "-0.25", "7.10"]
    body = "".join(f"{text},1E5,46,0\n" for text in texts).encode()

    found = parse(CAN_TRAIN_AND_TEST + body).timestamp

    expected = np.array([float(text) for text in texts])
    assert np.array_equal(found[[0, 1, 3, 4, 5, 6, 7]], expected[[0, 1, 3, 4, 5, 6, 7]])
    assert abs(found[2] - expected[2]) <= np.spacing(expected[2])  # 18 digits: within one unit in the last place


def test_a_missing_last_newline_is_no_error() -> None:
    assert len(parse(CAN_TRAIN_AND_TEST + b"0.5,1E5,46,0")) == 1


BAD_LINES = {
    "timestamp": (CAN_TRAIN_AND_TEST, b"x,1E5,46,0", "no timestamp"),
    "not a number": (CAN_TRAIN_AND_TEST, b"nan,1E5,46,0", "no timestamp"),
    "id": (CAN_TRAIN_AND_TEST, b"0.5,1G5,46,0", "arbitration ID is not a hexadecimal"),
    "id beyond 29 bits": (CAN_TRAIN_AND_TEST, b"0.5,20000000,46,0", "larger than its format allows"),
    "hex": (CAN_TRAIN_AND_TEST, b"0.5,1E5,4Z,0", "not whole bytes"),
    "odd digits": (CAN_TRAIN_AND_TEST, b"0.5,1E5,460,0", "not whole bytes"),
    "nine bytes": (CAN_TRAIN_AND_TEST, b"0.5,1E5,000102030405060708,0", "payload has 9 bytes, more than the 8"),
    "label": (CAN_TRAIN_AND_TEST, b"0.5,1E5,46,2", "no label"),
    "no label": (CAN_TRAIN_AND_TEST, b"0.5,1E5,46", "ends before its last field"),
    "repeated header": (CAN_TRAIN_AND_TEST, CAN_TRAIN_AND_TEST.strip(), "no timestamp"),
    "dlc": (b"1.5,0316,1,05,R\n", b"1.6,0316,9,05,R", "no DLC from 0 to 8"),
    "dlc and bytes": (b"1.5,0316,1,05,R\n", b"1.6,0316,3,05,21,R", "payload has 2 bytes but DLC says 3"),
    "no flag": (b"1.5,0316,1,05,R\n", b"1.6,0316,2,05,21", "ends before its last field"),
    "other flag": (b"1.5,0316,1,05,R\n", b"1.6,0316,2,05,21,X", "no label"),
    "subclass": (ATTACK_DEFENSE, b"1.5,153,1,20,Normal,Fuzzing", "SubClass contradicts Class"),
    "class": (ATTACK_DEFENSE, b"1.5,153,1,20,Maybe,Fuzzing", "no label"),
    "data": (ATTACK_DEFENSE, b"1.5,153,3,20 A1,Normal,Normal", "payload has 2 bytes but DLC says 3"),
    "candump cut off": (b"(1.0) can0 123#00\n", b"(1606770", "no timestamp.*file ends within this line"),
    "candump fd": (b"(1.0) can0 123#00\n", b"(1.0) can0 123##100", "CAN FD"),
    "candump id": (b"(1.0) can0 123#00\n", b"(1.0) can0 1234#00", "arbitration ID"),
    "candump 11 bits": (b"(1.0) can0 123#00\n", b"(1.0) can0 FFF#00", "11 bits: 7FF"),
    "candump hex": (b"(1.0) can0 123#00\n", b"(1.0) can0 123#0x", "not whole bytes"),
    "candump rest": (b"(1.0) can0 123#00\n", b"(1.0) can0 123#00 what", "text that the format does not have"),
    "flags": (b"(1.0) can0 123#00 False\tFalse\n", b"(1.0) can0 123#00", "ends before its last field"),
    "screen fd": (b" (1.0)  can0  123   [1]  00\n", b" (1.0)  can0  123   [12]  00", "CAN FD"),
    "screen length": (b" (1.0)  can0  123   [1]  00\n", b" (1.0)  can0  123   [2]  00", "1 bytes but DLC says 2"),
    "normal text": (b"Timestamp: 1.0   ID: 0350  000  DLC: 1  05\n", b"Timestamp: 1.0   ID: 0350", "ends before"),
    "trace": (b"1.0  0380  000  1  30\n", b"1.0  0380  000  2  30 b", "not whole bytes"),
    "gvret": (GVRET, b"1000,00000450,false,0,3,00,C2", "payload has 2 bytes but DLC says 3"),
    "base64": (PYTHON_CAN_CSV, b"1.5,0x32a,0,0,0,2,AS*=", "not whole bytes"),
    "python-can fd": (PYTHON_CAN_CSV, b"1.5,0x32a,0,0,0,12,AAAAAAAAAAAAAAAA", "CAN FD"),
    "busmaster": (b"***BUSMASTER***\n", b"01:02:03:532 Rx 1 344 s 2 00 28", "arbitration ID"),
    "canhacker": (CANHACKER, b"11,201 0F1      3 34 01", "payload has 2 bytes but DLC says 3"),
    "pcan fd": (b";$FILEVERSION=2.0\n;$COLUMNS=N,O,T,I,d,l,D\n", b"1  1.0 FD 00000100 Tx 2  01 02", "CAN FD"),
    "pcan cut off": (b";$FILEVERSION=1.1\n", b"1)  1000.0  Tx  0100  2  01", "payload has 1 bytes but DLC says 2"),
}


@pytest.mark.parametrize(("good", "bad", "message"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_an_error_that_names_file_line_and_what_was_found(good: bytes, bad: bytes, message: str) -> None:
    text = good + bad
    found = parser(text)
    line_number = text.count(b"\n") + 1

    with pytest.raises(LogFormatError, match=rf"drive\.log:{line_number}: .*(?:{message})") as error:
        frames_of(found, text)

    assert f"found `{bad.decode()}`" in str(error.value)
    assert "on_bad_line='drop'" in str(error.value)


@pytest.mark.parametrize(("good", "bad", "message"), BAD_LINES.values(), ids=BAD_LINES)
def test_dropping_skips_the_bad_line_alone_and_counts_it(good: bytes, bad: bytes, message: str) -> None:
    del message
    text = good + bad
    found = parser(text, drop_bad_lines=True)

    frames = frames_of(found, text)

    headers = (CAN_TRAIN_AND_TEST, ATTACK_DEFENSE, GVRET, PYTHON_CAN_CSV, CANHACKER)
    assert found.bad_lines == 1
    assert len(frames) == (0 if good in headers or good[:1] in b";*" else 1)


def test_frames_after_a_dropped_line_carry_nothing_of_it() -> None:
    text = CAN_TRAIN_AND_TEST + b"0.5,1E5,0102030405060708,9\n0.6,1E5,AA,0\n"
    found = parser(text, drop_bad_lines=True)

    frames = frames_of(found, text)

    assert table(frames) == [(0.6, 0x1E5, "aa")]
    assert frames.payload[0, 1:].tolist() == [0] * 7


def test_every_example_in_an_error_message_is_a_line_of_its_format() -> None:
    headers = {
        "can-train-and-test csv": CAN_TRAIN_AND_TEST,
        "Attack & Defense Challenge csv": ATTACK_DEFENSE,
        "SavvyCAN GVRET csv": GVRET,
        "python-can csv": PYTHON_CAN_CSV,
        "CanHacker trace": CANHACKER,
        "PEAK-Converter csv": PEAK_CSV,
        "PCAN trace": b";$FILEVERSION=1.1\n",
    }
    for text_format in TEXT_FORMATS:
        text = headers.get(text_format.name, b"") + text_format.example.encode() + b"\n"
        found = parser(text)

        assert found.recognised.format is text_format
        assert len(frames_of(found, text)) == 1


def test_a_format_is_recognised_although_its_first_line_is_damaged() -> None:
    recognised = recognise(b"0758.7) can0 123#00\n(1700000058.8) can0 123#00\n")

    assert recognised is not None
    assert recognised.format.name == "candump -l"


@pytest.mark.parametrize("text", [b"", b"\n\n", b"hello world\n1,2,3\n", b"\x00\x01\x02\x03" * 50])
def test_what_is_no_capture_is_not_recognised(text: bytes) -> None:
    assert recognise(text) is None


def test_a_pcan_trace_of_an_unknown_version_is_an_error() -> None:
    with pytest.raises(LogFormatError, match=r"version 9\.9 without a usable \$COLUMNS"):
        recognise(b";$FILEVERSION=9.9\n")

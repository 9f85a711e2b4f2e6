"""Formats that are known and not read, each with its reason and the way around.

Each sentence follows "is": what the file is, and what to do.
"""

import re

_SAVVYCAN = "Open it in SavvyCAN, which is free, and save it as GVRET csv"
_KVASER = "by Kvaser's free converter (kvlclib, Kvaser Memorator Tools)"
_LOG = " the log as candump, Vector ASC or BLF"

# Text, by its first lines: in letters of any case, from the first line that is not blank.
_TEXT: tuple[tuple[bytes, str], ...] = (
    (
        rb"\"?timestamps\"?[,;\t].*CAN_(?:Data|Remote|Error)Frame",
        "asammdf's csv of an MF4, which starts the clock of each group of messages at zero and, where it is resampled, "
        "repeats frames without saying so. Read the MF4 itself, which graphids knows, or convert it by CSS "
        "Electronics' free mdf2csv",
    ),
    (
        rb"(?:.*\n){0,9}?Time[,;\t|]Channel[,;\t|]PGN[,;\t|]",
        f"Kvaser's csv with J1939 PGNs in place of IDs. Convert the log again without J1939 {_KVASER}",
    ),
    (
        rb"CSV signals\s*\n",
        f"Kvaser's csv of signals, which has no frames. Convert the log to frames (CSV Frame) {_KVASER}",
    ),
    (
        rb"Kvaser Memorator Log\s*\n",
        f"the plain text of Kvaser's converter. Convert the log to csv (CSV Frame) or Vector ASC {_KVASER}",
    ),
    (
        rb"@ TEXT @",
        f"a trace of CARBUS Analyzer (CanHacker). {_SAVVYCAN}",
    ),
    (
        rb"(?:.*\n){0,9}?\"?Bus\"?[,;]\"?No\"?[,;]\"?Time \(",
        "a trace of IXXAT's canAnalyser 3, which does not say how many bits an ID has. Record again by python-can, "
        "which knows IXXAT's interfaces (can_logger -i ixxat -f drive.log)",
    ),
    (
        rb"\"?No\.\"?[,\s]\s*\"?Time\"?[,\s]\s*\"?Source\"?[,\s]|\d+\s+\d+\.\d+\s.*\bCAN\s+\d+\s+(?:STD|XTD|ERR):",
        "Wireshark's list of packets, which cuts what is too long and rounds times. Save the packets as pcapng; "
        "open that in SavvyCAN, which is free, and save it as GVRET csv",
    ),
    (
        rb"//.*\n(?:.*\n){0,20}?\d+;(?:RX|TX);(?:0x)?[0-9a-f]+;\d;",
        f"a log of Microchip's CAN Bus Analyzer. {_SAVVYCAN}",
    ),
    (
        rb"\{(?=.*\"(?:name|command_response|metadata)\"\s*:).*\}\s*\n",
        "an OpenXC trace of signals, without raw CAN messages in its first lines. Record raw CAN messages "
        '(`"raw_can_mode": "unfiltered"` in the configuration of the vehicle interface)',
    ),
    (
        rb"\{(?=.*\"bus\"\s*:)(?=.*\"id\"\s*:)(?=.*\"(?:data|value)\"\s*:\s*\").*\}",
        "OpenXC messages without timestamps. Record a trace with them (openxc-dump writes them to a file)",
    ),
    (
        rb"[tT](?:[0-9a-f]{3}|[0-9a-f]{8})[0-8](?:[0-9a-f]{2})*\r",
        "what an slcan (LAWICEL) adapter sends. Attach the adapter by slcand, and record by candump -l",
    ),
    (
        rb"[^\n]*\x1b\[[0-9;]*m",
        "in the colours of a terminal, as candump -c prints. Record again without colours (candump -l)",
    ),
    (
        rb"\([^)\n]*\)\s+\S+\s+(?:[RT]X\s+[-B]\s+[-E]\s+)?[0-9a-f]+\s+\[\d+\]\s+[01]{8}\s",
        "what candump -i prints, bits in place of bytes. Record again without -i (candump -l)",
    ),
    (
        rb"VERSION\s+\"[^\"\n]*\"\s*\n[\s\S]*?\b(?:NS_|BS_|BU_)\s*:",
        "a DBC, which describes messages and holds no frames. Give the recording; graphids needs no DBC",
    ),
    (
        rb"version https://git-lfs\.github\.com/spec/",
        "a pointer of Git LFS in place of the file. Fetch the file by git lfs pull",
    ),
    (
        rb"<(?:!doctype\s+html|html|\?xml)\b",
        "a web page or XML. Download the recording again, and see that it is the file and not the page about it",
    ),
)

# Anything else, by its first bytes.
_BINARY: tuple[tuple[bytes, str], ...] = (
    (
        rb"\xd4\xc3\xb2\xa1|\xa1\xb2\xc3\xd4|\x4d\x3c\xb2\xa1|\xa1\xb2\x3c\x4d|\x0a\x0d\x0d\x0a",
        f"a capture of Wireshark or tcpdump (pcap, pcapng). {_SAVVYCAN}; record the next one by candump -l",
    ),
    (rb"(?:MDF     |UnFinMF )[123]\.", "an MDF of a version before 4. Convert it to MF4 by asammdf, which is free"),
    (rb"#ROSBAG V", f"a bag of ROS. Write{_LOG} from its CAN topic, for example with the Python package rosbags"),
    (rb"\x89MCAP0\r\n", f"an MCAP file. Write{_LOG} from its CAN topic, for example with the Python package mcap"),
    (rb"\x89HDF\r\n\x1a\n", f"HDF5 (also MATLAB 7.3). Write{_LOG}, or a Parquet table, for example with h5py"),
    (
        rb"MATLAB [57]\.\d MAT-file",
        f"a MATLAB file. Write{_LOG}, or a Parquet table, for example with scipy.io.loadmat",
    ),
    (rb"\x93NUMPY", f"an array of NumPy, whose columns have no names. Write{_LOG}, or a Parquet table"),
    (
        rb"\x80[\x02-\x05][\x95\]}(c]",
        f"a Python pickle, which can run code when it is opened. Write{_LOG}, or a Parquet table",
    ),
    (
        rb"ARROW1\0\0",
        "an Arrow or Feather table. Write it as Parquet (pyarrow.parquet.write_table)",
    ),
    (
        rb"BZh[1-9]|\x28\xb5\x2f\xfd|\xfd7zXZ\0|\x04\x22\x4d\x18",
        "compressed by bzip2, zstd, xz or lz4. Decompress it, or compress it by gzip, which graphids reads; of an "
        "openpilot log (rlog, qlog) export the frames as csv by comma's cabana",
    ),
    (
        rb"PK\x03\x04|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|[\s\S]{257}ustar",
        "an archive (zip, 7z, rar, tar; also xlsx and npz). Unpack it, and name a recording or the folder; save a "
        "spreadsheet as csv",
    ),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of Office. Save the sheet as csv"),
)
_TEXT_PATTERNS = [
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:%s)" % pattern, re.IGNORECASE), sentence) for pattern, sentence in _TEXT
]
_BINARY_PATTERNS = [(re.compile(pattern, re.DOTALL), sentence) for pattern, sentence in _BINARY]


def refused_text(head: bytes) -> str | None:
    """What a text that begins with `head` is and what to do, if it is of a format that is known and not read."""
    return next((sentence for pattern, sentence in _TEXT_PATTERNS if pattern.match(head)), None)


def refused_binary(head: bytes) -> str | None:
    """As `refused_text`, of a file whose first bytes are no text."""
    return next((sentence for pattern, sentence in _BINARY_PATTERNS if pattern.match(head)), None)

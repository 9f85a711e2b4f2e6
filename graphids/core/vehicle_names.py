"""Names of a vehicle's messages and signals, from a database of its bus: DBC, ARXML, KCD or SYM.

They are for people: nothing that is scored depends on them. cantools reads the file; it comes with the extra `dbc`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from graphids.core.frames import EXTENDED_BIT, DataError, hex_node_key
from graphids.wording import printable, shortened

if TYPE_CHECKING:
    from cantools.database.can import Message, Signal

# By suffix. A DBC of 2 MB, 5,000 messages of 8 signals, took 21 s and some 150 MB to read; real ones are smaller. ARXML
# says the same in many more words.
_MAX_BYTES = {".dbc": 8 << 20, ".sym": 8 << 20, ".kcd": 8 << 20, ".arxml": 64 << 20}
_LONGEST_NAME, _LONGEST_UNIT, _LONGEST_PROBLEM = 64, 16, 200
# IDs as reasons write them, and a byte of one: "0x1A4", "byte 3 of 0x1A4", "0x1A4 byte 3".
_ID = r"0x(?P<{}>[0-9A-Fa-f]{{8}}|[0-9A-Fa-f]{{3}})\b"
_PLACE = re.compile(
    rf"\bbyte (?P<byte>[0-7]) of {_ID.format('of_byte')}|\b{_ID.format('id')}(?: byte (?P<its_byte>[0-7])\b)?"
)
_EXTENDED = int(EXTENDED_BIT)
# From here on a parameter group is broadcast and its low byte is part of it; below, that byte is the receiver (SAE
# J1939-21, PDU1 and PDU2).
_FIRST_BROADCAST = 0xF0


class SignalNames(NamedTuple):
    """A signal: its name, its unit ("" for none) and the payload bytes that it lies in, in ascending order."""

    name: str
    unit: str
    payload_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MessageNames:
    """A message's name and signals, in the order of their first bit; `decode` maps a payload to values by signal."""

    name: str
    signals: tuple[SignalNames, ...]
    decode: Callable[[bytes], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class VehicleNames:
    """Messages by arbitration ID.

    Attributes:
        by_node_key: As `Frames.node_key` has them.
        by_parameter_group: Messages of J1939 by parameter group number: whoever sends one, it has the same name.
    """

    by_node_key: Mapping[int, MessageNames]
    by_parameter_group: Mapping[int, MessageNames]

    def message(self, arbitration_id: str) -> MessageNames | None:
        """The message of an ID in hex (3 digits for 11 bits, 8 for 29); None where the database has none."""
        key = hex_node_key(arbitration_id)
        if key in self.by_node_key or not key & _EXTENDED:
            return self.by_node_key.get(key)
        return self.by_parameter_group.get(parameter_group(key & ~_EXTENDED))

    def label(self, arbitration_id: str) -> str:
        """The ID as a person reads it: "EngineData (0x1A4)"; "0x1A4" where it has no name."""
        message = self.message(arbitration_id)
        return f"0x{arbitration_id}" if message is None else f"{message.name} (0x{arbitration_id})"

    def described(self, arbitration_id: str) -> str:
        """A message with its signals, as "EngineData: EngineSpeed rpm (bytes 0 to 1)"; "" where it has no name."""
        message = self.message(arbitration_id)
        return "" if message is None else f"{message.name}: {', '.join(map(_signal_words, message.signals))}"

    def signals_in(self, arbitration_id: str, byte: int) -> tuple[str, ...]:
        """Names of the signals that lie in a payload byte of a message."""
        message = self.message(arbitration_id)
        return () if message is None else tuple(s.name for s in message.signals if byte in s.payload_bytes)

    def in_text(self, text: str) -> str:
        """A text with names beside the IDs that it writes as 0x1A4, and signals beside the bytes.

        "0x1A4 byte 2 frozen" becomes "EngineData (0x1A4) byte 2 (Throttle) frozen".
        """
        return _PLACE.sub(self._named, text)

    def decoded(self, arbitration_id: str, payload: bytes) -> tuple[str, ...]:
        """Values of a payload in words, "EngineSpeed 812 rpm"; empty where it does not decode."""
        message = self.message(arbitration_id)
        if message is None:
            return ()
        units = {signal.name: signal.unit for signal in message.signals}
        return tuple(f"{name} {_value_words(v, units.get(name, ''))}" for name, v in message.decode(payload).items())

    def _named(self, place: re.Match[str]) -> str:
        arbitration_id, byte = place["of_byte"] or place["id"], place["byte"] or place["its_byte"]
        label = self.label(arbitration_id)
        if byte is None:
            return label
        names = " and ".join(self.signals_in(arbitration_id, int(byte)))
        signals = f" ({names})" if names else ""
        return f"{label} byte {byte}{signals}" if place["its_byte"] else f"byte {byte}{signals} of {label}"


def read_vehicle_names(path: Path) -> VehicleNames:
    """The names that a database of a bus gives; signals that overlap or do not fit into their message are kept.

    Raises:
        ModuleNotFoundError: If cantools is not installed.
        DataError: If it is no such database, or too large.
        OSError: If it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in _MAX_BYTES:
        raise DataError(f"{path}: is not a database of a bus. Expected a file that ends in {', '.join(_MAX_BYTES)}.")
    with path.open("rb") as stream:
        content = stream.read(_MAX_BYTES[suffix] + 1)
    if len(content) > _MAX_BYTES[suffix]:
        raise DataError(
            f"{path}: has more than {_MAX_BYTES[suffix] >> 20} MiB. Expected a database of one bus; export less."
        )
    # ElementTree fetches nothing, but expands entities, which no such file needs.
    if suffix in (".kcd", ".arxml") and b"<!DOCTYPE" in content:
        raise DataError(f"{path}: declares a document type, which no {suffix[1:].upper()} needs. Export it again.")
    return _names_of(_messages(path, _text(content), suffix[1:]))


def parameter_group(identifier: int) -> int:
    """The parameter group number of a 29-bit identifier (SAE J1939-21), without the receiver's address.

    >>> hex(parameter_group(0x18FEF117)), hex(parameter_group(0x18EA1703))
    ('0xfef1', '0xea00')
    """
    group = identifier >> 8 & 0x3FFFF
    return group if group >> 8 & 0xFF >= _FIRST_BROADCAST else group & 0x3FF00


def _text(content: bytes) -> str:
    """Tools write UTF-8 or, as the first ones did, Windows' Latin-1."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _messages(path: Path, text: str, database_format: str) -> "list[Message]":
    try:
        from cantools.database import load_string
        from cantools.database.can import Database
        from cantools.database.errors import UnsupportedDatabaseFormatError
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: names of messages need cantools. Install the extra: pip install -e '.[dbc]'", name=error.name
        ) from error
    try:
        # Not strict: overlapping signals are an error of the file's author, and names are of use all the same.
        database = load_string(text, database_format, strict=False)
    except UnsupportedDatabaseFormatError as error:
        problem = shortened(printable(str(error)), _LONGEST_PROBLEM)
        raise DataError(f"{path}: cannot be read as {database_format.upper()} ({problem}). Export it again.") from error
    return list(database.messages) if isinstance(database, Database) else []


def _names_of(messages: "list[Message]") -> VehicleNames:
    by_key, by_group = {}, {}
    for message in messages:
        names = _message_names(message)
        by_key[message.frame_id | (_EXTENDED if message.is_extended_frame else 0)] = names
        if message.is_extended_frame and message.protocol == "j1939":
            by_group[parameter_group(message.frame_id)] = names
    return VehicleNames(by_key, by_group)


def _message_names(message: "Message") -> MessageNames:
    signals = tuple(
        SignalNames(_name(signal.name), _name(signal.unit or "", _LONGEST_UNIT), tuple(_bytes_of(signal)))
        for signal in message.signals
    )
    return MessageNames(_name(message.name), signals, lambda payload: _decode(message, payload))


def _bytes_of(signal: "Signal") -> Iterator[int]:
    """Payload bytes of a signal: its start is its lowest bit, or in big-endian order its highest."""
    first, length = signal.start // 8, max(min(signal.length, 64), 1)
    if signal.byte_order == "little_endian":
        return iter(range(first, (signal.start + length - 1) // 8 + 1))
    in_others = max(length - (signal.start % 8 + 1), 0)
    return iter(range(first, first + 1 + -(-in_others // 8)))


def _decode(message: "Message", payload: bytes) -> dict[str, Any]:
    """Values by signal; none where the payload has no meaning to the database, as under fuzzing."""
    from bitstruct import Error as UnpackError
    from cantools.database.errors import Error as DatabaseError

    if message.is_container:
        return {}
    try:
        values = message.decode(payload, allow_truncated=True)
    except (DatabaseError, UnpackError, ArithmeticError, ValueError, KeyError):
        return {}
    return {_name(name): value for name, value in values.items()} if isinstance(values, dict) else {}


def _signal_words(signal: SignalNames) -> str:
    first, last = signal.payload_bytes[0], signal.payload_bytes[-1]
    place = f"byte {first}" if first == last else f"bytes {first} to {last}"
    return f"{signal.name}{f' {signal.unit}' if signal.unit else ''} ({place})"


def _value_words(value: object, unit: str) -> str:
    """A number with its unit, or the word that the database has for it."""
    return f"{value:.6g} {unit}".rstrip() if isinstance(value, int | float) else _name(str(value))


def _name(text: str, longest: int = _LONGEST_NAME) -> str:
    """A name from the file as text for a person: it may hold anything."""
    return shortened(printable(text), longest)

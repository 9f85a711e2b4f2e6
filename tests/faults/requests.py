"""Requests that a client of the scoring server may send, by mistake or on purpose, and which answers are right.

What is sent is bytes, so that nothing between this and the server repairs it.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from support.tiny_model import three_ids

NUM_FRAMES = 24
JSON = "application/json"
# Nothing of an answer arrived before the connection was closed.
CLOSED = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request.

    Attributes:
        name: Of its kind.
        data: All of what is sent.
        answers: Statuses that are right.
        table: The frames, if they can be read: an answer of 200 has their scores, and no other has one.
        half_closed: The client says that it will send no more.
        is_slow: It waits until the server's timeout.
    """

    name: str
    data: bytes
    answers: frozenset[int]
    table: pd.DataFrame | None = None
    half_closed: bool = False
    is_slow: bool = False


def attempts(chance: random.Random, count: int) -> list[Attempt]:
    """Of every kind in turn, with details that chance decides."""
    return [_KINDS[number % len(_KINDS)](chance) for number in range(count)]


def whole(chance: random.Random, num_frames: int = NUM_FRAMES) -> Attempt:
    """A request as it should be."""
    table = frames(chance, num_frames)
    return Attempt("whole", request(body_of(table)), frozenset({200}), table)


def frames(chance: random.Random, count: int = NUM_FRAMES) -> pd.DataFrame:
    """A table of the model's input."""
    drawn = three_ids(count, seed=chance.randrange(1 << 30))
    return pd.DataFrame(
        {
            "timestamp": drawn.timestamp,
            "arbitration_id": [f"{value:X}" for value in drawn.arbitration_id],
            "data_field": [bytes(row).hex() for row in drawn.payload],
        }
    )


def body_of(table: pd.DataFrame) -> bytes:
    """The table as MLflow's clients send it."""
    return json.dumps({"dataframe_split": table.to_dict(orient="split", index=False)}).encode()


def request(
    body: bytes,
    *,
    length: int | str | None = None,
    host: str = "localhost",
    kind: str = JSON,
    more: bytes = b"",
    line: bytes = b"POST /invocations HTTP/1.1",
) -> bytes:
    """A request of its own connection, byte by byte."""
    head = b"%s\r\nHost: %s\r\nConnection: close\r\nContent-Type: %s\r\n" % (line, host.encode(), kind.encode())
    announced = len(body) if length is None else length
    return head + more + b"Content-Length: %s\r\n\r\n" % str(announced).encode() + body


def _cut_json(chance: random.Random) -> Attempt:
    body = body_of(frames(chance))
    return Attempt("cut JSON", request(body[: chance.randrange(len(body))]), frozenset({400}))


def _changed_byte(chance: random.Random) -> Attempt:
    body = bytearray(body_of(frames(chance)))
    body[chance.randrange(len(body))] = chance.randrange(256)
    try:
        split = json.loads(body)["dataframe_split"]
        table: pd.DataFrame | None = pd.DataFrame(split["data"], columns=split["columns"])
    except Exception:
        table = None
    answers = frozenset({400} if table is None else {200, 400})
    return Attempt("changed byte", request(bytes(body)), answers, table)


def _wrong_value(chance: random.Random) -> Attempt:
    wrong: dict[str, list[Any]] = {
        "timestamp": [float("nan"), float("inf"), None, "soon", True, [], {}, 1e300, 10**400, "-0x1"],
        "arbitration_id": [420, 1.5, None, "", "XYZ", "FFFFFFFF", "-1", ["1A4"], True, "1A4\n"],
        "data_field": [None, 7, "0", "GG", "00" * 9, ["00"], "0 0", "\u0661\u0661"],
    }
    table = frames(chance).astype(object)
    column = chance.choice(sorted(wrong))
    table.loc[chance.randrange(len(table)), column] = pd.Series([chance.choice(wrong[column])], dtype=object)[0]
    return Attempt(f"wrong {column}", request(body_of(table)), frozenset({400}))


def _wrong_shape(chance: random.Random) -> Attempt:
    split = json.loads(body_of(frames(chance)))["dataframe_split"]
    bodies: list[Any] = [
        [],
        None,
        {"dataframe_split": split, "dataframe_records": []},
        {"dataframe_split": {**split, "columns": split["columns"][:-1]}},
        {"dataframe_split": {**split, "columns": ["timestamp"] * 3}},
        {"dataframe_split": {**split, "data": [row[:-1] for row in split["data"]]}},
        {"dataframe_split": {**split, "data": []}},
        {"dataframe_split": split, "params": {"treshold": 0.5}},
        {"dataframe_split": split, "params": {"stride": 0}},
        {"dataframe_split": split, "params": {"threshold": "high"}},
        {"inputs": split["data"]},
    ]
    body = json.dumps(chance.choice(bodies)).encode()
    return Attempt("wrong shape", request(body), frozenset({400}))


def _nested(chance: random.Random) -> Attempt:
    depth = chance.randrange(1_000, 100_000)
    return Attempt("deep JSON", request(b"[" * depth + b"]" * depth), frozenset({400}))


def _bad_csv(chance: random.Random) -> Attempt:
    lines = frames(chance).to_csv(index=False).splitlines()
    row = chance.randrange(1, len(lines) - 1)  # an empty line at the end is none
    lines[row] = chance.choice([lines[row].rpartition(",")[0], f"{lines[row]},1", '"', "\0,\0,\0", "", "a,b,c"])
    return Attempt("csv", request("\n".join(lines).encode(), kind="text/csv"), frozenset({400}))


def _garbage(chance: random.Random) -> Attempt:
    data = chance.choice(
        [
            chance.randbytes(chance.randrange(1, 4000)) + b"\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ]
    )
    return Attempt("not HTTP", data, frozenset({CLOSED, 400}), half_closed=True)


def _oversized(chance: random.Random) -> Attempt:
    length = chance.choice([1 << 21, 1 << 40, 10**30])
    return Attempt("oversized", request(b"", length=length), frozenset({400, 413}))


def _oversized_chunks(chance: random.Random) -> Attempt:
    head = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    data = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * chance.randrange(17, 24)
    return Attempt("oversized chunks", data, frozenset({CLOSED, 413}))


def _two_lengths(chance: random.Random) -> Attempt:
    more = chance.choice(
        [
            b"Transfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Content-Length: 3\r\n",
            b"Transfer-Encoding : chunked\r\n",
        ]
    )
    return Attempt("two lengths", request(body_of(frames(chance)), more=more), frozenset({400, 501}))


def _wrong_length(chance: random.Random) -> Attempt:
    length = chance.choice(["-1", "+5", "0x10", "1e3", "", "5, 6"])
    return Attempt("wrong length", request(body_of(frames(chance)), length=length), frozenset({400}))


def _wrong_host(chance: random.Random) -> Attempt:
    hosts = ["evil.example", "localhost.evil.example", "evil.example:80", "127.0.0.1@evil.example", "", "[::2]", "a b"]
    return Attempt("wrong Host", request(body_of(frames(chance)), host=chance.choice(hosts)), frozenset({400}))


def _wrong_place(chance: random.Random) -> Attempt:
    line = chance.choice(
        [
            b"GET /invocations",
            b"DELETE /ping",
            b"POST /",
            b"POST /../etc/passwd",
            b"GET /docs",
            b"POST /invocations/",
        ]
    )
    return Attempt("wrong place", request(b"{}", line=line + b" HTTP/1.1"), frozenset({404, 405}))


def _wrong_head(chance: random.Random) -> Attempt:
    body = body_of(frames(chance))
    data = chance.choice(
        [
            request(body, kind="application/x-pickle"),
            request(body, kind="application/json; charset=utf-16"),
            request(body, more=b"Content-Encoding: gzip\r\n"),
            request(body, line=b"POST /invocations?threshold=0 HTTP/1.1"),
        ]
    )
    return Attempt("wrong head", data, frozenset({400, 415}))


def _huge_head(chance: random.Random) -> Attempt:
    more = b"X: " + b"y" * chance.randrange(100_000, 1_000_000) + b"\r\n"
    return Attempt("huge head", request(b"{}", more=more), frozenset({CLOSED, 400, 431}))


def _many_headers(chance: random.Random) -> Attempt:
    more = b"".join(b"X-%d: 1\r\n" % number for number in range(chance.randrange(5_000, 20_000)))
    return Attempt("many headers", request(b"{}", more=more), frozenset({CLOSED, 400, 431}))


def _half_closed(chance: random.Random) -> Attempt:
    table = frames(chance)
    data = request(body_of(table))
    if chance.random() < 0.5:
        return Attempt("half-closed", data, frozenset({CLOSED, 200}), table, half_closed=True)
    cut = data[: chance.randrange(1, len(data))]
    return Attempt("half-closed, cut", cut, frozenset({CLOSED, 400}), half_closed=True)


def _slow(chance: random.Random) -> Attempt:
    data = request(body_of(frames(chance)))
    cut = data[: chance.randrange(0, len(data))]
    return Attempt("slow", cut, frozenset({CLOSED, 400, 408}), is_slow=True)


_KINDS: tuple[Callable[[random.Random], Attempt], ...] = (
    whole,
    _cut_json,
    _changed_byte,
    _wrong_value,
    _wrong_shape,
    _nested,
    _bad_csv,
    _garbage,
    _oversized,
    _oversized_chunks,
    _two_lengths,
    _wrong_length,
    _wrong_host,
    _wrong_place,
    _wrong_head,
    _huge_head,
    _many_headers,
    _half_closed,
    _slow,
)

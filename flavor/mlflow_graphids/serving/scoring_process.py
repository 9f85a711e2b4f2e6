"""Scoring in a process of its own, a fork of the server's: one that is stuck or out of memory takes no other with it.

The model is in the memory that both share, so a new process is ready within milliseconds, and no file is read again.
A thread could not be killed: a request that never came to an end would hold up all others, and the end of the server.
"""

import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import torch

from graphids.core.classifier import WindowClassifier
from graphids.core.frames import DataError, Frames

_HEAD = struct.Struct("!BQ")  # what follows, and how many bytes of it
_COVERED, _NOT_COVERED, _REFUSED, _FAILED = range(4)
# Where memory runs out, the kernel ends this process before the server's.
_OOM_SCORE_ADJ = "500"
_MAX_WARM_UP = 1 << 16


class Reply(NamedTuple):
    """The body of an answer, and whether the model can judge every bus of the request."""

    body: bytes
    is_covered: bool


class ScoringError(RuntimeError):
    """Scoring failed, or its process ended; the message is for the log."""


class ScoringProcess:
    """One process that scores one request at a time, and is started when it is needed.

    Args:
        score: From the number of a parser and the body of a request to the answer.
        timeout_s: A request that takes longer ends the process even where no server is left to do it.
    """

    def __init__(self, score: Callable[[int, bytes], Reply], timeout_s: float) -> None:
        self._score, self._timeout_s = score, timeout_s
        self._turn = asyncio.Lock()
        self._pid = 0
        self._connection: socket.socket | None = None
        self._began_s: float | None = None

    @property
    def busy_s(self) -> float:
        """For how long the request under way has been scored."""
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s

    async def score(self, parser: int, body: bytearray) -> Reply:
        """The answer to a request, when its turn comes. If the caller is cancelled meanwhile, the process is killed.

        Raises:
            DataError: If `score` raised it.
            ScoringError: If it raised anything else, or the process ended.
        """
        async with self._turn:
            connection = self.start()
            self._began_s = time.monotonic()
            try:
                kind, answer = await _exchange(connection, parser, body)
            except (OSError, EOFError) as error:
                raise ScoringError(f"The scoring process ended: {self.kill()}.") from error
            except BaseException:
                self.kill()
                raise
            finally:
                self._began_s = None
        if kind == _REFUSED:
            raise DataError(answer.decode())
        if kind == _FAILED:
            raise ScoringError(answer.decode())
        return Reply(answer, is_covered=kind == _COVERED)

    def start(self) -> socket.socket:
        """The connection to the process, which is started unless it runs."""
        if self._connection is None:
            ours, theirs = socket.socketpair()
            self._pid = os.fork()
            if not self._pid:
                _work(theirs, self._score, self._timeout_s)
            theirs.close()
            ours.setblocking(False)
            self._connection = ours
        return self._connection

    def kill(self) -> str:
        """End the process, if it runs, and say how it ended."""
        if self._connection is None:
            return "it did not run"
        self._connection.close()
        self._connection = None
        # One that has ended by itself stays until it is waited for, so the number is still its own.
        os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        return f"exit code {os.waitstatus_to_exitcode(status)}"


def compile_scoring(model: WindowClassifier) -> None:
    """Score a window, so that the processes forked from this one find everything compiled.

    Where numba has no cache that took half a minute, which the first request of every process would have to wait.
    """
    size = model.preprocessing.window_size
    if size > _MAX_WARM_UP:
        return
    frames = Frames(
        timestamp=np.linspace(0.0, 1.0, size),
        arbitration_id=np.resize(np.array([0x100, 0x18FEF100], np.uint32), size),
        dlc=np.full(size, 8, np.uint8),
        payload=np.zeros((size, 8), np.uint8),
        is_extended=np.resize(np.array([False, True]), size),
        channel=np.zeros(size, np.uint8),
    )
    with contextlib.suppress(DataError):  # a model that cannot score it says so to whoever asks
        model.score(frames, threshold=0.0)


async def _exchange(connection: socket.socket, parser: int, body: bytearray) -> tuple[int, bytes]:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, _HEAD.pack(parser, len(body)))
    await loop.sock_sendall(connection, body)
    kind, size = _HEAD.unpack(await _received(connection, _HEAD.size))
    return kind, await _received(connection, size)


async def _received(connection: socket.socket, size: int) -> bytes:
    content = memoryview(bytearray(size))
    done = 0
    while done < size:
        count = await asyncio.get_running_loop().sock_recv_into(connection, content[done:])
        if not count:
            raise EOFError
        done += count
    return bytes(content)


def _work(connection: socket.socket, score: Callable[[int, bytes], Reply], timeout_s: float) -> NoReturn:
    """Score what is sent until the connection is closed; in the new process, of which nothing else may run on."""
    try:
        _settle(connection)
        with connection.makefile("rb") as requests:
            while head := requests.read(_HEAD.size):
                parser, size = _HEAD.unpack(head)
                body = requests.read(size)
                signal.alarm(math.ceil(timeout_s) + 1)
                kind, answer = _answer(score, parser, body)
                signal.alarm(0)
                connection.sendall(_HEAD.pack(kind, len(answer)) + answer)
    except (OSError, struct.error):
        pass  # the server is gone
    finally:
        os._exit(0)


def _settle(connection: socket.socket) -> None:
    """Drop what is the server's: its signals, its clients, and threads that the fork did not copy."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):  # a group of processes is signalled; the server ends this one
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    kept = connection.fileno()
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    torch.set_num_threads(1)
    gc.freeze()  # a collection would copy every page of the objects that are shared with the server
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_ADJ)


def _answer(score: Callable[[int, bytes], Reply], parser: int, body: bytes) -> tuple[int, bytes]:
    try:
        reply = score(parser, body)
    except DataError as error:
        return _REFUSED, str(error).encode(errors="backslashreplace")
    except Exception:  # the server logs it and answers 500
        return _FAILED, traceback.format_exc().encode(errors="backslashreplace")
    return _COVERED if reply.is_covered else _NOT_COVERED, reply.body

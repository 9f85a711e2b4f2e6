"""Serving: a verified model over HTTP.

What is served is the model that `load_model` returned, in memory; no file is read after it was verified. Requests are
scored one after another in a forked process, so that /ping always answers and scoring can be killed; more throughput
takes more servers behind a proxy.
"""

import asyncio
import errno
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from graphids.options import SCORING_HOST, SCORING_PORT, OptionError
from graphids.secrets import without_secrets
from mlflow_graphids.loading import load_model
from mlflow_graphids.serving.request_head import AllowedHosts
from mlflow_graphids.serving.scoring_app import ServerLimits, scoring_app
from mlflow_graphids.serving.scoring_process import compile_scoring
from mlflow_graphids.verification.trust import Policy

_MAX_PORT = 65535
_BACKLOG = 1024
# Container runtimes kill after 10 s; the interpreter took 4 of them to end on a busy machine.
_SHUTDOWN_S = 5


def serve(
    model_uri: str | os.PathLike[str],
    expected_digest: str | None = None,
    host: str = SCORING_HOST,
    port: int = SCORING_PORT,
    policy: Policy | None = None,
    limits: ServerLimits | None = None,
    signature: str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
    allowed_hosts: Sequence[str] = (),
) -> None:
    """Verify a model, then serve it over HTTP until Ctrl-C or SIGTERM; requests in flight are finished, for 5 s.

    Args:
        model_uri: As in `load_model`.
        expected_digest: As in `load_model`.
        host: Name or address of this machine to listen on; 0.0.0.0 means every IPv4 address that it has.
        port: 1 to 65535.
        policy: As in `load_model`.
        limits: By default `ServerLimits()`.
        signature: As in `load_model`.
        public_key: As in `load_model`.
        allowed_hosts: Names, beside localhost and `host`, under which clients may address the server; see
            `AllowedHosts.of`.

    Raises:
        IntegrityError: As in `load_model`, and so are its other errors; nothing is served.
        DataError: If the model needs a profile of a vehicle and has none.
        OptionError: Also if nothing can listen on that host and port, the port is not 1 to 65535, a limit is not
            above zero, an allowed host is neither a name nor an address, or an event loop is running in this thread, as
            in a notebook.
    """
    _require_no_event_loop()
    limits = limits or ServerLimits()
    hosts = AllowedHosts.of(host, allowed_hosts)
    # Bound before the model is loaded, so that a port in use is reported at once; not listening yet, so that no client
    # waits for a model that may be refused.
    with _bound(host, port) as sockets:
        model = load_model(model_uri, expected_digest, None, policy, signature, public_key)
        model.required_profile()
        compile_scoring(model)
        server = http_server(scoring_app(model, limits, hosts), limits.timeout_s)
        with _ended_by_signals(server):
            _listen(sockets, host, port)
            served = without_secrets(os.fspath(model_uri))
            print(f"graphids serve: {served} ({model.digest}) on http://{_authority(host)}:{port}", flush=True)
            server.run(sockets)


def http_server(app: Starlette, timeout_s: float) -> uvicorn.Server:
    """A server of one process, to be run on sockets that listen."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Connection,
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=math.ceil(timeout_s),
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )
    )


class _Connection(H11Protocol):
    """Closes a connection on which nothing happens in time.

    uvicorn gives a client unlimited time to send the head of a request, to finish a body that was refused and to read
    its answer; a few hundred such clients use up every connection of the process. An answer that nobody reads stops the
    next one on its connection too, which then is neither complete nor on its way.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._arm()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.timeout_keep_alive, self._expire)

    def _expire(self) -> None:
        between_requests = self.cycle is None or self.cycle.response_complete
        if between_requests or self.flow.write_paused or self.transport.is_closing():
            self.transport.abort()
        else:
            self._arm()


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Make an orderly end a success: uvicorn re-raises the signal that ended it, for the handlers before its own."""

    def end(*_: object) -> None:
        server.should_exit = True

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_no_event_loop() -> None:
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise OptionError(
            "serve: an event loop is running in this thread, as in a notebook, and a server needs one of its own. Run "
            "`graphids serve` in a shell, or call serve in a thread: threading.Thread(target=serve, ...).start()."
        )


def _authority(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextmanager
def _bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Sockets on every address of a host, closed on exit."""
    if not 1 <= port <= _MAX_PORT:
        raise OptionError(f"port is {port}, expected 1 to {_MAX_PORT}.")
    with ExitStack() as stack:
        sockets, errors = [], []
        for family, address in _addresses(host, port):
            try:
                sockets.append(stack.enter_context(_bind(family, address)))
            except OSError as error:
                errors.append(error)
        # `localhost` is also ::1, which a machine may lack; that alone is not a reason to refuse.
        if in_use := [error for error in errors if error.errno == errno.EADDRINUSE]:
            raise _cannot_listen(host, port, in_use[0])
        if not sockets:
            raise _cannot_listen(host, port, errors[0])
        yield sockets


def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def _bind(family: int, address: Any) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on other systems it would let two servers share a port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _listen(sockets: list[socket.socket], host: str, port: int) -> None:
    try:
        for bound in sockets:
            bound.listen(_BACKLOG)
    except OSError as error:  # another process took the port since: binding alone does not reserve it
        raise _cannot_listen(host, port, error) from error


def _cannot_listen(host: str, port: int, error: OSError) -> OptionError:
    return OptionError(
        f"host {host!r}, port {port}: no server can listen there ({error.strerror}). Choose another host or port."
    )

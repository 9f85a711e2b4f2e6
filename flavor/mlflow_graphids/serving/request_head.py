"""The head of a request: whether it is meant for this server, where its body ends, and what the body is.

A web page whose name an attacker lets point to this machine (DNS rebinding) reaches a server that listens on loopback
only; the browser says that name in `Host`. A head with two lengths is read differently by a proxy in front, which can
be made to take the end of one request for the next.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from graphids.options import SCORING_HOST, OptionError
from mlflow_graphids.frames_schema import short_repr
from mlflow_graphids.serving.error_response import error_response

ALLOWED_HOSTS_VARIABLE = "GRAPHIDS_ALLOWED_HOSTS"

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"[0-9a-z_](?:[0-9a-z_.-]{0,253})")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9A-Za-z_.-]{1,254}))(?::[0-9]{0,5})?")


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts that a request may name.

    Attributes:
        names: In lower case, without port.
        any_address: Whether any address is allowed: only a name can be made to point elsewhere.
    """

    names: frozenset[str] = frozenset(_LOCAL_NAMES)
    any_address: bool = False

    @classmethod
    def of(cls, bound: str = SCORING_HOST, more: Iterable[str] = ()) -> "AllowedHosts":
        """Localhost, the host that is listened on, `more`, and what GRAPHIDS_ALLOWED_HOSTS lists.

        Where every address is listened on (0.0.0.0, ::), requests may name any address, and this machine's name.

        Raises:
            OptionError: If one is neither a name nor an address.
        """
        configured = filter(None, (part.strip() for part in os.environ.get(ALLOWED_HOSTS_VARIABLE, "").split(",")))
        names = {host.lower().rstrip(".") for host in (*more, *configured)}
        if wrong := sorted(name for name in names if not _NAME.fullmatch(name) and not _is_address(name)):
            raise OptionError(
                f"allowed_hosts holds {short_repr(wrong[0])}, expected a name or an address without scheme and port."
            )
        is_every = _is_address(bound) and ipaddress.ip_address(bound).is_unspecified
        own = socket.gethostname() if is_every else bound
        return cls(frozenset({*_LOCAL_NAMES, own.lower(), *names}), any_address=is_every)

    def accepts(self, header: str) -> bool:
        """Whether a request with this `Host` is meant for this server."""
        found = _HOST.fullmatch(header)
        if found is None:
            return False
        host = (found[1] or found[2]).lower().rstrip(".")
        return host in self.names or (self.any_address and _is_address(host))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class HeadCheck:
    """ASGI middleware that answers 400 to a request for another host, or with more than one length."""

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or answer it."""
        app = self.app
        if scope["type"] == "http" and (problem := self._problem(Headers(scope=scope), scope["http_version"])):
            # Closed: what follows on this connection is a request to this server as little.
            app = error_response(400, problem, {"Connection": "close"})
        await app(scope, receive, send)

    def _problem(self, headers: Headers, http_version: str) -> str:
        if "transfer-encoding" in headers and ("content-length" in headers or http_version == "1.0"):
            return "The head has Transfer-Encoding beside Content-Length, or in HTTP/1.0; expected one length."
        if not self.hosts.accepts(host := headers.get("host", "")):
            return (
                f"Host is {short_repr(host)}, which is not a name of this server. Start it with --allowed-hosts, or "
                f"set {ALLOWED_HOSTS_VARIABLE}, to serve under other names."
            )
        return ""


def content_type(headers: Headers, query: str, expected: Collection[str]) -> str:
    """The media type of the body, by the head alone: a wrong one is refused before the body is received.

    Raises:
        HTTPException: If it is not one of `expected`, or the request has a query or is compressed.
    """
    if query:
        raise HTTPException(400, "The address has a query, expected none: params belong in the JSON body's 'params'.")
    if (encoding := headers.get("content-encoding", "identity").lower()) != "identity":
        raise HTTPException(415, f"Content-Encoding is {encoding!r}, expected none: send the body uncompressed.")
    found = headers.get("content-type", "")
    media_type, *parameters = (part.strip().lower() for part in found.split(";"))
    if media_type not in expected:
        raise HTTPException(415, f"Content-Type is {found!r}, expected one of {list(expected)}.")
    if any(parameter.replace('"', "") != "charset=utf-8" for parameter in parameters if parameter):
        raise HTTPException(415, f"Content-Type is {found!r}, expected no parameter but charset=utf-8.")
    return media_type

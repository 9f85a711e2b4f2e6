"""The scoring server's ASGI application: MLflow's scoring protocol around one verified model, within stated limits."""

import asyncio
import functools
import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import mlflow
import pandas as pd
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from graphids.core.frames import DataError
from graphids.options import OptionError
from mlflow_graphids.frames_schema import table_from_scores
from mlflow_graphids.pyfunc_wrapper import VerifiedClassifier, prediction_settings, score_table
from mlflow_graphids.serving import request_body

MIB = 1 << 20
# With stride 1 a small body makes many windows: twice this many of 256 frames, all alerts, took 1 GiB and a minute.
MAX_WINDOWS = 1 << 13
PARSERS: dict[str, Callable[[bytes], request_body.Request]] = {
    "application/json": request_body.parse_json,
    "text/csv": request_body.parse_csv,
}

# MLflow's error codes if it has one, since its clients look for them.
_ERROR_CODES = {
    400: "BAD_REQUEST",
    404: "ENDPOINT_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "REQUEST_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of one server.

    Attributes:
        max_body_bytes: Body of one request; above it 413. All bodies in flight together may hold eight times as much.
        max_waiting: Requests in flight; above it 503 with Retry-After.
        timeout_s: From the head of a request to its answer; then 408 if the body is still on its way, else 503. A
            connection without a request is closed after as long.

    Raises:
        OptionError: If a limit is not finite or not above zero.
    """

    max_body_bytes: int = 16 * MIB
    max_waiting: int = 256
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_waiting", "timeout_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise OptionError(f"{name} is {getattr(self, name)}, expected a finite number above 0.")


def scoring_app(model: VerifiedClassifier, limits: ServerLimits) -> Starlette:
    """The ASGI application: POST /invocations; GET /ping, /health and /version as MLflow's scoring server has them."""
    scorer = _Scorer(model, limits)
    digest = {"graphids-digest": model.digest}

    async def ping(_: Request) -> Response:
        return Response("\n", headers=digest, media_type="application/json")

    async def version(_: Request) -> Response:
        return Response(mlflow.__version__, headers=digest, media_type="application/json")

    async def invocations(request: Request) -> Response:
        answer = await scorer.answer(request)
        headers = {**digest, "graphids-covered": str(answer.is_covered).lower()}
        return Response(answer.body, headers=headers, media_type="application/json")

    app = Starlette(
        routes=[
            Route("/ping", ping),
            Route("/health", ping),
            Route("/version", version),
            Route("/invocations", invocations, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _refusal, ClientDisconnect: _disconnected, Exception: _failure},
    )
    app.router.redirect_slashes = False
    return app


class Reply(NamedTuple):
    """The body of an answer, and whether the model can judge every bus of the request."""

    body: bytes
    is_covered: bool


class _Scorer:
    """Requests in flight and the one thread that scores them."""

    def __init__(self, model: VerifiedClassifier, limits: ServerLimits) -> None:
        self.model, self.limits = model, limits
        # One thread: scoring holds the GIL for much of its time, and every further thread would hold another table.
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="graphids-scoring")
        self.num_waiting = 0
        self.num_bytes = 0

    async def answer(self, request: Request) -> Reply:
        """What the model says to a request.

        Raises:
            HTTPException: For every refusal; its detail is one sentence.
        """
        parse = _parser(request)
        if self.num_waiting >= self.limits.max_waiting:
            raise _busy(f"{self.num_waiting} requests are waiting already")
        body = bytearray()
        received = False
        self.num_waiting += 1
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                await self._receive(request, body)
                received = True
                score = functools.partial(_score, self.model, parse, body)
                return await asyncio.get_running_loop().run_in_executor(self.thread, score)
        except TimeoutError as error:
            if received:
                raise _busy(f"no answer within {self.limits.timeout_s:g} s; send fewer frames") from error
            raise HTTPException(408, f"The body did not arrive within {self.limits.timeout_s:g} s.") from error
        except DataError as error:
            raise HTTPException(400, str(error)) from error
        finally:
            self.num_waiting -= 1
            self.num_bytes -= len(body)

    async def _receive(self, request: Request, body: bytearray) -> None:
        limit = self.limits.max_body_bytes
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(f"{announced} bytes", limit)
        async for chunk in request.stream():
            if len(body) + len(chunk) > limit:
                raise _too_large("more", limit)
            body += chunk
            self.num_bytes += len(chunk)
            if self.num_bytes > 8 * limit:
                raise _busy(f"the bodies in flight hold {self.num_bytes} bytes already")


def _score(model: VerifiedClassifier, parse: Callable[[bytes], request_body.Request], body: bytearray) -> Reply:
    table, params = parse(bytes(body))
    _require_few_windows(model, table, params)
    scores = score_table(model, table, params, integer_ids=False)
    content = {
        "predictions": table_from_scores(scores).to_dict(orient="records"),
        "coverage": [{"channel": bus, **known.to_dict()} for bus, known in scores.bus_coverage.items()],
    }
    is_covered = all(coverage.is_enough for coverage in scores.bus_coverage.values())
    return Reply(json.dumps(content, allow_nan=False).encode(), is_covered)


def _require_few_windows(model: VerifiedClassifier, table: pd.DataFrame, params: Mapping[str, Any]) -> None:
    stride = prediction_settings(model, params)["stride"]
    if (num_windows := len(table) // stride) > MAX_WINDOWS:
        raise DataError(
            f"{len(table)} frames with stride {stride} make about {num_windows} windows, expected at most "
            f"{MAX_WINDOWS} in one request: send fewer frames, or a larger stride."
        )


def _parser(request: Request) -> Callable[[bytes], request_body.Request]:
    """The parser of the body, by the headers alone: a wrong type is refused before its body is received."""
    if request.url.query:
        raise HTTPException(400, "The address has a query, expected none: params belong in the JSON body's 'params'.")
    if (encoding := request.headers.get("content-encoding", "identity").lower()) != "identity":
        raise HTTPException(415, f"Content-Encoding is {encoding!r}, expected none: send the body uncompressed.")
    found = request.headers.get("content-type", "")
    media_type, *parameters = (part.strip().lower() for part in found.split(";"))
    if media_type not in PARSERS:
        raise HTTPException(415, f"Content-Type is {found!r}, expected one of {list(PARSERS)}.")
    if any(parameter.replace('"', "") != "charset=utf-8" for parameter in parameters if parameter):
        raise HTTPException(415, f"Content-Type is {found!r}, expected no parameter but charset=utf-8.")
    return PARSERS[media_type]


def _too_large(found: str, limit: int) -> HTTPException:
    return HTTPException(
        413, f"The body has {found}, expected at most {limit} bytes: send fewer frames, or start with --max-body-mib."
    )


def _busy(reason: str) -> HTTPException:
    return HTTPException(503, f"Not now: {reason}.", headers={"Retry-After": "1"})


async def _refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    message = {404: "There is no such path", 405: "Method not allowed"}.get(error.status_code, "")
    if message:  # Starlette's own detail is the bare phrase
        message += ", expected POST /invocations or GET /ping, /health, /version."
    return _error(error.status_code, message or error.detail, error.headers)


async def _failure(_: Request, __: Exception) -> Response:
    # Starlette raises the exception again once this is sent, and uvicorn logs it with its traceback.
    return _error(500, "The server failed on this request; its log says why.", None)


async def _disconnected(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody is listening, and nothing failed


def _error(status: int, message: str, headers: Mapping[str, str] | None) -> Response:
    content = json.dumps({"error_code": _ERROR_CODES.get(status, "BAD_REQUEST"), "message": message})
    return Response(content, status, headers, media_type="application/json")

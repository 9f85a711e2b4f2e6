"""The scoring server's ASGI application: MLflow's scoring protocol around one verified model, within stated limits."""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mlflow
import pandas as pd
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from graphids.core.frames import DataError
from graphids.core.incidents.incident_rows import row_of
from graphids.options import OptionError
from mlflow_graphids.frames_schema import table_from_scores
from mlflow_graphids.pyfunc_wrapper import (
    VerifiedClassifier,
    asks_for_incidents,
    incidents_in,
    prediction_settings,
    scored_table,
)
from mlflow_graphids.serving import request_body
from mlflow_graphids.serving.error_response import error_response
from mlflow_graphids.serving.request_head import AllowedHosts, HeadCheck, content_type
from mlflow_graphids.serving.scoring_process import Reply, ScoringProcess

MIB = 1 << 20
# With stride 1 a small body makes many windows: this many of 256 frames, all alerts, can take a minute.
MAX_WINDOWS = 1 << 13
PARSERS: dict[str, Callable[[bytes], request_body.Request]] = {
    "application/json": request_body.parse_json,
    "text/csv": request_body.parse_csv,
}
# A request that is scored for longer than this share of the timeout makes /health fail: others had better go elsewhere.
_STALLED = 0.25


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of one server.

    Attributes:
        max_body_bytes: Body of one request; above it 413. All bodies in flight together may hold eight times as much.
        max_waiting: Requests in flight; above it 503 with Retry-After.
        timeout_s: From the head of a request to its answer; then 408 if the body is still on its way, else 503, and
            the process that scores it is replaced. A connection without a request, or whose client does not read its
            answer, is closed after as long.

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


def scoring_app(model: VerifiedClassifier, limits: ServerLimits, hosts: AllowedHosts | None = None) -> Starlette:
    """The ASGI application: POST /invocations; GET /ping, /health and /version as MLflow's scoring server has them.

    It is to be run with its lifespan, which starts and ends the process that scores.
    """
    scorer = _Scorer(model, limits)
    digest = {"graphids-digest": model.digest}

    async def ping(_: Request) -> Response:
        return Response("\n", headers=digest, media_type="application/json")

    async def health(request: Request) -> Response:
        if (busy_s := scorer.process.busy_s) > _STALLED * limits.timeout_s:
            raise _busy(f"a request has been scored for {busy_s:.0f} s")
        return await ping(request)

    async def version(_: Request) -> Response:
        return Response(mlflow.__version__, headers=digest, media_type="application/json")

    async def invocations(request: Request) -> Response:
        answer = await scorer.answer(request)
        headers = {**digest, "graphids-covered": str(answer.is_covered).lower()}
        return Response(answer.body, headers=headers, media_type="application/json")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        scorer.process.start()
        try:
            yield
        finally:
            scorer.process.kill()

    app = Starlette(
        routes=[
            Route("/ping", ping),
            Route("/health", health),
            Route("/version", version),
            Route("/invocations", invocations, methods=["POST"]),
        ],
        middleware=[Middleware(HeadCheck, hosts=hosts or AllowedHosts())],
        exception_handlers={HTTPException: _refusal, ClientDisconnect: _disconnected, Exception: _failure},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class _Scorer:
    """Requests in flight and the one process that scores them."""

    def __init__(self, model: VerifiedClassifier, limits: ServerLimits) -> None:
        self.limits = limits
        # The module's own `_score` when the process starts, so that a test can put another in its place.
        self.process = ScoringProcess(
            lambda parser, body: _score(model, list(PARSERS.values())[parser], body), limits.timeout_s
        )
        self.num_waiting = 0
        self.num_bytes = 0

    async def answer(self, request: Request) -> Reply:
        """What the model says to a request.

        Raises:
            HTTPException: For every refusal; its detail is one sentence.
        """
        parser = list(PARSERS).index(content_type(request.headers, request.url.query, PARSERS))
        if self.num_waiting >= self.limits.max_waiting:
            raise _busy(f"{self.num_waiting} requests are waiting already")
        body = bytearray()
        received = False
        self.num_waiting += 1
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                await self._receive(request, body)
                received = True
                return await self.process.score(parser, body)
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


def _score(model: VerifiedClassifier, parse: Callable[[bytes], request_body.Request], body: bytes) -> Reply:
    table, params = parse(body)
    _require_few_windows(model, table, params)
    scored = scored_table(model, table, params, integer_ids=False)
    scores = scored.scores
    content = {
        "predictions": [row_of(incident) for incident in incidents_in(model, scored)]
        if asks_for_incidents(params)
        else table_from_scores(scores).to_dict(orient="records"),
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
    return error_response(error.status_code, message or error.detail, error.headers)


async def _failure(_: Request, __: Exception) -> Response:
    # Starlette raises the exception again once this is sent, and uvicorn logs it with its traceback.
    return error_response(500, "The server failed on this request; its log says why.")


async def _disconnected(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody is listening, and nothing failed

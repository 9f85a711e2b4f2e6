"""A refusal as MLflow's clients expect it: `{"error_code": ..., "message": ...}`."""

import json
from collections.abc import Mapping

from starlette.responses import Response

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


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that is refused for that reason."""
    content = json.dumps({"error_code": _ERROR_CODES.get(status, "BAD_REQUEST"), "message": message})
    return Response(content, status, headers, media_type="application/json")

"""Errors as problems (RFC 9457). One table says which status a code of a `UserError` has; a test demands all codes.

`RetriableError` is always 503, `FatalError` always 500.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from orchestration.api.statuses import STATUS_OF_CODE
from schemas.errors import MusterError, RetriableError, UserError

_log = logging.getLogger("muster.api")

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2
HEADERS_OF_STATUS: Final[Mapping[int, Mapping[str, str]]] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="muster"'},
        HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": str(RETRY_AFTER_S)},
        HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": str(RETRY_AFTER_S)},
    }
)


def headers_of(error: MusterError) -> Mapping[str, str]:
    """Headers of the answer. `retry_after_s` in the detail says when to try again, where that is known."""
    headers = HEADERS_OF_STATUS.get(status_of(error), {})
    wait_s = error.detail.get("retry_after_s")
    return headers if wait_s is None else {**headers, "Retry-After": str(wait_s)}


def status_of(error: MusterError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, UserError):
        return int(STATUS_OF_CODE.get(error.code, HTTPStatus.UNPROCESSABLE_ENTITY))
    if isinstance(error, RetriableError):
        return int(HTTPStatus.SERVICE_UNAVAILABLE)
    return int(HTTPStatus.INTERNAL_SERVER_ERROR)


def problem(error: MusterError, request_id: str) -> dict[str, Any]:
    """The body of the answer. A system error shows its code, and its message only in the log."""
    status, system = status_of(error), not isinstance(error, UserError | RetriableError)
    if system:
        _log.error("request %s: %s", request_id, " at ".join((str(error), *getattr(error, "__notes__", ()))))
    return {
        "type": f"/problems/{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": status,
        "detail": "the service cannot answer this; its log has the request id" if system else error.message,
        "instance": request_id,
        "code": error.code,
        "kind": error.kind,
        "values": {} if system else dict(error.detail),
    }

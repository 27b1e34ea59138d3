"""How an operation is declared: its view method, its answer, its problems, an example."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from types import UnionType
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from orchestration.access.bodies.common import Problem
from orchestration.access.guard import action_of, view_of
from orchestration.access.views.tenant import TenantView
from orchestration.api.problems import MEDIA_TYPE
from orchestration.api.statuses import STATUS_OF_CODE

OF_ALL: Final = (
    "WRONG_HOST",
    "BAD_BODY",
    "BODY_CUT_OFF",
    "BODY_TOO_LARGE",
    "BODY_TIMEOUT",
    "UNKNOWN_PARAMETER",
    "INVALID_REQUEST",
    "INTERNAL",
)
OF_CALLERS: Final = (
    "NO_TOKEN",
    "BAD_TOKEN",
    "TOKEN_REFUSED",
    "TOKEN_EXPIRED",
    "TOKEN_REVOKED",
    "SESSION_ENDED",
    "CROSS_ORIGIN",
    "TOO_MANY_REQUESTS",
)
OF_CALLS: Final = ("BUSY", "CALL_TIMEOUT", "CATALOG_UNAVAILABLE", "CATALOG_REFUSED")
PUBLIC: Final = "public"
"""In place of an action: an operation that needs no token."""
OUTAGES: Final = frozenset(
    {
        *OF_CALLS,
        "ENGINE_UNAVAILABLE",
        "KAFKA_UNAVAILABLE",
        "LAKE_UNAVAILABLE",
        "QUESTION_TIMEOUT",
        "READERS_BUSY",
        "READER_DIED",
        "S3_UNAVAILABLE",
        "SERVICE_STOPS",
        "SQL_KILLED",
        "STACK_NOT_RUNNING",
        "TOPIC_MISSING",
    }
)
FATAL: Final = frozenset(
    {
        "ENGINE_REFUSED",
        "INTERNAL",
        "LAKE_FILE_MISSING",
        "LAKE_UNREADABLE",
        "LOGON_REFUSED",
        "READER_FAILED",
        "S3_REFUSED",
        "SANDBOX_INCOMPLETE",
    }
)


def operation(
    method: Callable[..., Any] | None,
    answer: type[BaseModel] | UnionType,
    *problems: str,
    status: int = 200,
    headers: Iterable[str] = (),
    response_class: type[Response] = Response,
) -> dict[str, Any]:
    """Arguments for a route whose handler calls `method` of a view; None for a public one.

    `problems`: codes besides those of all operations. `headers`: of the answer. `response_class`: of a
    stream, whose events have the form `answer`.
    """
    codes = [*OF_ALL, *OF_CALLS, *problems]
    extra: dict[str, Any] = {"x-action": PUBLIC, "security": []}
    if method is not None:
        in_tenant = issubclass(view_of(method), TenantView)
        codes += [*OF_CALLERS, "FORBIDDEN", *(["UNKNOWN_TENANT"] if in_tenant else [])]
        extra = {"x-action": action_of(method).value, "security": [{"token": []}, {"session": []}]}
    described = {name: {"schema": {"type": "string"}} for name in ("X-Request-Id", *headers)}
    responses: dict[int | str, dict[str, Any]] = {status: {"model": answer, "headers": described}}
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in sorted(set(codes)):
        by_status[_status(code)].append(code)
    for number, named in sorted(by_status.items()):
        schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
        responses[number] = {"description": ", ".join(named), "content": {MEDIA_TYPE: {"schema": schema}}}
    return {
        "responses": responses,
        "status_code": status,
        "response_class": response_class,
        "response_model": None,
        "openapi_extra": {**extra, "x-problems": sorted(set(codes))},
    }


def _status(code: str) -> int:
    if code in FATAL:
        return 500
    return 503 if code in OUTAGES else STATUS_OF_CODE[code]

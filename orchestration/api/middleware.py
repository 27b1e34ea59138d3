"""The middleware: what every request passes before it is routed, and every answer on its way out. Plain ASGI.

1. It gets an id, which its answer, its audit entries, and the log lines of all that it starts carry. It is a span of
   the trace that its header `traceparent` names (W3C Trace Context), or of one of its own.
2. The header Host must name this service: a page whose name was pointed at its address (DNS rebinding) cannot use it.
   Pages and cookies have a host of their own on loopback (`orchestration.access.console_host`).
3. Its token, or the cookie of its session, is turned into a caller, unless the path is public. A change with a cookie
   must come from a page of ours (`csrf`), and no answer allows another origin (CORS), so a foreign page cannot act for
   its reader.
4. Its body is read as a whole (`bodies`): at most 1 MiB, some KiB if the path is public, within 30 s.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from muster import __version__
from orchestration.api.answers import problem_answer
from orchestration.api.bodies import (
    BODY_TIMEOUT_S,
    MAX_BODY_BYTES,
    MAX_PUBLIC_BODY_BYTES,
    check_end,
    has_two_ends,
    headers_of,
    read_body,
    replay,
)
from orchestration.api.csrf import check_same_origin
from orchestration.api.service import Bearer, Cookie, Credential, Service
from orchestration.platform.clock import fresh_id
from schemas import tracing
from schemas.errors import FatalError, MusterError, UserError
from schemas.ids import JobId
from schemas.log_ids import bound
from schemas.metrics import API_REQUEST_SECONDS, API_REQUESTS
from schemas.tracing import TRACEPARENT, TraceContext, trace_of

PUBLIC: Final = frozenset(
    {
        "/v1/health",
        "/v1/openapi.json",
        "/v1/login-tokens",
        "/v1/service-proof",
        "/login",
        "/login/callback",
        "/login/code",
    }
)
MAX_NOTE: Final = 100
SAFE_HEADERS: Final = (
    (b"muster-version", __version__.encode()),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
LOGINS: Final = ("/login", "/logout")
_log = logging.getLogger("muster.api")


Problems = Callable[[Scope, MusterError, str], Response]
"""How an error is answered: the request, the error, the id of the request."""


def _as_json(scope: Scope, error: MusterError, request_id: str) -> Response:
    del scope  # all requests alike
    return problem_answer(error, request_id)


class Middleware:
    """Wraps the application. `public`: whether a path needs no caller. `problems`: how its refusals are shown.

    `for_browsers`: whether a path is only served at the site's own host.
    `SAFE_HEADERS` go with every answer, except those that it sets itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        *,
        public: Callable[[str], bool] = PUBLIC.__contains__,
        for_browsers: Callable[[str], bool] = lambda path: path.startswith(LOGINS),
        problems: Problems = _as_json,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._app = app
        self._service = service
        self._public = public
        self._for_browsers = for_browsers
        self._problems = problems
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the start and end of the application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return
        request_id, parent = fresh_id(), _parent(scope)
        # http.request.method marks the span as one of a server (OpenTelemetry's semantic conventions).
        marks = {"http.request.method": scope["method"], "muster.request_id": request_id}
        with (
            bound(request_id=request_id),
            tracing.span(scope["method"], marks, own=trace_of(request_id, parent), parent=parent),
        ):
            await self._handle(request_id, scope, receive, send)

    async def _handle(self, request_id: JobId, scope: Scope, receive: Receive, send: Send) -> None:
        began, status, seconds = time.perf_counter(), 0, 0.0

        async def answer(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - began
                given = {name for name, _ in message["headers"]}
                own = [pair for pair in SAFE_HEADERS if pair[0] not in given]
                own.append((b"x-request-id", request_id.encode()))
                if has_two_ends(scope):
                    own.append((b"connection", b"close"))
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        scope["state"] = {
            **scope.get("state", {}),
            "request_id": request_id,
            "service": self._service,
            "problems": self._problems,
        }
        try:
            self._check_host(scope)
            check_end(scope)
            if not (public := self._public(scope["path"])):
                given = self._credential(scope)
                scope["state"]["identify"] = lambda: self._service.identify(given, request_id)
                caller = await self._service.caller(given, request_id)
                scope["state"]["caller"] = replace(caller, note=_note(scope))
            limit = MAX_PUBLIC_BODY_BYTES if public else MAX_BODY_BYTES
            body = await read_body(scope, receive, limit=limit, timeout_s=self._body_timeout_s)
            await self._app(scope, replay(body, receive), answer)
        except MusterError as exc:
            await self._problems(scope, exc, request_id)(scope, receive, answer)
        except Exception:  # noqa: BLE001  # the application has answered with 500 unless nothing was sent yet
            _log.exception("request %s failed", request_id)
            if not status:
                error = FatalError("INTERNAL", "a bug in Muster")
                await self._problems(scope, error, request_id)(scope, receive, answer)
        finally:
            self._account(scope, status, seconds)

    def _account(self, scope: Scope, status: int, seconds: float) -> None:
        operation = getattr(scope.get("route"), "name", "none")
        tracing.note({"http.response.status_code": status}, name=operation)
        self._service.counts.add(API_REQUESTS, operation=operation, status=str(status))
        self._service.counts.observe(API_REQUEST_SECONDS, seconds, operation=operation)
        caller = scope["state"].get("caller")
        _log.info(
            "%s %s %d %.0f ms, request %s, principal %s",
            scope["method"],
            scope.get("raw_path", b"").decode("ascii", "backslashreplace"),
            status,
            seconds * 1000,
            scope["state"]["request_id"],
            None if caller is None else caller.principal_id,
        )

    def _credential(self, scope: Scope) -> Credential:
        """The token, or else the cookie. Raises `UserError` NO_TOKEN, CROSS_ORIGIN."""
        if headers_of(scope, b"authorization"):
            return Bearer(_token(scope))
        cookie = self._service.site.session_in(headers_of(scope, b"cookie"))
        if cookie is None or not self._service.site.serves(_host(scope)):
            raise _no_token()
        check_same_origin(
            scope["method"],
            site=headers_of(scope, b"sec-fetch-site"),
            origin=headers_of(scope, b"origin"),
            own=self._service.site.origin(headers_of(scope, b"host")[0]),
        )
        return Cookie(cookie)

    def _check_host(self, scope: Scope) -> None:
        if (host := _host(scope)) not in self._service.hosts | {self._service.site.host}:
            raise UserError(
                "WRONG_HOST",
                "the header Host does not name this service; add the name to the setting api_hosts if it should",
            )
        if self._for_browsers(scope["path"]) and not self._service.site.serves(host):
            raise UserError(
                "WRONG_HOST", "the console has an address of its own on this machine; open it with `muster console`"
            )


def _parent(scope: Scope) -> TraceContext | None:
    """The span that has caused the request. None without one header of that form, which is no fault of a request."""
    given = headers_of(scope, TRACEPARENT.encode())
    return TraceContext.parse(given[0]) if len(given) == 1 else None


def _token(scope: Scope) -> str:
    given = headers_of(scope, b"authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise _no_token()
    return token.strip()


def _no_token() -> UserError:
    return UserError(
        "NO_TOKEN", "send a token in the header `Authorization: Bearer mst_...`; get one with `muster login`"
    )


def _note(scope: Scope) -> str:
    """On whose behalf the caller acts, for the audit trail."""
    given = headers_of(scope, b"muster-as")
    text = unquote(given[0][: 9 * MAX_NOTE]) if given else ""
    return "".join(one for one in text if one.isprintable())[:MAX_NOTE]


def _host(scope: Scope) -> str:
    """The host name in the header Host, in lower case. Empty without one, or with two."""
    given = headers_of(scope, b"host")
    name = given[0].lower() if len(given) == 1 else ""
    return name[: name.find("]") + 1] if name.startswith("[") else name.partition(":")[0]

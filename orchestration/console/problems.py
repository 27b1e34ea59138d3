"""Errors as pages: what happened, and what to do."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from orchestration.api.answers import problem_answer
from orchestration.api.problems import headers_of, problem, status_of
from orchestration.console.frame import bare_frame, path_of
from orchestration.console.language import Texts
from orchestration.console.paths import LOGIN, PREFIX, is_page
from orchestration.console.rendering import shown
from schemas.errors import FatalError, MusterError, UserError

TO_LOGIN = frozenset({"NO_TOKEN", "SESSION_ENDED", "TOKEN_EXPIRED", "TOKEN_REVOKED", "TOKEN_REFUSED"})
IN_FORM = "muster-form"
"""Header of a form that the script sends: its errors are shown within it, and it follows redirects itself."""
FIELDS = {
    **dict.fromkeys(("BAD_NAME", "NAME_TAKEN", "SCHEDULE_EXISTS", "PRINCIPAL_EXISTS", "BAD_PRINCIPAL"), "name"),
    **dict.fromkeys(("BAD_DESTINATION", "BAD_URI", "ADDRESS_REPEATS", "BAD_PLACEHOLDER"), "to"),
    "BAD_TIMEZONE": "timezone",
    "BAD_SOURCE": "source",
    "BAD_SQL": "sql",
    "BAD_SCHEDULE": "expression",
    "NOT_CONFIRMED": "confirm",
    "BAD_LIFETIME": "days",
    "BAD_PLACE": "places",
    "BAD_RECIPIENT": "email",
    "UNKNOWN_PRINCIPAL": "principal",
    "UNKNOWN_AUDIENCE": "audience",
    "UNKNOWN_SEGMENT": "segment",
    "BAD_EXPRESSION": "where",
    "UNKNOWN_TENANT": "name",
    "TENANT_EXISTS": "name",
    "AUDIENCE_EXISTS": "audience",
}
"""The field that an error is about, by code; a form without it shows the error at its top."""
SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemPage:
    """`text`: in the reader's language, as far as the code has one; `detail`: as the service says it."""

    code: str
    title: str
    text: str
    detail: str
    request_id: str
    back: str


def answer_problem(scope: Scope, error: MusterError, request_id: str) -> Response:
    """A refusal of the middleware: as a page below the prefix of pages, else as a problem."""
    path = scope["path"]
    if is_page(path) or (path.startswith("/login") and _wants_page(scope)):
        return problem_page(Request(scope), error)
    return problem_answer(error, request_id)


def _wants_page(scope: Scope) -> bool:
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def problem_page(request: Request, error: MusterError) -> Response:
    """An error as a page; without a login, the way to it."""
    if error.code in TO_LOGIN:
        return _to_login(request, error)
    request_id, status = request.state.request_id, status_of(error)
    found, frame = problem(error, request_id), bare_frame(request)
    page = ProblemPage(
        code=error.code,
        title=title_of(frame.texts, error.code, error.kind),
        text=text_of(frame.texts, error.code, error.kind),
        detail=found["detail"],
        request_id=request_id,
        back=_referer(request),
    )
    in_form = IN_FORM in request.headers
    answer = shown("parts/form_problem.html" if in_form else "problem.html", frame, page, status=status)
    answer.headers.update(headers_of(error))
    if in_form:
        answer.headers["Muster-Field"] = field_of(error)
    return answer


def field_of(error: MusterError) -> str:
    """The field of a form that an error is about; empty if it is about none."""
    if isinstance(named := error.detail.get("field"), str) and named.isidentifier():
        return named
    faults: Any = error.detail.get("errors") or [{}]
    place = str(faults[0].get("at", "")).rpartition("/")[2]
    return place if place.isidentifier() else FIELDS.get(error.code, "")


def title_of(texts: Texts, code: str, kind: str) -> str:
    """What happened, in a few words."""
    return texts(f"problem.{code}.title" if texts.has(f"problem.{code}.title") else f"problem.{kind}.title")


def text_of(texts: Texts, code: str, kind: str) -> str:
    """What to do."""
    return texts(f"problem.{code}.text" if texts.has(f"problem.{code}.text") else f"problem.{kind}.text")


def _to_login(request: Request, error: MusterError) -> Response:
    to = path_of(request) if request.method in SAFE_METHODS else PREFIX
    query = {"return_to": to, **({} if error.code == "NO_TOKEN" else {"ended": "1"})}
    if "hx-request" in request.headers:
        query["return_to"] = PREFIX  # the address is that of a part of a page
        return Response(status_code=401, headers={"HX-Redirect": f"{LOGIN}?{urlencode(query)}"})
    return Response(status_code=303, headers={"Location": f"{LOGIN}?{urlencode(query)}"})


def _referer(request: Request) -> str:
    """The console page that the reader came from."""
    parts = urlsplit(request.headers.get("referer", ""))
    path = parts.path if is_page(parts.path) and parts.path != request.url.path else PREFIX
    return f"{path}?{parts.query}" if parts.query and path == parts.path else path


async def on_error(request: Request, exc: Exception) -> Response:
    """An error of a page."""
    if isinstance(exc, MusterError):
        return problem_page(request, exc)
    if isinstance(exc, HTTPException) and exc.status_code in {404, 405}:
        return problem_page(request, UserError("NO_SUCH_PATH", "there is no page at this address"))
    return problem_page(request, FatalError("INTERNAL", "a bug in Muster"))  # the middleware logs it

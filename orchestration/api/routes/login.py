"""How browsers get in and out: redirects and cookies, outside the API. None of these paths takes a token."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.console_codes import redeem_console_code
from orchestration.access.oidc.cli_tokens import make_cli_code
from orchestration.access.oidc.logins import Answer, begin_login, end_login
from orchestration.access.oidc.pkce import CHALLENGE
from orchestration.access.sessions import begin_session
from orchestration.access.views.account import Account
from orchestration.api.csrf import check_navigation
from orchestration.api.own_paths import own_path
from orchestration.api.service import Service, in_deployment_view, service_of
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Secret
from schemas.errors import UserError

router = APIRouter()
CODE_PATH: Final = "/login/code"
CONFIRM_PATH: Final = "/console/open"
"""The console asks there before it uses a code, since a page of another site may have led to it."""
CALLBACK_PATH: Final = "/login/callback"
STATE_S: Final = 600
Code = Annotated[str, Query(max_length=100)]
ReturnTo = Annotated[str, Query(max_length=2000)]
Given = Annotated[str | None, Query(max_length=4000)]


class CliLogin:
    """What a program on the browser's machine sends with it: where it listens, and what its code is bound to."""

    def __init__(
        self,
        port: Annotated[int | None, Query(ge=1024, le=65535)] = None,
        challenge: Annotated[str | None, Query(pattern=CHALLENGE.pattern, min_length=43, max_length=43)] = None,
        state: Annotated[str | None, Query(pattern=CHALLENGE.pattern, min_length=43, max_length=43)] = None,
    ) -> None:
        given = {"port": port, "challenge": challenge, "state": state}
        self.wanted = any(value is not None for value in given.values())
        if self.wanted and None in given.values():
            raise UserError("INCOMPLETE_LOGIN", "a login for a program needs port, challenge and state")
        self.record: Mapping[str, Any] | None = given if self.wanted else None


@router.get(CODE_PATH)
async def redeem_code(request: Request, code: Code, return_to: ReturnTo = "/") -> Response:
    """Turn a code of `muster console` into a session, and redirect away from the address with the code."""
    service, to = service_of(request), own_path(return_to)
    check_navigation(request.headers.getlist("sec-fetch-site"))
    service.count_login(request)
    request_id, replaced = request.state.request_id, session_of(request)
    cookie = await service.calls.run(
        lambda: redeem_console_code(service.services, code, replaced=replaced, request_id=request_id, now_ms=now_ms())
    )
    return logged_in(request, cookie, to)


@router.get("/login")
async def begin(request: Request, asked: Annotated[CliLogin, Depends()], return_to: ReturnTo = "/") -> Response:
    """Redirect to the identity provider. With a program's parameters, the login gives that program a token."""
    service, to = service_of(request), own_path(return_to)
    provider = service.identity_provider()
    if asked.wanted:  # a page of others must not make its reader give away a token
        check_navigation(request.headers.getlist("sec-fetch-site"))
    service.count_login(request)
    url, state = await service.outside.run(
        lambda: begin_login(
            service.services, provider, redirect_uri=_callback(service), then={"return_to": to, "cli": asked.record}
        )
    )
    site = service.site
    cookie = site.cookie(state.reveal(), name=site.login_cookie, seconds=STATE_S)
    return Response(status_code=303, headers={"Location": url, "Set-Cookie": cookie})


@router.get(CALLBACK_PATH)
async def come_back(
    request: Request,
    code: Given = None,
    state: Given = None,
    iss: Given = None,
    error: Given = None,
) -> Response:
    """Take the provider's answer: begin a session, or send its code to a program on the browser's machine."""
    service, site = service_of(request), service_of(request).site
    provider = service.identity_provider()
    service.count_login(request)
    request_id, replaced = request.state.request_id, session_of(request)
    answer = Answer(code=code, state=state, issuer=iss, error=error)
    known = site.value_in(request.headers.getlist("cookie"), site.login_cookie)

    def finish() -> tuple[str, Secret | None]:
        principal, then = end_login(service.services, provider, answer, cookie=known, redirect_uri=_callback(service))
        if (cli := then["cli"]) is not None:
            one_time = make_cli_code(service.services, principal, cli["challenge"])
            query = urlencode({"code": one_time.reveal(), "state": cli["state"]})
            return f"http://127.0.0.1:{cli['port']}/?{query}", None
        cookie = begin_session(service.services, principal, token_id=None, request_id=request_id, replaced=replaced)
        return then["return_to"], cookie

    to, cookie = await service.outside.run(finish)
    found = logged_in(request, cookie, to) if cookie else Response(status_code=303, headers={"Location": to})
    found.headers.append("Set-Cookie", site.cookie("ended", name=site.login_cookie, seconds=0))
    return found


def _callback(service: Service) -> str:
    """What the provider knows as the redirect URI of Muster."""
    return f"{service.site.url}{CALLBACK_PATH}"


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session, and take the cookie away."""
    await in_deployment_view(request, Account, Account.log_out)
    return Response(status_code=204, headers={"Set-Cookie": service_of(request).site.no_cookie})


def session_of(request: Request) -> str | None:
    """The cookie that the browser has."""
    return service_of(request).site.session_in(request.headers.getlist("cookie"))


def logged_in(request: Request, cookie: Secret, to: str) -> Response:
    """Set the cookie of a new session and redirect to one of the service's own paths."""
    site = service_of(request).site
    return Response(status_code=303, headers={"Location": to, "Set-Cookie": site.cookie(cookie.reveal())})

"""How browsers get in and out: redirects and cookies, outside the API. None of these paths takes a token."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.console_codes import redeem_console_code
from orchestration.api.csrf import check_navigation
from orchestration.api.own_paths import own_path
from orchestration.api.service import in_account, service_of
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Secret

router = APIRouter()
CODE_PATH: Final = "/login/code"
Code = Annotated[str, Query(max_length=100)]
ReturnTo = Annotated[str, Query(max_length=2000)]


@router.get(CODE_PATH)
async def redeem_code(request: Request, code: Code, return_to: ReturnTo = "/") -> Response:
    """Turn a code of `muster console` into a session, and lead away from the address that has it."""
    service, to = service_of(request), own_path(return_to)
    check_navigation(request.headers.getlist("sec-fetch-site"))
    service.count_login(request)
    request_id, replaced = request.state.request_id, session_of(request)
    cookie = await service.calls.run(
        lambda: redeem_console_code(service.stores, code, replaced=replaced, request_id=request_id, now_ms=now_ms())
    )
    return logged_in(request, cookie, to)


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session, and take the cookie away."""
    await in_account(request, lambda view: view.log_out())
    return Response(status_code=204, headers={"Set-Cookie": service_of(request).site.no_cookie})


def session_of(request: Request) -> str | None:
    """The cookie that the browser has."""
    return service_of(request).site.session_in(request.headers.getlist("cookie"))


def logged_in(request: Request, cookie: Secret, to: str) -> Response:
    """Set the cookie of a new session and go to a path of ours."""
    site = service_of(request).site
    return Response(status_code=303, headers={"Location": to, "Set-Cookie": site.cookie(cookie.reveal())})

"""The code that gets a token into a browser, tokens of logins, and the proof that precedes a token."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from orchestration.access.bodies.access import LoginCode
from orchestration.access.oidc.cli_tokens import redeem_cli_code
from orchestration.access.proofs import prove
from orchestration.access.views.account import Account
from orchestration.api.answers import json_answer
from orchestration.api.operation import operation
from orchestration.api.routes.login import CODE_PATH, CONFIRM_PATH
from orchestration.api.schema import model_of
from orchestration.api.service import in_deployment_view, service_of
from orchestration.records.access import MadeToken
from orchestration.records.service import ConsoleCode, ServiceProof
from schemas.ids import JOB_ID_PATTERN, JobId

router = APIRouter(tags=["account"])


# Written by hand: the addresses are those of the service's site, which views do not know.
@router.post(
    "/console-codes", **operation(Account.create_console_code, model_of(ConsoleCode), "TOKEN_NEEDED", status=201)
)
async def create_console_code(request: Request) -> Response:
    """A code that opens the service in a browser, with the caller's rights. It works once, within a minute."""
    expires_at, code = await in_deployment_view(request, Account, Account.create_console_code)
    query, site = f"?code={code.reveal()}", service_of(request).site.url
    made = ConsoleCode(
        path=f"{CODE_PATH}{query}",
        url=f"{site}{CODE_PATH}{query}",
        confirm_url=f"{site}{CONFIRM_PATH}{query}",
        expires_at=expires_at,
    )
    return json_answer(made, 201)


# Written by hand: the code identifies the caller of this one, and the other has none, so that no view is theirs.
@router.post(
    "/login-tokens",
    **operation(None, model_of(MadeToken), "CODE_REFUSED", "CAP_EMPTY", "BAD_BODY", "TOO_MANY_REQUESTS", status=201),
)
async def create_login_token(request: Request, body: LoginCode) -> Response:
    """A token for twelve hours, for a program after its login in a browser. Public: the code identifies the caller."""
    service, request_id = service_of(request), request.state.request_id
    service.count_login(request)
    made = await service.calls.run(
        lambda: redeem_cli_code(service.services, body.code, body.verifier, request_id=request_id)
    )
    return json_answer(made, 201)


@router.get("/service-proof", **operation(None, model_of(ServiceProof)))
async def prove_service(
    request: Request,
    token: Annotated[str, Query(pattern=f"^{JOB_ID_PATTERN.pattern}$", description="The id in the token: mst_ID_...")],
    nonce: Annotated[str, Query(pattern="^[0-9a-f]{64}$", description="32 random bytes, in hexadecimal.")],
) -> Response:
    """Prove that the service knows a token, to a client that is about to send it over plain http. Public."""
    service = service_of(request)
    address = service.site.listener(request.scope)
    proof = await service.calls.run(lambda: prove(service.services.tokens, JobId(token), nonce, address))
    return json_answer(ServiceProof(address=address, proof=proof))

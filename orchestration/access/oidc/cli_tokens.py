"""A token for a program on the machine whose browser has logged in, in exchange for the program's code."""

from typing import Final

from orchestration.access.new_tokens import make_token
from orchestration.access.oidc.pkce import proves
from orchestration.access.opaque import fresh_opaque, opaque_digest
from orchestration.access.policy import Rights
from orchestration.catalog.auditing import record
from orchestration.composition.service import Services
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Secret
from orchestration.records.access import MadeToken, Principal
from schemas.errors import UserError
from schemas.ids import JobId
from schemas.records import as_record

CODE_MS: Final = 60 * 1000
TOKEN_MS: Final = 12 * 3600 * 1000
TOKEN_NAME: Final = "muster login"  # noqa: S105  # the name of tokens, not one


def make_cli_code(services: Services, principal: Principal, challenge: str) -> Secret:
    """A code that can be used only with the verifier of the challenge."""
    code = fresh_opaque()
    given = {"principal": principal.principal, "challenge": challenge}
    services.codes.put("cli", str(opaque_digest(code.reveal())), given, expires_at_ms=now_ms() + CODE_MS)
    return code


def redeem_cli_code(services: Services, code: str, verifier: str, *, request_id: JobId) -> MadeToken:
    """A token with all roles that its owner has at present. Raises `UserError` CODE_REFUSED, CAP_EMPTY."""
    digest = opaque_digest(code)
    found = None if digest is None else services.codes.take("cli", digest, now_ms=now_ms())
    owner = None if found is None else services.principals.find(JobId(found["principal"]))
    if found is None or owner is None or not proves(verifier, found["challenge"]):
        raise UserError("CODE_REFUSED", "the code was used before, is older than a minute, or belongs to another login")
    cap = services.principals.granted(JobId(owner.principal))
    token, secret = make_token(
        services.tokens, owner=JobId(owner.principal), name=TOKEN_NAME, cap=cap, limit=Rights.of(cap), life_ms=TOKEN_MS
    )
    record(
        services.audit,
        owner.name,
        "login",
        "tokens",
        after=as_record(token),
        principal=owner.principal,
        token=token.token,
        request_id=request_id,
    )
    return token.with_secret(secret.reveal())

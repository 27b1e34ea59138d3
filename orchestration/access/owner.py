"""The owner token: how the administrator of a machine gets in. It is in `<home>/api/token`, mode 0600.

The principal `owner` is made at the first start, as an administrator of the deployment. The service
replaces, at a start and once a day, a token that is missing, no longer valid, or past half of its life.
"""

from pathlib import Path
from typing import Final

from connectors.private_files import make_private_folder, replace_private
from orchestration.access.authentication import authenticate
from orchestration.access.grants import (
    DAY_MS,
    DEFAULT_DAYS,
    check_principal_name,
    lifetime_ms,
)
from orchestration.access.new_tokens import make_token
from orchestration.access.policy import ADMIN, DEPLOYMENT, Rights
from orchestration.access.revisions import Seen, revision_of, unchanged
from orchestration.composition.service import Services
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.records.access import Grants, MadeToken, Principal
from schemas.errors import UserError
from schemas.ids import JobId

OWNER: Final = "owner"
TOKEN_NAME: Final = "start-up"  # noqa: S105  # the name of a token, not one
BREAK_GLASS: Final = "break-glass"
TOKEN_FILE: Final = Path("api", "token")
"""Below the home."""
_CAP: Final = ((DEPLOYMENT, ADMIN),)
_MANY: Final = 500


def ensure_owner_token(services: Services, home: Path) -> Path:
    """Make the owner and its token if they are needed; returns its file. Raises as `rotate_owner_token`."""
    file = home / TOKEN_FILE
    if services.principals.named(OWNER) is not None and _is_fresh(services, file):
        return file
    return rotate_owner_token(services, home)


def rotate_owner_token(services: Services, home: Path) -> Path:
    """Replace the owner's token, and revoke the earlier ones; returns the file of the token.

    Raises `UserError` TOKEN_FILE if it cannot be written, `RetriableError` CATALOG_UNAVAILABLE.
    """
    file = home / TOKEN_FILE
    owner = administrator(services, OWNER)
    token, secret = make_token(
        services.tokens,
        owner=JobId(owner.principal),
        name=TOKEN_NAME,
        cap=_CAP,
        limit=Rights.of(_CAP),
        days=DEFAULT_DAYS,
    )
    try:
        make_private_folder(file.parent)
        replace_private(file, secret.reveal() + "\n")
    except OSError as exc:
        raise UserError("TOKEN_FILE", f"{file} cannot be written: {exc.strerror}", path=str(file)) from exc
    for earlier in services.tokens.page(principal_id=JobId(owner.principal), limit=_MANY):
        if earlier.name == TOKEN_NAME and earlier.token != token.token:
            services.tokens.revoke(JobId(earlier.token), now_ms=now_ms())
    return file


def administrator(services: Services, name: str) -> Principal:
    """The principal of this name, created if missing, as another administrator of the deployment.

    Raises `UserError` BAD_PRINCIPAL, and STALE_ETAG if grants were replaced meanwhile.
    """
    check_principal_name(name)
    one = services.principals.named(name) or services.principals.add(
        fresh_id(), kind="person", name=name, now_ms=now_ms()
    )
    held = services.principals.grants(DEPLOYMENT)
    wanted = {JobId(other.principal): other.roles for other in held.items}
    if ADMIN in (roles := wanted.get(JobId(one.principal), ())):
        return one
    wanted[JobId(one.principal)] = (*roles, ADMIN)
    check = unchanged(Grants.revision, Seen(revision_of(held, held.revision)))
    services.principals.replace_grants(DEPLOYMENT, wanted, now_ms=now_ms(), check=lambda before, _: check(before))
    return one


def administrator_token(services: Services, name: str, *, days: int) -> MadeToken:
    """A token of an administrator (`administrator`), with all rights. Raises `UserError` BAD_LIFETIME, STALE_ETAG."""
    lifetime_ms(days)  # refused before anybody gets a role
    owner = administrator(services, name)
    token, secret = make_token(
        services.tokens, owner=JobId(owner.principal), name=BREAK_GLASS, cap=_CAP, limit=Rights.of(_CAP), days=days
    )
    return token.with_secret(secret.reveal())


def _is_fresh(services: Services, file: Path) -> bool:
    """Whether the file holds a valid token in the first half of its life."""
    at_ms = now_ms()
    try:
        caller = authenticate(
            services.tokens, file.read_text(encoding="ascii").strip(), request_id=fresh_id(), now_ms=at_ms
        )
    except (OSError, UnicodeDecodeError, UserError):
        return False
    return caller.token is not None and caller.token.expires_at_ms - at_ms > DEFAULT_DAYS * DAY_MS // 2
